//! The queue: what ended is written, taken back, and tried again until its source confirms it.
//!
//! One task does it for as long as the host lives. It works on what the book says, so nothing is
//! handed over that could be lost on the way.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;

use super::{Holder, Inner, Lease, Stage};
use crate::id::LeaseId;
use crate::state::LeaseRow;

/// So many are taken back at once: a server that is slow must not be asked by hundreds.
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
        while let Some(wait) = round(&inner).await {
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    });
}

/// Does what is due; how long until there is more.
async fn round(inner: &Weak<Inner>) -> Option<Duration> {
    let inner = inner.upgrade()?;
    if inner.closed.load(Ordering::Relaxed) {
        return None;
    }
    inner.lapse();
    inner.write_changed().await;
    let due = inner.due();
    stream::iter(due)
        .for_each_concurrent(AT_ONCE, |lease| {
            let inner = Arc::clone(&inner);
            async move { inner.take_back(lease).await }
        })
        .await;
    inner.write_changed().await;
    let tick = inner.tick();
    let next = inner
        .book()
        .leases
        .values()
        .filter_map(|lease| match lease.stage {
            Stage::Pending { due, .. } if lease.handle.is_some() => Some(due.saturating_sub(tick)),
            _ => None,
        })
        .min();
    let wait = next.unwrap_or(IDLE).clamp(Duration::from_millis(10), IDLE);
    Some(inner.ticker.sleep(wait))
}

impl Inner {
    /// Writes one lease as it is now, and forgets it where nothing is left of it.
    pub(super) async fn write(self: &Arc<Self>, id: LeaseId) -> Result<(), String> {
        // Held until the write is done: what is read here is what is newest, and no older write follows.
        let _one_at_a_time = self.writing.lock().await;
        let lease = {
            let mut book = self.book();
            book.unwritten.remove(&id);
            book.leases.get(&id).cloned()
        };
        let Some(lease) = lease else { return Ok(()) };
        let inner = Arc::clone(self);
        let is_over = lease.is_over();
        let written = tokio::task::spawn_blocking(move || inner.write_row(lease)).await;
        let written = written.unwrap_or_else(|error| Err(error.to_string()));
        let mut book = self.book();
        match &written {
            Ok(()) if is_over => book.forget(id),
            Ok(()) => {}
            Err(_) => {
                book.unwritten.insert(id);
            }
        }
        written
    }

    fn write_row(&self, lease: Lease) -> Result<(), String> {
        let handle = match &lease.handle {
            Some(handle) if !lease.is_over() => Some(
                self.store
                    .seal_text(&lease.id.to_string(), &handle.0)
                    .map_err(|error| error.to_string())?,
            ),
            _ => None,
        };
        self.state
            .keep_lease(&LeaseRow { lease, handle })
            .map_err(|error| error.to_string())
    }

    async fn write_changed(self: &Arc<Self>) {
        let changed: Vec<LeaseId> = self.book().unwritten.iter().copied().collect();
        for id in changed {
            if let Err(error) = self.write(id).await {
                // It is tried again in the next round; the row on the disk still says that it has to be taken back.
                tracing::error!(lease = %id, %error, "a lease could not be written");
            }
        }
    }

    /// What is to be tried now.
    fn due(&self) -> Vec<Lease> {
        let tick = self.tick();
        let mut book = self.book();
        let due: Vec<Lease> = book
            .leases
            .values()
            .filter(|lease| {
                lease.handle.is_some()
                    && matches!(lease.stage, Stage::Pending { due, .. } if due <= tick)
                    && !book.asked.contains(&lease.id)
            })
            .cloned()
            .collect();
        book.asked.extend(due.iter().map(|lease| lease.id));
        due
    }

    async fn take_back(&self, lease: Lease) {
        let Some(handle) = &lease.handle else { return };
        let answer = self.desk.revoke(&lease.source, &handle.0).await;
        let tick = self.tick();
        let mut changed = Vec::new();
        {
            let mut book = self.book();
            book.asked.remove(&lease.id);
            match &answer {
                Ok(()) => {
                    // What hangs on it and has no handle of its own is dead with it.
                    let dead: Vec<LeaseId> = book
                        .leases
                        .values()
                        .filter(|other| {
                            other.id == lease.id
                                || other.bond == Some(lease.id)
                                    && other.is_pending()
                                    && other.handle.is_none()
                        })
                        .map(|other| other.id)
                        .collect();
                    for id in dead {
                        if let Some(lease) = book.leases.get_mut(&id)
                            && lease.revoked()
                        {
                            changed.push(lease.clone());
                            book.settle(id);
                        }
                    }
                }
                Err(error) => {
                    if let Some(kept) = book.leases.get_mut(&lease.id) {
                        kept.revoking_failed(error.to_string(), tick);
                        // Each try is in the log; the journal has the first, and the end.
                        if kept.attempts() == 1 {
                            changed.push(kept.clone());
                        }
                        book.settle(lease.id);
                    }
                }
            }
        }
        if let Err(error) = &answer {
            tracing::warn!(lease = %lease.id, attempts = lease.attempts() + 1, %error, "a lease could not be taken back; it is tried again");
        }
        for lease in &changed {
            let detail = lease.fault.clone();
            self.record(lease, detail);
        }
    }

    fn lapse(&self) {
        let now = self.now();
        let mut lapsed = Vec::new();
        {
            let mut book = self.book();
            let ids: Vec<LeaseId> = book.leases.keys().copied().collect();
            for id in ids {
                // A bond that is no longer in the book took all with it that hung on it.
                let went_along = book.leases.get(&id).is_some_and(|lease| {
                    let gone = |bond| !book.leases.contains_key(&bond);
                    lease.is_pending() && lease.handle.is_none() && lease.bond.is_some_and(gone)
                });
                if let Some(lease) = book.leases.get_mut(&id)
                    && (lease.lapse(now) || went_along && lease.revoked())
                {
                    lapsed.push(lease.clone());
                    book.settle(id);
                }
            }
        }
        for lease in &lapsed {
            self.record(lease, lease.fault.clone());
        }
        self.end_forgotten(now);
    }

    /// Ends what is past its time and what nobody ended: its holder has no use for it.
    fn end_forgotten(&self, now: Duration) {
        let tick = self.tick();
        let mut ended = Vec::new();
        let mut book = self.book();
        let past: Vec<(LeaseId, Holder)> = book
            .leases
            .values()
            .filter(|lease| lease.stage == Stage::Live && lease.revocable)
            .filter(|lease| lease.expires.is_some_and(|end| end + FORGOTTEN <= now))
            .map(|lease| (lease.id, lease.holder))
            .collect();
        for (id, holder) in past {
            if !book.release(holder, id) {
                // It is about to be used, and renewed with that.
                continue;
            }
            if let Some(lease) = book.leases.get_mut(&id)
                && lease.end(tick)
            {
                ended.push(lease.clone());
                book.settle(id);
            }
        }
        drop(book);
        for lease in &ended {
            self.record(lease, None);
        }
    }
}
