//! A task to start, and whether it can be one.

use std::time::Duration;

use super::live::LONGEST;
use super::{Allowed, Budgets, TaskError, Tasks};
use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};

/// Characters of an intent.
const INTENT: usize = 500;
/// Tools that a task names, and bytes of all of them with their constraints.
const TOOLS: (usize, usize) = (128, 32 << 10);
/// Tasks within tasks: as many as agents in a chain.
pub(super) const DEPTH: usize = 6;
/// Live tasks of one agent.
const OF_AGENT: usize = 256;

/// A task to start.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Whose.
    pub agent: AgentId,
    /// On whose behalf.
    pub user: Option<PersonId>,
    /// What it is for.
    pub intent: String,
    /// What may be called.
    pub tools: Vec<Allowed>,
    /// How much.
    pub budgets: Budgets,
    /// For how long.
    pub lifetime: Duration,
    /// The task that it is a part of: bound by both, and no longer than that.
    pub parent: Option<TaskId>,
    /// Who starts it, for the record.
    pub by: String,
}

impl Tasks {
    /// Whether `new` can be a task.
    pub(super) fn fits(&self, new: &NewTask, now: Duration) -> Result<(), TaskError> {
        let wrong = |what: String| Err(TaskError::Invalid(what));
        let intent = new.intent.trim();
        if intent.is_empty() || intent.chars().count() > INTENT {
            return wrong(format!("an intent has 1 to {INTENT} characters"));
        }
        if intent.chars().any(char::is_control) {
            return wrong("an intent has no control characters".to_owned());
        }
        let bytes: usize = new.tools.iter().map(|tool| tool.to_string().len()).sum();
        if new.tools.is_empty() || new.tools.len() > TOOLS.0 || bytes > TOOLS.1 {
            return wrong(format!(
                "a task names 1 to {} tools, with constraints of {} bytes in all",
                TOOLS.0, TOOLS.1
            ));
        }
        if let Some(tool) = new
            .budgets
            .tools
            .keys()
            .find(|tool| !new.tools.iter().any(|allowed| allowed.tool.matches(tool)))
        {
            return wrong(format!(
                "there is a budget for `{tool}`, which the task does not allow"
            ));
        }
        if new.lifetime.is_zero() || new.lifetime > LONGEST {
            return wrong("a task ends within a year, and not at once".to_owned());
        }
        let mut depth = 1;
        let mut up = new.parent;
        while let Some(id) = up {
            let parent = self.find(id).ok_or(TaskError::Unknown(id))?;
            if let Some(end) = parent.over(now) {
                return Err(TaskError::Over(id, end.as_str().to_owned()));
            }
            depth += 1;
            up = parent.task.parent;
        }
        if depth > DEPTH {
            return wrong(format!("tasks lie within each other at most {DEPTH} deep"));
        }
        if self.live_of(&new.agent, now).count() >= OF_AGENT {
            return wrong(format!(
                "the agent has {OF_AGENT} live tasks already: end some (`tollgate task end`)"
            ));
        }
        Ok(())
    }
}
