//! The questions that policy is asked, in words of the host.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::approval::{Approved, RoundBinding};
use crate::digest::Digest;
use crate::identity::{AgentId, PersonId};
use crate::json::Arguments;
use crate::name::ToolName;

use super::vocabulary::{HostAction, Type};

/// What policy is told of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskFacts {
    /// Its identifier.
    pub id: String,
    /// What it is for, in the operator's words.
    pub intent: String,
    /// What its calls have seen.
    pub labels: BTreeSet<String>,
    /// Its calls so far, this one included.
    pub calls: u64,
    /// Their host calls so far, this one included.
    pub host_calls: u64,
}

/// What policy is told of a call's round, where it is not the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundFacts {
    /// What approvals of it are bound to.
    pub bound: RoundBinding,
    /// What came back of what the plugin asked, by the questions' keys.
    pub answers: Map<String, Value>,
}

/// What the host knows of a call, whatever is asked about it: the call itself, one of its host calls,
/// or a person's answer.
#[derive(Debug, Clone, Copy)]
pub struct CallFacts<'a> {
    /// Who asks.
    pub agent: &'a AgentId,
    /// The agents that handed the work on to it. Each is asked about as well.
    pub chain: &'a [AgentId],
    /// On whose behalf, when known.
    pub user: Option<&'a str>,
    /// What is called.
    pub tool: &'a ToolName,
    /// The operator's tier of the tool.
    pub tier: &'a str,
    /// The arguments, which conform to the tool's input schema.
    pub arguments: &'a Arguments,
    /// The round, where it is not the first.
    pub round: Option<&'a RoundFacts>,
    /// The task that the call is on, as it is now.
    pub task: Option<&'a TaskFacts>,
    /// The host's time at the question, since 1970.
    pub time: Duration,
    /// Proof that people agreed to exactly what is asked: the call, or the host call (not merely to the
    /// call). Never from what the model wrote.
    pub approval: Option<&'a Approved>,
}

impl<'a> CallFacts<'a> {
    /// The same, as if `agent` asked: each agent of a chain is asked about.
    pub(super) const fn of(self, agent: &'a AgentId) -> Self {
        Self { agent, ..self }
    }
}

/// May this agent make this call?
#[derive(Debug, Clone, Copy)]
pub struct CallQuestion<'a> {
    /// The call.
    pub call: CallFacts<'a>,
    /// The component that would run.
    pub plugin_digest: Digest,
    /// `http`, `stdio` or `cli`.
    pub transport: &'a str,
    /// 1 for the first try of this call, more for a retry.
    pub attempt: u32,
}

impl<'a> CallQuestion<'a> {
    /// The same, as if `agent` asked.
    pub(super) const fn of(self, agent: &'a AgentId) -> Self {
        Self {
            call: self.call.of(agent),
            ..self
        }
    }
}

/// May this person answer what is held?
#[derive(Debug, Clone, Copy)]
pub struct ApproveQuestion<'a> {
    /// Who would answer; established by that person's own credential.
    pub person: &'a PersonId,
    /// The call that is held, or of which a host call is. There is no approval of it yet.
    pub call: CallFacts<'a>,
    /// Who agreed already.
    pub approvers: &'a BTreeSet<PersonId>,
    /// Whether it is one host call of a running call, rather than the call.
    pub host_call: bool,
    /// Whether the answer is to stand for more than one use.
    pub standing: bool,
}

/// What a host call is aimed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// An origin in canonical form, such as `https://api.github.com`.
    Origin(&'a str),
    /// A secret of the calling plugin.
    Secret(&'a str),
    /// Nothing beyond the plugin itself.
    Plugin,
}

/// Something that the host says about a host call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(i64),
    /// Yes or no.
    Truth(bool),
    /// A set of texts.
    Texts(Vec<String>),
    /// A network address.
    Address(IpAddr),
}

impl Fact {
    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::Text(_) => Type::Text,
            Self::Whole(_) => Type::Whole,
            Self::Truth(_) => Type::Truth,
            Self::Texts(_) => Type::Texts,
            Self::Address(_) => Type::Address,
        }
    }
}

/// The canonical value of a host call, which policy decides on and which is then acted on.
///
/// A capability implements it for its own type. The facts MUST be exactly those of the action:
/// a missing, further or mistyped one refuses with `policy.error`.
pub trait HostQuestion {
    /// What kind of host call it is.
    fn action(&self) -> HostAction;

    /// What it is aimed at; of the kind that the action takes.
    fn target(&self) -> Target<'_>;

    /// What is known of it. `http`: `method`, `path`, `scheme`, `host`, `port`, `requirement`,
    /// `query`, `body_bytes`, `secrets`, `http_calls`. `use-secret` and `reveal-secret`: `origin`,
    /// `scheme`. `connect`: `address`, `port`, `host`. `ask`: `kind`, `host`. `clock` and `random`:
    /// nothing.
    fn facts(&self) -> Vec<(&'static str, Fact)>;
}
