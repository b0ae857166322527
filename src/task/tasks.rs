//! The tasks of a host: started, found, charged, ended.
//!
//! All of them are in memory, where calls ask; the database has what must outlive the process. A start and an
//! end are on the disk before they are in force here.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;

use super::live::{Known, Live};
use super::order::NewTask;
use super::{End, Ended, Task, TaskError, Used};
use crate::clock::{SharedClock, rfc3339};
use crate::entropy::SharedEntropy;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::Journal;
use crate::journal::record::{Changed, Event, TaskStarted};
use crate::policy::TaskFacts;
use crate::revocation::Scope;
use crate::state::{State, StateError};

/// How long an ended task is remembered by its identifier; after that it is unknown.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);

/// Which tasks.
#[derive(Debug, Clone, Default)]
pub struct TaskFilter {
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// Those that are over, too.
    pub all: bool,
}

/// The tasks of a host. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Tasks(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    state: State,
    journal: Journal,
    clock: SharedClock,
    entropy: SharedEntropy,
    known: RwLock<Known>,
    /// One end of a task at a time, so that each has one record.
    ending: tokio::sync::Mutex<()>,
    /// Wakes the keeper: something waits to be written.
    pub(super) wake: Arc<Notify>,
}

impl Tasks {
    /// The tasks in `state`.
    ///
    /// # Errors
    ///
    /// They can't be read.
    pub(crate) fn load(
        state: State,
        journal: Journal,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StateError> {
        let now = clock.now();
        let mut known = Known::default();
        for task in state.tasks(now.saturating_sub(REMEMBERED))? {
            known.add(&Arc::new(Live::new(task, now)));
        }
        Ok(Self(Arc::new(Inner {
            state,
            journal,
            clock,
            entropy,
            known: RwLock::new(known),
            ending: tokio::sync::Mutex::default(),
            wake: Arc::default(),
        })))
    }

    /// Starts a task. It is in force, and on the disk, once this returns.
    ///
    /// # Errors
    ///
    /// It can't be one, or it could not be written down or kept.
    pub async fn start(&self, new: NewTask) -> Result<Arc<Task>, TaskError> {
        let now = self.now();
        self.fits(&new, now)?;
        let id = TaskId::generate(&*self.0.entropy)
            .map_err(|error| TaskError::NotKept(error.to_string()))?;
        let mut expires = now.saturating_add(new.lifetime);
        if let Some(parent) = new.parent.and_then(|id| self.find(id)) {
            expires = expires.min(parent.task.expires);
        }
        let task = Task {
            id,
            agent: new.agent,
            user: new.user,
            intent: new.intent,
            tools: new.tools,
            budgets: new.budgets,
            used: Used::default(),
            labels: BTreeSet::new(),
            created: now,
            expires,
            ended: None,
            parent: new.parent,
        };
        self.0.journal.append(&Event::TaskStarted(TaskStarted {
            task: id,
            agent: task.agent.clone(),
            user: task.user.as_ref().map(ToString::to_string),
            intent: task.intent.clone(),
            tools: task.tools.iter().map(ToString::to_string).collect(),
            budgets: task.budgets.clone(),
            expires: rfc3339(task.expires),
            parent: task.parent,
            by: new.by,
        }))?;
        let kept = task.clone();
        self.kept(move |state| state.add_task(&kept)).await?;
        let live = Arc::new(Live::new(task, now));
        let shown = Arc::new(live.snapshot());
        self.write().add(&live);
        self.0.wake.notify_one();
        Ok(shown)
    }

    /// The task `id`, as it is now.
    #[must_use]
    pub fn get(&self, id: TaskId) -> Option<Arc<Task>> {
        self.find(id).map(|live| Arc::new(self.shown(&live)))
    }

    /// What policy is told of the task `id`, as it is now.
    pub(crate) fn facts(&self, id: TaskId) -> Option<TaskFacts> {
        self.find(id).map(|live| live.facts())
    }

    /// Tasks, the oldest first.
    #[must_use]
    pub fn list(&self, filter: &TaskFilter) -> Vec<Arc<Task>> {
        let now = self.now();
        let all: Vec<Arc<Live>> = self.read().all.values().cloned().collect();
        let mut found: Vec<Arc<Task>> = all
            .iter()
            .filter(|live| filter.all || live.over(now).is_none())
            .filter(|live| {
                filter
                    .agent
                    .as_ref()
                    .is_none_or(|agent| live.task.agent == *agent)
            })
            .map(|live| Arc::new(self.shown(live)))
            .collect();
        found.sort_by_key(|task| (task.created, task.id));
        found
    }

    /// A task whose time is over shows it, also before that is written down.
    fn shown(&self, live: &Live) -> Task {
        let mut task = live.snapshot();
        if task.ended.is_none() && live.over(self.now()) == Some(End::Expired) {
            task.ended = Some(Ended {
                at: task.expires,
                how: End::Expired,
                why: "its time was over".to_owned(),
            });
        }
        task
    }

    /// Ends the task `id`, and those within it; gives them. The calls on them are the host's to stop.
    ///
    /// # Errors
    ///
    /// There is no such task, it is over, or it could not be written down or kept.
    pub(crate) async fn end(
        &self,
        id: TaskId,
        how: End,
        why: &str,
    ) -> Result<Vec<TaskId>, TaskError> {
        let _one = self.0.ending.lock().await;
        let live = self.find(id).ok_or(TaskError::Unknown(id))?;
        if let Some(ended) = live.ended.get() {
            return Err(TaskError::Over(id, ended.how.as_str().to_owned()));
        }
        let within = self.within(vec![id]);
        self.0.journal.append(&Event::Changed(Changed {
            change: format!("task.{}", how.as_str()),
            subject: Some(id.to_string()),
            reason: Some(how.refusal().reason),
            detail: Some(why.to_owned()),
            ..Changed::default()
        }))?;
        let ended = Ended {
            at: self.now(),
            how,
            why: why.to_owned(),
        };
        let (tasks, end) = (within.clone(), ended.clone());
        self.kept(move |state| state.end_tasks(&tasks, &end))
            .await?;
        self.note_ended(&within, &ended);
        Ok(within)
    }

    /// Ends in memory what a revocation of `scope` ends in the database: the tasks that it is of, and those
    /// within them. Gives those that were not over.
    pub(crate) fn forget(&self, scope: &Scope, by: &str) -> Vec<TaskId> {
        let tasks = match scope {
            Scope::Task(id) => vec![*id],
            Scope::Agent(agent) => self
                .read()
                .live
                .get(agent)
                .into_iter()
                .flatten()
                .map(|live| live.task.id)
                .collect(),
            _ => Vec::new(),
        };
        let tasks = self.within(tasks);
        let ended = Ended {
            at: self.now(),
            how: End::Revoked,
            why: format!("revoked by {by}"),
        };
        self.note_ended(&tasks, &ended)
    }

    /// Those of `tasks` that were not over.
    fn note_ended(&self, tasks: &[TaskId], ended: &Ended) -> Vec<TaskId> {
        let mut known = self.write();
        tasks
            .iter()
            .copied()
            .filter(|id| known.end(*id, ended))
            .collect()
    }

    /// These tasks and those within them, at any depth.
    fn within(&self, mut found: Vec<TaskId>) -> Vec<TaskId> {
        let known = self.read();
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            let children = known
                .live()
                .filter(|live| live.task.parent == Some(parent))
                .map(|live| live.task.id);
            for child in children {
                if !found.contains(&child) {
                    found.push(child);
                }
            }
            at += 1;
        }
        found
    }

    /// Tasks whose time is over, and of which that is not written down.
    pub(super) fn expired(&self) -> Vec<TaskId> {
        let now = self.now();
        self.read()
            .live()
            .filter(|live| live.over(now).is_some())
            .map(|live| live.task.id)
            .collect()
    }

    /// Whether any task is not over.
    pub(super) fn any_live(&self) -> bool {
        !self.read().live.is_empty()
    }

    pub(super) fn live_of(
        &self,
        agent: &AgentId,
        now: Duration,
    ) -> impl Iterator<Item = Arc<Live>> {
        let found: Vec<Arc<Live>> = self
            .read()
            .live
            .get(agent)
            .into_iter()
            .flatten()
            .filter(|live| live.over(now).is_none())
            .cloned()
            .collect();
        found.into_iter()
    }

    pub(super) async fn kept(
        &self,
        work: impl FnOnce(&State) -> Result<(), StateError> + Send + 'static,
    ) -> Result<(), TaskError> {
        let state = self.0.state.clone();
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(done) => done.map_err(|error| TaskError::NotKept(error.to_string())),
            Err(error) => Err(TaskError::NotKept(error.to_string())),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.0.clock.now()
    }

    pub(super) fn find(&self, id: TaskId) -> Option<Arc<Live>> {
        self.read().all.get(&id).cloned()
    }

    pub(super) fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.0.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
