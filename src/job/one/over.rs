//! The one end of a job: whatever comes first is it, and all that comes later is nothing.
//!
//! A result, its client, the end of what it rests on, its time and the end of the host all want to end it,
//! and from different threads. [`Fate`] is where they meet.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Job, blocking};
use crate::job::{End, Status, Stop};
use crate::journal::record::CallId;
use crate::reason::{Reason, Refusal};

/// How far a job is with its end. It only ever moves down.
#[derive(Debug)]
pub(super) enum Fate {
    /// Nothing ended it.
    Open,
    /// It was stopped: that is its end, whatever still comes of its call.
    Stopped(Stop),
    /// It has its end; and why it was stopped, where that was it.
    Over(Option<Stop>),
}

impl Job {
    fn fate(&self) -> MutexGuard<'_, Fate> {
        self.fate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops it, for the first of all reasons; whether this is it.
    pub(crate) fn stop(&self, stop: Stop) -> bool {
        let mut fate = self.fate();
        let first = matches!(*fate, Fate::Open);
        if first {
            *fate = Fate::Stopped(stop);
        }
        drop(fate);
        self.cancel.cancel();
        first
    }

    /// Its client cancels it: written down, once, and done where that can't be. Nothing where it was stopped
    /// before, or is over.
    pub(in crate::job) fn cancelled(&self) {
        let mut fate = self.fate();
        if !matches!(*fate, Fate::Open) || self.cancel.is_cancelled() {
            return;
        }
        // Within the lock, so that the record of its end comes after this one.
        let detail = format!("{} of {}, by its client", self.id, self.tool);
        if let Err(error) = self.record("job.cancelled", detail, None) {
            tracing::error!(job = %self.id, %error, "that a job is cancelled could not be written down");
        }
        *fate = Fate::Stopped(Stop::Owner);
        drop(fate);
        self.cancel.cancel();
    }

    /// Why it was stopped, if it was. One whose client went away before it knew of it was cancelled by that.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match &*self.fate() {
            Fate::Stopped(stop) | Fate::Over(Some(stop)) => Some(stop.clone()),
            Fate::Open if self.cancel.is_cancelled() => Some(Stop::Owner),
            Fate::Open | Fate::Over(None) => None,
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.fate(), Fate::Over(_))
    }

    /// Whether anything may still be begun for it.
    ///
    /// # Errors
    ///
    /// It was stopped, or is over.
    pub(super) fn goes_on(&self) -> Result<(), Refusal> {
        match self.stopped() {
            Some(Stop::For(refusal)) => Err(refusal),
            Some(Stop::Owner) => Err(Refusal::new(Reason::CallCancelled, "the job was cancelled")),
            None if self.is_over() => Err(Refusal::new(Reason::CallCancelled, "the job is over")),
            None => Ok(()),
        }
    }

    /// Takes `end` for its end, or the stop that came before; none where it has one.
    fn settles(&self, end: End, call: Option<CallId>) -> Option<End> {
        let mut fate = self.fate();
        let stop = match &*fate {
            Fate::Over(_) => return None,
            Fate::Stopped(stop) => Some(stop.clone()),
            Fate::Open => self.cancel.is_cancelled().then_some(Stop::Owner),
        };
        let end = match &stop {
            None => end,
            Some(stop) => stop.instead_of(end, call),
        };
        *fate = Fate::Over(stop);
        Some(end)
    }

    /// It is over: on the disk with what came of it, written down, and then its owner can see that. The first
    /// end is the one, and a stop that came before it is that.
    pub(crate) async fn end(&self, end: End) {
        let call = self.state().call;
        let Some(end) = self.settles(end, call) else {
            return;
        };
        if !self.is_kept() {
            // Nobody was told that there is one.
            return;
        }
        let (status, body, reason) = match end {
            End::Completed(result) => (Status::Completed, Some(result), None),
            End::Failed(error, reason) => (Status::Failed, Some(error), reason),
            End::Cancelled => (Status::Cancelled, None, None),
        };
        let body: Option<Arc<str>> = body.map(Arc::from);
        // Before it is there, so that what takes it away again finds it counted.
        self.of.takes(self, body.as_deref());
        let now = self.of.now();
        let (state, id, kept) = (self.of.state.clone(), self.id, body.clone());
        // INVARIANT: on the disk first, then the record, then its owner. Were the record first, a host that
        // dies between the two would find the job not over, and write down another end of it.
        let kept = blocking(move || state.end_job(id, status, call, now, kept.as_deref())).await;
        let told = match call {
            Some(call) => format!(", call {call}"),
            None => String::new(),
        };
        let detail = format!("{} of {}: {}{told}", self.id, self.tool, status.as_str());
        if let Err(error) = self.writes("job.ended", detail, reason).await {
            tracing::error!(job = %self.id, %error, "the end of a job could not be written down");
        }
        match kept {
            // From now on it is read from there.
            Ok(()) => self.of.gone(self.id),
            Err(refusal) => {
                tracing::error!(job = %self.id, %refusal, detail = refusal.detail, "what came of a job could not be kept, and is tried again");
                self.change(|state| {
                    state.message = None;
                    state.machine.end(status);
                    state.body = body;
                });
                self.of.unkept(self.id);
            }
        }
    }

    /// Keeps what came of it, where that could not be done as it ended; forgets it once its time is over.
    pub(in crate::job) async fn keeps_again(&self, now: Duration) {
        let (state, id) = (self.of.state.clone(), self.id);
        let (status, call, changed, body) = {
            let state = self.state();
            let status = state.machine.status();
            (status, state.call, state.changed, state.body.clone())
        };
        let is_gone = self.expires <= now;
        let kept = body.clone();
        let done = blocking(move || match is_gone {
            true => state.forget_job(id),
            false => state.end_job(id, status, call, changed, kept.as_deref()),
        });
        match done.await {
            Ok(()) if is_gone => self.of.forgotten(self, body.as_deref()),
            Ok(()) => self.of.gone(id),
            // It was said loudly once.
            Err(refusal) => tracing::debug!(job = %id, %refusal, "an end is still not kept"),
        }
    }
}

/// A job's place among those that are not over, for as long as its runner lives.
#[derive(Debug)]
pub struct Seat(pub(crate) Arc<Job>);

impl Drop for Seat {
    fn drop(&mut self) {
        let job = &self.0;
        if job.is_kept()
            && !job.is_over()
            && let Ok(runtime) = Handle::try_current()
        {
            // Its runner broke down: whoever was told of it finds an end all the same.
            let job = Arc::clone(job);
            runtime.spawn(async move {
                let call = job.state().call;
                let why = Refusal::new(
                    Reason::HostInternal,
                    "the host could not go on with the job",
                );
                job.end(End::failed(&why, call)).await;
            });
            return;
        }
        job.of.left(job.id);
    }
}
