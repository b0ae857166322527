//! What a record says. The written form of these types is a public format, `v` 1.
//!
//! One line of the journal is one record. Everything that agents or plugins wrote is a JSON string
//! in it, so nothing that they write can end a line or start another. Values of arguments are kept
//! as a digest and a redacted, bounded view; secrets by name only.

mod approval;

pub use approval::{ApprovalAnswered, ApprovalAsked, ApprovalEnded, ApprovalUsed};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::{ApprovalId, LeaseId, TaskId};
use crate::identity::AgentId;
use crate::name::{PluginName, ToolName};
use crate::policy::Ground;
use crate::reason::Reason;
use crate::task::Budgets;

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
    /// SHA-256 of the line before, without its newline; all zeroes for the first.
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
}

impl Event {
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
            | Self::Revocation(_) => None,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changed {
    /// What was done: `policy.loaded`, `policy.rejected`, `plugin.pinned`, `plugin.accepted`,
    /// `plugin.quarantined`, `plugin.refused`, `plugin.removed`, `agent.added`, `agent.rotated`,
    /// `secret.set`, `secret.removed`, `task.ended`, `task.expired`, `agent.revoked` and the like of
    /// whatever can be revoked, `all.lifted`, `clock.stepped`, `person.added`, `person.rotated`,
    /// `person.removed`, `identity.refused`, `credential.refused`, `webhook.told`, `token.minted`,
    /// `token.handed_on`, `token.refused`, `token.key_rotated`.
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

/// A task was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskStarted {
    /// The task.
    pub task: TaskId,
    /// Whose.
    pub agent: AgentId,
    /// On whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it is for, in the operator's words.
    pub intent: String,
    /// What may be called: `github.comment /repository="a/b"`.
    pub tools: Vec<String>,
    /// How much.
    pub budgets: Budgets,
    /// From when on it is over, RFC 3339.
    pub expires: String,
    /// The task that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<TaskId>,
    /// Who started it.
    pub by: String,
}

/// Power was taken back. A `changed` record came before it; this one says what it met.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// `agent`, `task`, `plugin`, `lease`, `approval`, `token` or `all`.
    pub scope: String,
    /// Which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// Why what rests on it is refused from now on.
    pub reason: Reason,
    /// The calls that were under way, and are stopped.
    pub calls: Vec<UnderWay>,
    /// The tasks that ended with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<TaskId>,
    /// The leases that go back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leases: Vec<LeaseId>,
    /// The approvals that are void.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalId>,
}

/// A call that was under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnderWay {
    /// The call.
    pub call: CallId,
    /// Whose.
    pub agent: AgentId,
    /// Of which tool.
    pub tool: ToolName,
    /// On which task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
}

/// Who asks, and how the request came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The agent.
    pub agent: AgentId,
    /// The person on whose behalf it acts, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// `http`, `stdio` or `cli`.
    pub transport: String,
    /// What the client calls itself. Not to be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// The task that it is on, when it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The agents that handed the work on, from the first to the last before this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<AgentId>,
}

impl Caller {
    /// The agent and those that handed on to it.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.chain.iter().chain([&self.agent])
    }
}

/// Arguments as the journal keeps them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArgumentsView {
    /// Digest of the canonical text; absent where there was none to take it of.
    pub digest: Option<Digest>,
    /// Bytes of the canonical text, or of what came where that is not JSON.
    pub bytes: u64,
    /// The arguments, redacted; cut where they are long, and then `cut` is set.
    pub view: String,
    /// Whether `view` leaves something out.
    pub cut: bool,
}

/// A call is about to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// The call.
    pub call: CallId,
    /// Who asks.
    pub caller: Caller,
    /// The tool.
    pub tool: ToolName,
    /// Digest of the component that runs.
    pub plugin: Digest,
    /// The arguments.
    pub arguments: ArgumentsView,
    /// 1, or how many times this agent has now asked exactly this within the window.
    pub attempt: u32,
    /// Names of the requirements granted.
    pub grants: Vec<String>,
    /// What the decision rests on.
    pub decision: Ground,
}

/// Something was refused. Exactly one record says so for each refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The call.
    pub call: CallId,
    /// Who asks. Absent where that is what was refused, and for a host call, whose call says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The tool by the name that was asked for, cut and escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The arguments, where a whole call was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<ArgumentsView>,
    /// As in `Intent`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The host call, where one was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_call: Option<HostCallRef>,
    /// Why.
    pub reason: Reason,
    /// What the agent was told.
    pub message: String,
    /// What only the operator reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What the decision rests on, where policy was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Ground>,
    /// How many further refusals of this call with this reason this record stands for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repeated: u64,
}

/// A call waits for a person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The call.
    pub call: CallId,
    /// Who asks.
    pub caller: Caller,
    /// The tool.
    pub tool: ToolName,
    /// Digest of the component that would run.
    pub plugin: Digest,
    /// The arguments.
    pub arguments: ArgumentsView,
    /// As in `Intent`.
    pub attempt: u32,
    /// `approval.required`.
    pub reason: Reason,
    /// The policies that would allow it, once approved.
    pub decision: Ground,
}

/// A host call, within its call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCallRef {
    /// Counts the recorded host calls of this call, from 1.
    pub number: u32,
    /// The capability: `http`, `secret`.
    pub capability: String,
    /// What it was about, canonical where it has a canonical form, otherwise escaped and cut.
    pub target: String,
}

/// A host call is about to happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCall {
    /// The call.
    pub call: CallId,
    /// Which host call.
    pub host_call: HostCallRef,
    /// The method, for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Bytes of the body that goes out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_out: u64,
    /// Digest of that body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Names of the secrets lent to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What the decisions to lend these rest on, one for each place that a secret is put into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_uses: Vec<SecretUse>,
    /// What the decision rests on.
    pub decision: Ground,
}

/// A secret put into a request: a `use-secret` question that policy allowed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretUse {
    /// Its name.
    pub secret: String,
    /// How: `bearer`, `basic`, `header`, `query`, `placeholder`.
    pub scheme: String,
    /// What the decision rests on.
    pub decision: Ground,
}

/// How a host call ended. A refusal after the intent (an address that is not public) ends in a
/// `Refused` record as well, and this one then carries no reason of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCallOutcome {
    /// The call.
    pub call: CallId,
    /// Which host call.
    pub number: u32,
    /// `ok`, `refused` or `failed`.
    pub status: String,
    /// Why, where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What went wrong, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The status code, for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
    /// The address that was dialled, when one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Bytes of the body that came in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_in: u64,
    /// Microseconds from the intent on.
    pub duration_us: u64,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    /// The call.
    pub call: CallId,
    /// `ok`; `error`, where the tool itself says so; `failed`, where the host ended it.
    pub status: String,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// For the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Refusals of host calls within it, and how often each, whether or not the plugin said so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<Reason, u64>,
    /// Fuel used.
    pub fuel: u64,
    /// Host calls made, by capability, those that are not recorded one by one included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_calls: BTreeMap<String, u64>,
    /// Digest of the result's canonical text, as the agent got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
    /// Bytes of the result.
    pub bytes_out: u64,
    /// How many lent values were redacted from the result.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redacted: u64,
    /// Microseconds from arrival on.
    pub duration_us: u64,
}

/// Where a lease stands now. Never its value, nor what takes it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseChange {
    /// Which.
    pub lease: LeaseId,
    /// `wanted`, before it is asked for; `live`; `pending`, from its end until its source confirmed
    /// that it is dead, which is `revoked`; `lapsed`, where its time was over first; `left`, where it
    /// can't be taken back and its source keeps it alive; `unissued`.
    pub stage: String,
    /// The call that it was made for.
    pub call: CallId,
    /// The task that its call is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The plugin.
    pub plugin: PluginName,
    /// The secret's name; `(bond)` for what the leases of one call or task hang on.
    pub secret: String,
    /// The kind of its source: `store`, `vault`, ...
    pub source: String,
    /// The one origin that it is bound to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// And how it stands in requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Whether it can be taken back.
    pub revocable: bool,
    /// When it ends by itself, RFC 3339; absent where nothing ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// How often it went into a request.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub uses: u32,
    /// How often taking it back failed.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub attempts: u32,
    /// Why, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none_yet(number: &u32) -> bool {
    *number == 0
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
