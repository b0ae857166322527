//! Opening: the lock, the end of the log, and what a host that died has left there.
//!
//! The chain is followed from the last orderly end or start on, at the speed of the digest; the
//! whole log is for `verify`. Nothing but a torn end is ever changed: bytes behind the last newline
//! of the last segment, or such with zeroes in them, as a loss of power leaves them.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use super::append::End;
use super::line::{Head, MAX_LINE, ORIGIN};
use super::record::{CallId, Event, Recovered};
use super::scan::{Lines, Next};
use super::storage::{Storage, segment_name};
use super::writer::{Journal, Options, Unwritable};
use crate::digest::Digest;

/// What opening found. A host records its start after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last record there was, or 0.
    pub seq: u64,
    /// Bytes of a torn record that were cut from the end.
    pub cut_bytes: u64,
    /// Calls with an intent and no outcome. What they did is not known, and they are not run again.
    pub unknown: Vec<CallId>,
}

/// The journal can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// One process writes at a time.
    #[error("another tollgate has the journal open: stop it, or name another directory")]
    Locked,
    /// The log is not what was written.
    #[error(
        "`{file}`, line {line}: {why}: the journal was changed or damaged; keep the files and start with another directory"
    )]
    Bad {
        /// The segment.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The file system failed.
    #[error("can't {what}: {error}")]
    Storage {
        /// What was tried.
        what: String,
        /// What the file system said.
        #[source]
        error: io::Error,
    },
    /// What was found could not be recorded.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    |error| OpenError::Storage {
        what: what.into(),
        error,
    }
}

pub(super) fn open(
    storage: Arc<dyn Storage>,
    options: Options,
) -> Result<(Journal, Recovery), OpenError> {
    let lock = storage.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked,
        _ => failed("lock the journal")(error),
    })?;
    let segments = storage.list().map_err(failed("list the journal"))?;
    let found = Survey::new(&*storage, &segments).run()?;

    let (file, bytes) = match segments.last() {
        None => {
            let file = storage.create(1);
            (
                file.map_err(failed(format!("make `{}`", segment_name(1))))?,
                0,
            )
        }
        Some(&last) => {
            let name = segment_name(last);
            if found.cut_bytes > 0 {
                storage
                    .truncate(last, found.bytes)
                    .map_err(failed(format!("cut the torn end of `{name}`")))?;
                tracing::warn!(
                    file = name,
                    bytes = found.cut_bytes,
                    "a torn record was cut from the end of the journal"
                );
            }
            let file = storage
                .open(last)
                .map_err(failed(format!("open `{name}`")))?;
            // What the one before us appended may be in the kernel alone; new lines rest on it.
            file.sync().map_err(failed(format!("sync `{name}`")))?;
            (file, found.bytes)
        }
    };
    let end = End {
        file,
        bytes,
        seq: found.seq,
        prev: found.prev,
    };
    let journal = Journal::start(storage, options, end, lock)
        .map_err(failed("start the journal's thread"))?;
    let recovery = Recovery {
        seq: found.seq,
        cut_bytes: found.cut_bytes,
        unknown: found.unknown,
    };
    if recovery.cut_bytes > 0 || !recovery.unknown.is_empty() {
        journal.append(&Event::Recovered(Recovered {
            cut_bytes: recovery.cut_bytes,
            unknown: recovery.unknown.clone(),
        }))?;
    }
    Ok((journal, recovery))
}

/// Where the log ends.
#[derive(Debug)]
struct Found {
    seq: u64,
    prev: Digest,
    /// Of the last segment, without its torn end.
    bytes: u64,
    cut_bytes: u64,
    unknown: Vec<CallId>,
}

struct Survey<'a> {
    storage: &'a dyn Storage,
    segments: &'a [u64],
    /// Calls that have begun and not ended, in the order of their intents.
    begun: Vec<CallId>,
    scratch: Vec<u8>,
}

impl<'a> Survey<'a> {
    fn new(storage: &'a dyn Storage, segments: &'a [u64]) -> Self {
        Self {
            storage,
            segments,
            begun: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Found, OpenError> {
        let from = self.first_of_interest()?;
        let (before, rest) = self
            .segments
            .split_at_checked(from)
            .unwrap_or((&[], self.segments));
        let mut found = match before.last() {
            None => Found {
                seq: 0,
                prev: ORIGIN,
                bytes: 0,
                cut_bytes: 0,
                unknown: Vec::new(),
            },
            Some(&before) => self.end_of(before)?,
        };
        for (i, &first) in rest.iter().enumerate() {
            self.follow(first, i + 1 == rest.len(), &mut found)?;
        }
        found.unknown = self.begun;
        Ok(found)
    }

    fn lines(&self, first: u64) -> Result<Lines, OpenError> {
        let segment = self
            .storage
            .read(first, 0)
            .map_err(failed(format!("read `{}`", segment_name(first))))?;
        Ok(Lines::new(segment))
    }

    /// The last segment in which a host started or stopped: what came before was recovered then.
    fn first_of_interest(&self) -> Result<usize, OpenError> {
        for (i, &first) in self.segments.iter().enumerate().rev() {
            let mut lines = self.lines(first)?;
            while let Next::Line(line) = next(&mut lines, first)? {
                if Head::read(line).is_ok_and(|head| matches!(head.kind, "started" | "stopped")) {
                    return Ok(i);
                }
            }
        }
        Ok(0)
    }

    /// The end of a segment that is not read otherwise, so that the next can be held against it.
    fn end_of(&self, first: u64) -> Result<Found, OpenError> {
        let mut lines = self.lines(first)?;
        let mut last = Vec::new();
        while let Next::Line(line) = next(&mut lines, first)? {
            last.clear();
            last.extend_from_slice(line);
        }
        let bad = |why: String| bad(first, lines.number().max(1), why);
        let head = Head::read(&last).map_err(|why| bad(why.to_string()))?;
        Ok(Found {
            seq: head.seq,
            prev: Digest::of(&last),
            bytes: 0,
            cut_bytes: 0,
            unknown: Vec::new(),
        })
    }

    /// Follows the chain through a segment.
    fn follow(&mut self, first: u64, is_last: bool, found: &mut Found) -> Result<(), OpenError> {
        if first != found.seq + 1 {
            let why = format!("it should start with record {}", found.seq + 1);
            return Err(bad(first, 1, why));
        }
        found.bytes = 0;
        let mut lines = self.lines(first)?;
        let mut last = (0, 0);
        let fault = loop {
            let why = match next(&mut lines, first)? {
                Next::End => break None,
                Next::Line(line) => match self.link(line, found) {
                    Ok(()) => {
                        last = (lines.start(), lines.number());
                        found.bytes = lines.end();
                        continue;
                    }
                    Err(why) => why,
                },
                Next::Partial(_) => String::from("the line has no end"),
                Next::TooLong => String::from("the line is longer than a record can be"),
            };
            break Some((lines.number(), why));
        };
        if let Some((number, why)) = fault {
            if !(is_last && is_torn(&mut lines, first)?) {
                return Err(bad(first, number, why));
            }
            found.cut_bytes = lines.end() - found.bytes;
        }
        if is_last && found.bytes > 0 {
            self.check_last(first, last.0, last.1)?;
        }
        Ok(())
    }

    /// Every other line is vouched for by the one after it; this one has to be read.
    fn check_last(&mut self, first: u64, start: u64, number: u64) -> Result<(), OpenError> {
        let name = segment_name(first);
        let segment = self.storage.read(first, start);
        let mut lines = Lines::new(segment.map_err(failed(format!("read `{name}`")))?);
        if let Next::Line(line) = next(&mut lines, first)? {
            Head::read(line)
                .and_then(|head| head.record(&mut self.scratch))
                .map_err(|why| bad(first, number, why.to_string()))?;
        }
        Ok(())
    }

    /// Takes one line into account, where it continues the chain.
    fn link(&mut self, line: &[u8], found: &mut Found) -> Result<(), String> {
        let head = Head::read(line).map_err(|why| why.to_string())?;
        if head.seq != found.seq + 1 {
            return Err(format!(
                "record {} where {} was to come",
                head.seq,
                found.seq + 1
            ));
        }
        if head.prev != found.prev {
            return Err(String::from("`prev` is not the digest of the line before"));
        }
        self.note(&head)?;
        found.seq = head.seq;
        found.prev = Digest::of(line);
        Ok(())
    }

    /// Keeps account of the calls that are under way.
    fn note(&mut self, head: &Head<'_>) -> Result<(), String> {
        let call = head
            .call()
            .and_then(|text| uuid::Uuid::try_parse(text).ok())
            .map(CallId);
        match (head.kind, call) {
            // What was under way before was recovered by the host that wrote this.
            ("started" | "stopped", _) => self.begun.clear(),
            ("intent", Some(call)) => self.begun.push(call),
            ("outcome", Some(call)) => self.begun.retain(|begun| *begun != call),
            ("refusal", Some(call)) if self.begun.contains(&call) => {
                let record = head.record(&mut self.scratch).map_err(|e| e.to_string())?;
                // A host call refused is a part of the call; the call itself refused is its end.
                if matches!(&record.event, Event::Refusal(refused) if refused.host_call.is_none()) {
                    self.begun.retain(|begun| *begun != call);
                }
            }
            ("recovered", _) => {
                let record = head.record(&mut self.scratch).map_err(|e| e.to_string())?;
                if let Event::Recovered(recovered) = record.event {
                    let known: HashSet<_> = recovered.unknown.into_iter().collect();
                    self.begun.retain(|begun| !known.contains(begun));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether what is wrong from the line last read on is a write that did not finish.
fn is_torn(lines: &mut Lines, first: u64) -> Result<bool, OpenError> {
    while !lines.is_partial() {
        // A line with an end is only torn where a loss of power left zeroes in it.
        if !lines.line().contains(&0) {
            return Ok(false);
        }
        match next(lines, first)? {
            Next::End => break,
            // Something was written behind it after all.
            Next::Line(line) if Head::read(line).is_ok() => return Ok(false),
            Next::Line(_) | Next::Partial(_) => {}
            Next::TooLong => return Ok(false),
        }
    }
    Ok(lines.line().len() <= MAX_LINE)
}

fn next(lines: &mut Lines, first: u64) -> Result<Next<'_>, OpenError> {
    lines
        .next()
        .map_err(failed(format!("read `{}`", segment_name(first))))
}

fn bad(first: u64, line: u64, why: String) -> OpenError {
    OpenError::Bad {
        file: segment_name(first),
        line,
        why,
    }
}
