//! Leases: credentials that are lent to one call or task, and taken back.
//!
//! A lease is made when a secret is used, after policy allowed exactly this use, and each further use
//! is decided again: a lease is never itself a right. It is bound to one origin and one way of
//! standing in a request. It ends with its call or its task, by a queue that is on the disk:
//!
//! | moment | what is durable | what a host that dies here leaves |
//! | --- | --- | --- |
//! | before anything is asked for | the wish, under the lease's id | nothing, or (`wanted`) what lapses by itself: listed until then |
//! | before an engine makes anything | the handle of what it will hang on (`bond`) | all that hangs on it, taken back by that handle at the next start |
//! | before the value is used | the lease's own handle | the lease, taken back at the next start |
//! | at the end | nothing new | the same |
//! | until the source confirmed it | the row itself | the same |
//!
//! So a restart ends every lease: values are in memory only. What a source can't take back (a static
//! value, a signed token) is typed so, in the record too, and never pretended away.
//!
//! Where too many wait to be taken back, nothing is lent that would have to be (`lease.revoke_pending`).

mod book;
mod desk;
#[expect(clippy::module_inception, reason = "the one noun of this folder")]
mod lease;
mod lend;
mod make;
mod queue;
mod renew;
mod report;
mod time;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Notify;

pub(crate) use desk::{Desk, SharedSecrets};
pub use lease::Holder;
pub(crate) use lease::{Handle, Lease, Stage};
pub(crate) use lend::{Asked, Loaned};
pub use report::LeaseReport;

use book::Book;

use crate::clock::SharedClock;
use crate::entropy::SharedEntropy;
use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::Journal;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::reason::Refusal;
use crate::revocation::{Follower, Scope, Taken};
use crate::secret::Store;
use crate::state::{State, StateError};

/// What is lent, and what has to be taken back. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Leases(Arc<Inner>);

struct Inner {
    parts: Parts,
    book: Mutex<Book>,
    /// The queue's waits go by this.
    ticker: time::Ticker,
    /// Wakes the queue.
    wake: Arc<Notify>,
    /// Nothing more is taken back, nor written down.
    closed: AtomicBool,
    /// One writer at a time, each of what is newest: rows never go back.
    writing: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Leases {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leases")
            .field("open", &self.book().leases.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The queue finds that there is nothing to work for, and ends.
        self.wake.notify_one();
    }
}

/// What is lent to one call, for as long as it runs.
#[derive(Debug)]
pub(crate) struct OfCall {
    leases: Leases,
    call: CallId,
}

impl Drop for OfCall {
    fn drop(&mut self) {
        let _ended = self.leases.end_call(self.call);
    }
}

/// What the leases of a host stand on.
pub(crate) struct Parts {
    pub(crate) desk: Arc<dyn Desk>,
    pub(crate) state: State,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    /// One that never goes back.
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    /// How many times as fast as the world's the queue's time goes: 1, but in tests.
    pub(crate) haste: u32,
}

impl Leases {
    /// Opens what is kept. Nothing is taken back before [`Self::resume`].
    ///
    /// # Errors
    ///
    /// The state can't be read.
    pub(crate) fn open(parts: Parts) -> Result<Self, StateError> {
        let mut book = Book::default();
        for row in parts.state.open_leases()? {
            let mut lease = row.lease;
            lease.handle = row.handle.and_then(|sealed| {
                match parts.store.open_text(&lease.id.to_string(), &sealed) {
                    Ok(handle) => Some(Handle(handle)),
                    Err(error) => {
                        lease.fault = Some(error.to_string());
                        tracing::error!(lease = %lease.id, %error, "what takes a lease back can't be read; it lapses by itself");
                        None
                    }
                }
            });
            lease.recover(Duration::ZERO);
            tracing::warn!(lease = %lease.id, stage = lease.stage.name(), "a lease outlived the host, and is taken back");
            book.unwritten.insert(lease.id);
            book.add(lease);
        }
        Ok(Self(Arc::new(Inner {
            ticker: time::Ticker::new(parts.haste),
            parts,
            book: Mutex::new(book),
            wake: Arc::new(Notify::new()),
            closed: AtomicBool::new(false),
            writing: tokio::sync::Mutex::default(),
        })))
    }

    /// Writes down what the last host left, and begins to take it back. Within a runtime.
    pub(crate) fn resume(&self) {
        {
            let mut book = self.book();
            let left: Vec<LeaseId> = book.leases.keys().copied().collect();
            for lease in left {
                self.0.record(&mut book, lease, None);
            }
        }
        queue::start(&self.0);
    }

    /// A call ended: what was lent to it is taken back. Returns at once.
    pub fn end_call(&self, call: CallId) -> Vec<LeaseId> {
        self.end_holder(Holder::Call(call))
    }

    /// Ends what is lent to `call` when it is dropped.
    pub(crate) fn of_call(&self, call: CallId) -> OfCall {
        OfCall {
            leases: self.clone(),
            call,
        }
    }

    /// A task ended: what was lent to it is taken back. Returns at once.
    pub fn end_task(&self, task: TaskId) -> Vec<LeaseId> {
        let mut ended = self.end_holder(Holder::Task(task));
        // Also what its calls hold that run still.
        ended.extend(self.end_where(|lease| lease.task == Some(task)));
        ended
    }

    /// An agent was revoked: what was lent to it is taken back. Returns at once.
    pub fn end_agent(&self, agent: &AgentId) -> Vec<LeaseId> {
        self.end_where(|lease| lease.agent == *agent)
    }

    /// A plugin was revoked: what was lent for it is taken back. Returns at once.
    pub fn end_plugin(&self, plugin: &PluginName) -> Vec<LeaseId> {
        self.end_where(|lease| lease.plugin == *plugin)
    }

    /// Everything is taken back. Returns at once.
    pub fn end_all(&self) -> Vec<LeaseId> {
        self.end_where(|_| true)
    }

    /// Takes one lease back, and with it what hangs on it; those that were alive. Returns at once.
    pub fn revoke(&self, lease: LeaseId) -> Vec<LeaseId> {
        self.end_where(|other| other.id == lease || other.bond == Some(lease))
    }

    /// Every lease that is not over.
    #[must_use]
    pub fn list(&self) -> Vec<LeaseReport> {
        self.reports(|_| true)
    }

    /// Those that wait to be taken back.
    #[must_use]
    pub fn pending(&self) -> Vec<LeaseReport> {
        self.reports(Lease::is_pending)
    }

    fn backlog(&self) -> usize {
        let book = self.book();
        book.leases
            .values()
            .filter(|lease| lease.is_pending())
            .count()
    }

    /// The host ends: everything is taken back as far as that goes within this time, and what is left
    /// by the next start.
    pub(crate) async fn close(&self, within: Duration) {
        let _ended = self.end_all();
        self.settle(within).await;
        // What was answered last is known to the next host.
        self.0.write_changed().await;
        self.0.closed.store(true, Ordering::Relaxed);
        self.0.wake.notify_one();
    }

    /// Waits until all that can be taken back was asked for once, for so long at most.
    async fn settle(&self, within: Duration) {
        let is_untried =
            |lease: &Lease| lease.is_pending() && lease.handle.is_some() && lease.attempts() == 0;
        let all = async {
            while self.book().leases.values().any(is_untried) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        drop(tokio::time::timeout(within, all).await);
    }

    fn reports(&self, keep: impl Fn(&Lease) -> bool) -> Vec<LeaseReport> {
        let book = self.book();
        let mut found: Vec<_> = book
            .leases
            .values()
            .filter(|lease| !lease.is_over() && keep(lease))
            .map(LeaseReport::of)
            .collect();
        found.sort_by_key(|report| report.lease);
        found
    }

    fn end_holder(&self, holder: Holder) -> Vec<LeaseId> {
        let ids = {
            let mut book = self.book();
            book.slots.remove(&holder);
            book.held.remove(&holder).unwrap_or_default()
        };
        self.end_these(&ids)
    }

    fn end_where(&self, which: impl Fn(&Lease) -> bool) -> Vec<LeaseId> {
        let ids: Vec<LeaseId> = {
            let book = self.book();
            let found = book.leases.values().filter(|lease| which(lease));
            found.map(|lease| lease.id).collect()
        };
        self.end_these(&ids)
    }

    fn end_these(&self, ids: &[LeaseId]) -> Vec<LeaseId> {
        if ids.is_empty() {
            return Vec::new();
        }
        let ended = {
            let mut book = self.book();
            let mut ends = |id| {
                self.0
                    .change(&mut book, id, |lease, moment| lease.end(moment.tick))
            };
            let ids = ids.iter().copied();
            ids.filter(|id| ends(*id) == Some(true)).collect()
        };
        self.0.wake.notify_one();
        ended
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book()
    }
}

#[async_trait::async_trait]
impl Follower for Leases {
    /// What is named can't be lent again once this returns: values are in memory only, and a restart
    /// ends every lease. That its source hears of it is the queue's, which is on the disk.
    async fn take_back(&self, scope: &Scope, _why: &Refusal) -> Result<Taken, Refusal> {
        let leases = match scope {
            Scope::Agent(agent) => self.end_agent(agent),
            Scope::Task(task) => self.end_task(*task),
            Scope::Plugin(plugin) => self.end_plugin(plugin),
            Scope::Lease(lease) => self.revoke(*lease),
            Scope::All => self.end_all(),
            Scope::Approval(_) | Scope::Token(_) => Vec::new(),
        };
        Ok(Taken {
            leases,
            ..Taken::default()
        })
    }
}

#[cfg(test)]
mod tests;
