//! What is written where a segment begins and ends: the records that hand trust from key to key.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::digest::Digest;

/// The first record of a segment: all that is needed to go on from here without what came before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentOpened {
    /// The log, the same in all of its segments: `<host>/tollgate/<random id>`.
    pub origin: String,
    /// The key that signs the checkpoints of this segment, in the form of a note's verifier key.
    pub key: String,
    /// Records before this one: the size of the tree.
    pub size: u64,
    /// The roots of that tree's complete subtrees, the largest first.
    pub peaks: Vec<Digest>,
    /// Calls that have begun and not ended, so that a start need not read older segments to find them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallId>,
}

/// The last record of a segment. The last checkpoint of its key speaks of this record too; then the
/// key is destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentClosed {
    /// The key of the next segment, in the form of a note's verifier key.
    pub next: String,
}
