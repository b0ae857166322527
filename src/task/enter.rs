//! Which task a call is on, and whether that is for it.

use std::sync::Arc;

use super::live::{Live, Shown, allows};
use super::order::DEPTH;
use super::{OnTask, Tasks};
use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};
use crate::journal::record::Caller;
use crate::json::Arguments;
use crate::name::ToolName;
use crate::reason::{Reason, Refusal};

/// A task and those that it lies within, from the inner to the outer.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) tasks: Tasks,
    pub(super) line: Vec<Arc<Live>>,
}

impl Tasks {
    /// The tools that `caller` could call by its task; none where it is on no task and needs none.
    pub(crate) fn shown_to(&self, agent: &AgentId, named: Option<TaskId>, required: bool) -> Shown {
        let now = self.now();
        let named = named.map(|id| {
            self.find(id)
                .filter(|live| live.task.agent == *agent && live.over(now).is_none())
        });
        let tasks: Vec<Arc<Live>> = match named {
            Some(task) => task.into_iter().collect(),
            None => {
                let live: Vec<_> = self.live_of(agent, now).collect();
                if live.is_empty() && !required {
                    return Shown(None);
                }
                live
            }
        };
        Shown(Some(
            tasks.iter().filter_map(|task| self.line(task)).collect(),
        ))
    }

    /// The task that a call is on, with what that lies within: named by the caller, or the only live one
    /// of its agent.
    ///
    /// # Errors
    ///
    /// There is no such task of this agent and user; or there is none, and one is `required`.
    pub(crate) fn of(&self, caller: &Caller, required: bool) -> Result<Option<Line>, Refusal> {
        let Some(live) = self.select(caller, required)? else {
            return Ok(None);
        };
        let line = self.line(&live).ok_or_else(unknown)?;
        Ok(Some(Line {
            tasks: self.clone(),
            line,
        }))
    }

    fn select(&self, caller: &Caller, required: bool) -> Result<Option<Arc<Live>>, Refusal> {
        if let Some(named) = caller.task {
            // Another agent's task does not exist for this one.
            return match self.find(named).filter(|live| live.is_of(caller)) {
                Some(live) => Ok(Some(live)),
                None => Err(unknown()),
            };
        }
        let now = self.now();
        let mut live = self
            .live_of(&caller.agent, now)
            .filter(|live| live.is_of(caller));
        match (live.next(), live.next()) {
            (Some(only), None) => Ok(Some(only)),
            (Some(_), Some(_)) => Err(Refusal::new(
                Reason::TaskRequired,
                "the agent is on several tasks: name one with `dev.tollgate/task` in `_meta`",
            )),
            (None, _) if required => Err(Refusal::new(
                Reason::TaskRequired,
                "this host serves only agents that are on a task, and this one is on none",
            )
            .with_detail("start one with `tollgate task start`; `[tasks] required` asks for it")),
            (None, _) => Ok(None),
        }
    }

    /// The task and all that it lies within.
    fn line(&self, live: &Arc<Live>) -> Option<Vec<Arc<Live>>> {
        let mut line = vec![Arc::clone(live)];
        let mut up = live.task.parent;
        while let Some(id) = up {
            if line.len() >= DEPTH {
                return None;
            }
            let parent = self.find(id)?;
            up = parent.task.parent;
            line.push(parent);
        }
        Some(line)
    }
}

impl Line {
    /// The task.
    pub(crate) fn id(&self) -> Option<TaskId> {
        self.line.first().map(|live| live.task.id)
    }

    /// The task and those that it lies within.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.line.iter().map(|live| live.task.id)
    }

    /// On whose behalf.
    pub(crate) fn user(&self) -> Option<&str> {
        self.line
            .iter()
            .find_map(|live| live.task.user.as_ref())
            .map(PersonId::as_str)
    }

    /// Enters a call: of each of these tasks one call is reserved, and fuel up to `fuel`; both are given
    /// back where the call does not run.
    ///
    /// # Errors
    ///
    /// One of them is over, does not allow this, or has no budget left.
    pub(crate) fn enter(
        self,
        tool: &ToolName,
        arguments: &Arguments,
        fuel: u64,
    ) -> Result<OnTask, Refusal> {
        let now = self.tasks.now();
        if let Some(end) = self.line.iter().find_map(|task| task.over(now)) {
            return Err(end.refusal());
        }
        for task in &self.line {
            allows(&task.task, tool, arguments)?;
        }
        OnTask::enter(self, tool.clone(), fuel)
    }
}

fn unknown() -> Refusal {
    Refusal::new(Reason::TaskUnknown, "this agent has no such task")
}
