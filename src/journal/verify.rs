//! Checking the whole journal, in bounded memory.
//!
//! Every line must be a record in its one form, carry the next number, and the digest of the line
//! before. That shows each change that leaves a later line in place. It can't show that the end was
//! rewritten or left off: for that, something kept elsewhere has to be held against it.

use std::io;
use std::path::Path;

use super::line::{Head, ORIGIN};
use super::read::ReadError;
use super::scan::{Lines, Next};
use super::storage::{Disk, Storage, segment_name};
use crate::digest::Digest;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Good records, up to the first bad line.
    pub records: u64,
    /// Segments read.
    pub segments: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Digest of the last good line: whoever kept one from before finds it as a `prev`.
    pub last: Option<Digest>,
    /// The first line that is not what was written.
    pub first_bad: Option<BadPlace>,
    /// Bytes behind the last line: being written, or torn where no host writes.
    pub torn_tail: u64,
}

impl VerifyReport {
    /// Whether the journal is whole, apart from a line that is being written.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.first_bad.is_none()
    }
}

/// A line that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPlace {
    /// The segment.
    pub file: String,
    /// The line in it, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: String,
}

impl std::fmt::Display for BadPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, line {}: {}", self.file, self.line, self.why)
    }
}

/// How far checking has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes read.
    pub bytes: u64,
    /// Bytes that there were at the start.
    pub total: u64,
}

/// Checks the journal in `directory`, up to the first bad line; `progress` is told now and then.
///
/// # Errors
///
/// The file system fails. What is wrong with the journal is in the report.
pub fn verify(
    directory: &Path,
    progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, ReadError> {
    verify_in(&Disk::new(directory), progress).map_err(|error| ReadError::Storage {
        file: directory.display().to_string(),
        error,
    })
}

/// As [`verify`], in other storage.
///
/// # Errors
///
/// As there.
pub fn verify_in(
    storage: &dyn Storage,
    mut progress: impl FnMut(VerifyProgress),
) -> io::Result<VerifyReport> {
    let segments = storage.list()?;
    let mut total = 0;
    for &first in &segments {
        total += storage.len(first)?;
    }
    let mut chain = Chain {
        storage,
        report: VerifyReport::default(),
        last: ORIGIN,
        before: None,
        scratch: Vec::new(),
    };
    for (i, &first) in segments.iter().enumerate() {
        let following = segments.get(i + 1).copied();
        let began = chain.report.bytes;
        chain.report.segments += 1;
        let mut lines = Lines::new(storage.read(first, 0)?);
        if first != chain.report.records + 1 {
            let why = format!(
                "a segment that starts with record {} was to come",
                chain.report.records + 1
            );
            chain.report.first_bad = Some(place(first, 1, why));
        }
        while chain.report.first_bad.is_none() && chain.step(&mut lines, first, following)? {
            chain.report.bytes = began + lines.end();
            // Some hundred times for a full segment.
            if chain.report.records.is_multiple_of(512) {
                progress(VerifyProgress {
                    bytes: chain.report.bytes,
                    total,
                });
            }
        }
        chain.report.bytes = began + lines.end();
        if chain.report.first_bad.is_some() {
            break;
        }
    }
    let mut report = chain.report;
    report.last = (report.records > 0).then_some(chain.last);
    progress(VerifyProgress {
        bytes: report.bytes,
        total,
    });
    Ok(report)
}

struct Chain<'a> {
    storage: &'a dyn Storage,
    report: VerifyReport,
    /// Digest of the line before; of the last good one in the end.
    last: Digest,
    /// Where the line before is.
    before: Option<(u64, u64)>,
    scratch: Vec<u8>,
}

fn place(first: u64, line: u64, why: impl Into<String>) -> BadPlace {
    BadPlace {
        file: segment_name(first),
        line,
        why: why.into(),
    }
}

impl Chain<'_> {
    /// Checks one line; false at the end of the segment or at a bad line.
    fn step(&mut self, lines: &mut Lines, first: u64, following: Option<u64>) -> io::Result<bool> {
        let why = match lines.next()? {
            Next::End => return Ok(false),
            Next::Partial(rest) if following.is_none() => {
                self.report.torn_tail = rest.len() as u64;
                return Ok(false);
            }
            Next::Partial(_) => String::from("the line has no end"),
            Next::TooLong => String::from("longer than a record can be"),
            Next::Line(line) => match self.check(line) {
                Ok(()) => {
                    self.report.records += 1;
                    self.last = Digest::of(line);
                    self.before = Some((first, lines.number()));
                    return Ok(true);
                }
                Err(Fault::Line(why)) => why,
                Err(Fault::Link) => {
                    self.report.first_bad = Some(self.blame(lines, first, following)?);
                    return Ok(false);
                }
            },
        };
        self.report.first_bad = Some(place(first, lines.number(), why));
        Ok(false)
    }

    fn check(&mut self, line: &[u8]) -> Result<(), Fault> {
        let head = Head::read(line).map_err(|why| Fault::Line(why.to_string()))?;
        let expected = self.report.records + 1;
        if head.seq != expected {
            return Err(Fault::Line(format!(
                "record {} where {expected} was to come",
                head.seq
            )));
        }
        // Before the link: a line that is no record is to blame itself.
        head.record(&mut self.scratch)
            .map_err(|why| Fault::Line(why.to_string()))?;
        if head.prev != self.last {
            return Err(Fault::Link);
        }
        Ok(())
    }

    /// A line's `prev` is not the digest of the line before: one of the two was changed. Where the
    /// line after vouches for this one, it was the other.
    fn blame(
        &mut self,
        lines: &mut Lines,
        first: u64,
        following: Option<u64>,
    ) -> io::Result<BadPlace> {
        let here = place(
            first,
            lines.number(),
            "`prev` is not the digest of the line before",
        );
        let this = Digest::of(lines.line());
        let carries_this = |next: Next<'_>| match next {
            Next::Line(next) => Some(Head::read(next).is_ok_and(|next| next.prev == this)),
            _ => None,
        };
        let is_vouched_for = match (carries_this(lines.next()?), following) {
            (Some(carries), _) => carries,
            (None, None) => false,
            (None, Some(following)) => {
                let mut lines = Lines::new(self.storage.read(following, 0)?);
                carries_this(lines.next()?) == Some(true)
            }
        };
        match self.before {
            Some((first, line)) if is_vouched_for => {
                self.report.records -= 1;
                Ok(place(
                    first,
                    line,
                    "the line was changed: the one after it carries another digest",
                ))
            }
            _ => Ok(here),
        }
    }
}

enum Fault {
    /// The line itself is bad.
    Line(String),
    /// It does not continue the one before.
    Link,
}
