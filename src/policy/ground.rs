//! What a decision rests on.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What a decision rests on: the policies that determined it, and the set that they were part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ground {
    /// The policies that determined the answer. Empty where none applied (default deny).
    pub policies: Vec<PolicyRef>,
    /// Digest of the whole set in force: every policy, shared rule, entity and the schema.
    pub set: Digest,
    /// What went wrong in evaluating, when it did. Any error refuses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// A policy, as its author finds it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyRef {
    /// Its `@id`, or `<file>#<position>` where it has none.
    pub id: String,
    /// Its file, relative to `policies/`.
    pub file: String,
    /// The line on which it starts, from 1.
    pub line: usize,
}
