//! The book: every lease that is not over, in memory, and the one way in which one changes.
//!
//! INVARIANT: a lease changes under the book's lock, and its record is appended before that is given
//! up. So records come in the order of the changes, and what is found pending has its record before
//! anyone asks a source to take it back.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::lend::{Key, Slot};
use super::{Holder, Inner, Lease, Stage};
use crate::clock::rfc3339;
use crate::id::LeaseId;
use crate::journal::Position;
use crate::journal::record::{Event, LeaseChange};

/// Every lease that is not over.
#[derive(Default)]
pub(super) struct Book {
    pub(super) leases: HashMap<LeaseId, Lease>,
    /// Those of one holder, whose end ends them.
    pub(super) held: HashMap<Holder, Vec<LeaseId>>,
    /// What is being lent again within a holder.
    pub(super) slots: HashMap<Holder, BTreeMap<Key, Slot>>,
    /// Changed in memory, to be written.
    pub(super) unwritten: BTreeSet<LeaseId>,
    /// Being taken back right now.
    pub(super) asked: BTreeSet<LeaseId>,
    /// The last record of a change.
    pub(super) recorded: Option<Position>,
}

/// The time of day, and that of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Duration,
    pub(super) tick: Duration,
}

impl Book {
    pub(super) fn add(&mut self, lease: Lease) {
        self.held.entry(lease.holder).or_default().push(lease.id);
        self.leases.insert(lease.id, lease);
    }

    /// What follows from a change of a lease: it is written, or, where nothing is left of it, forgotten.
    fn settle(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.get(&id) else {
            return;
        };
        if lease.durable {
            self.unwritten.insert(id);
        } else if lease.is_over() {
            self.forget(id);
        }
    }

    /// Lets go of a lease, so that its holder gets another the next time; whether nobody has it in use.
    pub(super) fn release(&mut self, holder: Holder, id: LeaseId) -> bool {
        let Some(slots) = self.slots.get_mut(&holder) else {
            return true;
        };
        let mut is_in_use = false;
        slots.retain(|_, slot| match slot.try_lock() {
            Ok(held) => held.as_ref().is_none_or(|held| held.lease != id),
            Err(_) => {
                is_in_use = true;
                true
            }
        });
        !is_in_use
    }

    /// What is dead once `id` is: itself, and what hung on it and has no handle of its own.
    pub(super) fn gone_with(&self, id: LeaseId) -> Vec<LeaseId> {
        let gone = self.leases.values().filter(|lease| {
            let hung_on_it = lease.bond == Some(id) && lease.is_pending() && lease.handle.is_none();
            lease.id == id || hung_on_it
        });
        gone.map(|lease| lease.id).collect()
    }

    pub(super) fn forget(&mut self, id: LeaseId) {
        let Some(lease) = self.leases.remove(&id) else {
            return;
        };
        if let Some(held) = self.held.get_mut(&lease.holder) {
            held.retain(|other| *other != id);
            if held.is_empty() {
                self.held.remove(&lease.holder);
            }
        }
    }
}

impl Inner {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time of day, by a clock that never goes back: what was over stays over.
    pub(super) fn now(&self) -> Duration {
        self.parts.clock.now()
    }

    /// The time of the queue.
    pub(super) fn tick(&self) -> Duration {
        self.ticker.now()
    }

    /// Changes a lease, and sees to what follows: a record where it stands elsewhere now, and a row.
    pub(super) fn change<T>(
        &self,
        book: &mut Book,
        id: LeaseId,
        change: impl FnOnce(&mut Lease, Moment) -> T,
    ) -> Option<T> {
        let moment = Moment {
            now: self.now(),
            tick: self.tick(),
        };
        let lease = book.leases.get_mut(&id)?;
        let before = lease.stage;
        let given = change(lease, moment);
        let after = lease.stage;
        if is_news(before, after) {
            self.record(book, id, None);
        }
        if before != after {
            book.settle(id);
        }
        Some(given)
    }

    /// Writes where a lease stands, whatever comes of it: what was lent is taken back all the same.
    pub(super) fn record(&self, book: &mut Book, id: LeaseId, detail: Option<String>) {
        let Some(lease) = book.leases.get(&id) else {
            return;
        };
        match self.parts.journal.append(&told(lease, detail)) {
            Ok(position) => book.recorded = Some(position),
            Err(error) => {
                tracing::error!(lease = %id, %error, "a change of a lease could not be written down");
            }
        }
    }
}

/// Whether a change has a record. Each try to take it back is in the log; the journal has the first
/// that failed, and the end.
fn is_news(before: Stage, after: Stage) -> bool {
    let failed_first = matches!(
        (before, after),
        (
            Stage::Pending { attempts: 0, .. },
            Stage::Pending { attempts: 1, .. }
        )
    );
    failed_first || before.name() != after.name()
}

/// Where a lease stands, for the journal.
pub(super) fn told(lease: &Lease, detail: Option<String>) -> Event {
    Event::Lease(LeaseChange {
        lease: lease.id,
        stage: lease.stage.name().to_owned(),
        call: lease.call,
        task: lease.task,
        plugin: lease.plugin.clone(),
        secret: lease.secret.clone(),
        source: lease.source.clone(),
        origin: lease.origin.clone(),
        scheme: lease.scheme.clone(),
        revocable: lease.revocable,
        expires: lease.expires.map(rfc3339),
        uses: lease.uses,
        attempts: lease.attempts(),
        detail: detail.or_else(|| lease.fault.clone()),
    })
}
