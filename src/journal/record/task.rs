//! What is written of tasks, and of power that is taken back.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::id::{ApprovalId, LeaseId, TaskId};
use crate::identity::AgentId;
use crate::name::ToolName;
use crate::reason::Reason;
use crate::task::Budgets;

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
