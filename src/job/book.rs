//! All jobs: those that are not over in memory, and each of them on the disk until its time is over.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use super::end::{blocking, lost};
use super::{Job, JobId, Seat, Settings, Shown, Status, Stop, fault};
use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::identity::{AgentId, Authenticated};
use crate::journal::Journal;
use crate::journal::record::{Changed, Event};
use crate::limits::reached;
use crate::reason::{Reason, Refusal};
use crate::revocation::{Follower, Scope, Taken};
use crate::state::{JobRow, State, StateError};

/// What a job takes beside its result.
const ROW: u64 = 1 << 10;

/// All jobs. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Jobs(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) journal: Journal,
    clock: SharedClock,
    entropy: SharedEntropy,
    book: Mutex<Book>,
    /// How many are not over.
    live: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Book {
    live: HashMap<JobId, Arc<Job>>,
    /// Those that are over, and whose end is in memory alone until the disk takes it.
    unkept: HashMap<JobId, Arc<Job>>,
    /// Bytes that are kept of each agent.
    used: HashMap<AgentId, u64>,
    /// When the next of those that are kept is over, at the earliest.
    next: Option<Duration>,
}

impl Book {
    fn expires(&mut self, when: Duration) {
        self.next = Some(self.next.map_or(when, |next| next.min(when)));
    }

    fn frees(&mut self, agent: &AgentId, bytes: u64) {
        if let Some(used) = self.used.get_mut(agent) {
            *used = used.saturating_sub(bytes);
            if *used == 0 {
                self.used.remove(agent);
            }
        }
    }
}

/// What one that is over takes.
fn space(bytes: u64) -> u64 {
    bytes.saturating_add(ROW)
}

fn length(body: Option<&str>) -> u64 {
    body.map_or(0, |body| u64::try_from(body.len()).unwrap_or(u64::MAX))
}

impl Inner {
    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how many are not over. Within the lock, so that the last word is the latest.
    fn tell(&self, book: &Book) {
        self.live.send_replace(book.live.len());
    }

    /// One that is kept is over then.
    pub(super) fn expires(&self, when: Duration) {
        self.book().expires(when);
    }

    /// What came of `job` takes its space.
    pub(super) fn takes(&self, job: &Job, body: Option<&str>) {
        let mut book = self.book();
        let used = book.used.entry(job.owner.agent.clone()).or_default();
        *used = used.saturating_add(space(length(body)));
    }

    /// `id` is over, and what came of it is on the disk.
    pub(super) fn gone(&self, id: JobId) {
        let mut book = self.book();
        book.live.remove(&id);
        book.unkept.remove(&id);
        self.tell(&book);
    }

    /// `id` is over, and what came of it is in memory.
    pub(super) fn unkept(&self, id: JobId) {
        let mut book = self.book();
        if let Some(job) = book.live.remove(&id) {
            book.unkept.insert(id, job);
        }
        self.tell(&book);
    }

    /// `job`, which was not kept, is no more, and takes no space.
    pub(super) fn forgotten(&self, job: &Job, body: Option<&str>) {
        let mut book = self.book();
        if book.unkept.remove(&job.id()).is_some() {
            book.frees(&job.owner.agent, space(length(body)));
        }
    }

    /// Nobody carries `id` on any more.
    pub(super) fn left(&self, id: JobId) {
        let mut book = self.book();
        book.live.remove(&id);
        self.tell(&book);
    }
}

impl Jobs {
    /// Takes in what is on the disk. What was not over has failed: its calls are gone.
    pub(crate) fn open(
        state: State,
        journal: Journal,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Result<Self, StateError> {
        let now = clock.now();
        state.forget_jobs(now)?;
        for row in state.unfinished_jobs()? {
            let refusal = lost(row.status);
            let error = fault(&refusal, row.call).to_string();
            // On the disk first, as every end: none is written down twice.
            state.end_job(row.id, Status::Failed, row.call, now, Some(&error))?;
            let event = Event::Changed(Changed {
                change: "job.ended".to_owned(),
                subject: Some(row.owner.agent.to_string()),
                detail: Some(format!(
                    "{} of {}: failed, for the host had ended while it was {}{}",
                    row.id,
                    row.tool,
                    row.status.as_str(),
                    row.call
                        .map_or_else(String::new, |call| format!(", call {call}")),
                )),
                reason: Some(refusal.reason),
                ..Changed::default()
            });
            if let Err(error) = journal.append(&event) {
                tracing::error!(job = %row.id, %error, "the end of a job could not be written down");
            }
        }
        let book = Book {
            used: used(&state)?,
            next: state.next_job()?,
            ..Book::default()
        };
        Ok(Self(Arc::new(Inner {
            state,
            journal,
            clock,
            entropy,
            book: Mutex::new(book),
            live: watch::Sender::new(0),
        })))
    }

    /// A job of `who`, if there is room for one. Nobody knows of it before its call is allowed, or held.
    ///
    /// # Errors
    ///
    /// `limit.jobs` says which limit is reached.
    pub(crate) fn draft(
        &self,
        settings: &Settings,
        who: &Arc<Authenticated>,
        tool: &str,
    ) -> Result<Seat, Refusal> {
        let id = JobId::generate(&*self.0.entropy).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no job can be made").with_detail(error.to_string())
        })?;
        let mut book = self.0.book();
        let own = book
            .live
            .values()
            .filter(|job| job.owner.agent == who.agent)
            .count();
        let used = book.used.get(&who.agent).copied().unwrap_or_default();
        let fault = if own >= settings.agent {
            let said = reached("jobs.agent", own, settings.agent, "");
            Some(format!(
                "{said}: the agent's others are not over; wait for them, or cancel one"
            ))
        } else if book.live.len() >= settings.host {
            let said = reached("jobs.host", book.live.len(), settings.host, "");
            Some(format!("{said}: others are not over; try again"))
        } else if used >= settings.space {
            let said = reached("jobs.space", used, settings.space, " bytes");
            Some(format!(
                "{said}: what came of the agent's others is kept until their time is over"
            ))
        } else {
            None
        };
        if let Some(fault) = fault {
            return Err(Refusal::new(Reason::LimitJobs, fault));
        }
        let job = Arc::new(Job::new(Arc::clone(&self.0), id, who, tool, settings.ttl));
        book.live.insert(id, Arc::clone(&job));
        self.0.tell(&book);
        Ok(Seat(job))
    }

    /// The one of this id that is in memory, if `who` may know of it and its time is not over.
    fn known(&self, id: JobId, who: &Authenticated) -> Option<Arc<Job>> {
        let job = {
            let book = self.0.book();
            book.live.get(&id).or_else(|| book.unkept.get(&id)).cloned()
        }?;
        (job.is_kept() && job.owner.is(who) && job.expires > self.0.now()).then_some(job)
    }

    /// The job of this id, if it is one of `who`.
    ///
    /// # Errors
    ///
    /// The state failed.
    pub(crate) async fn get(
        &self,
        id: JobId,
        who: &Authenticated,
    ) -> Result<Option<Shown>, Refusal> {
        if let Some(job) = self.known(id, who) {
            return Ok(Some(job.shown()));
        }
        let state = self.0.state.clone();
        let row = blocking(move || state.job(id)).await?;
        let now = self.0.now();
        Ok(row
            .filter(|row| row.owner.is(who) && row.expires > now)
            .map(shown))
    }

    /// Hands answers to the job of this id, where it waits for them.
    pub(crate) fn answer(
        &self,
        id: JobId,
        who: &Arc<Authenticated>,
        answers: Vec<(String, Value)>,
    ) {
        if let Some(job) = self.known(id, who) {
            job.answer(who, answers);
        }
    }

    /// Cancels the job of this id, if it is not over: written down, once, and done where that can't be.
    pub(crate) fn cancel(&self, id: JobId, who: &Authenticated) {
        if let Some(job) = self.known(id, who) {
            job.cancelled();
        }
    }

    /// Stops those that rest on `scope`, which `why` says is no more. It waits for nothing.
    pub(crate) fn stop(&self, scope: &Scope, why: &Refusal) {
        let within: Vec<_> = {
            let book = self.0.book();
            let live = book.live.values().filter(|job| job.is_within(scope));
            live.cloned().collect()
        };
        for job in within {
            job.stop(Stop::For(why.clone()));
        }
    }

    /// Ends those whose time is over, and forgets what came of them.
    pub(crate) async fn sweep(&self) {
        let now = self.0.now();
        let (over, unkept, due) = {
            let mut book = self.0.book();
            let live = book.live.values().filter(|job| job.expires <= now);
            let over: Vec<_> = live.cloned().collect();
            let unkept: Vec<_> = book.unkept.values().cloned().collect();
            // What is noted from here on may be later than what the disk says below: both count.
            let due = book.next.take_if(|next| *next <= now).is_some();
            (over, unkept, due)
        };
        for job in over {
            job.stop(Stop::late());
        }
        for job in unkept {
            job.keeps_again(now).await;
        }
        if !due {
            return;
        }
        let state = self.0.state.clone();
        let left = blocking(move || {
            let gone = state.forget_jobs(now)?;
            // What is gone is gone, also where this is not known: then it is looked at again.
            Ok((gone, state.next_job().unwrap_or(Some(now))))
        });
        let left = left.await;
        let mut book = self.0.book();
        match left {
            Ok((gone, next)) => {
                // One by one: what ended meanwhile is counted already.
                for (agent, bytes) in gone {
                    book.frees(&agent, space(bytes));
                }
                if let Some(next) = next {
                    book.expires(next);
                }
            }
            Err(refusal) => {
                book.expires(now);
                drop(book);
                tracing::error!(%refusal, detail = refusal.detail, "jobs whose time is over could not be removed");
            }
        }
    }

    /// Bytes that are kept of `agent`.
    #[cfg(test)]
    pub(super) fn used_by(&self, agent: &AgentId) -> u64 {
        self.0.book().used.get(agent).copied().unwrap_or_default()
    }

    /// How many are not over.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.book().live.len()
    }

    /// Ends all of them, for the host ends; waits at most for `limit`.
    pub(crate) async fn close(&self, limit: Duration) {
        let all: Vec<_> = self.0.book().live.values().cloned().collect();
        for job in all {
            job.stop(Stop::For(Refusal::new(
                Reason::HostDraining,
                "the host ended before the job did",
            )));
        }
        let mut live = self.0.live.subscribe();
        let ended = live.wait_for(|live| *live == 0);
        if tokio::time::timeout(limit, ended).await.is_err() {
            tracing::warn!("jobs were still under way when the host ended");
        }
    }
}

#[async_trait::async_trait]
impl Follower for Jobs {
    /// Their calls were stopped before, and so were they; this finds what a change in between let in.
    async fn take_back(&self, scope: &Scope, why: &Refusal) -> Result<Taken, Refusal> {
        self.stop(scope, why);
        Ok(Taken::default())
    }
}

fn used(state: &State) -> Result<HashMap<AgentId, u64>, StateError> {
    let kept = state.kept_of_jobs()?;
    Ok(kept
        .into_iter()
        .map(|(agent, jobs, bytes)| (agent, bytes.saturating_add(jobs.saturating_mul(ROW))))
        .collect())
}

fn shown(row: JobRow) -> Shown {
    let mut shown = Shown {
        id: row.id,
        status: row.status,
        message: None,
        call: row.call,
        created: row.created,
        changed: row.changed,
        expires: row.expires,
        asked: Vec::new(),
        body: row.body,
    };
    // Its runner is gone without an end: as after a restart.
    if !shown.status.is_over() {
        shown.body = Some(fault(&lost(row.status), row.call).to_string());
        shown.status = Status::Failed;
    }
    shown
}
