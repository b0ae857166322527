//! Tasks in memory: what calls look at.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::budget::Ledger;
use super::{End, Ended, Task};
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::record::Caller;
use crate::json::Arguments;
use crate::name::ToolName;
use crate::policy::TaskFacts;
use crate::reason::{Reason, Refusal};

/// The longest life of a task.
pub(super) const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// One task in memory.
#[derive(Debug)]
pub(super) struct Live {
    /// As it was started or loaded: what changes is below.
    pub(super) task: Task,
    /// Its end by the monotonic clock.
    deadline: Instant,
    ledger: Mutex<Ledger>,
    labels: Mutex<BTreeSet<String>>,
    /// The labels that the disk has; held while more are written.
    pub(super) kept_labels: tokio::sync::Mutex<BTreeSet<String>>,
    pub(super) ended: OnceLock<Ended>,
    /// Calls that have entered and not ended.
    pub(super) calls: AtomicUsize,
    /// One write of what was used at a time; who waits for it finds theirs done, mostly.
    pub(super) writing: tokio::sync::Mutex<()>,
    /// Whether something was charged that the disk does not cover.
    pub(super) pending: AtomicBool,
}

impl Live {
    pub(super) fn new(task: Task, now: Duration) -> Self {
        let left = task.expires.saturating_sub(now);
        let ended = OnceLock::new();
        if let Some(end) = task.ended.clone() {
            drop(ended.set(end));
        }
        Self {
            deadline: Instant::now() + left.min(LONGEST),
            ledger: Mutex::new(Ledger::new(task.budgets.clone(), task.used.clone())),
            labels: Mutex::new(task.labels.clone()),
            kept_labels: tokio::sync::Mutex::new(task.labels.clone()),
            ended,
            calls: AtomicUsize::new(0),
            writing: tokio::sync::Mutex::default(),
            pending: AtomicBool::new(false),
            task,
        }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn labels(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In which way it is over, if it is. By the wall clock or the monotonic one, whichever is first.
    pub(super) fn over(&self, now: Duration) -> Option<End> {
        match self.ended.get() {
            Some(ended) => Some(ended.how),
            None if now >= self.task.expires || Instant::now() >= self.deadline => {
                Some(End::Expired)
            }
            None => None,
        }
    }

    /// What policy is told of it.
    pub(super) fn facts(&self) -> TaskFacts {
        let used = self.ledger().used().all;
        TaskFacts {
            id: self.task.id.to_string(),
            intent: self.task.intent.clone(),
            labels: self.labels().clone(),
            calls: used.calls,
            host_calls: used.host_calls,
        }
    }

    pub(super) fn snapshot(&self) -> Task {
        Task {
            used: self.ledger().used().clone(),
            labels: self.labels().clone(),
            ended: self.ended.get().cloned(),
            ..self.task.clone()
        }
    }

    pub(super) fn is_of(&self, caller: &Caller) -> bool {
        let agent = &self.task.agent;
        let user = match (&self.task.user, &caller.user) {
            (Some(of), Some(user)) => of.as_str() == user,
            _ => true,
        };
        user && (*agent == caller.agent || caller.chain.contains(agent))
    }
}

/// The tasks that are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) all: HashMap<TaskId, Arc<Live>>,
    /// Those that nothing has ended yet: what calls look through.
    pub(super) live: HashMap<AgentId, Vec<Arc<Live>>>,
}

impl Known {
    pub(super) fn add(&mut self, live: &Arc<Live>) {
        self.all.insert(live.task.id, Arc::clone(live));
        if live.ended.get().is_none() {
            self.live
                .entry(live.task.agent.clone())
                .or_default()
                .push(Arc::clone(live));
        }
    }

    pub(super) fn end(&mut self, id: TaskId, ended: &Ended) -> bool {
        let Some(live) = self.all.get(&id) else {
            return false;
        };
        let agent = &live.task.agent;
        if let Some(own) = self.live.get_mut(agent) {
            own.retain(|other| other.task.id != id);
            if own.is_empty() {
                self.live.remove(agent);
            }
        }
        live.ended.set(ended.clone()).is_ok()
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Arc<Live>> {
        self.live.values().flatten()
    }
}

/// What an agent is shown by its tasks: each with what it lies within.
#[derive(Debug)]
pub(crate) struct Shown(pub(super) Option<Vec<Vec<Arc<Live>>>>);

impl Shown {
    /// Whether one of the tasks names this tool; without tasks every tool.
    pub(crate) fn shows(&self, tool: &ToolName) -> bool {
        let names = |live: &Arc<Live>| live.task.tools.iter().any(|a| a.tool.matches(tool));
        match &self.0 {
            None => true,
            Some(tasks) => tasks.iter().any(|line| line.iter().all(names)),
        }
    }
}

/// Whether `task` is for this call.
pub(super) fn allows(task: &Task, tool: &ToolName, arguments: &Arguments) -> Result<(), Refusal> {
    let mut named = task
        .tools
        .iter()
        .filter(|allowed| allowed.tool.matches(tool))
        .peekable();
    if named.peek().is_none() {
        return Err(Refusal::new(
            Reason::TaskTool,
            "the task is not for this tool",
        ));
    }
    if named.any(|allowed| allowed.allows(tool, arguments.value())) {
        return Ok(());
    }
    Err(Refusal::new(
        Reason::TaskArguments,
        "the task is for other arguments of this tool",
    )
    .with_detail(format!("`tollgate task show {}` says which", task.id)))
}
