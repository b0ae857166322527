//! The committer: a thread that syncs for all who wait, and what it shares with them.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::append::{End, Writer};
use super::storage::{Lock, Storage};
use super::writer::{Options, Position, SYNC_WITHIN, Sync, Unwritable};

#[derive(Debug)]
pub(super) struct Shared {
    writer: Mutex<Writer>,
    sync: Sync,
    /// The last record that the kernel has. Stored under the writer's lock.
    appended: AtomicU64,
    /// The committer waits for the next append, with nothing left to do. See `appended_one`.
    idle: AtomicBool,
    /// The last record that the disk has.
    synced: watch::Sender<u64>,
    failed: watch::Sender<Option<Unwritable>>,
    wanted: Mutex<Wanted>,
    wake: Condvar,
}

/// What the committer is asked for.
#[derive(Debug)]
struct Wanted {
    /// Someone waits for this record.
    seq: u64,
    closing: bool,
}

impl Shared {
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        options: Options,
        end: End,
        lock: Box<dyn Lock>,
    ) -> Self {
        Self {
            sync: options.sync,
            appended: AtomicU64::new(end.seq),
            idle: AtomicBool::new(false),
            synced: watch::Sender::new(end.seq),
            failed: watch::Sender::new(None),
            wanted: Mutex::new(Wanted {
                seq: 0,
                closing: false,
            }),
            wake: Condvar::new(),
            writer: Mutex::new(Writer::new(storage, options, end, lock)),
        }
    }

    /// Appends a serialised event, unless something failed before.
    pub(super) fn append(&self, event: &[u8]) -> Result<Position, Unwritable> {
        let mut writer = self.writer()?;
        // Under the lock, so that `appended` never goes back and a failure stops the next one.
        match writer.append(event) {
            Ok(seq) => {
                self.appended.store(seq, Ordering::SeqCst);
                Ok(Position(seq))
            }
            Err(error) => Err(self.fail("a write", &error)),
        }
    }

    pub(super) const fn sync(&self) -> Sync {
        self.sync
    }

    pub(super) fn synced(&self) -> u64 {
        *self.synced.borrow()
    }

    pub(super) fn watch_synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    pub(super) fn watch_failed(&self) -> watch::Receiver<Option<Unwritable>> {
        self.failed.subscribe()
    }

    /// The writer, unless something failed before.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Unwritable> {
        let writer = self
            .writer
            .lock()
            .map_err(|_| Unwritable::new("a thread ended while it wrote"))?;
        // After the lock: what fails is set under it, so nobody appends behind a failed line.
        self.failure().map_or(Ok(writer), Err)
    }

    pub(super) fn failure(&self) -> Option<Unwritable> {
        self.failed.borrow().clone()
    }

    /// Remembers the first failure, and returns it.
    fn fail(&self, what: &str, error: &io::Error) -> Unwritable {
        let mut first = None;
        self.failed.send_if_modified(|failed| {
            let fresh = failed.is_none();
            first = Some(
                failed
                    .get_or_insert_with(|| Unwritable::new(format!("{what} failed: {error}")))
                    .clone(),
            );
            fresh
        });
        let failure = first.unwrap_or_else(Unwritable::closed);
        tracing::error!(%failure, "nothing is done any more");
        failure
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn want(&self, seq: u64) {
        let mut wanted = self.wanted();
        if wanted.seq < seq {
            wanted.seq = seq;
            self.wake.notify_one();
        }
    }

    /// Wakes a committer that has nothing to do. One that has finds the record by itself.
    pub(super) fn appended_one(&self) {
        // `appended` is stored before `idle` is read here; the committer sets `idle` before it reads
        // `appended`. One of the two sees the other, in the one order that all such operations have.
        if self.idle.load(Ordering::SeqCst) {
            let _wanted = self.wanted();
            self.wake.notify_one();
        }
    }

    pub(super) fn begin_close(&self) {
        self.wanted().closing = true;
        self.wake.notify_one();
    }

    /// The committer: one sync for all who wait, as often as the mode says.
    pub(super) fn commit_until_closed(&self) {
        let mut last_began = Instant::now();
        loop {
            let closing = self.wait_for_work(last_began);
            if closing {
                return self.finish();
            }
            last_began = Instant::now();
            if self.commit().is_err() {
                // Nothing more will be written. What was is given back with the last handle.
                return self.wait_to_close();
            }
        }
    }

    /// Returns when a sync is due; true when the journal is to be closed.
    fn wait_for_work(&self, last_began: Instant) -> bool {
        let within = match self.sync {
            Sync::Always => Duration::ZERO,
            Sync::Gated => SYNC_WITHIN,
            Sync::Interval(interval) => interval,
        };
        let mut due = None;
        let mut rested = false;
        let mut wanted = self.wanted();
        loop {
            let synced = *self.synced.borrow();
            if wanted.closing || wanted.seq > synced {
                return wanted.closing;
            }
            self.idle.store(true, Ordering::SeqCst);
            let dirty = self.appended.load(Ordering::SeqCst) > synced;
            if !dirty {
                wanted = self
                    .wake
                    .wait(wanted)
                    .unwrap_or_else(PoisonError::into_inner);
                self.idle.store(false, Ordering::SeqCst);
                rested = true;
                continue;
            }
            self.idle.store(false, Ordering::SeqCst);
            // After a rest the record came now; otherwise it may have come as the last sync began.
            let now = Instant::now();
            let since = if rested { now } else { last_began };
            let due = *due.get_or_insert(since + within);
            let Some(left) = due.checked_duration_since(now).filter(|d| !d.is_zero()) else {
                return false;
            };
            wanted = self
                .wake
                .wait_timeout(wanted, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Syncs everything appended until now.
    fn commit(&self) -> Result<(), Unwritable> {
        let (file, seq) = {
            let writer = self.writer()?;
            (writer.file(), writer.seq())
        };
        // Outside of the lock: others append meanwhile, and are in the next commit.
        match file.sync() {
            Ok(()) => {
                self.publish_synced(seq);
                Ok(())
            }
            Err(error) => Err(self.fail("a sync", &error)),
        }
    }

    /// The last sync. Under the lock, so that no append comes after it.
    fn finish(&self) {
        let Ok(mut writer) = self.writer() else {
            return;
        };
        match writer.file().sync() {
            Ok(()) => {
                self.publish_synced(writer.seq());
                writer.give_back();
                self.failed.send_replace(Some(Unwritable::closed()));
            }
            Err(error) => {
                self.fail("a sync", &error);
            }
        }
    }

    fn publish_synced(&self, seq: u64) {
        self.synced.send_if_modified(|synced| {
            let is_further = *synced < seq;
            *synced = seq.max(*synced);
            is_further
        });
    }

    fn wait_to_close(&self) {
        let mut wanted = self.wanted();
        while !wanted.closing {
            wanted = self
                .wake
                .wait(wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
