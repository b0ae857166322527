//! What is written of calls and of their host calls. Each record of a call names it first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CallId, is_zero};
use crate::digest::Digest;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::job::JobId;
use crate::name::ToolName;
use crate::plugin::Kind;
use crate::policy::Ground;
use crate::reason::Reason;

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none_yet(number: &u32) -> bool {
    *number == 0
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
    /// The tool; or the prompt, the resource, completion.
    pub tool: ToolName,
    /// Which of them it is.
    #[serde(default, skip_serializing_if = "Kind::is_tool")]
    pub kind: Kind,
    /// Which round it is, where it is not the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundOf>,
    /// The job that it is a call of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
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

/// A round that brings a client's answers to a plugin's questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundOf {
    /// 2 for the first that does.
    pub number: u32,
    /// The call of the first round, where the host asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<CallId>,
    /// Digest of the answers, as one canonical object.
    pub answers: Digest,
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
    /// How many of them were numbered, for records of their own.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub numbered: u32,
    /// Digest of the result's canonical text, as the agent got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
    /// Bytes of the result.
    pub bytes_out: u64,
    /// How many lent values were redacted from the result.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub redacted: u64,
    /// Digest of the file that has what the call was given, where that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tape: Option<Digest>,
    /// Why there is no such file, where there should be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untaped: Option<String>,
    /// Microseconds from arrival on.
    pub duration_us: u64,
}
