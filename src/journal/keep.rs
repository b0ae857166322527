//! What becomes of closed segments: their leaves beside them, compression, and removal of the oldest.
//!
//! A thread of its own does this after each rotation and at each start, at low priority. It touches
//! nothing but closed segments, and what it fails at it tries again the next time: the journal goes
//! on. Lines are removed only where the same lines stand compressed beside them, read back and
//! compared, or where retention says so; and that is recorded first.
//!
//! Retention removes lines, never what proofs need: the leaves, the checkpoints, and the first and
//! the last line, which hand trust from key to key. Oldest first, so that a missing line in the
//! middle is never explained by it.

mod thread;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::line::Head;
use super::merkle;
use super::note::Note;
use super::record::{Changed, Event};
use super::scan::{Lines, Next};
use super::seal::Notes;
use super::storage::{LogFile, Name, Storage, get, if_there, put, unpacked, write_all};
use super::survey::{opened_by, since_epoch};
use crate::clock::SharedClock;
use crate::digest::Digest;

pub(super) use self::thread::{Keeper, Signal};

/// What a record says that the lines of a segment are removed; its subject is the first record of it.
pub(super) const PRUNED: &str = "journal.pruned";

/// What becomes of closed segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Whether they are compressed.
    pub compress: bool,
    /// The oldest are removed while all that is kept has more bytes on the disk than this.
    pub bytes: Option<u64>,
    /// They are removed once their last record is older than this.
    pub age: Option<Duration>,
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            compress: true,
            bytes: None,
            age: None,
        }
    }
}

/// Lines of closed segments, and what became of them.
#[derive(Debug)]
pub(super) struct Tidy {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) keep: Keep,
    pub(super) clock: SharedClock,
    /// Work is given up as soon as this is set.
    pub(super) stop: Arc<AtomicBool>,
}

impl Tidy {
    /// Does what there is to do; `record` returns once an event is on the disk.
    pub(super) fn run(&self, record: &dyn Fn(&Event) -> io::Result<()>) -> io::Result<()> {
        // What is done to one segment changes nothing of another.
        let names = self.storage.names()?;
        for first in self.closed()? {
            self.go_on()?;
            if !names.contains(&Name::Hashes(first)) && !self.keep_hashes(first)? {
                continue;
            }
            if self.keep.compress && names.contains(&Name::Lines(first)) {
                self.pack(first)?;
            }
        }
        self.prune(record)
    }

    /// The closed segments whose lines are there, oldest first: all but the last.
    fn closed(&self) -> io::Result<Vec<u64>> {
        let mut segments = self.storage.list()?;
        segments.pop();
        Ok(segments)
    }

    fn go_on(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("the host ends"));
        }
        Ok(())
    }

    /// Writes the leaves of a closed segment, where they are those that were signed.
    fn keep_hashes(&self, first: u64) -> io::Result<bool> {
        let mut leaves = Vec::new();
        let mut tree = None;
        let mut lines = Lines::new(self.storage.read(first, 0)?);
        while let Next::Line(line) = lines.next()? {
            if leaves.len().is_multiple_of(32 * 1024) {
                self.go_on()?;
            }
            let leaf = merkle::leaf(line);
            if tree.is_none() {
                let record = Head::read(line).and_then(|head| head.record());
                tree = record.ok().and_then(|record| match record.event {
                    Event::SegmentOpened(opened) => opened_by(&opened, first).ok(),
                    _ => None,
                });
            }
            if let Some((_, tree)) = &mut tree {
                tree.push(leaf);
            }
            leaves.extend_from_slice(leaf.as_bytes());
        }
        let signed = self.last_signed(first)?;
        let is_signed = tree.is_some_and(|(_, tree)| signed == Some((tree.size(), tree.root())));
        if is_signed {
            put(&*self.storage, Name::Hashes(first), |file| {
                write_all(file, &leaves)
            })?;
        } else {
            tracing::error!(
                file = %Name::Lines(first),
                "a closed segment of the journal is not what was signed, and is left as it is; `tollgate audit verify` looks at all of it"
            );
        }
        Ok(is_signed)
    }

    /// What the last checkpoint of a segment claims.
    fn last_signed(&self, first: u64) -> io::Result<Option<(u64, Digest)>> {
        /// A closed segment has one a minute.
        const MOST: u64 = 16 << 20;
        let bytes = get(&*self.storage, Name::Checkpoints(first), MOST)?.unwrap_or_default();
        let mut notes = Notes::default();
        let lines = bytes.split_inclusive(|b| *b == b'\n');
        let last = lines.filter_map(|line| notes.take(line)).last();
        let last = last.and_then(|(_, note)| Note::parse(&note).ok()?.unverified().ok());
        Ok(last.map(|checkpoint| (checkpoint.size, checkpoint.root)))
    }

    /// Compresses the lines of a closed segment, whose leaves are kept.
    fn pack(&self, first: u64) -> io::Result<()> {
        let storage = &*self.storage;
        let mut lines = storage.reader(Name::Lines(first), 0)?;
        put(storage, Name::Packed(first), |file| {
            let mut packed = GzEncoder::new(Sink(file), Compression::default());
            let mut buffer = vec![0; 128 << 10];
            loop {
                self.go_on()?;
                match lines.read(&mut buffer)? {
                    0 => break,
                    read => packed.write_all(buffer.get(..read).unwrap_or_default())?,
                }
            }
            packed.finish().map(|_| ())
        })?;
        // What is about to be the only copy is read back.
        let packed = unpacked(storage.reader(Name::Packed(first), 0)?);
        if !self.are_leaves(first, packed)? {
            storage.remove(Name::Packed(first))?;
            storage.sync_names()?;
            return Err(io::Error::other(format!(
                "`{}` does not read back as it was written",
                Name::Packed(first)
            )));
        }
        storage.remove(Name::Lines(first))?;
        storage.sync_names()
    }

    /// Whether the lines are those whose leaves are kept.
    fn are_leaves(&self, first: u64, lines: Box<dyn Read + Send>) -> io::Result<bool> {
        let hashes = self.storage.reader(Name::Hashes(first), 0)?;
        let mut hashes = io::BufReader::new(hashes);
        let mut lines = Lines::new(lines);
        let mut hash = [0; 32];
        loop {
            match lines.next()? {
                Next::Line(line) => {
                    hashes.read_exact(&mut hash)?;
                    if *merkle::leaf(line).as_bytes() != hash {
                        return Ok(false);
                    }
                }
                Next::End => return Ok(hashes.read(&mut hash)? == 0),
                Next::Partial(_) | Next::TooLong => return Ok(false),
            }
        }
    }

    /// Removes the lines of the oldest segments, as far as is wanted.
    fn prune(&self, record: &dyn Fn(&Event) -> io::Result<()>) -> io::Result<()> {
        if self.keep.bytes.is_none() && self.keep.age.is_none() {
            return Ok(());
        }
        let segments = self.storage.list()?;
        let mut bytes = 0;
        for &first in &segments {
            bytes += self.bytes_of(first)?;
        }
        let now = self.clock.now();
        for pair in segments.windows(2) {
            let &[first, next] = pair else { break };
            self.go_on()?;
            let is_too_much = self.keep.bytes.is_some_and(|most| bytes > most);
            let is_too_old = match self.keep.age {
                // The first record after it: what is in it is older.
                Some(age) => now.saturating_sub(self.began(next)?) > age,
                None => false,
            };
            let names = self.storage.names()?;
            // Without its leaves it is not what was signed: it is kept for whoever looks into that.
            if !(is_too_much || is_too_old) || !names.contains(&Name::Hashes(first)) {
                break;
            }
            let of_it = self.bytes_of(first)?;
            let why = if is_too_much { "keep_size" } else { "keep_age" };
            self.remove(first, next - 1, why, record)?;
            bytes -= of_it;
        }
        Ok(())
    }

    /// Bytes of a segment's lines on the disk.
    fn bytes_of(&self, first: u64) -> io::Result<u64> {
        match self.storage.size(Name::Lines(first)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.storage.size(Name::Packed(first))
            }
            other => other,
        }
    }

    /// When the first record of a segment was written; now, where it can't be read.
    fn began(&self, first: u64) -> io::Result<Duration> {
        let mut lines = Lines::new(self.storage.read(first, 0)?);
        Ok(match lines.next()? {
            Next::Line(line) => Head::read(line).map(|head| since_epoch(head.time)).ok(),
            _ => None,
        }
        .unwrap_or_else(|| self.clock.now()))
    }

    fn remove(
        &self,
        first: u64,
        last: u64,
        why: &str,
        record: &dyn Fn(&Event) -> io::Result<()>,
    ) -> io::Result<()> {
        let storage = &*self.storage;
        let mut ends = Vec::new();
        let mut last_line = Vec::new();
        let mut lines = Lines::new(storage.read(first, 0)?);
        while let Next::Line(line) = lines.next()? {
            if ends.is_empty() {
                ends.extend_from_slice(line);
                ends.push(b'\n');
            } else {
                last_line.clear();
                last_line.extend_from_slice(line);
            }
        }
        last_line.push(b'\n');
        ends.append(&mut last_line);
        put(storage, Name::Ends(first), |file| write_all(file, &ends))?;
        record(&Event::Changed(Changed {
            change: PRUNED.to_owned(),
            subject: Some(first.to_string()),
            detail: Some(format!(
                "the lines of records {first} to {last} are removed, by `{why}`; their digests stay"
            )),
            ..Changed::default()
        }))?;
        for name in [Name::Lines(first), Name::Packed(first)] {
            if_there(storage.remove(name))?;
        }
        storage.sync_names()
    }
}

/// A file as something to write to.
struct Sink<'a>(&'a dyn LogFile);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
