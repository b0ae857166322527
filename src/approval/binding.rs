//! What an approval is for, and for nothing else.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::record::{CallId, Caller};
use crate::json::Arguments;
use crate::name::ToolName;
use crate::reason::{Reason, Refusal};

/// Who may do what with it. All of it from the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// The agent that asked.
    pub agent: AgentId,
    /// The person on whose behalf, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The task that it is on, when it is on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The agents that handed the work on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<AgentId>,
    /// The tool.
    pub tool: ToolName,
    /// Digest of the component.
    pub plugin: Digest,
    /// Digest of the canonical arguments.
    pub arguments: Digest,
    /// The round, where it is not the first: what a plugin is answered is data like its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<RoundBinding>,
    /// Digest of what decided that a person must agree: the policies that would allow it then (their
    /// meaning, not their place), the tier, and how many must agree. Not of the whole set: a reload
    /// of something unrelated voids nothing.
    pub deciding: Digest,
}

/// A round of a call after the first, as an approval is bound to it. Which call asked is no part of it: a
/// call that is begun anew, and is asked and answered the same, would do the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundBinding {
    /// 2 for the first that brings answers.
    pub number: u32,
    /// Digest of the canonical text of the answers, as one object.
    pub answers: Digest,
    /// Digest of what the plugin wanted back, where it wanted something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Digest>,
}

impl Binding {
    pub(crate) fn new(
        caller: &Caller,
        tool: &ToolName,
        plugin: Digest,
        arguments: &Arguments,
        round: Option<RoundBinding>,
        deciding: Digest,
    ) -> Self {
        Self {
            agent: caller.agent.clone(),
            user: caller.user.clone(),
            task: caller.task,
            chain: caller.chain.clone(),
            tool: tool.clone(),
            plugin,
            arguments: arguments.digest(),
            round,
            deciding,
        }
    }

    /// Why an approval that is bound to `self` is none for what is `asked`.
    pub(super) fn mismatch(&self, asked: &Self) -> Option<Refusal> {
        let same_asker = self.agent == asked.agent
            && self.user == asked.user
            && self.task == asked.task
            && self.chain == asked.chain
            && self.tool == asked.tool;
        if !same_asker {
            return Some(not_this("it is for another agent, user, task or tool"));
        }
        if self.arguments != asked.arguments {
            return Some(Refusal::new(
                Reason::ApprovalArguments,
                "that approval is for other arguments",
            ));
        }
        if self.round != asked.round {
            return Some(Refusal::new(
                Reason::ApprovalArguments,
                "that approval is for another round of the call, or for other answers",
            ));
        }
        if self.plugin != asked.plugin {
            return Some(not_this("the plugin changed since it was asked for"));
        }
        if self.deciding != asked.deciding {
            return Some(not_this(
                "the policies that decided changed since it was asked for",
            ));
        }
        None
    }
}

/// `why` is for the operator: who presents an approval that is not its own learns nothing of it.
pub(super) fn not_this(why: &'static str) -> Refusal {
    Refusal::new(
        Reason::ApprovalBinding,
        "that approval is not one for this call",
    )
    .with_detail(why)
}

/// What a person is asked to agree to: a call, or one host call of a call that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// The call, before it runs.
    Call {},
    /// One host call of a running call.
    HostCall {
        /// The action that policy was asked about: `http`, `use-secret`.
        action: String,
        /// The method of the request.
        method: String,
        /// Its canonical URL.
        url: String,
        /// Digest of its body.
        body: Digest,
        /// The secret that would go along, where the question is about that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<String>,
    },
}

impl Subject {
    /// Whether it is a host call.
    #[must_use]
    pub const fn is_host_call(&self) -> bool {
        matches!(self, Self::HostCall { .. })
    }
}

/// What identical asks have in common. Those for host calls differ by their calls, unless `any_call`.
pub(super) fn key(binding: &Binding, subject: &Subject, call: Option<CallId>) -> Digest {
    // Structures of plain fields always serialise.
    let text = serde_json::to_vec(&(binding, subject, call)).unwrap_or_default();
    Digest::of(&text)
}
