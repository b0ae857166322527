//! The committer: a thread that syncs for all who wait, signs what is on the disk, and breaks a long
//! silence; and what it shares with those who append.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::append::{Change, Writer, lock, with_event};
use super::keep::{Keeper, Signal};
use super::record::Event;
use super::seal::Seal;
use super::writer::{Options, Position, SYNC_WITHIN, Sync, Unwritable};

#[derive(Debug)]
pub(super) struct Shared {
    writer: Mutex<Writer>,
    /// The writer's own; never locked before the writer is, by who holds both.
    seal: Arc<Mutex<Seal>>,
    sync: Sync,
    heartbeat: Duration,
    /// The last record that the kernel has. Stored under the writer's lock.
    appended: AtomicU64,
    /// The committer waits for the next append, with nothing left to do. See `appended_one`.
    idle: AtomicBool,
    /// The last record that the disk has.
    synced: watch::Sender<u64>,
    failed: watch::Sender<Option<Unwritable>>,
    /// The last checkpoint.
    sealed: watch::Sender<Option<Arc<str>>>,
    /// Told when a segment is closed.
    keeper: Arc<Signal>,
    wanted: Mutex<Wanted>,
    wake: Condvar,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Someone waits, or nobody has for long enough.
    Sync,
    /// Nothing was written for a while.
    Beat,
    /// The journal is to be closed.
    Close,
}

/// What the committer is asked for.
#[derive(Debug)]
struct Wanted {
    /// Someone waits for this record.
    seq: u64,
    closing: bool,
}

impl Shared {
    /// Goes on with a log of which everything is on the disk.
    pub(super) fn new(options: &Options, writer: Writer, keeper: Arc<Signal>) -> Self {
        let seal = writer.seal();
        let sealed = lock(&seal).last();
        Self {
            sync: options.sync,
            heartbeat: options.heartbeat,
            appended: AtomicU64::new(writer.seq()),
            idle: AtomicBool::new(false),
            synced: watch::Sender::new(writer.seq()),
            failed: watch::Sender::new(None),
            sealed: watch::Sender::new(sealed),
            keeper,
            seal,
            wanted: Mutex::new(Wanted {
                seq: 0,
                closing: false,
            }),
            wake: Condvar::new(),
            writer: Mutex::new(writer),
        }
    }

    /// Appends a serialised event, unless something failed before.
    pub(super) fn append(&self, event: &[u8], change: Change<'_>) -> Result<Position, Unwritable> {
        let mut writer = self.writer()?;
        let segment = writer.segment();
        // Under the lock, so that `appended` never goes back and a failure stops the next one.
        match writer.append(event, change) {
            Ok(seq) => {
                self.appended.store(seq, Ordering::SeqCst);
                if writer.segment() != segment {
                    self.keeper.want();
                }
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

    pub(super) fn watch_sealed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.sealed.subscribe()
    }

    pub(super) fn watch_failed(&self) -> watch::Receiver<Option<Unwritable>> {
        self.failed.subscribe()
    }

    /// The writer, unless something failed before.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Unwritable> {
        let writer = self.writer.lock();
        // After the lock: what fails is set under it, so nobody appends behind a failed line.
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        writer.map_err(|_| {
            // Remembered as any failure is: whoever waits for the disk, or for the end, hears of it.
            let error = io::Error::other("its thread ended early");
            self.fail("a write", &error)
        })
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

    /// The committer: one sync for all who wait, as often as the mode says. The keeper ends before the
    /// journal is given back.
    pub(super) fn commit_until_closed(&self, keeper: Option<Keeper>) {
        let mut last_began = Instant::now();
        loop {
            let work = self.wait_for_work(last_began);
            let done = match work {
                Work::Close => {
                    // Without the writer's lock: it may be about to append.
                    drop(keeper);
                    return self.finish();
                }
                Work::Sync => {
                    last_began = Instant::now();
                    self.commit()
                }
                Work::Beat => with_event(&Event::Heartbeat {}, |event| {
                    self.append(event, Change::None).map(|_| ())
                }),
            };
            if done.is_err() {
                // Nothing more will be written. What was is given back with the last handle.
                return self.wait_to_close();
            }
        }
    }

    /// Returns when something is due.
    fn wait_for_work(&self, last_began: Instant) -> Work {
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
            if wanted.closing {
                return Work::Close;
            }
            if wanted.seq > synced {
                return Work::Sync;
            }
            self.idle.store(true, Ordering::SeqCst);
            let dirty = self.appended.load(Ordering::SeqCst) > synced;
            if !dirty {
                let timed_out;
                (wanted, timed_out) = self
                    .wake
                    .wait_timeout(wanted, self.heartbeat)
                    .unwrap_or_else(PoisonError::into_inner);
                self.idle.store(false, Ordering::SeqCst);
                rested = true;
                if timed_out.timed_out() && !wanted.closing && self.is_synced() {
                    return Work::Beat;
                }
                continue;
            }
            self.idle.store(false, Ordering::SeqCst);
            // After a rest the record came now; otherwise it may have come as the last sync began.
            let now = Instant::now();
            let since = if rested { now } else { last_began };
            let due = *due.get_or_insert(since + within);
            let Some(left) = due.checked_duration_since(now).filter(|d| !d.is_zero()) else {
                return Work::Sync;
            };
            wanted = self
                .wake
                .wait_timeout(wanted, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn is_synced(&self) -> bool {
        self.appended.load(Ordering::SeqCst) <= self.synced()
    }

    /// Syncs everything appended until now, and signs it.
    pub(super) fn commit(&self) -> Result<(), Unwritable> {
        let now = self.writer()?.snapshot();
        // Outside of the lock: others append meanwhile, and are in the next commit.
        if let Err(error) = now.file.sync() {
            return Err(self.fail("a sync", &error));
        }
        // Those who wait do so for the disk; they go on while this is signed.
        self.publish_synced(now.tree.size());
        let mut seal = lock(&self.seal);
        match seal.seal(now.segment, &now.tree, &now.time) {
            Ok(()) => {
                self.publish_sealed(&seal);
                Ok(())
            }
            Err(error) => Err(self.fail("a checkpoint", &error)),
        }
    }

    /// The last sync. Under the lock, so that no append comes after it.
    fn finish(&self) {
        let Ok(mut writer) = self.writer() else {
            return;
        };
        let now = writer.snapshot();
        if let Err(error) = now.file.sync() {
            self.fail("a sync", &error);
            return;
        }
        self.publish_synced(now.tree.size());
        let mut seal = lock(&self.seal);
        let sealed = seal.seal(now.segment, &now.tree, &now.time);
        if let Err(error) = sealed.and_then(|()| seal.sync()) {
            self.fail("a checkpoint", &error);
            return;
        }
        self.publish_sealed(&seal);
        writer.give_back();
        self.failed.send_replace(Some(Unwritable::closed()));
    }

    fn publish_synced(&self, seq: u64) {
        self.synced.send_if_modified(|synced| {
            let is_further = *synced < seq;
            *synced = seq.max(*synced);
            is_further
        });
    }

    fn publish_sealed(&self, seal: &Seal) {
        // A segment that was just begun has none: the last one is that of the segment before.
        if let Some(last) = seal.last() {
            self.sealed.send_replace(Some(last));
        }
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
