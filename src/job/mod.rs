//! Jobs: calls whose clients do not wait for them, and ask for the result later.
//!
//! The protocol calls this a *task*, which is another thing here (what an agent is on: rights, budgets, an
//! end). A job is one call, or the rounds of one, of a tool whose plugin says that it does long work. It is
//! that call in every other way: each round is decided, recorded, limited and stopped as any call.
//!
//! | | |
//! | --- | --- |
//! | whose | the agent's for the same person and by the same chain; to everyone else there is none of that id |
//! | on the disk | before its call's intent, at each wait, and at its end with what came of it ([`Jobs`]) |
//! | in memory | questions, answers, the plugin's state, the credential: what is needed to go on |
//! | a restart | one that was not over has failed; nothing of it runs again |
//! | its end | the first of: its own result, `tasks/cancel`, a stop of whatever it rests on, its time, the end of the host |

mod book;
mod end;
mod id;
mod machine;
mod one;
#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::identity::{AgentId, Authenticated};
use crate::journal::record::CallId;
use crate::plugin::QuestionKind;
use crate::reason::{Kind, Refusal};

pub use book::Jobs;
pub(crate) use end::{End, Stop, late};
pub use id::{JobId, ParseJobIdError};
pub use one::{Job, Seat};

/// How many jobs there may be, and how long they live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Of one agent, at once.
    pub agent: usize,
    /// In all, at once.
    pub host: usize,
    /// From the asking on, its result included.
    pub ttl: Duration,
    /// Bytes of results that are kept of one agent.
    pub space: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A program that starts what it has to do and then looks; not a queue.
            agent: 8,
            // A quarter of the host's places, so that calls that somebody waits for always find one.
            host: 32,
            // Six times what one may take, so that a client that was away for a while still finds it.
            ttl: Duration::from_secs(60 * 60),
            // Sixty results of the largest size.
            space: 64 << 20,
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// A call of it is under way, or about to be.
    Working,
    /// Its client is asked something.
    Asking,
    /// A person must agree first.
    Held,
    /// The tool gave a result.
    Completed,
    /// There is none, and why.
    Failed,
    /// Its client cancelled it.
    Cancelled,
}

impl Status {
    const ALL: [Self; 6] = [
        Self::Working,
        Self::Asking,
        Self::Held,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The word for it, in the state and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Asking => "asking",
            Self::Held => "held",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// Whose a job is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Owner {
    pub(crate) agent: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    chain: Vec<AgentId>,
    /// The step token or hand-off that it was asked for with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
}

impl Owner {
    pub(crate) fn of(who: &Authenticated) -> Self {
        let principal = who.principal();
        Self {
            agent: principal.agent,
            user: principal.user,
            chain: principal.chain,
            step: principal.step.map(|step| step.to_string()),
        }
    }

    /// Whether `who` is this one. Who holds a step token gets at what was asked for with that one alone; the
    /// agent itself at all of its own.
    fn is(&self, who: &Authenticated) -> bool {
        let other = Self::of(who);
        self.agent == other.agent
            && self.user == other.user
            && self.chain == other.chain
            && (other.step.is_none() || self.step == other.step)
    }

    fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.chain.iter().chain([&self.agent])
    }
}

/// A question that its client has not answered, by the key that the client answers it by.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The key.
    pub key: String,
    /// What kind of question; none of the page of an approval, to which no answer counts.
    pub kind: Option<QuestionKind>,
    /// The request of the protocol.
    pub request: Value,
}

/// A job, as its owner is shown it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Which.
    pub id: JobId,
    /// How far it is.
    pub status: Status,
    /// For people and the model.
    pub message: Option<String>,
    /// Its latest call.
    pub call: Option<CallId>,
    /// When it was asked for.
    pub created: Duration,
    /// When it last changed.
    pub changed: Duration,
    /// From when on there is none.
    pub expires: Duration,
    /// What its client is asked.
    pub asked: Vec<Asked>,
    /// JSON text: the result, or the error.
    pub body: Option<String>,
}

/// The protocol's error for what was not done, with what a result would say of it.
pub(crate) fn fault(refusal: &Refusal, call: Option<CallId>) -> Value {
    let (number, kind) = match refusal.reason.kind() {
        Kind::Failed => (-32603, "failed"),
        Kind::Refused => (-32000, "refused"),
        Kind::ApprovalRequired => (-32000, "approval_required"),
        Kind::Limit => (-32000, "limit"),
    };
    json!({
        "code": number,
        "message": format!("{}: {}", refusal.reason.code(), refusal.message),
        "data": {
            "code": refusal.reason.code(),
            "kind": kind,
            "message": refusal.message,
            "call": call,
        },
    })
}
