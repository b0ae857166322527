//! Checking the whole journal, in bounded memory, on all processors.
//!
//! Every line must be a record in its one form, carry the next number, and the line before as a leaf;
//! every checkpoint must be signed by the key of its segment, and speak of exactly these lines; every
//! segment's key must be the one that the segment before handed over to, up to the first, whose key
//! is given or taken as it is. That shows each change that a key did not sign. It can't show that the
//! end was left off, or rewritten by who has the key of today: for that, a checkpoint kept elsewhere
//! has to be held against it.
//!
//! One thread reads, one for each processor looks into lines, and the caller's puts together what they
//! found, in order. Blocks of lines are lent from a fixed number of buffers, so however large or odd
//! a log is, it takes some MiB.

mod chain;
mod look;
mod signed;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use self::chain::Chain;
use super::note::VerifierKey;
use super::read::ReadError;
use super::storage::{Disk, Name, Storage};
use crate::digest::Digest;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Good records, up to the first bad line: each fits the one before. That they are what was written
    /// is known of those that are [`Self::signed`] alone.
    pub records: u64,
    /// Of these, records whose lines retention removed; their digests are there and were checked.
    pub removed: u64,
    /// Segments read.
    pub segments: usize,
    /// Bytes read.
    pub bytes: u64,
    /// The last good line as a leaf: whoever kept one from before finds it as a `prev`.
    pub last: Option<Digest>,
    /// The root of the tree over the good records.
    pub root: Option<Digest>,
    /// The log, by its name.
    pub origin: Option<String>,
    /// The key of the first segment, from which all trust comes.
    pub key: Option<String>,
    /// Whether it is one that was given, and not taken from the journal itself.
    pub is_key_given: bool,
    /// Checkpoints that were verified.
    pub checkpoints: u64,
    /// Records that the last of them speaks of. What comes after is protected by nothing yet.
    pub signed: u64,
    /// How often a record's time lies before that of the one before it: the clock was set back.
    pub set_back: u64,
    /// The first such record.
    pub first_set_back: Option<u64>,
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

    /// Records behind the last checkpoint.
    #[must_use]
    pub const fn unsigned(&self) -> u64 {
        self.records.saturating_sub(self.signed)
    }
}

/// A line that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPlace {
    /// The file.
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

impl BadPlace {
    fn new(file: Name, line: u64, why: impl Into<String>) -> Self {
        Self {
            file: file.to_string(),
            line,
            why: why.into(),
        }
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

/// Checks the journal in `directory`, up to the first bad line; `progress` is told now and then. The
/// key of the first segment is taken as it stands there.
///
/// # Errors
///
/// The file system fails. What is wrong with the journal is in the report.
pub fn verify(
    directory: &Path,
    progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, ReadError> {
    verify_with(directory, &[], progress)
}

/// As [`verify`], and the key of the first segment must be one of `keys`, if there are any.
///
/// # Errors
///
/// As there.
pub fn verify_with(
    directory: &Path,
    keys: &[VerifierKey],
    progress: impl FnMut(VerifyProgress),
) -> Result<VerifyReport, ReadError> {
    verify_in(&Disk::new(directory), keys, progress).map_err(|error| ReadError::Storage {
        file: directory.display().to_string(),
        error,
    })
}

/// As [`verify_with`], in other storage.
///
/// # Errors
///
/// As there.
pub fn verify_in(
    storage: &dyn Storage,
    keys: &[VerifierKey],
    mut progress: impl FnMut(VerifyProgress),
) -> io::Result<VerifyReport> {
    let names = storage.names()?;
    let mut found = BTreeMap::new();
    for name in &names {
        match name {
            Name::Lines(first) | Name::Packed(first) => *found.entry(*first).or_default() = true,
            Name::Ends(first) => *found.entry(*first).or_default() |= false,
            _ => {}
        }
    }
    let segments: Vec<_> = found
        .into_iter()
        .map(|(first, has_lines)| Segment { first, has_lines })
        .collect();
    let mut total = 0;
    for segment in &segments {
        total += match segment.has_lines {
            true => storage.len(segment.first)?,
            false => 0,
        };
    }
    let mut chain = Chain::new(storage, &segments, keys, &names);
    look::each(storage, &segments, |piece| {
        let goes_on = chain.take(piece)?;
        progress(VerifyProgress {
            bytes: chain.bytes(),
            total,
        });
        Ok(goes_on)
    })?;
    chain.finish()
}

/// A segment that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    first: u64,
    /// Otherwise retention removed them.
    has_lines: bool,
}
