//! Reading segments in blocks of whole lines, and looking into these, each for itself.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use super::Segment;
use crate::digest::Digest;
use crate::journal::keep::PRUNED;
use crate::journal::line::{Head, MAX_LINE};
use crate::journal::merkle;
use crate::journal::record::Event;
use crate::journal::storage::Storage;

/// Bytes of a block: some thousand lines, so that threads seldom wait for each other.
const BLOCK: usize = 1 << 20;
/// Blocks that are lent out at a time: for each processor one that is looked into and one that waits,
/// up to sixteen.
const MOST_WORKERS: usize = 8;

/// What was found next, in the order of the log.
#[derive(Debug)]
pub(super) enum Piece {
    /// Whole lines of a segment.
    Lines(Segment, Looked),
    /// The end of a segment.
    End(Segment, Rest),
}

/// What stands behind the last whole line of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// So many bytes without a newline.
    Partial(u64),
    /// More bytes than a line may have.
    TooLong,
    /// The file can't be read to its end: it is compressed, and damaged.
    Damaged(String),
}

/// What is known of a block of lines without knowing any other.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) bytes: u64,
    /// Number, `prev` and time of the first line.
    pub(super) start: Option<(u64, Digest, String)>,
    /// The good lines.
    pub(super) leaves: Vec<Digest>,
    /// Records that say something about the journal itself, by their line.
    pub(super) own: Vec<(usize, Event)>,
    /// The time of the last good line.
    pub(super) last_time: String,
    /// How many lines have an earlier time than the one before, and the first of them.
    pub(super) set_back: u64,
    pub(super) first_set_back: Option<usize>,
    /// The first bad line is the one behind the good ones.
    pub(super) fault: Option<Fault>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The line itself is bad.
    Line(String),
    /// It does not continue the one before.
    Link,
}

/// Looks into whole lines.
pub(super) fn look(block: &[u8]) -> Looked {
    let mut looked = Looked {
        bytes: block.len() as u64,
        leaves: Vec::with_capacity(block.len() / 512),
        ..Looked::default()
    };
    let mut seq = 0;
    let mut rest = block;
    while let Some(line) = split_line(&mut rest) {
        if let Err(fault) = looked.line(line, &mut seq) {
            looked.fault = Some(fault);
            break;
        }
    }
    looked
}

/// The next line, without its newline.
pub(super) fn split_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let all = *rest;
    let end = memchr::memchr(b'\n', all).unwrap_or(all.len());
    let line = all.get(..end).filter(|_| !all.is_empty())?;
    *rest = all.get(end + 1..).unwrap_or_default();
    Some(line)
}

impl Looked {
    fn line(&mut self, line: &[u8], seq: &mut u64) -> Result<(), Fault> {
        if line.len() >= MAX_LINE {
            return Err(Fault::Line(String::from("longer than a record can be")));
        }
        let bad = |why: crate::journal::BadLine| Fault::Line(why.to_string());
        let head = Head::read(line).map_err(bad)?;
        // Whoever wrote the line before chose its number: the largest has none after it.
        let expected = seq.saturating_add(1);
        if self.start.is_some() && head.seq != expected {
            let why = format!("record {} where {expected} was to come", head.seq);
            return Err(Fault::Line(why));
        }
        // Before the link: a line that is no record is to blame itself.
        let event = head.checked().map_err(bad)?;
        if self.leaves.last().is_some_and(|last| *last != head.prev) {
            return Err(Fault::Link);
        }
        *seq = head.seq;
        if self.start.is_none() {
            self.start = Some((head.seq, head.prev, head.time.to_owned()));
        } else if head.time < self.last_time.as_str() {
            self.set_back += 1;
            self.first_set_back.get_or_insert(self.leaves.len());
        }
        // Times have one form and one length: their order is that of their letters.
        head.time.clone_into(&mut self.last_time);
        match &event {
            Event::SegmentOpened(_) | Event::SegmentClosed(_) => {
                self.own.push((self.leaves.len(), event));
            }
            Event::Changed(changed) if changed.change == PRUNED => {
                self.own.push((self.leaves.len(), event));
            }
            _ => {}
        }
        self.leaves.push(merkle::leaf(line));
        Ok(())
    }
}

/// A block on its way to whoever looks into it; where it ends a segment, that as well.
struct Block {
    number: u64,
    segment: Segment,
    bytes: Vec<u8>,
    rest: Option<Rest>,
}

struct Done {
    number: u64,
    pieces: [Option<Piece>; 2],
    /// To be lent again.
    buffer: Vec<u8>,
}

/// Gives every piece of the log to `take`, in order, until it says that this is enough.
pub(super) fn each(
    storage: &dyn Storage,
    segments: &[Segment],
    mut take: impl FnMut(Piece) -> io::Result<bool>,
) -> io::Result<()> {
    let workers = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .min(MOST_WORKERS);
    let (lend, free) = channel();
    for _ in 0..2 * workers {
        // The receiver is in this function.
        let _ = lend.send(Vec::new());
    }
    let (to_look, looks) = sync_channel(2 * workers);
    let (found, finds) = channel();
    let looks = Mutex::new(looks);
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || read(storage, segments, &free, &to_look));
        for _ in 0..workers {
            let (looks, found) = (&looks, found.clone());
            scope.spawn(move || work(looks, &found));
        }
        drop(found);
        let taken = in_order(&finds, &lend, &mut take);
        // Where that was enough, the others find nobody to give to, and end.
        drop((finds, lend));
        let read = reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the reader of the journal ended early")));
        match taken {
            Ok(Taken::Enough) => Ok(()),
            Ok(Taken::All) => read,
            Err(error) => Err(error),
        }
    })
}

enum Taken {
    All,
    Enough,
}

fn in_order(
    finds: &Receiver<Done>,
    lend: &Sender<Vec<u8>>,
    take: &mut impl FnMut(Piece) -> io::Result<bool>,
) -> io::Result<Taken> {
    let mut next = 0;
    // As many as there are buffers at most.
    let mut early = BTreeMap::new();
    while let Ok(done) = finds.recv() {
        early.insert(done.number, done);
        while let Some(done) = early.remove(&next) {
            next += 1;
            for piece in done.pieces.into_iter().flatten() {
                if !take(piece)? {
                    return Ok(Taken::Enough);
                }
            }
            let _ = lend.send(done.buffer);
        }
    }
    Ok(Taken::All)
}

fn work(looks: &Mutex<Receiver<Block>>, found: &Sender<Done>) {
    loop {
        let block = match looks.lock() {
            Ok(looks) => looks.recv(),
            Err(_) => return,
        };
        let Ok(block) = block else { return };
        let lines =
            (!block.bytes.is_empty()).then(|| Piece::Lines(block.segment, look(&block.bytes)));
        let end = block.rest.map(|rest| Piece::End(block.segment, rest));
        let done = Done {
            number: block.number,
            pieces: [lines, end],
            buffer: block.bytes,
        };
        if found.send(done).is_err() {
            return;
        }
    }
}

/// Reads every segment, block by block. Ends early where nobody takes them any more.
fn read(
    storage: &dyn Storage,
    segments: &[Segment],
    free: &Receiver<Vec<u8>>,
    to_look: &SyncSender<Block>,
) -> io::Result<()> {
    let mut number = 0;
    for segment in segments {
        let mut cut = match segment.has_lines {
            true => Some(Cut::new(storage.read(segment.first, 0)?)),
            false => None,
        };
        loop {
            let Ok(mut bytes) = free.recv() else {
                return Ok(());
            };
            let rest = match &mut cut {
                Some(cut) => cut.fill(&mut bytes)?,
                None => Some(Rest::Nothing),
            };
            let is_last = rest.is_some();
            let block = Block {
                number,
                segment: *segment,
                bytes,
                rest,
            };
            number += 1;
            if to_look.send(block).is_err() {
                return Ok(());
            }
            if is_last {
                break;
            }
        }
    }
    Ok(())
}

/// Cuts a segment into blocks that end with a newline.
pub(super) struct Cut {
    source: Box<dyn Read + Send>,
    /// Behind the last newline of the block before.
    over: Vec<u8>,
}

impl Cut {
    pub(super) fn new(source: Box<dyn Read + Send>) -> Self {
        Self {
            source,
            over: Vec::new(),
        }
    }

    /// Fills `block` with whole lines; what comes behind them where that is the end.
    pub(super) fn fill(&mut self, block: &mut Vec<u8>) -> io::Result<Option<Rest>> {
        block.clear();
        block.append(&mut self.over);
        let mut rest = None;
        while block.len() < BLOCK {
            let room = (BLOCK - block.len()) as u64;
            match (&mut self.source).take(room).read_to_end(block) {
                Ok(0) => {
                    rest = Some(Rest::Nothing);
                    break;
                }
                Ok(_) => {}
                // What a decompressor says of what was not made by a compressor.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::InvalidInput
                            | io::ErrorKind::InvalidData
                            | io::ErrorKind::UnexpectedEof
                    ) =>
                {
                    rest = Some(Rest::Damaged(error.to_string()));
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        let end = block
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        self.over = block.split_off(end);
        let is_too_long = self.over.len() >= MAX_LINE;
        Ok(match rest {
            None | Some(Rest::Nothing) if is_too_long => Some(Rest::TooLong),
            Some(Rest::Nothing) if !self.over.is_empty() => {
                Some(Rest::Partial(self.over.len() as u64))
            }
            rest => rest,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_end_with_a_line_whatever_a_read_gives() {
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let text = line.repeat(3 * BLOCK / 1000);
        let rest = b"rest".to_vec();
        let source = io::Cursor::new([text.clone(), rest].concat());
        let mut cut = Cut::new(Box::new(source));
        let mut found = Vec::new();
        let mut block = Vec::new();
        loop {
            let rest = cut.fill(&mut block).unwrap();
            assert!(block.is_empty() || block.ends_with(b"\n"));
            assert!(block.len() <= BLOCK);
            found.extend_from_slice(&block);
            if let Some(rest) = rest {
                assert_eq!(rest, Rest::Partial(4));
                break;
            }
        }
        assert_eq!(found, text);
    }

    #[test]
    fn a_line_without_an_end_is_not_gathered() {
        let mut cut = Cut::new(Box::new(io::repeat(b'x')));
        let mut block = Vec::new();
        assert_eq!(cut.fill(&mut block).unwrap(), Some(Rest::TooLong));
        assert!(block.is_empty());
    }
}
