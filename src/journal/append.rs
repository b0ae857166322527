//! Putting the next line at the end of the log, and beginning a segment where one is full or old.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::bound;
use super::keys;
use super::line::{self, MAX_LINE};
use super::merkle::{self, Tree};
use super::note::Signer;
use super::record::{CallId, Event, SegmentClosed, SegmentOpened};
use super::seal::{Found, Seal};
use super::storage::{Lock, LogFile, Name, Storage, write_all};
use super::writer::{Options, Unwritable};
use crate::clock::rfc3339;
use crate::digest::Digest;

/// 9999-12-30T22:00:00Z, the last hour that is in range in every time zone: a clock beyond it must
/// not break the log.
const LAST_TIME: Duration = Duration::from_secs(253_402_207_200);

/// Where the log ends: what the next line needs to know.
#[derive(Debug)]
pub(super) struct End {
    /// The lines of the open segment.
    pub(super) file: Arc<dyn LogFile>,
    /// Its first record.
    pub(super) segment: u64,
    /// When that was written.
    pub(super) opened: Duration,
    /// Bytes in it.
    pub(super) bytes: u64,
    /// The last line as a leaf.
    pub(super) prev: Digest,
    /// All lines; its size is the last record's number.
    pub(super) tree: Tree,
    /// Calls that have begun and not ended, in the order of their intents.
    pub(super) begun: Vec<CallId>,
}

/// What a checkpoint is made of, and what it has to wait for.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) file: Arc<dyn LogFile>,
    pub(super) segment: u64,
    pub(super) tree: Tree,
    /// The time of the last record.
    pub(super) time: String,
}

/// What is needed to put the next line at the end.
#[derive(Debug)]
pub(super) struct Writer {
    end: End,
    /// `end.prev`, in digits.
    prev: [u8; 64],
    storage: Arc<dyn Storage>,
    options: Options,
    /// Signs; locked by the committer as well, which never holds both this and the writer.
    seal: Arc<Mutex<Seal>>,
    buffer: Vec<u8>,
    /// The last time that was written and its text: most lines share their millisecond with another.
    time: (Duration, String),
    lock: Option<Box<dyn Lock>>,
}

impl Writer {
    /// Goes on where the log ends.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        options: Options,
        end: End,
        seal: Seal,
        lock: Box<dyn Lock>,
    ) -> Self {
        Self {
            prev: line::hex(&end.prev),
            end,
            storage,
            options,
            seal: Arc::new(Mutex::new(seal)),
            buffer: Vec::with_capacity(4096),
            time: (Duration::MAX, String::new()),
            lock: Some(lock),
        }
    }

    /// Begins a segment at the end of a log whose last one is closed, or which has none.
    pub(super) fn begin(
        storage: Arc<dyn Storage>,
        options: Options,
        end: Ended,
        signer: Signer,
        lock: Box<dyn Lock>,
    ) -> io::Result<Self> {
        let first = end.tree.size() + 1;
        let (file, checkpoints) = files(&*storage, first)?;
        let seal = Seal::new(
            Arc::clone(&storage),
            signer,
            first,
            checkpoints,
            Found::default(),
        );
        let end = End {
            file,
            segment: first,
            opened: Duration::ZERO,
            bytes: 0,
            prev: end.prev,
            tree: end.tree,
            begun: end.begun,
        };
        let mut writer = Self::new(storage, options, end, seal, lock);
        writer.set_time();
        writer.open_segment()?;
        // All that there is counts as being on the disk from here on.
        writer.end.file.sync()?;
        Ok(writer)
    }

    pub(super) fn seal(&self) -> Arc<Mutex<Seal>> {
        Arc::clone(&self.seal)
    }

    /// The last record.
    pub(super) const fn seq(&self) -> u64 {
        self.end.tree.size()
    }

    /// What is there now: with its file synced, everything is on the disk.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            file: Arc::clone(&self.end.file),
            segment: self.end.segment,
            tree: self.end.tree.clone(),
            time: self.time.1.clone(),
        }
    }

    /// The first record of the open segment.
    pub(super) const fn segment(&self) -> u64 {
        self.end.segment
    }

    /// Lets the next process in.
    pub(super) fn give_back(&mut self) {
        self.lock = None;
    }

    pub(super) fn append(&mut self, event: &[u8], change: Change<'_>) -> io::Result<u64> {
        self.set_time();
        if self.is_full((event.len() + line::HEAD_ROOM) as u64) || self.is_old() {
            self.rotate()?;
        }
        self.put(event)?;
        change.apply(&mut self.end.begun);
        Ok(self.seq())
    }

    /// Whether so many more bytes are too many. A segment has one record besides its first at least.
    fn is_full(&self, more: u64) -> bool {
        self.seq() > self.end.segment && self.end.bytes + more > self.options.segment_bytes
    }

    /// Whether its key has signed for long enough. A clock that was set back makes it young again.
    fn is_old(&self) -> bool {
        self.seq() > self.end.segment
            && self.time.0.saturating_sub(self.end.opened) >= self.options.segment_age
    }

    fn put(&mut self, event: &[u8]) -> io::Result<()> {
        let seq = self.seq() + 1;
        line::assemble(seq, &self.time.1, &self.prev, event, &mut self.buffer);
        write_all(&*self.end.file, &self.buffer)?;
        let line = self.buffer.strip_suffix(b"\n").unwrap_or(&self.buffer);
        self.end.prev = merkle::leaf(line);
        self.prev = line::hex(&self.end.prev);
        self.end.bytes += self.buffer.len() as u64;
        self.end.tree.push(self.end.prev);
        Ok(())
    }

    /// Closes the segment and begins the next. Everyone waits for these syncs, once in 64 MiB.
    ///
    /// INVARIANT: the order. At each point there is, on the disk, a key that the last whole record
    /// names, and the old key is destroyed only once all that it had to sign is signed: first the next
    /// key, then the record that names it, the old key's checkpoint of that record, the next key in the
    /// place of the old one, the new segment. So only the last segment can ever be torn. `open` goes on
    /// from each of these points.
    fn rotate(&mut self) -> io::Result<()> {
        let origin = lock(&self.seal).origin().to_owned();
        let next = keys::generate(&origin, &*self.options.entropy)?;
        keys::keep(&*self.storage, Name::NextKey, &next)?;
        self.put_own(&Event::SegmentClosed(SegmentClosed {
            next: next.verifier().to_string(),
        }))?;
        self.end.file.sync()?;
        lock(&self.seal).close(&self.end.tree, &self.time.1)?;
        keys::hand_over(&*self.storage)?;
        let first = self.seq() + 1;
        let (file, checkpoints) = files(&*self.storage, first)?;
        let storage = Arc::clone(&self.storage);
        // The old key is wiped as it is dropped.
        *lock(&self.seal) = Seal::new(storage, next, first, checkpoints, Found::default());
        self.end.file = file;
        self.end.segment = first;
        self.end.bytes = 0;
        self.open_segment()
    }

    fn open_segment(&mut self) -> io::Result<()> {
        let (origin, key) = {
            let seal = lock(&self.seal);
            (seal.origin().to_owned(), seal.key().to_string())
        };
        self.end.opened = self.time.0;
        self.put_own(&Event::SegmentOpened(SegmentOpened {
            origin,
            key,
            size: self.seq(),
            peaks: self.end.tree.peaks().to_vec(),
            calls: self.end.begun.clone(),
        }))
    }

    fn put_own(&mut self, event: &Event) -> io::Result<()> {
        let mut text = Vec::new();
        line::write_event(&bound::bounded(event), &mut text)?;
        self.put(&text)
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

/// Where a log ends whose last segment is closed.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) prev: Digest,
    pub(super) tree: Tree,
    pub(super) begun: Vec<CallId>,
}

/// The lock on what signs. It is not poisoned: what panics within leaves at worst a checkpoint out.
pub(super) fn lock(seal: &Mutex<Seal>) -> MutexGuard<'_, Seal> {
    seal.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of a new segment. That of the checkpoints comes first, so that there are no lines without it.
fn files(storage: &dyn Storage, first: u64) -> io::Result<(Arc<dyn LogFile>, Arc<dyn LogFile>)> {
    let made = |name| match storage.create(name) {
        // Of a host that died here.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => storage.open(name),
        other => other,
    };
    let checkpoints = made(Name::Checkpoints(first))?;
    let lines = made(Name::Lines(first))?;
    storage.sync_names()?;
    Ok((lines, checkpoints))
}

/// What a record says about the calls that are under way.
#[derive(Debug, Clone, Copy)]
pub(super) enum Change<'a> {
    Begins(CallId),
    Ends(CallId),
    /// What these calls did is not known, and they are not run again.
    Recovered(&'a [CallId]),
    /// A host started or stopped: what was under way before was recovered then.
    All,
    None,
}

impl<'a> Change<'a> {
    pub(super) fn of(event: &'a Event) -> Self {
        match event {
            Event::Intent(intent) => Self::Begins(intent.call),
            Event::Outcome(outcome) => Self::Ends(outcome.call),
            // A host call refused is a part of the call; the call itself refused is its end.
            Event::Refusal(refused) if refused.host_call.is_none() => Self::Ends(refused.call),
            Event::Recovered(recovered) => Self::Recovered(&recovered.unknown),
            Event::Started(_) | Event::Stopped {} => Self::All,
            _ => Self::None,
        }
    }

    pub(super) fn apply(self, begun: &mut Vec<CallId>) {
        match self {
            Self::Begins(call) => begun.push(call),
            Self::Ends(call) => begun.retain(|begun| *begun != call),
            Self::Recovered(calls) => begun.retain(|begun| !calls.contains(begun)),
            Self::All => begun.clear(),
            Self::None => {}
        }
    }
}

/// Serialises outside of any lock, in memory that the thread keeps.
pub(super) fn with_event<T>(
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
