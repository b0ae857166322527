//! Appending, and waiting for the disk.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::line::{self, MAX_LINE};
use super::record::Event;
use super::storage::{Lock, LogFile, Storage};
use super::{bound, open};
use crate::clock::{SharedClock, rfc3339};
use crate::digest::Digest;
use crate::reason::{Reason, Refusal};

/// Within this, a record is on the disk although nobody waits for it.
///
/// Short enough that a loss of power takes a few outcomes at most; long enough that an idle disk
/// may sleep and a busy one does ten commits a second on this account.
pub const SYNC_WITHIN: Duration = Duration::from_millis(100);

/// 9999-12-30T22:00:00Z, the last hour that is in range in every time zone: a clock beyond it must
/// not break the log.
const LAST_TIME: Duration = Duration::from_secs(253_402_207_200);

/// How eagerly the disk is asked; argued in the documentation of [the journal](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Effects wait for their intent, and replies for everything.
    Always,
    /// Effects wait for their intent.
    #[default]
    Gated,
    /// Nothing waits; the disk is asked this often.
    Interval(Duration),
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where records take their time from.
    pub clock: SharedClock,
    /// How eagerly the disk is asked.
    pub sync: Sync,
    /// A segment that would grow beyond this is followed by a new one.
    pub segment_bytes: u64,
}

impl Options {
    /// The defaults: effects wait for the disk, 64 MiB in a segment.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            sync: Sync::default(),
            // About 60,000 records: what `grep` and an upload take at once, and a start reads in
            // well under a second.
            segment_bytes: 64 << 20,
        }
    }
}

/// The journal can't be written, so nothing may be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal can't be written: {cause}")]
pub struct Unwritable {
    cause: Arc<str>,
}

impl Unwritable {
    fn new(cause: impl Into<Arc<str>>) -> Self {
        Self {
            cause: cause.into(),
        }
    }

    fn closed() -> Self {
        Self::new("it was closed")
    }
}

impl From<Unwritable> for Refusal {
    fn from(unwritable: Unwritable) -> Self {
        Self::new(
            Reason::JournalUnavailable,
            "the host can't write its journal, so it does nothing",
        )
        .with_detail(unwritable.to_string())
    }
}

/// A record's place: what to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(super) u64);

impl Position {
    /// The record's number.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0
    }
}

/// A handle on the open journal. All clones write to the same one; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

/// Where the log ends: what the next line needs to know.
#[derive(Debug)]
pub(super) struct End {
    pub(super) file: Arc<dyn LogFile>,
    pub(super) bytes: u64,
    pub(super) seq: u64,
    pub(super) prev: Digest,
}

impl Journal {
    /// Opens the journal in `directory`, after making it where there is none.
    ///
    /// # Errors
    ///
    /// Another process has it open, the file system fails, or the log is not what was once written:
    /// the error names the file and line, and nothing is changed.
    pub fn open(
        directory: impl Into<std::path::PathBuf>,
        options: Options,
    ) -> Result<(Self, open::Recovery), open::OpenError> {
        Self::open_in(Arc::new(super::storage::Disk::new(directory)), options)
    }

    /// As [`Journal::open`], in other storage.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_in(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Self, open::Recovery), open::OpenError> {
        open::open(storage, options)
    }

    pub(super) fn start(
        storage: Arc<dyn Storage>,
        options: Options,
        end: End,
        lock: Box<dyn Lock>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            appended: AtomicU64::new(end.seq),
            idle: AtomicBool::new(false),
            synced: watch::Sender::new(end.seq),
            failed: watch::Sender::new(None),
            wanted: Mutex::new(Wanted {
                seq: 0,
                closing: false,
            }),
            wake: Condvar::new(),
            writer: Mutex::new(Writer {
                prev: line::hex(&end.prev),
                end,
                storage,
                options: options.clone(),
                buffer: Vec::with_capacity(4096),
                time: (Duration::MAX, String::new()),
                lock: Some(lock),
            }),
            sync: options.sync,
        });
        let committer = std::thread::Builder::new()
            .name(String::from("journal"))
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.commit_until_closed()
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                committer: Mutex::new(Some(committer)),
            }),
        })
    }

    /// Appends a record. When this returns, the death of the process no longer loses it.
    ///
    /// # Errors
    ///
    /// It can't be written now, or something could not be before; then nothing may be done.
    pub fn append(&self, event: &Event) -> Result<Position, Unwritable> {
        let shared = &self.handle.shared;
        let position = with_event(event, |event| {
            let mut writer = shared.writer()?;
            let written = writer.append(event);
            // Under the lock, so that `appended` never goes back and a failure stops the next one.
            match written {
                Ok(seq) => {
                    shared.appended.store(seq, Ordering::SeqCst);
                    Ok(Position(seq))
                }
                Err(error) => Err(shared.fail("a write", &error)),
            }
        })?;
        shared.appended_one();
        Ok(position)
    }

    /// Waits until the record is on the disk, together with everyone else who waits. The disk is
    /// asked at once, not when the future is first polled.
    ///
    /// # Errors
    ///
    /// The disk failed: whether the record is on it is not known, so nothing may be done.
    pub fn durable(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let waits = !matches!(self.handle.shared.sync, Sync::Interval(_));
        self.wait(position, waits)
    }

    /// What a reply waits for before it goes out: the disk under [`Sync::Always`], nothing otherwise.
    ///
    /// # Errors
    ///
    /// As [`Journal::durable`].
    pub fn settled(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let waits = self.handle.shared.sync == Sync::Always;
        self.wait(position, waits)
    }

    fn wait(
        &self,
        Position(seq): Position,
        waits: bool,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let shared = &self.handle.shared;
        let is_synced = *shared.synced.borrow() >= seq;
        // What is on the disk stays there, whatever failed since.
        let failure = if is_synced { None } else { shared.failure() };
        let waiting = (waits && failure.is_none() && !is_synced).then(|| {
            let waiting = (shared.synced.subscribe(), shared.failed.subscribe());
            shared.want(seq);
            waiting
        });
        async move {
            if let Some(failure) = failure {
                return Err(failure);
            }
            let Some((mut synced, mut failed)) = waiting else {
                return Ok(());
            };
            tokio::select! {
                // A record that is on the disk is, although a later one failed.
                biased;
                done = synced.wait_for(|synced| *synced >= seq) => {
                    done.map(|_| ()).map_err(|_| Unwritable::closed())
                }
                failed = failed.wait_for(Option::is_some) => {
                    Err(failed.ok().and_then(|f| f.clone()).unwrap_or_else(Unwritable::closed))
                }
            }
        }
    }

    /// Whether nothing has failed so far.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.handle.shared.failed.borrow().is_none()
    }

    /// Becomes `Some` once the journal can't be written any more, or was closed: the host then
    /// stops serving.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Unwritable>> {
        self.handle.shared.failed.subscribe()
    }

    /// Syncs what was appended, and gives the journal back. Later appends fail.
    ///
    /// # Errors
    ///
    /// The disk failed, now or before.
    pub async fn close(&self) -> Result<(), Unwritable> {
        let shared = &self.handle.shared;
        if let Some(failure) = shared.failure() {
            return if failure == Unwritable::closed() {
                Ok(())
            } else {
                Err(failure)
            };
        }
        let mut failed = shared.failed.subscribe();
        shared.begin_close();
        let ended = failed.wait_for(Option::is_some).await;
        match ended.ok().and_then(|failure| failure.clone()) {
            Some(failure) if failure != Unwritable::closed() => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Ends the thread with the last handle.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_close();
        let committer = self
            .committer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(committer) = committer.take() {
            // At most one sync; and whoever opens the journal next finds it given back.
            let _ = committer.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
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
    /// The writer, unless something failed before.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>, Unwritable> {
        let writer = self
            .writer
            .lock()
            .map_err(|_| Unwritable::new("a thread ended while it wrote"))?;
        // After the lock: what fails is set under it, so nobody appends behind a failed line.
        self.failure().map_or(Ok(writer), Err)
    }

    fn failure(&self) -> Option<Unwritable> {
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

    fn want(&self, seq: u64) {
        let mut wanted = self.wanted();
        if wanted.seq < seq {
            wanted.seq = seq;
            self.wake.notify_one();
        }
    }

    /// Wakes a committer that has nothing to do. One that has finds the record by itself.
    fn appended_one(&self) {
        // `appended` is stored before `idle` is read here; the committer sets `idle` before it reads
        // `appended`. One of the two sees the other, in the one order that all such operations have.
        if self.idle.load(Ordering::SeqCst) {
            let _wanted = self.wanted();
            self.wake.notify_one();
        }
    }

    fn begin_close(&self) {
        self.wanted().closing = true;
        self.wake.notify_one();
    }

    /// The committer: one sync for all who wait, as often as the mode says.
    fn commit_until_closed(&self) {
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
            (Arc::clone(&writer.end.file), writer.end.seq)
        };
        // Outside of the lock: others append meanwhile, and are in the next commit.
        match file.sync() {
            Ok(()) => {
                self.synced.send_if_modified(|synced| {
                    let further = *synced < seq;
                    *synced = seq.max(*synced);
                    further
                });
                Ok(())
            }
            Err(error) => Err(self.fail("a sync", &error)),
        }
    }

    fn finish(&self) {
        if let Ok(mut writer) = self.writer() {
            // Under the lock, so that no append comes after the last sync.
            match writer.end.file.sync() {
                Ok(()) => {
                    let seq = writer.end.seq;
                    self.synced.send_if_modified(|synced| {
                        let further = *synced < seq;
                        *synced = seq;
                        further
                    });
                    writer.lock = None;
                    self.failed.send_replace(Some(Unwritable::closed()));
                }
                Err(error) => {
                    self.fail("a sync", &error);
                }
            }
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

/// What is needed to put the next line at the end.
#[derive(Debug)]
struct Writer {
    end: End,
    /// `end.prev`, in digits.
    prev: [u8; 64],
    storage: Arc<dyn Storage>,
    options: Options,
    buffer: Vec<u8>,
    /// The last time that was written and its text: most lines share their millisecond with another.
    time: (Duration, String),
    lock: Option<Box<dyn Lock>>,
}

impl Writer {
    fn append(&mut self, event: &[u8]) -> io::Result<u64> {
        self.set_time();
        let seq = self.end.seq + 1;
        line::assemble(seq, &self.time.1, &self.prev, event, &mut self.buffer);
        let bytes = self.buffer.len() as u64;
        if self.end.bytes > 0 && self.end.bytes + bytes > self.options.segment_bytes {
            self.next_segment(seq)?;
        }
        write_all(&*self.end.file, &self.buffer)?;
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        self.end.prev = Digest::from_bytes(Sha256::digest(line).into());
        self.prev = line::hex(&self.end.prev);
        self.end.seq = seq;
        self.end.bytes += bytes;
        Ok(seq)
    }

    /// The old segment is synced before the new one is made, so that only the last one can ever be
    /// torn. Everyone waits for that sync, once in 64 MiB.
    fn next_segment(&mut self, first: u64) -> io::Result<()> {
        self.end.file.sync()?;
        self.end.file = self.storage.create(first)?;
        self.end.bytes = 0;
        Ok(())
    }

    fn set_time(&mut self) {
        let now = self.options.clock.now().min(LAST_TIME);
        let now =
            Duration::from_secs(now.as_secs()) + Duration::from_millis(now.subsec_millis().into());
        if self.time.0 != now {
            self.time = (now, rfc3339(now));
        }
    }
}

/// One `write(2)`, unless the kernel takes less than it was given.
fn write_all(file: &dyn LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Serialises outside of any lock, in memory that the thread keeps.
fn with_event<T>(
    event: &Event,
    then: impl FnOnce(&[u8]) -> Result<T, Unwritable>,
) -> Result<T, Unwritable> {
    /// What a thread keeps from one record to the next; larger ones are rare.
    const KEPT: usize = 16 << 10;
    thread_local! {
        static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let mut buffer = BUFFER.with(RefCell::take);
    buffer.clear();
    let written = match line::write_event(event, &mut buffer) {
        Ok(()) if buffer.len() + line::HEAD_ROOM <= MAX_LINE => Ok(()),
        Ok(()) => {
            buffer.clear();
            line::write_event(&bound::bounded(event), &mut buffer)
        }
        Err(error) => Err(error),
    };
    let result = match written {
        Ok(()) if buffer.len() + line::HEAD_ROOM <= MAX_LINE => then(&buffer),
        // Only this record is refused; nothing was written, so the next one can be.
        Ok(()) => Err(Unwritable::new("a record is too large")),
        Err(error) => Err(Unwritable::new(format!("a record has no text: {error}"))),
    };
    buffer.shrink_to(KEPT);
    BUFFER.with(|kept| kept.replace(buffer));
    result
}
