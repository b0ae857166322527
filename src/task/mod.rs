//! Tasks: a piece of work that an agent is on, with what it may use for it, and until when.
//!
//! A task narrows, it never widens: policy decides on a call of a task as on any other, and the task
//! must allow it as well. It names the tools (and may bind their arguments), the budgets and the expiry; it
//! collects labels of what its calls have seen; and it ends, by its time, by an operator or by a
//! revocation, and with it the calls that run on it and whatever was lent for it. A task within another one
//! is bound by both.

mod allowed;
mod budget;
mod enter;
mod keep;
mod live;
mod on;
mod order;
mod tasks;
mod write;

pub use allowed::{Allowed, Constraint, ConstraintError, Pattern};
pub use budget::{Amounts, Budget, Budgets, Kind, Used};
pub use order::NewTask;
pub use tasks::{TaskFilter, Tasks};

pub(crate) use enter::Line;
pub(crate) use keep::keep;
pub(crate) use on::{OnTask, out_of_fuel};

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};
use crate::reason::{Reason, Refusal};

/// A task, as it is at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Task {
    /// Which.
    pub id: TaskId,
    /// Whose.
    pub agent: AgentId,
    /// On whose behalf.
    pub user: Option<PersonId>,
    /// What it is for, in the operator's words.
    pub intent: String,
    /// What may be called on it.
    pub tools: Vec<Allowed>,
    /// How much.
    pub budgets: Budgets,
    /// How much was used; after a death of the host an upper bound of it.
    pub used: Used,
    /// What its calls have seen.
    pub labels: BTreeSet<String>,
    /// When it was started. Times are since 1970-01-01T00:00:00Z.
    pub created: Duration,
    /// From when on it is over.
    pub expires: Duration,
    /// That it is over, and why.
    pub ended: Option<Ended>,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
}

/// The end of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: Duration,
    /// In which way.
    pub how: End,
    /// Why, or by whom.
    pub why: String,
}

/// How a task can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// It was ended.
    Ended,
    /// Its time was over.
    Expired,
    /// It was revoked, or the agent was.
    Revoked,
}

impl End {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }

    /// The end of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        [Self::Ended, Self::Expired, Self::Revoked]
            .into_iter()
            .find(|end| end.as_str() == name)
    }

    /// Why nothing is done on such a task any more.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Ended => Refusal::new(Reason::TaskEnded, "the task was ended"),
            Self::Expired => Refusal::new(Reason::TaskExpired, "the task's time is over"),
            Self::Revoked => Refusal::new(Reason::RevokedTask, "the task was revoked"),
        }
    }
}

/// Why a task was not started or ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// No such task.
    #[error("there is no task `{0}`: `tollgate task list --all` shows those that there are")]
    Unknown(TaskId),
    /// It is over already.
    #[error("the task `{0}` is over: {1}")]
    Over(TaskId, String),
    /// It can't be one.
    #[error("{0}")]
    Invalid(String),
    /// It could not be written down.
    #[error(transparent)]
    Unwritable(#[from] crate::journal::Unwritable),
    /// It could not be kept.
    #[error("it could not be kept: {0}")]
    NotKept(String),
}

#[cfg(test)]
mod tests;
