//! One job that is not over: what its runner, its call and its client do to it.

mod over;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::over::Fate;
pub use self::over::Seat;
use super::book::Inner;
use super::end::blocking;
use super::machine::Machine;
use super::{JobId, Owner, Shown, Status};
use crate::id::TaskId;
use crate::identity::Authenticated;
use crate::journal::record::{CallId, Changed, Event};
use crate::journal::{Position, Unwritable};
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
    /// INVARIANT: taken before no other lock than the journal's own.
    fate: Mutex<Fate>,
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
    body: Option<Arc<str>>,
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
            fate: Mutex::new(Fate::Open),
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

    /// A stop of `scope` stops it from now on.
    pub(crate) fn rests_on(&self, scope: Scope) {
        let mut state = self.state();
        if !state.rests_on.contains(&scope) {
            state.rests_on.push(scope);
        }
    }

    /// The task that its first call was on. What comes after is on that one as well, or does not run: not
    /// on another that its agent is on by then, and not on none.
    pub(crate) fn task(&self) -> Option<TaskId> {
        // The innermost is noted first.
        self.state().rests_on.iter().find_map(|scope| match scope {
            Scope::Task(task) => Some(*task),
            _ => None,
        })
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
        self.goes_on()?;
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
    /// It was stopped, or can't be kept; then nobody is waited for.
    pub(crate) async fn held(
        &self,
        call: CallId,
        message: String,
        page: Option<Value>,
    ) -> Result<(), Refusal> {
        self.goes_on()?;
        self.keep(Status::Held, Some(call)).await?;
        self.change(|state| {
            state.call = Some(call);
            state.kept = true;
            state.message = Some(message);
            state.machine.hold(page);
        });
        Ok(())
    }

    /// A person answered: its call is tried again.
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
    /// It was stopped, or can't be kept; then its client is asked nothing.
    pub(crate) async fn asks(
        &self,
        questions: Vec<(String, QuestionKind, Value)>,
    ) -> Result<(), Refusal> {
        self.goes_on()?;
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

    /// Writes down that something became of it.
    fn record(
        &self,
        change: &str,
        detail: String,
        reason: Option<Reason>,
    ) -> Result<Position, Unwritable> {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(self.owner.agent.to_string()),
            detail: Some(detail),
            reason,
            ..Changed::default()
        });
        self.of.journal.append(&event)
    }

    /// The same, for its client to see once this returns.
    async fn writes(
        &self,
        change: &str,
        detail: String,
        reason: Option<Reason>,
    ) -> Result<(), Unwritable> {
        let position = self.record(change, detail, reason)?;
        self.of.journal.settled(position).await
    }

    async fn keep(&self, status: Status, call: Option<CallId>) -> Result<(), Refusal> {
        let (state, id, now) = (self.of.state.clone(), self.id, self.of.now());
        if self.is_kept() {
            return blocking(move || state.move_job(id, status, call, now)).await;
        }
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
        // INVARIANT: on the disk first, so that a restart finds whatever is written down to have begun, and
        // ends it. Its client is told after both.
        let added = state.clone();
        blocking(move || added.add_job(&row)).await?;
        let started = format!("{id} of {}", self.tool);
        if let Err(error) = self.writes("job.started", started, None).await {
            // Nobody was told of it, so there never was one. Where it stays, a restart ends it.
            if let Err(refusal) = blocking(move || state.forget_job(id)).await {
                tracing::error!(job = %id, %refusal, "a job that did not begin could not be removed");
            }
            return Err(error.into());
        }
        self.of.expires(self.expires);
        Ok(())
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
            body: state.body.as_deref().map(str::to_owned),
        }
    }
}
