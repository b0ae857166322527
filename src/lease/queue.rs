//! The queue: what ended is written, taken back, and tried again until its source confirms it.
//!
//! One task does it for as long as the host lives. It works on what the book says, so nothing is
//! handed over that could be lost on the way.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use super::book::Book;
use super::{Holder, Inner, Lease, Parts, Stage};
use crate::id::LeaseId;
use crate::secret::StoreError;
use crate::state::LeaseRow;

/// So many of one source are taken back at once: a server that is slow must not be asked by hundreds.
const AT_ONCE: usize = 8;
/// Where nothing is due, the book is looked through now and then, for what lapsed.
const IDLE: Duration = Duration::from_secs(30);

/// What is past its time for so long was left by whoever should have ended it.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Starts the task. It ends with the last handle to the leases.
pub(super) fn start(inner: &Arc<Inner>) {
    let wake = Arc::clone(&inner.wake);
    let inner = Arc::downgrade(inner);
    tokio::spawn(async move {
        // What a source does not answer is waited for here, beside all that others are asked.
        let mut asked = JoinSet::new();
        while let Some(wait) = round(&inner, &mut asked).await {
            tokio::select! {
                () = wake.notified() => {}
                Some(answered) = asked.join_next() => {
                    if let Err(error) = answered {
                        tracing::error!(%error, "a lease is taken back at the next start: its source's part failed");
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    });
}

/// Begins what is due; how long until there is more.
async fn round(inner: &Weak<Inner>, asked: &mut JoinSet<()>) -> Option<Duration> {
    let inner = inner.upgrade()?;
    if inner.closed.load(Ordering::Relaxed) {
        return None;
    }
    inner.lapse();
    inner.write_changed().await;
    let (due, next) = inner.due();
    if !due.is_empty() {
        inner.recorded().await;
    }
    for lease in due {
        let inner = Arc::clone(&inner);
        asked.spawn(async move { inner.take_back(lease).await });
    }
    let wait = next.unwrap_or(IDLE).clamp(Duration::from_millis(10), IDLE);
    Some(inner.ticker.sleep(wait))
}

impl Inner {
    /// Writes leases as they are now, and forgets those of which nothing is left.
    pub(super) async fn write(self: &Arc<Self>, ids: &[LeaseId]) -> Result<(), String> {
        // Held until the write is done: what is read here is what is newest, and no older write follows.
        let _one_at_a_time = self.writing.lock().await;
        let leases: Vec<Lease> = {
            let mut book = self.book();
            let newest = |id: &LeaseId| {
                book.unwritten.remove(id);
                book.leases.get(id).cloned()
            };
            ids.iter().filter_map(newest).collect()
        };
        if leases.is_empty() {
            return Ok(());
        }
        let over = leases.iter().filter(|lease| lease.is_over());
        let over: Vec<LeaseId> = over.map(|lease| lease.id).collect();
        let inner = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || inner.write_rows(leases)).await;
        let written = written.unwrap_or_else(|error| Err(error.to_string()));
        let mut book = self.book();
        match &written {
            Ok(()) => over.into_iter().for_each(|id| book.forget(id)),
            Err(_) => book.unwritten.extend(ids),
        }
        written
    }

    fn write_rows(&self, leases: Vec<Lease>) -> Result<(), String> {
        let Parts { store, state, .. } = &self.parts;
        let row = |lease: Lease| -> Result<LeaseRow, StoreError> {
            let handle = match &lease.handle {
                Some(handle) if !lease.is_over() => {
                    Some(store.seal_text(&lease.id.to_string(), &handle.0)?)
                }
                _ => None,
            };
            Ok(LeaseRow { lease, handle })
        };
        let rows = leases.into_iter().map(row).collect::<Result<Vec<_>, _>>();
        let rows = rows.map_err(|error| error.to_string())?;
        state.keep_leases(&rows).map_err(|error| error.to_string())
    }

    pub(super) async fn write_changed(self: &Arc<Self>) {
        let changed: Vec<LeaseId> = self.book().unwritten.iter().copied().collect();
        if !changed.is_empty()
            && let Err(error) = self.write(&changed).await
        {
            // It is tried again in the next round; the rows on the disk still say that they have to be
            // taken back.
            tracing::error!(leases = changed.len(), %error, "changes of leases could not be written");
        }
    }

    /// Waits until what was written down of leases is on the disk: giving one back is an effect, too. It
    /// is given back all the same where nothing can be written any more.
    async fn recorded(&self) {
        let recorded = self.book().recorded;
        if let Some(position) = recorded
            && let Err(error) = self.parts.journal.durable(position).await
        {
            tracing::error!(%error, "leases are taken back, and the journal may not say so");
        }
    }

    /// What is to be tried now, and in how long something else is.
    fn due(&self) -> (Vec<Lease>, Option<Duration>) {
        let tick = self.tick();
        let mut book = self.book();
        let mut under_way: HashMap<&str, usize> = HashMap::new();
        for lease in book.asked.iter().filter_map(|id| book.leases.get(id)) {
            *under_way.entry(&lease.source).or_default() += 1;
        }
        let (mut now, mut next) = (Vec::new(), None);
        for lease in book.leases.values() {
            let Stage::Pending { due, .. } = lease.stage else {
                continue;
            };
            if lease.handle.is_none() || book.asked.contains(&lease.id) {
                continue;
            }
            if due > tick {
                let left = due.saturating_sub(tick);
                next = Some(next.map_or(left, |next: Duration| next.min(left)));
                continue;
            }
            // Where all its turns are taken, the next answer of its source brings it up again.
            let turns = under_way.entry(&lease.source).or_default();
            if *turns < AT_ONCE {
                *turns += 1;
                now.push(lease.clone());
            }
        }
        book.asked.extend(now.iter().map(|lease| lease.id));
        (now, next)
    }

    async fn take_back(&self, lease: Lease) {
        let Some(handle) = &lease.handle else { return };
        let answer = self.parts.desk.revoke(&lease.source, &handle.0).await;
        if let Err(error) = &answer {
            tracing::warn!(lease = %lease.id, attempts = lease.attempts() + 1, %error, "a lease could not be taken back; it is tried again");
        }
        let mut book = self.book();
        book.asked.remove(&lease.id);
        match answer {
            Ok(()) => {
                for id in book.gone_with(lease.id) {
                    self.change(&mut book, id, |lease, _| lease.revoked());
                }
            }
            Err(error) => {
                self.change(&mut book, lease.id, |lease, moment| {
                    lease.revoking_failed(error.to_string(), moment.tick);
                });
            }
        }
    }

    fn lapse(&self) {
        let now = self.now();
        let mut book = self.book();
        let ids: Vec<LeaseId> = book.leases.keys().copied().collect();
        for id in ids {
            let Some(lease) = book.leases.get(&id).filter(|lease| lease.is_pending()) else {
                continue;
            };
            let bond_is_there = lease.bond.map(|bond| book.leases.contains_key(&bond));
            match (bond_is_there, &lease.handle) {
                // A bond that is no longer in the book took all with it that hung on it.
                (Some(false), None) => {
                    self.change(&mut book, id, |lease, _| lease.revoked());
                }
                // How long it may be used is said of it, and not how long it lives: that is its bond's.
                (Some(true), Some(_)) => {}
                _ if lease.has_lapsed(now) => {
                    self.change(&mut book, id, |lease, _| lease.lapse(now));
                }
                _ => {}
            }
        }
        self.end_forgotten(&mut book, now);
    }

    /// Ends what is past its time and what nobody ended: its holder has no use for it.
    fn end_forgotten(&self, book: &mut Book, now: Duration) {
        let past: Vec<(LeaseId, Holder)> = book
            .leases
            .values()
            .filter(|lease| lease.stage == Stage::Live && lease.revocable)
            .filter(|lease| {
                let end = lease.expires.map(|end| end.saturating_add(FORGOTTEN));
                end.is_some_and(|end| end <= now)
            })
            .map(|lease| (lease.id, lease.holder))
            .collect();
        for (id, holder) in past {
            // What is about to be used is renewed with that.
            if book.release(holder, id) {
                self.change(book, id, |lease, moment| lease.end(moment.tick));
            }
        }
    }
}
