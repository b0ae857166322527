//! Tasks as the host starts and ends them: with the calls that run on them, and all that rests on them.

use std::sync::Arc;

use super::Host;
use crate::id::TaskId;
use crate::journal::Unwritable;
use crate::journal::record::{Changed, Event};
use crate::reason::Refusal;
use crate::revocation;
use crate::task::{End, NewTask, Task, TaskError};

impl Host {
    /// Starts a task of an agent that is in force.
    ///
    /// # Errors
    ///
    /// The agent is revoked, or as for [`crate::task::Tasks::start`].
    pub async fn start_task(&self, new: NewTask) -> Result<Arc<Task>, TaskError> {
        let revoked = |refusal: Refusal| TaskError::Invalid(refusal.message.into_owned());
        let agent = new.agent.clone();
        self.look_at_the_clock();
        self.in_force(&agent, &[]).map_err(revoked)?;
        let task = self.tasks().start(new).await?;
        // A revocation that came between has not seen this task.
        if let Err(refusal) = self.in_force(&agent, &[]) {
            let why = "its agent was revoked as it was started";
            self.end_task(task.id, End::Revoked, why).await?;
            return Err(revoked(refusal));
        }
        self.changed_lists();
        Ok(task)
    }

    /// Ends a task and those within it: on the disk first, then their calls are stopped, then what
    /// rests on them goes back. Gives the tasks that ended.
    ///
    /// # Errors
    ///
    /// There is no such task, it is over, or its end could not be written down or kept; then it goes on.
    pub async fn end_task(
        &self,
        id: TaskId,
        how: End,
        why: &str,
    ) -> Result<Vec<TaskId>, TaskError> {
        let ended = self.tasks().end(id, how, why).await?;
        for task in &ended {
            revocation::ended(self, *task, &how.refusal()).await;
        }
        Ok(ended)
    }

    /// Writes down that the machine's clock was set back, where it was.
    pub(crate) fn look_at_the_clock(&self) {
        let Some(step) = self.steady.take_step() else {
            return;
        };
        let behind = step.from.saturating_sub(step.to);
        tracing::error!(
            seconds = behind.as_secs(),
            "the machine's clock was set back; what expired stays so, and the host's own time goes on"
        );
        let event = Event::Changed(Changed {
            change: "clock.stepped".to_owned(),
            detail: Some(format!(
                "set back by {} s, from {} to {}",
                behind.as_secs(),
                crate::clock::rfc3339(step.from),
                crate::clock::rfc3339(step.to)
            )),
            ..Changed::default()
        });
        if let Err(error) = self.journal().append(&event) {
            tracing::error!(%error, "a step of the clock could not be written down");
        }
    }

    /// Writes that somebody changed something.
    ///
    /// # Errors
    ///
    /// The journal takes nothing.
    pub(crate) fn changed_by(
        &self,
        change: &str,
        subject: Option<&str>,
        by: &str,
    ) -> Result<(), Unwritable> {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: subject
                .filter(|subject| !subject.is_empty())
                .map(str::to_owned),
            detail: Some(format!("by {by}")),
            ..Changed::default()
        });
        self.journal().append(&event).map(drop)
    }

    /// What agents see may be another list now.
    pub(crate) fn changed_lists(&self) {
        self.changes.send_modify(|n| *n += 1);
    }
}
