//! One job that is not over: what its runner, its call and its client do to it.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::book::Inner;
use super::end::{End, Stop, blocking};
use super::machine::Machine;
use super::{JobId, Owner, Shown, Status};
use crate::identity::Authenticated;
use crate::journal::record::{CallId, Changed, Event};
use crate::plugin::QuestionKind;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::state::JobRow;

/// A job that is not over.
#[derive(Debug)]
pub struct Job {
    id: JobId,
    pub(super) owner: Owner,
    tool: String,
    created: Duration,
    pub(super) expires: Duration,
    of: Arc<Inner>,
    state: Mutex<Current>,
    /// Wakes whoever waits for a change of it.
    changes: watch::Sender<u64>,
    cancel: CancellationToken,
    stop: OnceLock<Stop>,
}

#[derive(Debug)]
struct Current {
    machine: Machine,
    message: Option<String>,
    changed: Duration,
    call: Option<CallId>,
    /// How many calls of it began to run.
    rounds: u32,
    /// Whether it is on the disk, so that its client may know of it.
    kept: bool,
    /// What its client presented last with something that was taken.
    who: Arc<Authenticated>,
    rests_on: Vec<Scope>,
    /// What came of it, where that could not be kept.
    body: Option<String>,
}

impl Job {
    pub(super) fn new(
        of: Arc<Inner>,
        id: JobId,
        who: &Arc<Authenticated>,
        tool: &str,
        ttl: Duration,
    ) -> Self {
        let created = of.now();
        let tokens = who.tokens.iter().cloned().map(Scope::Token);
        Self {
            id,
            owner: Owner::of(who),
            tool: tool.to_owned(),
            created,
            expires: created.saturating_add(ttl),
            of,
            state: Mutex::new(Current {
                machine: Machine::new(),
                message: None,
                changed: created,
                call: None,
                rounds: 0,
                kept: false,
                who: Arc::clone(who),
                rests_on: tokens.collect(),
                body: None,
            }),
            changes: watch::Sender::new(0),
            cancel: CancellationToken::new(),
            stop: OnceLock::new(),
        }
    }

    /// Which.
    #[must_use]
    pub const fn id(&self) -> JobId {
        self.id
    }

    /// Cancelled when it is to end.
    pub(crate) const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// From when on there is none.
    pub(crate) const fn expires(&self) -> Duration {
        self.expires
    }

    fn state(&self) -> MutexGuard<'_, Current> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Current)) {
        let now = self.of.now();
        let mut state = self.state();
        change(&mut state);
        // A clock that stands still does not take it back.
        state.changed = state.changed.max(now);
        drop(state);
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    async fn until<T>(&self, mut found: impl FnMut(&mut Current) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = found(&mut self.state()) {
                return found;
            }
            // The sender lives as long as this does.
            let _ = changes.changed().await;
        }
    }

    /// Stops it, for the first of all reasons.
    pub(crate) fn stop(&self, stop: Stop) -> bool {
        let first = self.stop.set(stop).is_ok();
        self.cancel.cancel();
        first
    }

    /// Why it was stopped, if it was. One whose client went away before it knew of it was cancelled by that.
    pub(crate) fn stopped(&self) -> Option<Stop> {
        match self.stop.get() {
            Some(stop) => Some(stop.clone()),
            None => self.cancel.is_cancelled().then_some(Stop::Owner),
        }
    }

    /// A stop of `scope` stops it from now on.
    pub(crate) fn rests_on(&self, scope: Scope) {
        let mut state = self.state();
        if !state.rests_on.contains(&scope) {
            state.rests_on.push(scope);
        }
    }

    /// Whether a stop of `scope` stops it.
    pub(super) fn is_within(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Agent(agent) => self.owner.agents().any(|own| own == agent),
            scope => self.state().rests_on.contains(scope),
        }
    }

    /// What its client presented last, with the call or an answer that was taken: the next round is made with it.
    pub(crate) fn who(&self) -> Arc<Authenticated> {
        Arc::clone(&self.state().who)
    }

    /// How many of its calls began to run.
    pub(crate) fn rounds(&self) -> u32 {
        self.state().rounds
    }

    /// Whether its client may know of it.
    pub(super) fn is_kept(&self) -> bool {
        self.state().kept
    }

    /// Once its client may know of it.
    pub(crate) async fn kept(&self) {
        self.until(|state| state.kept.then_some(())).await;
    }

    /// Its call is allowed and about to run: on the disk before its intent is written, so that no handle is
    /// given out for what a restart knows nothing of.
    ///
    /// # Errors
    ///
    /// It was stopped, or can't be kept; then the call does not run.
    pub(crate) async fn begins(&self, call: CallId) -> Result<(), Refusal> {
        match self.stopped() {
            Some(Stop::For(refusal)) => return Err(refusal),
            Some(Stop::Owner) => {
                return Err(Refusal::new(Reason::CallCancelled, "the job was cancelled"));
            }
            None => {}
        }
        self.keep(Status::Working, Some(call)).await?;
        self.change(|state| {
            state.call = Some(call);
            state.kept = true;
            state.rounds = state.rounds.saturating_add(1);
            state.message = None;
            state.machine.go_on();
        });
        Ok(())
    }

    /// A person must agree before its call runs.
    ///
    /// # Errors
    ///
    /// It can't be kept.
    pub(crate) async fn held(
        &self,
        call: CallId,
        message: String,
        page: Option<Value>,
    ) -> Result<(), Refusal> {
        self.keep(Status::Held, Some(call)).await?;
        self.change(|state| {
            state.call = Some(call);
            state.kept = true;
            state.message = Some(message);
            state.machine.hold(page);
        });
        Ok(())
    }

    /// A person answered, or nobody did in time: its call is tried again.
    pub(crate) fn tried_again(&self) {
        self.change(|state| {
            state.message = None;
            state.machine.go_on();
        });
    }

    /// Its client is asked this.
    ///
    /// # Errors
    ///
    /// It can't be kept.
    pub(crate) async fn asks(
        &self,
        questions: Vec<(String, QuestionKind, Value)>,
    ) -> Result<(), Refusal> {
        let call = self.state().call;
        self.keep(Status::Asking, call).await?;
        self.change(|state| {
            state.message = None;
            state.machine.ask(questions);
        });
        Ok(())
    }

    /// What its client answered, by the plugin's keys, once that is all.
    pub(crate) async fn answered(&self) -> Vec<(String, Value)> {
        self.until(|state| state.machine.answered()).await
    }

    /// Takes answers of its owner, which presented `who` for them. The job goes on with that only where one was
    /// really taken: who answers nothing changes nothing of what it rests on.
    pub(super) fn answer(&self, who: &Arc<Authenticated>, answers: Vec<(String, Value)>) {
        self.change(|state| {
            let mut taken = false;
            for (key, value) in answers {
                taken |= state.machine.answer(&key, value);
            }
            if !taken {
                return;
            }
            for id in &who.tokens {
                let scope = Scope::Token(id.clone());
                if !state.rests_on.contains(&scope) {
                    state.rests_on.push(scope);
                }
            }
            state.who = Arc::clone(who);
        });
    }

    /// What its plugin says of how far it is.
    pub(crate) fn says(&self, message: String) {
        self.change(|state| {
            if state.machine.status() == Status::Working {
                state.message = Some(message);
            }
        });
    }

    /// It is over: on the disk with what came of it, and then its owner can see that.
    pub(crate) async fn end(&self, end: End) {
        let (status, body, reason) = match end {
            End::Completed(result) => (Status::Completed, Some(result), None),
            End::Failed(error, reason) => (Status::Failed, Some(error), reason),
            End::Cancelled => (Status::Cancelled, None, None),
        };
        let call = self.state().call;
        let told = match call {
            Some(call) => format!(", call {call}"),
            None => String::new(),
        };
        let detail = format!("{} of {}: {}{told}", self.id, self.tool, status.as_str());
        if let Err(error) = self.record("job.ended", detail, reason) {
            tracing::error!(job = %self.id, %error, "the end of a job could not be written down");
        }
        let (state, id, kept) = (self.of.state.clone(), self.id, body.clone());
        let now = self.of.now();
        let kept = blocking(move || state.end_job(id, status, call, now, kept.as_deref())).await;
        match kept {
            // From now on it is read from there.
            Ok(()) => self.of.ended(self, body.map_or(0, |body| body.len())),
            Err(refusal) => {
                tracing::error!(job = %self.id, %refusal, detail = refusal.detail, "what came of a job could not be kept");
                self.change(|state| {
                    state.message = None;
                    state.machine.end(status);
                    state.body = body;
                });
            }
        }
    }

    /// Writes down that something became of it.
    pub(super) fn record(
        &self,
        change: &str,
        detail: String,
        reason: Option<Reason>,
    ) -> Result<(), crate::journal::Unwritable> {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(self.owner.agent.to_string()),
            detail: Some(detail),
            reason,
            ..Changed::default()
        });
        self.of.journal.append(&event).map(drop)
    }

    async fn keep(&self, status: Status, call: Option<CallId>) -> Result<(), Refusal> {
        let (state, id, now) = (self.of.state.clone(), self.id, self.of.now());
        if self.is_kept() {
            return blocking(move || state.move_job(id, status, call, now)).await;
        }
        self.record("job.started", format!("{id} of {}", self.tool), None)?;
        let row = JobRow {
            id,
            owner: self.owner.clone(),
            tool: self.tool.clone(),
            call,
            status,
            created: self.created,
            changed: now,
            expires: self.expires,
            body: None,
        };
        let kept = blocking(move || state.add_job(&row)).await;
        self.of.expires(self.expires);
        kept
    }

    /// As its owner is shown it, and what it is called.
    pub(crate) fn shown(&self) -> Shown {
        let state = self.state();
        Shown {
            id: self.id,
            status: state.machine.status(),
            message: state.message.clone(),
            call: state.call,
            created: self.created,
            changed: state.changed,
            expires: self.expires,
            asked: state.machine.asks(),
            body: state.body.clone(),
        }
    }

    /// Its tool, as agents see it.
    pub(super) fn tool(&self) -> &str {
        &self.tool
    }
}

/// A job's place among those that are not over, for as long as its runner lives.
#[derive(Debug)]
pub struct Seat(pub(crate) Arc<Job>);

impl Drop for Seat {
    fn drop(&mut self) {
        // What could not be kept is in memory alone, until its time is over.
        if self.0.state().body.is_none() {
            self.0.of.gone(self.0.id);
        }
    }
}
