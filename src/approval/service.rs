//! The service: what calls, people and operators ask of approvals.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use super::ask::Ask;
use super::book::Book;
use super::guard::{Parked, Withdraws};
use super::machine::{Approval, End, Status};
use super::order::Inner;
use super::settings::Settings;
use super::{Approved, Binding, Subject};
use crate::clock::Steady;
use crate::entropy::SharedEntropy;
use crate::id::ApprovalId;
use crate::identity::{AgentId, Approver, PersonId};
use crate::journal::Journal;
use crate::journal::record::CallId;
use crate::policy::PolicySet;
use crate::reason::{Reason, Refusal};
use crate::state::{State, StateError};
use crate::task::Tasks;

/// Events that a slow listener may be behind, before it misses some and has to list again.
const EVENTS: usize = 256;
/// How often the time of day is looked at while someone waits: as soon as a person would notice.
const LOOK: Duration = Duration::from_secs(1);

/// All approvals of a host. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Approvals(Arc<Inner>);

/// What a person answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Yes: once, or, only where the person asks for that by name, for so long.
    Approve {
        /// How long it stands for exactly this target; at most 30 days, and cut to that.
        standing: Option<Duration>,
    },
    /// No.
    Deny {
        /// Why, for the agent to read.
        why: Option<String>,
    },
}

/// Something happened to an approval, which stands beside it as it is now.
#[derive(Debug, Clone)]
pub enum ApprovalEvent {
    /// A person is asked.
    Asked(Arc<Approval>),
    /// A person answered.
    Answered(Arc<Approval>),
    /// It was used.
    Used(Arc<Approval>),
    /// It expired, or was withdrawn, revoked or voided.
    Ended(Arc<Approval>),
}

/// What an agent is told of the approval that its call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// Which.
    pub id: ApprovalId,
    /// From when on it is worth nothing, since 1970.
    pub expires: Duration,
    /// How many more persons must agree.
    pub needed: u32,
}

impl Asked {
    pub(crate) fn of(approval: &Approval) -> Box<Self> {
        Box::new(Self {
            id: approval.id,
            expires: approval.expires,
            needed: approval.missing().max(1),
        })
    }
}

impl Approvals {
    /// Takes in what is on the disk. Approvals of host calls are void: their calls are gone.
    pub(crate) fn open(
        state: State,
        journal: Journal,
        policy: Arc<ArcSwap<PolicySet>>,
        tasks: Tasks,
        clock: Arc<Steady>,
        entropy: SharedEntropy,
        settings: Settings,
    ) -> Result<Self, StateError> {
        let kept = state.approvals()?;
        let inner = Inner {
            state,
            journal,
            policy,
            tasks,
            entropy,
            clock,
            settings: ArcSwap::from_pointee(settings),
            order: std::sync::Mutex::default(),
            book: std::sync::Mutex::new(Book::default()),
            events: broadcast::Sender::new(EVENTS),
            changed: watch::Sender::new(0),
        };
        inner.recover(kept)?;
        Ok(Self(Arc::new(inner)))
    }

    /// Writes down what expires while nobody looks, until all handles are gone.
    pub(crate) fn watch_time(&self) {
        let inner: Weak<Inner> = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            let mut failed = false;
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(inner) = inner.upgrade() else { return };
                let swept = Self(inner).sweep().await;
                // They are over all the same. The journal or the database is gone, which is said once
                // and loudly elsewhere; or someone else had the database for a moment.
                if let (Err(refusal), false) = (&swept, failed) {
                    tracing::warn!(%refusal, "expired approvals could not be written down");
                }
                failed = swept.is_err();
            }
        });
    }

    pub(crate) fn configure(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// How long approvals live, and how many are asked for.
    #[must_use]
    pub fn settings(&self) -> Settings {
        **self.0.settings.load()
    }

    /// Those in this state, or all that are kept; the newest first.
    #[must_use]
    pub fn list(&self, status: Option<Status>) -> Vec<Arc<Approval>> {
        let all: Vec<Arc<Approval>> = self.0.book().all().cloned().collect();
        let mut list: Vec<Arc<Approval>> = all
            .into_iter()
            .map(|approval| self.seen(approval))
            .filter(|approval| status.is_none_or(|status| approval.status == status))
            .collect();
        list.sort_by_key(|approval| std::cmp::Reverse((approval.created, approval.id)));
        list
    }

    /// The approval `id`.
    #[must_use]
    pub fn get(&self, id: ApprovalId) -> Option<Arc<Approval>> {
        let found = self.0.book().get(id).cloned()?;
        Some(self.seen(found))
    }

    /// As it is now, whether or not its end is written down already.
    fn seen(&self, approval: Arc<Approval>) -> Arc<Approval> {
        let now = self.0.now();
        match approval.status.is_live() && approval.is_over(now) {
            true => approval
                .ended(End::Expired, None, now)
                .map_or(approval, Arc::new),
            false => approval,
        }
    }

    /// A person's answer. Policy is asked whether that person may `approve` this; a refused answer is
    /// written down, too.
    ///
    /// # Errors
    ///
    /// `approval.self`, `policy.*`: the person may not. `approval.*`, `revoked.approval`: it is
    /// answered or over. `name.unknown`: there is none of that id.
    pub async fn answer(
        &self,
        id: ApprovalId,
        by: &Approver,
        answer: Answer,
    ) -> Result<Arc<Approval>, Refusal> {
        let person = by.person().clone();
        self.in_order(move |inner| inner.answer(id, &person, answer))
            .await
    }

    /// Takes an ask back, on behalf of the one who asked.
    ///
    /// # Errors
    ///
    /// It is answered with no, used, or over.
    pub async fn withdraw(&self, id: ApprovalId, why: &str) -> Result<(), Refusal> {
        let why = Some(why.to_owned());
        self.in_order(move |inner| inner.end(id, End::Withdrawn, why))
            .await
            .map(drop)
    }

    /// Takes an approval back, on behalf of an operator. From the moment of the call on, nothing else
    /// happens to it first: an answer or a use under way at the same time is refused.
    ///
    /// # Errors
    ///
    /// It is denied, used, or over.
    pub async fn revoke(&self, id: ApprovalId, by: &str) -> Result<(), Refusal> {
        self.revoke_because(id, format!("by {by}")).await
    }

    /// The same, in words of the one who takes it back.
    pub(super) async fn revoke_because(&self, id: ApprovalId, why: String) -> Result<(), Refusal> {
        self.0.book().revoking.insert(id);
        self.in_order(move |inner| {
            let ended = inner.end(id, End::Revoked, Some(why));
            let mut book = inner.book();
            // What can't be written down is refused in memory all the same, until the host ends.
            if !book
                .get(id)
                .is_some_and(|approval| approval.status.is_live())
            {
                book.revoking.remove(&id);
            }
            drop(book);
            ended
        })
        .await
        .map(drop)
    }

    /// The live approvals that `person` agreed to, once every answer that is on its way is in.
    ///
    /// # Errors
    ///
    /// `host.internal`.
    pub async fn given_by(&self, person: &PersonId) -> Result<Vec<ApprovalId>, Refusal> {
        let person = person.clone();
        self.in_order(move |inner| Ok(inner.given_by(&person)))
            .await
    }

    /// What happens to approvals from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ApprovalEvent> {
        self.0.events.subscribe()
    }

    /// The approval that answers this ask: one that was asked for before, or a new one. A new one is
    /// withdrawn where the second value is dropped, so also where this is never waited for to its end.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<(Arc<Approval>, Withdraws), Refusal> {
        let approvals = self.clone();
        self.in_order(move |inner| {
            let (approval, is_new) = inner.ask(ask)?;
            let id = is_new.then_some(approval.id);
            Ok((approval, Withdraws::new(approvals, id)))
        })
        .await
    }

    /// The approval that a caller names, for exactly this ask.
    pub(crate) async fn presented(&self, text: &str, ask: &Ask) -> Result<Arc<Approval>, Refusal> {
        // What is said to be over is over on the disk, so that no clock brings it back.
        self.sweep().await?;
        // Also where there is none: whoever guesses learns nothing.
        let unknown = || super::binding::not_this("there is none of that id");
        let id: ApprovalId = text.parse().map_err(|_| unknown())?;
        let found = self.get(id).ok_or_else(unknown)?;
        if let Some(refusal) = found.binding.mismatch(&ask.binding) {
            return Err(refusal);
        }
        if found.subject != ask.subject {
            return Err(super::binding::not_this("it is for a host call"));
        }
        match found.status {
            Status::Pending | Status::Approved => Ok(found),
            status => Err(found.closed(status)),
        }
    }

    /// Waits until it is answered or over, at most for `limit`.
    pub(crate) async fn wait(&self, id: ApprovalId, limit: Duration) -> Option<Arc<Approval>> {
        let give_up = tokio::time::Instant::now() + limit;
        let mut changed = self.0.changed.subscribe();
        loop {
            let approval = self.get(id)?;
            let now = tokio::time::Instant::now();
            if approval.status != Status::Pending || now >= give_up {
                return Some(approval);
            }
            tokio::select! {
                _ = changed.changed() => {}
                () = tokio::time::sleep_until(give_up.min(now + LOOK)) => {}
            }
        }
    }

    /// Uses it up for exactly this; on the disk before it returns.
    pub(crate) async fn take(
        &self,
        id: ApprovalId,
        call: CallId,
        binding: Binding,
        subject: Subject,
    ) -> Result<Approved, Refusal> {
        self.in_order(move |inner| inner.take(id, call, &binding, &subject))
            .await
    }

    /// A place for one more host call of `agent` that waits for a person.
    ///
    /// # Errors
    ///
    /// `approval.rate`: too many wait already, each with an instance and a place of its own.
    pub(crate) fn parking_place(&self, agent: &AgentId) -> Result<Parked, Refusal> {
        self.0.book().park(agent)?;
        Ok(Parked::new(self.clone(), agent.clone()))
    }

    pub(crate) async fn sweep(&self) -> Result<(), Refusal> {
        let now = self.0.now();
        if self.0.book().over(now).is_empty() {
            return Ok(());
        }
        self.in_order(|inner| inner.sweep(inner.now())).await
    }

    pub(super) fn left(&self, agent: &AgentId) {
        self.0.book().unpark(agent);
    }

    #[cfg(test)]
    pub(super) fn journal_for_tests(&self) -> Journal {
        self.0.journal.clone()
    }

    /// Runs one transition, to its end, whatever becomes of the one who asked.
    async fn in_order<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let inner = Arc::clone(&self.0);
        let run = move || {
            let _order = inner.order.lock().unwrap_or_else(PoisonError::into_inner);
            work(&inner)
        };
        tokio::task::spawn_blocking(run)
            .await
            .unwrap_or_else(|error| {
                Err(Refusal::new(
                    Reason::HostInternal,
                    "the host could not go on with an approval",
                )
                .with_detail(error.to_string()))
            })
    }
}
