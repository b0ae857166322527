//! Where the log ends: what a host that died has left of its last segment.
//!
//! A segment's first record has all that is needed to go on from it, so the last segment is read and
//! nothing else; the one before as well where a host died while it began the last. The whole log is
//! for `verify`.

mod tail;

use std::io::{self, Read as _};
use std::time::Duration;

use super::append::Change;
use super::line::{Head, MAX_LINE, ORIGIN};
use super::merkle::{self, Tree};
use super::note::{Checkpoint, VerifierKey};
use super::open::{OpenError, failed};
use super::record::{CallId, Event, SegmentOpened};
use super::scan::{Lines, Next};
use super::seal;
use super::storage::{Name, Storage};
use crate::digest::Digest;

/// More records than any log has. What claims as many is made up, and what counts on from there must not
/// run over.
const MOST_RECORDS: u64 = 1 << 62;

/// Where the log ends.
#[derive(Debug)]
pub(super) struct End {
    /// The last segment, by its first record.
    pub(super) segment: u64,
    /// Bytes of its whole records.
    pub(super) bytes: u64,
    /// Bytes behind these: of a write that did not finish.
    pub(super) cut_bytes: u64,
    pub(super) prev: Digest,
    pub(super) tree: Tree,
    pub(super) begun: Vec<CallId>,
    /// The key of the last segment; none where its first record is not there.
    pub(super) key: Option<VerifierKey>,
    /// When that record was written.
    pub(super) opened: Duration,
    /// The key that the last record hands over to: then it closes its segment.
    pub(super) next: Option<VerifierKey>,
    /// The time of the last record.
    pub(super) time: String,
    /// The checkpoints of the last segment.
    pub(super) checkpoints: seal::Found,
    /// Bytes of these, without what was torn.
    pub(super) checkpoint_bytes: u64,
}

/// A line that does not go on from the one before.
#[derive(Debug)]
struct Fault {
    line: u64,
    why: String,
}

/// Reads the end of the log in `segments`, of which there is one at least.
pub(super) fn survey(storage: &dyn Storage, segments: &[u64]) -> Result<End, OpenError> {
    let Some((&last, before)) = segments.split_last() else {
        return Err(bad(Name::Lines(1), 1, "there is no segment"));
    };
    let mut found = End {
        segment: last,
        bytes: 0,
        cut_bytes: 0,
        prev: ORIGIN,
        tree: Tree::default(),
        begun: Vec::new(),
        key: None,
        opened: Duration::ZERO,
        next: None,
        time: String::new(),
        checkpoints: seal::Found::default(),
        checkpoint_bytes: 0,
    };
    let is_whole = begins_whole(storage, last)?;
    match before.last() {
        Some(&before) if !is_whole => Reading::new(storage, &mut found, before).follow(false)?,
        _ => {}
    }
    Reading::new(storage, &mut found, last).follow(true)?;
    Ok(found)
}

fn bad(name: Name, line: u64, why: impl Into<String>) -> OpenError {
    OpenError::Bad {
        file: name.to_string(),
        line,
        why: why.into(),
    }
}

fn lines_of(storage: &dyn Storage, segment: u64, from: u64) -> Result<Lines, OpenError> {
    let lines = storage.read(segment, from);
    let name = Name::Lines(segment);
    Ok(Lines::new(lines.map_err(failed(format!("read `{name}`")))?))
}

fn next(lines: &mut Lines, segment: u64) -> Result<Next<'_>, OpenError> {
    let name = Name::Lines(segment);
    lines.next().map_err(failed(format!("read `{name}`")))
}

/// Whether the first record of a segment is there.
fn begins_whole(storage: &dyn Storage, segment: u64) -> Result<bool, OpenError> {
    let mut lines = lines_of(storage, segment, 0)?;
    Ok(match next(&mut lines, segment)? {
        Next::Line(line) => Head::read(line).and_then(|head| head.record()).is_ok(),
        _ => false,
    })
}

/// The last line before `segment`, as a leaf.
fn leaf_before(storage: &dyn Storage, segment: u64) -> Result<Digest, OpenError> {
    let names = storage.names().map_err(failed("list the journal"))?;
    let before = names.iter().filter_map(|name| name.segment());
    let Some(before) = before.filter(|first| *first < segment).max() else {
        return Err(bad(
            Name::Lines(segment),
            1,
            "the segment before it is gone",
        ));
    };
    let leaf = if names.contains(&Name::Hashes(before)) {
        last_hash(storage, before, segment - before)
    } else {
        last_line(storage, before)
    };
    leaf.map_err(failed(format!("read the end of `{}`", Name::Lines(before))))
}

fn last_hash(storage: &dyn Storage, segment: u64, count: u64) -> io::Result<Digest> {
    let mut hash = [0; 32];
    let at = (count - 1).saturating_mul(32);
    storage
        .reader(Name::Hashes(segment), at)?
        .read_exact(&mut hash)?;
    Ok(Digest::from_bytes(hash))
}

fn last_line(storage: &dyn Storage, segment: u64) -> io::Result<Digest> {
    let at = storage.len(segment)?.saturating_sub(MAX_LINE as u64 + 1);
    let mut end = Vec::new();
    storage
        .read(segment, at)?
        .take(2 * MAX_LINE as u64)
        .read_to_end(&mut end)?;
    let whole = end.strip_suffix(b"\n").unwrap_or(&end);
    let last = whole.rsplit(|b| *b == b'\n').next().unwrap_or(whole);
    Ok(merkle::leaf(last))
}

/// Reads one segment to its end.
struct Reading<'a> {
    storage: &'a dyn Storage,
    found: &'a mut End,
    segment: u64,
    /// Of the checkpoints: sizes and roots, in order, and which one comes next.
    notes: Vec<(Checkpoint, String)>,
    next_note: usize,
    /// The last of them speaks of other lines.
    contradicted: bool,
}

impl<'a> Reading<'a> {
    fn new(storage: &'a dyn Storage, found: &'a mut End, segment: u64) -> Self {
        Self {
            storage,
            found,
            segment,
            notes: Vec::new(),
            next_note: 0,
            contradicted: false,
        }
    }

    /// Follows the chain through the segment.
    fn follow(mut self, is_last: bool) -> Result<(), OpenError> {
        let name = Name::Lines(self.segment);
        let size = self.found.tree.size();
        let is_known = size > 0;
        if is_known && self.segment != size + 1 {
            let why = format!("it should start with record {}", size + 1);
            return Err(bad(name, 1, why));
        }
        if !is_known && self.segment > 1 {
            self.found.prev = leaf_before(self.storage, self.segment)?;
        }
        let handed = self.found.next.take();
        self.found.key = None;
        self.found.bytes = 0;
        if is_last {
            self.read_checkpoints()?;
        }
        let mut lines = lines_of(self.storage, self.segment, 0)?;
        let fault = loop {
            let why = match next(&mut lines, self.segment)? {
                Next::End => break None,
                Next::Line(line) => {
                    let linked = if self.found.key.is_none() {
                        self.open(line, is_known, handed.as_ref())
                    } else {
                        self.link(line)
                    };
                    match linked {
                        Ok(()) => {
                            self.found.bytes = lines.end();
                            continue;
                        }
                        Err(why) => why,
                    }
                }
                Next::Partial(_) => String::from("the line has no end"),
                Next::TooLong => String::from("the line is longer than a record can be"),
            };
            break Some(Fault {
                line: lines.number(),
                why,
            });
        };
        if let Some(fault) = &fault {
            if self.contradicted || !(is_last && self.is_torn()?) {
                return Err(bad(name, fault.line, fault.why.as_str()));
            }
            let size = self.storage.size(name);
            let size = size.map_err(failed(format!("look at `{name}`")))?;
            self.found.cut_bytes = size.saturating_sub(self.found.bytes);
        }
        if is_last {
            self.settle_checkpoints(fault)?;
            if self.found.key.is_none() {
                // Nothing of this segment is there: it is begun anew, by the key that was handed to.
                self.found.next = handed;
            }
        } else if self.found.next.is_none() {
            let why = "the last record of it does not close it, and there is a segment after it";
            return Err(bad(name, lines.number(), why));
        }
        Ok(())
    }

    /// Takes the first line, which says where everything stands.
    fn open(
        &mut self,
        line: &[u8],
        is_known: bool,
        handed: Option<&VerifierKey>,
    ) -> Result<(), String> {
        let head = Head::read(line).map_err(|why| why.to_string())?;
        self.links(&head, self.segment)?;
        let record = head.record().map_err(|e| e.to_string())?;
        let Event::SegmentOpened(opened) = record.event else {
            return Err(format!(
                "a segment starts with `segment-opened`, not with `{}`",
                head.kind
            ));
        };
        let (key, tree) = opened_by(&opened, self.segment)?;
        if is_known && tree != self.found.tree {
            return Err(String::from("its tree is not that of the lines before"));
        }
        if handed.is_some_and(|handed| *handed != key) {
            return Err(String::from(
                "its key is not the one that the segment before hands over to",
            ));
        }
        self.found.tree = tree;
        self.found.key = Some(key);
        self.found.opened = since_epoch(&record.time);
        self.found.begun = opened.calls;
        self.push(line, &record.time)
    }

    fn links(&self, head: &Head<'_>, expected: u64) -> Result<(), String> {
        if head.seq != expected {
            return Err(format!("record {} where {expected} was to come", head.seq));
        }
        if head.prev != self.found.prev {
            return Err(String::from("`prev` is not the digest of the line before"));
        }
        Ok(())
    }

    /// Takes one line into account, where it continues the chain.
    fn link(&mut self, line: &[u8]) -> Result<(), String> {
        if self.found.next.is_some() {
            return Err(String::from("the line before closed the segment"));
        }
        let head = Head::read(line).map_err(|why| why.to_string())?;
        self.links(&head, self.found.tree.size() + 1)?;
        // What is signed is what was written. Of the rest each line is vouched for by the one after it,
        // and the last by none.
        if self.next_note == self.notes.len() {
            head.record().map_err(|e| e.to_string())?;
        }
        self.note(&head)?;
        self.push(line, head.time)
    }

    fn push(&mut self, line: &[u8], time: &str) -> Result<(), String> {
        self.found.prev = merkle::leaf(line);
        self.found.tree.push(self.found.prev);
        time.clone_into(&mut self.found.time);
        let size = self.found.tree.size();
        if let Some((checkpoint, text)) = self.notes.get_mut(self.next_note)
            && checkpoint.size == size
        {
            self.next_note += 1;
            self.found.checkpoints.kept.push(time, std::mem::take(text));
            self.found.checkpoints.size = size;
            // The last one speaks of all before it.
            let is_last = self.next_note == self.notes.len();
            if is_last && checkpoint_root(&self.notes) != Some(self.found.tree.root()) {
                self.contradicted = true;
                return Err(format!(
                    "the checkpoint of {size} records is of others than these"
                ));
            }
        }
        Ok(())
    }

    /// Keeps account of the calls that are under way, and of the end of the segment.
    fn note(&mut self, head: &Head<'_>) -> Result<(), String> {
        match head.kind {
            "started" | "stopped" => Change::All.apply(&mut self.found.begun),
            "intent" | "outcome" => {
                let call = head
                    .call()
                    .and_then(|text| uuid::Uuid::try_parse(text).ok());
                if let Some(call) = call.map(CallId) {
                    let change = if head.kind == "intent" {
                        Change::Begins(call)
                    } else {
                        Change::Ends(call)
                    };
                    change.apply(&mut self.found.begun);
                }
            }
            "refusal" | "recovered" => {
                let record = head.record().map_err(|e| e.to_string())?;
                Change::of(&record.event).apply(&mut self.found.begun);
            }
            "segment-opened" => {
                return Err(String::from("a segment is opened within another"));
            }
            "segment-closed" => {
                let record = head.record().map_err(|e| e.to_string())?;
                if let Event::SegmentClosed(closed) = record.event {
                    let next = closed.next.parse::<VerifierKey>();
                    self.found.next = Some(next.map_err(|why| why.to_string())?);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn checkpoint_root(notes: &[(Checkpoint, String)]) -> Option<Digest> {
    notes.last().map(|(checkpoint, _)| checkpoint.root)
}

/// The key and the tree of a segment's first record, where these can be such.
pub(super) fn opened_by(
    opened: &SegmentOpened,
    segment: u64,
) -> Result<(VerifierKey, Tree), String> {
    let key: VerifierKey = opened.key.parse().map_err(|why| format!("{why}"))?;
    if key.name() != opened.origin || !key.is_log() {
        return Err(String::from("its key is not one of the log that it names"));
    }
    if opened.size.checked_add(1) != Some(segment) || segment > MOST_RECORDS {
        return Err(format!(
            "it speaks of {} records before it, and is record {segment}",
            opened.size
        ));
    }
    let tree = Tree::of_peaks(opened.size, opened.peaks.clone());
    let tree = tree.ok_or("it has not as many peaks as a tree of that size")?;
    Ok((key, tree))
}

/// What a record's time says, which has this form; 0 where there is no such day.
pub(super) fn since_epoch(time: &str) -> Duration {
    let millis = time
        .parse::<jiff::Timestamp>()
        .map_or(0, jiff::Timestamp::as_millisecond);
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}
