//! Putting together what was found in blocks: one chain, one tree, keys that hand over to each other.

mod blame;
mod end;
mod removed;

use std::collections::BTreeSet;
use std::io::{self, BufReader, Read};

use super::look::{Fault, Looked, Piece};
use super::signed::Signed;
use super::{BadPlace, Segment, VerifyReport};
use crate::digest::Digest;
use crate::journal::keep::PRUNED;
use crate::journal::line::ORIGIN;
use crate::journal::merkle::Tree;
use crate::journal::note::VerifierKey;
use crate::journal::record::{Event, SegmentOpened};
use crate::journal::storage::{Name, Storage};
use crate::journal::survey::opened_by;

/// What goes on: nothing where something is bad, which the report then has.
type Goes = Result<(), Stop>;

/// Why checking ends.
pub(super) enum Stop {
    Bad(BadPlace),
    Storage(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

impl Stop {
    pub(super) fn at(file: Name, line: u64, why: impl Into<String>) -> Self {
        Self::Bad(BadPlace::new(file, line, why))
    }
}

/// The log, as far as it was checked.
pub(super) struct Chain<'a> {
    storage: &'a dyn Storage,
    segments: &'a [Segment],
    keys: &'a [VerifierKey],
    names: &'a BTreeSet<Name>,
    report: VerifyReport,
    /// Bytes looked at, good ones or not.
    bytes: u64,
    tree: Tree,
    /// The line before as a leaf; the last good one in the end.
    last: Digest,
    last_time: String,
    /// Where the line before is.
    before: Option<(u64, u64)>,
    current: Option<Current>,
    /// The key that the last closed segment hands over to.
    handed: Option<VerifierKey>,
    /// The last segment whose lines are gone, and the last of which a record says so.
    removed: Option<u64>,
    said_removed: Option<u64>,
}

/// The segment that is being checked.
struct Current {
    segment: Segment,
    is_last: bool,
    /// Good lines.
    lines: u64,
    /// Bytes of these.
    bytes: u64,
    signed: Option<Signed>,
    is_closed: bool,
    hashes: Option<BufReader<Box<dyn Read + Send>>>,
    /// The first line that the file of leaves has otherwise.
    other_hash: Option<u64>,
}

impl<'a> Chain<'a> {
    pub(super) fn new(
        storage: &'a dyn Storage,
        segments: &'a [Segment],
        keys: &'a [VerifierKey],
        names: &'a BTreeSet<Name>,
    ) -> Self {
        Self {
            storage,
            segments,
            keys,
            names,
            report: VerifyReport::default(),
            bytes: 0,
            tree: Tree::default(),
            last: ORIGIN,
            last_time: String::new(),
            before: None,
            current: None,
            handed: None,
            removed: None,
            said_removed: None,
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what comes next; false where something is bad.
    pub(super) fn take(&mut self, piece: Piece) -> io::Result<bool> {
        let taken = match piece {
            Piece::Lines(segment, looked) => self.enter(segment).and_then(|()| self.lines(&looked)),
            Piece::End(segment, rest) => self.enter(segment).and_then(|()| self.end(rest)),
        };
        self.settle(taken)
    }

    fn settle(&mut self, taken: Goes) -> io::Result<bool> {
        match taken {
            Ok(()) => Ok(true),
            Err(Stop::Bad(bad)) => {
                self.report.first_bad = Some(bad);
                Ok(false)
            }
            Err(Stop::Storage(error)) => Err(error),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<VerifyReport> {
        if self.report.first_bad.is_none() {
            let whole = self.check_whole();
            self.settle(whole)?;
        }
        let mut report = self.report;
        report.bytes = self.bytes;
        // Where the line before turned out to be the bad one, these speak of one line too many.
        let are_of_these = report.records == self.tree.size();
        report.last = (are_of_these && report.records > 0).then_some(self.last);
        report.root = are_of_these.then(|| self.tree.root());
        Ok(report)
    }

    /// Goes on to this segment, unless it is in it.
    fn enter(&mut self, segment: Segment) -> Goes {
        if self.current.as_ref().is_some_and(|c| c.segment == segment) {
            return Ok(());
        }
        self.report.segments += 1;
        let lines = Name::Lines(segment.first);
        let expected = self.report.records + 1;
        if segment.first != expected {
            let why = format!("a segment that starts with record {expected} was to come");
            return Err(Stop::at(lines, 1, why));
        }
        // Retention begins with the oldest.
        if !segment.has_lines && self.current.as_ref().is_some_and(|c| c.segment.has_lines) {
            let why = "its lines are gone, and those of an older segment are there";
            return Err(Stop::at(lines, 1, why));
        }
        let name = Name::Hashes(segment.first);
        let hashes = match self.names.contains(&name) {
            true => Some(BufReader::new(self.storage.reader(name, 0)?)),
            false => None,
        };
        self.current = Some(Current {
            segment,
            is_last: self.segments.last() == Some(&segment),
            lines: 0,
            bytes: 0,
            signed: None,
            is_closed: false,
            hashes,
            other_hash: None,
        });
        Ok(())
    }

    /// Where the line that comes next is.
    fn place(&self) -> (Name, u64) {
        self.current.as_ref().map_or((Name::Lines(1), 1), |c| {
            (Name::Lines(c.segment.first), c.lines + 1)
        })
    }

    fn here(&self, why: impl Into<String>) -> Stop {
        let (file, line) = self.place();
        Stop::at(file, line, why)
    }

    fn lines(&mut self, looked: &Looked) -> Goes {
        self.bytes += looked.bytes;
        if let Some(current) = &mut self.current {
            current.bytes += looked.bytes;
        }
        if let Some((seq, prev, time)) = &looked.start {
            let expected = self.report.records + 1;
            if *seq != expected {
                return Err(self.here(format!("record {seq} where {expected} was to come")));
            }
            if *prev != self.last {
                return Err(self.blame());
            }
            if *time < self.last_time {
                self.set_back(1, *seq);
            }
            if let Some(index) = looked.first_set_back {
                self.set_back(looked.set_back, seq + index as u64);
            }
            looked.last_time.clone_into(&mut self.last_time);
        }
        let mut own = looked.own.iter().peekable();
        for (index, leaf) in looked.leaves.iter().enumerate() {
            let event = own.next_if(|(at, _)| *at == index).map(|(_, event)| event);
            self.leaf(*leaf, event)?;
        }
        match &looked.fault {
            None => Ok(()),
            Some(Fault::Line(why)) => Err(self.here(why.as_str())),
            Some(Fault::Link) => Err(self.blame()),
        }
    }

    const fn set_back(&mut self, count: u64, first: u64) {
        self.report.set_back += count;
        if self.report.first_set_back.is_none() {
            self.report.first_set_back = Some(first);
        }
    }

    /// Takes a good line into account.
    fn leaf(&mut self, leaf: Digest, event: Option<&Event>) -> Goes {
        let opened = match event {
            Some(Event::SegmentOpened(opened)) => {
                let key = self.opens(opened)?;
                if self.report.records == 0 {
                    self.report.origin = Some(opened.origin.clone());
                    self.report.key = Some(opened.key.clone());
                    self.report.is_key_given = !self.keys.is_empty();
                }
                Some(key)
            }
            _ => None,
        };
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        match (&opened, current.lines) {
            (Some(_), 0) | (None, 1..) => {}
            (Some(_), _) => return Err(self.here("a segment is opened within another")),
            (None, 0) => return Err(self.here("a segment starts with `segment-opened`")),
        }
        if current.is_closed {
            return Err(self.here("the line before closed the segment"));
        }
        if let Some(key) = opened {
            current.signed = Some(Signed::new(
                self.storage,
                self.names,
                current.segment.first,
                current.is_last,
                key,
            )?);
        }
        match event {
            Some(Event::SegmentClosed(closed)) => {
                let next = closed.next.parse::<VerifierKey>();
                let origin = self.report.origin.as_deref();
                match next {
                    Ok(next) if next.is_log() && Some(next.name()) == origin => {
                        self.handed = Some(next);
                        current.is_closed = true;
                    }
                    Ok(_) => return Err(self.here("it hands over to the key of another log")),
                    Err(why) => return Err(self.here(why.to_string())),
                }
            }
            Some(Event::Changed(changed)) if changed.change == PRUNED => {
                let subject = changed.subject.as_deref();
                let first = subject.and_then(|subject| subject.parse().ok());
                self.said_removed = self.said_removed.max(first);
            }
            _ => {}
        }
        if let Some(hashes) = &mut current.hashes {
            let mut hash = [0; 32];
            let same = hashes.read_exact(&mut hash).is_ok() && hash == *leaf.as_bytes();
            if !same {
                current.other_hash.get_or_insert(current.lines + 1);
                current.hashes = None;
            }
        }
        current.lines += 1;
        self.before = Some((current.segment.first, current.lines));
        self.tree.push(leaf);
        self.last = leaf;
        self.report.records += 1;
        if !current.segment.has_lines {
            self.report.removed += 1;
        }
        let Some(signed) = &mut current.signed else {
            return Ok(());
        };
        if signed.next_size() == Some(self.report.records) {
            let found = signed.check(&self.tree)?;
            self.report.checkpoints += 1;
            if !found {
                return Err(self.other_lines());
            }
            self.report.signed = self.report.records;
        }
        Ok(())
    }

    /// The key of the segment that this record opens, where all that it says is so.
    fn opens(&self, opened: &SegmentOpened) -> Result<VerifierKey, Stop> {
        let first = self.report.records + 1;
        let (key, tree) = opened_by(opened, first).map_err(|why| self.here(why))?;
        if tree != self.tree {
            return Err(self.here("its tree is not that of the lines before"));
        }
        match &self.handed {
            Some(handed) if *handed != key => {
                Err(self.here("its key is not the one that the segment before hands over to"))
            }
            None if !self.keys.is_empty() && !self.keys.contains(&key) => Err(self.here(
                "its key is not one that was given: this is another log, or one that was made anew",
            )),
            _ => Ok(key),
        }
    }
}
