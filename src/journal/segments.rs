//! The segments, read as blocks of whole lines: newest first and on all cores where something is looked
//! for, in order where records are handed on.
//!
//! The one place that knows how a segment's bytes are come by. It goes through [`Storage`], so
//! segments that are kept in another form are read in whichever way that reads them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use super::line::{BadLine, Head, MAX_LINE};
use super::read::{ReadError, failed};
use super::storage::{Disk, Storage, segment_name};

/// Bytes that are read and searched at once: they stay in the nearer caches of a core, and one call of the
/// kernel for each of them costs nothing beside the search.
const BLOCK: usize = 512 << 10;

/// Threads beyond which only the disk is kept busier.
const MOST_THREADS: usize = 8;

/// The segments of a journal, as they are now.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Disk,
    /// Their first records' numbers, ascending.
    firsts: Vec<u64>,
}

/// A block of whole lines, each with its newline.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) lines: &'a [u8],
    /// The segment.
    pub(super) first: u64,
    /// Where the block starts in it.
    start: u64,
}

impl Segments {
    pub(super) fn list(directory: &Path) -> Result<Self, ReadError> {
        let disk = Disk::new(directory);
        let firsts = disk
            .list()
            .map_err(failed(directory.display().to_string()))?;
        Ok(Self { disk, firsts })
    }

    pub(super) const fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Their first records' numbers, ascending.
    pub(super) fn firsts(&self) -> &[u64] {
        &self.firsts
    }

    /// The place of the last segment that began at `time` or before; where none did, of the first.
    pub(super) fn before(&self, time: &str) -> Result<usize, ReadError> {
        let mut place = self.firsts.len();
        while let Some(first) = place.checked_sub(1).and_then(|at| self.firsts.get(at)) {
            place -= 1;
            if self.began(*first)?.is_some_and(|began| *began <= *time) {
                break;
            }
        }
        Ok(place)
    }

    /// When the first record of a segment was written; nothing where it has none yet.
    pub(super) fn began(&self, first: u64) -> Result<Option<String>, ReadError> {
        let mut began = None;
        self.blocks(first, &|| true, |block| {
            let line = block.lines.split(|byte| *byte == b'\n').next();
            let head = Head::read(line.unwrap_or_default());
            began = Some(head.map_err(|why| block.bad(self, 0, why))?.time.to_owned());
            Ok(ControlFlow::Break(()))
        })?;
        Ok(began)
    }

    /// Hands on the blocks of a segment, in order. A line without an end in the last segment is being
    /// written, and left out.
    pub(super) fn blocks(
        &self,
        first: u64,
        goes_on: &dyn Fn() -> bool,
        mut each: impl FnMut(Block<'_>) -> Result<ControlFlow<()>, ReadError>,
    ) -> Result<(), ReadError> {
        let mut source = match self.disk.read(first, 0) {
            Ok(source) => source,
            // Its time was over, and it was removed meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(name(first))(error)),
        };
        let mut buffer = vec![0; BLOCK];
        let (mut filled, mut start) = (0, 0_u64);
        loop {
            if !goes_on() {
                return Ok(());
            }
            let read = fill(&mut source, &mut buffer, filled).map_err(failed(name(first)))?;
            let is_end = read == filled;
            filled = read;
            let bytes = buffer.get(..filled).unwrap_or_default();
            let whole = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
            let (lines, rest) = bytes.split_at_checked(whole).unwrap_or_default();
            let block = Block {
                lines,
                first,
                start,
            };
            if !lines.is_empty() && each(block)?.is_break() {
                return Ok(());
            }
            let rest = rest.len();
            if rest > MAX_LINE {
                let why = BadLine(String::from("longer than a record can be"));
                return Err(block.bad(self, whole, why));
            }
            if is_end {
                let is_last = self.firsts.last() == Some(&first);
                if rest == 0 || is_last {
                    return Ok(());
                }
                let why = BadLine(String::from("the line has no end"));
                return Err(block.bad(self, whole, why));
            }
            buffer.copy_within(whole..filled, 0);
            start += whole as u64;
            // At most as long as a line, which is half of the buffer.
            filled = rest;
        }
    }

    /// Does `work` on segments by their places, from the last of `places` to the first, on all cores, and
    /// hands what it gives to `take` in that order, until it says that it is enough. `work` asks its last
    /// argument from time to time whether anyone still waits.
    pub(super) fn newest_first<T: Send>(
        &self,
        places: std::ops::Range<usize>,
        work: impl Fn(u64, &dyn Fn() -> bool) -> Result<T, ReadError> + Sync,
        mut take: impl FnMut(u64, T) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let firsts = self.firsts.get(places).unwrap_or(&[]);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.min(MOST_THREADS).min(firsts.len());
        let next = AtomicUsize::new(0);
        let enough = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (sender, done) = mpsc::channel();
            for _ in 0..threads {
                let (sender, work, next, enough) = (sender.clone(), &work, &next, &enough);
                scope.spawn(move || {
                    let goes_on = || !enough.load(Ordering::Relaxed);
                    while goes_on() {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        let Some(first) = firsts.iter().rev().nth(turn) else {
                            break;
                        };
                        if sender.send((turn, *first, work(*first, &goes_on))).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(sender);
            let ended = in_order(done, |first, result: Result<T, ReadError>| match result {
                Ok(found) => Ok(take(first, found)),
                Err(error) => Err(error),
            });
            enough.store(true, Ordering::Relaxed);
            ended
        })
    }

    /// The number of the line that starts at byte `at` of a segment; only ever asked for an error.
    fn line_at(&self, first: u64, at: u64) -> u64 {
        let Ok(source) = self.disk.read(first, 0) else {
            return 0;
        };
        let mut source = source.take(at);
        let (mut lines, mut buffer) = (1, vec![0; BLOCK]);
        while let Ok(read @ 1..) = source.read(&mut buffer) {
            let bytes = buffer.get(..read).unwrap_or_default();
            lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        }
        lines
    }
}

impl Block<'_> {
    /// The error for the line that starts at byte `at` of the block.
    pub(super) fn bad(&self, segments: &Segments, at: usize, why: BadLine) -> ReadError {
        ReadError::Bad {
            file: name(self.first),
            line: segments.line_at(self.first, self.start + at as u64),
            why,
        }
    }
}

fn name(first: u64) -> String {
    segment_name(first)
}

/// Reads behind the first `filled` bytes of `buffer` until it is full or there is no more; says how far
/// it is filled then.
fn fill(source: &mut dyn Read, buffer: &mut [u8], mut filled: usize) -> std::io::Result<usize> {
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match source.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Takes what comes in whichever order in that of its turns.
fn in_order<T>(
    done: mpsc::Receiver<(usize, u64, T)>,
    mut take: impl FnMut(u64, T) -> Result<ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    let mut early = BTreeMap::new();
    let mut turn = 0;
    for (at, first, found) in done {
        early.insert(at, (first, found));
        while let Some((first, found)) = early.remove(&turn) {
            turn += 1;
            if take(first, found)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}
