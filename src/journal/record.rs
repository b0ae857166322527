//! What a record says. The written form of these types is a public format, `v` 1.
//!
//! One line of the journal is one record. Everything that agents or plugins wrote is a JSON string
//! in it, so nothing that they write can end a line or start another. Values of arguments are kept
//! as a digest and a redacted, bounded view; secrets by name only.

mod approval;
mod call;
mod lease;
mod segment;
mod task;

pub use approval::{ApprovalAnswered, ApprovalAsked, ApprovalEnded, ApprovalUsed};
pub use call::{
    ArgumentsView, Caller, Held, HostCall, HostCallOutcome, HostCallRef, Intent, Outcome, Refused,
    RoundOf, SecretUse,
};
pub use lease::LeaseChange;
pub use segment::{SegmentClosed, SegmentOpened};
pub use task::{Revocation, TaskStarted, UnderWay};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::reason::Reason;

/// The version of the format that this host writes.
pub const VERSION: u32 = 1;

/// Identifies one call in everything that is written about it; UUID version 7, so they sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub uuid::Uuid);

/// One line of the journal, as it is read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its number, from 1, without gaps.
    pub seq: u64,
    /// When it was written, RFC 3339 with milliseconds in UTC. The order is that of `seq`: a clock
    /// may be set back.
    pub time: String,
    /// The line before as a leaf of the tree, without its newline (RFC 6962: SHA-256 of a zero byte and
    /// the line); all zeroes for the first.
    pub prev: Digest,
    /// What happened.
    pub event: Event,
}

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What happened. The tag is the `kind` of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// The host started to write.
    Started(Started),
    /// What the start found at the end of the log, and of calls that had no outcome.
    Recovered(Recovered),
    /// The host ended in order.
    Stopped {},
    /// Policies, plugins or settings changed, or were changed by an operator.
    Changed(Changed),
    /// A task was started.
    TaskStarted(TaskStarted),
    /// Power was taken back, and from what.
    Revocation(Revocation),
    /// A call was allowed and is about to run.
    Intent(Intent),
    /// A call, or a host call of one, was refused.
    Refusal(Refused),
    /// A call waits for a person.
    Hold(Held),
    /// A host call was allowed and is about to happen.
    HostCall(HostCall),
    /// How a host call ended.
    HostCallOutcome(HostCallOutcome),
    /// How a call ended.
    Outcome(Outcome),
    /// A person is asked to agree.
    ApprovalAsked(ApprovalAsked),
    /// A person answered.
    ApprovalAnswered(ApprovalAnswered),
    /// An approval was used.
    ApprovalUsed(ApprovalUsed),
    /// An approval ended without having been used up.
    ApprovalEnded(ApprovalEnded),
    /// A credential was lent, taken back, or could not be.
    Lease(LeaseChange),
    /// A segment begins.
    SegmentOpened(SegmentOpened),
    /// A segment ends, and its key with it.
    SegmentClosed(SegmentClosed),
    /// Nothing else was written for a while: so long a silence has a record, or was cut out.
    Heartbeat {},
}

impl Event {
    /// Every kind, as it is written.
    pub const KINDS: [&'static str; 20] = [
        "started",
        "recovered",
        "stopped",
        "changed",
        "task-started",
        "revocation",
        "intent",
        "refusal",
        "hold",
        "host-call",
        "host-call-outcome",
        "outcome",
        "approval-asked",
        "approval-answered",
        "approval-used",
        "approval-ended",
        "lease",
        "segment-opened",
        "segment-closed",
        "heartbeat",
    ];

    /// Its `kind`, as it is written.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Recovered(_) => "recovered",
            Self::Stopped {} => "stopped",
            Self::Changed(_) => "changed",
            Self::TaskStarted(_) => "task-started",
            Self::Revocation(_) => "revocation",
            Self::Intent(_) => "intent",
            Self::Refusal(_) => "refusal",
            Self::Hold(_) => "hold",
            Self::HostCall(_) => "host-call",
            Self::HostCallOutcome(_) => "host-call-outcome",
            Self::Outcome(_) => "outcome",
            Self::ApprovalAsked(_) => "approval-asked",
            Self::ApprovalAnswered(_) => "approval-answered",
            Self::ApprovalUsed(_) => "approval-used",
            Self::ApprovalEnded(_) => "approval-ended",
            Self::Lease(_) => "lease",
            Self::SegmentOpened(_) => "segment-opened",
            Self::SegmentClosed(_) => "segment-closed",
            Self::Heartbeat {} => "heartbeat",
        }
    }

    /// The call that it is about.
    #[must_use]
    pub const fn call(&self) -> Option<CallId> {
        match self {
            Self::Started(_)
            | Self::Recovered(_)
            | Self::Stopped {}
            | Self::Changed(_)
            | Self::TaskStarted(_)
            | Self::Revocation(_)
            | Self::SegmentOpened(_)
            | Self::SegmentClosed(_)
            | Self::Heartbeat {} => None,
            Self::Intent(intent) => Some(intent.call),
            Self::Refusal(refused) => Some(refused.call),
            Self::Hold(held) => Some(held.call),
            Self::HostCall(made) => Some(made.call),
            Self::HostCallOutcome(outcome) => Some(outcome.call),
            Self::Outcome(outcome) => Some(outcome.call),
            Self::ApprovalAsked(asked) => Some(asked.call),
            Self::ApprovalAnswered(answered) => Some(answered.call),
            Self::ApprovalUsed(used) => Some(used.call),
            Self::ApprovalEnded(ended) => Some(ended.call),
            Self::Lease(change) => Some(change.call),
        }
    }

    /// Who asked, where it says so.
    #[must_use]
    pub const fn caller(&self) -> Option<&Caller> {
        match self {
            Self::Intent(intent) => Some(&intent.caller),
            Self::Refusal(refused) => refused.caller.as_ref(),
            Self::Hold(held) => Some(&held.caller),
            _ => None,
        }
    }

    /// The tool, where it says so.
    #[must_use]
    pub fn tool(&self) -> Option<String> {
        match self {
            Self::Intent(intent) => Some(intent.tool.to_string()),
            Self::Refusal(refused) => refused.tool.clone(),
            Self::Hold(held) => Some(held.tool.to_string()),
            _ => None,
        }
    }
}

/// The host started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Started {
    /// Version of the host.
    pub version: String,
    /// Digest of the policy set in force, once there is one.
    pub policy_set: Option<Digest>,
    /// How many plugins serve.
    pub plugins: usize,
}

/// What recovery found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recovered {
    /// Bytes of a torn record that were cut from the end.
    pub cut_bytes: u64,
    /// Calls with an intent and no outcome: what they did is not known. They are not run again.
    pub unknown: Vec<CallId>,
}

/// Something about the host changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// What was done: `policy.loaded`, `policy.rejected`, `plugin.pinned`, `plugin.accepted`,
    /// `plugin.quarantined`, `plugin.refused`, `plugin.removed`, `agent.added`, `agent.rotated`,
    /// `secret.set`, `secret.removed`, `task.ended`, `task.expired`, `agent.revoked` and the like of
    /// whatever can be revoked, `all.lifted`, `clock.stepped`, `person.added`, `person.rotated`,
    /// `person.removed`, `identity.refused`, `credential.refused`, `webhook.told`, `token.minted`,
    /// `token.handed_on`, `token.refused`, `token.key_rotated`, `anchor.sent`, `anchor.conflict`,
    /// `state.restored`, `job.started`, `job.cancelled`, `job.ended`.
    pub change: String,
    /// On what: a plugin, an agent, a person, a secret's name.
    pub subject: Option<String>,
    /// The digest of what is now in force.
    pub digest: Option<Digest>,
    /// Why, where something was refused.
    pub reason: Option<Reason>,
    /// For the operator.
    pub detail: Option<String>,
    /// Of a plugin that waits or was accepted: digest of what changed, as `tollgate plugins diff` shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<Digest>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
