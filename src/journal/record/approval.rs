//! What is written of approvals. Each names a call, so that a call's story has them in it.

use serde::{Deserialize, Serialize};

use super::{CallId, HostCallRef, is_zero};
use crate::id::ApprovalId;
use crate::identity::PersonId;
use crate::policy::Ground;
use crate::reason::Reason;

/// A person is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAsked {
    /// The call that asks.
    pub call: CallId,
    /// The approval.
    pub approval: ApprovalId,
    /// The host call that waits for it, where it is not the call itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_call: Option<HostCallRef>,
    /// How often the same was asked before, and answered with this approval.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub merged: u64,
    /// How many persons must agree.
    pub needed: u32,
    /// From when on it is worth nothing; RFC 3339.
    pub expires: String,
    /// The policies that would allow it, once approved.
    pub decision: Ground,
}

/// A person answered, or tried to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalAnswered {
    /// The call that asked first.
    pub call: CallId,
    /// The approval.
    pub approval: ApprovalId,
    /// Who answered.
    pub by: PersonId,
    /// Yes or no.
    pub approve: bool,
    /// For how many seconds, where a standing approval was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing_s: Option<u64>,
    /// Why not, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The approval's status after it.
    pub status: String,
    /// Why the answer does not count, where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Reason>,
    /// The policies that let the person answer, or kept them from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Ground>,
}

/// An approval was used, by the call that it lets run or go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalUsed {
    /// The call that used it.
    pub call: CallId,
    /// The approval.
    pub approval: ApprovalId,
    /// The call that asked for it first.
    pub asked: CallId,
    /// Who agreed.
    pub by: Vec<PersonId>,
    /// Whether it stays, for the next one.
    pub standing: bool,
}

/// An approval ended without having been used up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalEnded {
    /// The call that asked first.
    pub call: CallId,
    /// The approval.
    pub approval: ApprovalId,
    /// `expired`, `withdrawn`, `revoked` or `void`.
    pub status: String,
    /// Why, or by whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}
