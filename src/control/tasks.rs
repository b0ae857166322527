//! Tasks, as an operator starts, shows and ends them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::agent_of;
use crate::clock::rfc3339;
use crate::daemon::{ControlError, TaskOrder};
use crate::host::Host;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::task::{Amounts, Budgets, End, NewTask, Pattern, Task, TaskError, TaskFilter, Used};

/// A task, for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskReport {
    /// Which.
    pub task: TaskId,
    /// Whose.
    pub agent: AgentId,
    /// On whose behalf.
    pub user: Option<String>,
    /// What it is for.
    pub intent: String,
    /// `live`, `ended`, `expired` or `revoked`.
    pub status: String,
    /// Why it is over.
    pub why: Option<String>,
    /// What may be called: `github.comment /repository="a/b"`.
    pub tools: Vec<String>,
    /// How much.
    pub budgets: Budgets,
    /// How much was used.
    pub used: Used,
    /// What its calls have seen.
    pub labels: Vec<String>,
    /// When it was started, RFC 3339.
    pub created: String,
    /// From when on it is over, RFC 3339.
    pub expires: String,
    /// When it was over, RFC 3339.
    pub ended: Option<String>,
    /// The task that it is a part of.
    pub within: Option<TaskId>,
}

impl TaskReport {
    fn of(task: &Task) -> Self {
        Self {
            task: task.id,
            agent: task.agent.clone(),
            user: task.user.as_ref().map(ToString::to_string),
            intent: task.intent.clone(),
            status: task
                .ended
                .as_ref()
                .map_or("live", |ended| ended.how.as_str())
                .to_owned(),
            why: task.ended.as_ref().map(|ended| ended.why.clone()),
            tools: task.tools.iter().map(ToString::to_string).collect(),
            budgets: task.budgets.clone(),
            used: task.used.clone(),
            labels: task.labels.iter().cloned().collect(),
            created: rfc3339(task.created),
            expires: rfc3339(task.expires),
            ended: task.ended.as_ref().map(|ended| rfc3339(ended.at)),
            within: task.parent,
        }
    }

    /// What was used in all, kind by kind, with its bound where there is one.
    #[must_use]
    pub fn amounts(&self) -> (&Amounts, &crate::task::Budget) {
        (&self.used.all, &self.budgets.all)
    }
}

pub(crate) async fn start(host: &Host, order: TaskOrder, by: &str) -> Result<Value, ControlError> {
    let agent = agent_of(&order.agent)?;
    if agent.is_local()
        && let Err(error) = host.identities().confirm(&agent)
    {
        return Err(ControlError::new("agent.unknown", error.to_string())
            .with_hint("`tollgate agent list` shows the agents"));
    }
    // A name that is misspelt would be a task that can do nothing, which shows only once it is tried.
    let catalogue = host.catalogue();
    for allowed in &order.tools {
        let known = match (&allowed.tool, catalogue.serving.get(allowed.tool.plugin())) {
            (_, None) => catalogue.is_loading(),
            (Pattern::Plugin(_), Some(_)) => true,
            (Pattern::Tool(tool), Some(plugin)) => plugin.tool(tool).is_some(),
        };
        if !known {
            return Err(ControlError::new(
                "task.invalid",
                format!("there is no tool `{}`", allowed.tool),
            )
            .with_hint("`tollgate plugins` shows those that there are"));
        }
    }
    let task = host
        .start_task(NewTask {
            agent,
            user: order.user,
            intent: order.intent,
            tools: order.tools,
            budgets: order.budgets,
            lifetime: std::time::Duration::from_secs(order.seconds),
            parent: order.within,
            by: by.to_owned(),
        })
        .await
        .map_err(|error| failed(&error))?;
    super::value(&TaskReport::of(&task))
}

pub(crate) fn show(host: &Host, id: TaskId) -> Result<Value, ControlError> {
    host.look_at_the_clock();
    let task = host
        .tasks()
        .get(id)
        .ok_or_else(|| failed(&TaskError::Unknown(id)))?;
    super::value(&TaskReport::of(&task))
}

pub(crate) fn list(host: &Host, agent: Option<&str>, all: bool) -> Result<Value, ControlError> {
    host.look_at_the_clock();
    let filter = TaskFilter {
        agent: agent.map(agent_of).transpose()?,
        all,
    };
    let tasks: Vec<TaskReport> = host
        .tasks()
        .list(&filter)
        .iter()
        .map(|task| TaskReport::of(task))
        .collect();
    super::value(&tasks)
}

pub(crate) async fn end(
    host: &Host,
    id: TaskId,
    why: Option<String>,
    by: &str,
) -> Result<Value, ControlError> {
    let why = why.unwrap_or_else(|| format!("ended by {by}"));
    let ended = host
        .end_task(id, End::Ended, &why)
        .await
        .map_err(|error| failed(&error))?;
    Ok(serde_json::json!({"task": id, "ended": ended}))
}

fn failed(error: &TaskError) -> ControlError {
    let code = match error {
        TaskError::Unknown(_) => "task.unknown",
        TaskError::Over(..) => "task.over",
        TaskError::Invalid(_) => "task.invalid",
        TaskError::Unwritable(_) => "journal.unavailable",
        TaskError::NotKept(_) => "task.failed",
    };
    ControlError::new(code, error.to_string())
}
