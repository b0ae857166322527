//! The journal as proofs need it: its leaves by place, its keys, and the checkpoints that these signed.
//!
//! Nothing here is trusted for being in the folder. What is put together of it (a proof, a receipt) is
//! checked as its reader will check it before it is handed out; what is said of the log itself stands
//! on a whole `verify` before.

mod lines;
mod notes;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::line::{BadLine, Head};
use super::merkle::{self, Subtrees as _};
use super::note::{Checkpoint, Note, NoteError, VerifierKey};
use super::prove::{Proof, ProofError};
use super::record::{Event, Record};
use super::storage::{Disk, Name, Storage};
use super::survey::opened_by;
use crate::digest::Digest;

/// Nothing can be proved of the journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file system failed.
    #[error("can't read `{file}`: {error}")]
    Storage {
        /// Which file, or the directory.
        file: String,
        /// What the file system said.
        #[source]
        error: io::Error,
    },
    /// No segment.
    #[error("there are no records in the journal")]
    Empty,
    /// A line that proofs need is not what it should be.
    #[error("`{file}`: {why}; `tollgate audit verify` looks at the whole journal")]
    Bad {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: BadLine,
    },
    /// A checkpoint does not verify.
    #[error("`{file}`: {why}; `tollgate audit verify` looks at the whole journal")]
    Note {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: NoteError,
    },
    /// What was put together does not hold.
    #[error(
        "what the journal has proves nothing: {0}; `tollgate audit verify` looks at the whole of it"
    )]
    Proof(#[from] ProofError),
    /// No checkpoint speaks of a record yet.
    #[error(
        "no checkpoint speaks of record {0}: it has one as soon as it is on the disk, and where no host runs, the next start gives it one"
    )]
    Unsigned(u64),
    /// There is no such record.
    #[error("there is no record {0}: the last one is {1}")]
    NoRecord(u64, u64),
    /// Its lines were removed.
    #[error("the text of record {0} was removed when its time was over; only its hash is kept")]
    Removed(u64),
}

fn failed(name: Name) -> impl FnOnce(io::Error) -> ArchiveError {
    move |error| ArchiveError::Storage {
        file: name.to_string(),
        error,
    }
}

fn bad(name: Name, why: impl Into<String>) -> ArchiveError {
    ArchiveError::Bad {
        file: name.to_string(),
        why: BadLine(why.into()),
    }
}

/// A segment.
#[derive(Debug)]
struct Span {
    /// The number of its first record.
    first: u64,
    /// The key that signs in it, as its first record says.
    key: VerifierKey,
}

impl Span {
    /// Records before it.
    const fn from(&self) -> u64 {
        self.first - 1
    }
}

/// A journal that proofs are made of.
#[derive(Debug)]
pub struct Archive {
    storage: Arc<dyn Storage>,
    names: BTreeSet<Name>,
    spans: Vec<Span>,
    /// Hashes of complete subtrees by the leaves that they have. First records carry some, so that for most
    /// proofs no older segment has to be read; others are kept once they were hashed.
    known: HashMap<(u64, u64), Digest>,
    /// How many records there were when that was asked first: a host may write meanwhile.
    size: Option<u64>,
    /// The leaves of the segment that was asked for last.
    leaves: Option<(usize, Vec<Digest>)>,
    /// The checkpoint that the last proof was made with, by its segment.
    signed: Option<(usize, (Note, Checkpoint))>,
}

impl Archive {
    /// The journal in `directory`, as it is now.
    ///
    /// # Errors
    ///
    /// It can't be read, or a segment does not begin as one does.
    pub fn open(directory: &Path) -> Result<Self, ArchiveError> {
        Self::open_in(Arc::new(Disk::new(directory))).map_err(|error| match error {
            ArchiveError::Storage { file, error } if file.is_empty() => ArchiveError::Storage {
                file: directory.display().to_string(),
                error,
            },
            error => error,
        })
    }

    /// As [`Archive::open`], in other storage.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_in(storage: Arc<dyn Storage>) -> Result<Self, ArchiveError> {
        let names = storage.names().map_err(|error| ArchiveError::Storage {
            file: String::new(),
            error,
        })?;
        let firsts: BTreeSet<u64> = names
            .iter()
            .filter(|name| matches!(name, Name::Lines(_) | Name::Packed(_) | Name::Ends(_)))
            .filter_map(|name| name.segment())
            .collect();
        let mut archive = Self {
            storage,
            names,
            spans: Vec::new(),
            known: HashMap::new(),
            size: None,
            leaves: None,
            signed: None,
        };
        for first in firsts {
            // The newest may be there without a line yet.
            if let Some(line) = archive.line_of(first, 0)? {
                archive.span(first, &line)?;
            }
        }
        if archive.spans.is_empty() {
            return Err(ArchiveError::Empty);
        }
        Ok(archive)
    }

    /// Takes in what a segment says of itself.
    fn span(&mut self, first: u64, line: &[u8]) -> Result<(), ArchiveError> {
        let name = self.source(first);
        let record = read(name, line)?;
        let Event::SegmentOpened(opened) = record.event else {
            return Err(bad(name, "it does not begin with `segment-opened`"));
        };
        if record.seq != first {
            return Err(bad(name, "it does not begin with the record of its name"));
        }
        let (key, tree) = opened_by(&opened, first).map_err(|why| bad(name, why))?;
        let same_log = self
            .spans
            .first()
            .is_none_or(|span| span.key.name() == key.name());
        if !same_log {
            return Err(bad(name, "its key is not one of this log"));
        }
        let mut from = 0;
        let bits = (0..u64::BITS).rev().map(|bit| 1_u64 << bit);
        for (part, peak) in bits.filter(|bit| tree.size() & bit != 0).zip(tree.peaks()) {
            self.known.insert((from, from + part), *peak);
            from += part;
        }
        self.spans.push(Span { first, key });
        Ok(())
    }

    /// The log's name.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.spans.first().map_or("", |span| span.key.name())
    }

    /// The key of each segment, the oldest first.
    pub fn keys(&self) -> impl Iterator<Item = &VerifierKey> {
        self.spans.iter().map(|span| &span.key)
    }

    /// The key of the segment that record `seq` is in.
    #[must_use]
    pub fn key_of(&self, seq: u64) -> Option<&VerifierKey> {
        let place = self.place_of(seq.checked_sub(1)?)?;
        self.spans.get(place).map(|span| &span.key)
    }

    /// The key of each segment, where `first` is that of the first one, and each names the next in a
    /// record that it signed for.
    ///
    /// # Errors
    ///
    /// One of them was not named so.
    pub fn chain(&mut self, first: &VerifierKey) -> Result<Vec<VerifierKey>, ArchiveError> {
        let name = |seq| Name::Lines(seq);
        let last = self.spans.last().map_or(1, |span| span.first);
        let closing = self.closing_before(last)?;
        let keys: Vec<VerifierKey> = self.keys().cloned().collect();
        if keys.first() != Some(first) {
            return Err(bad(Name::Public, "it is not the key of the first segment"));
        }
        for ((seq, line), next) in closing.iter().zip(keys.iter().skip(1)) {
            let Event::SegmentClosed(closed) = read(name(*seq), line)?.event else {
                return Err(bad(
                    name(*seq),
                    "a segment does not end with `segment-closed`",
                ));
            };
            if closed.next != next.to_string() {
                return Err(bad(
                    name(*seq),
                    "the key of the next segment is another one",
                ));
            }
            self.prove(*seq, line)?;
        }
        Ok(keys)
    }

    /// How many records there are.
    ///
    /// # Errors
    ///
    /// The last segment can't be read.
    pub fn size(&mut self) -> Result<u64, ArchiveError> {
        if let Some(size) = self.size {
            return Ok(size);
        }
        let Some(last) = self.spans.len().checked_sub(1) else {
            return Ok(0);
        };
        let from = self.spans.get(last).map_or(0, Span::from);
        let size = from + self.leaves(last)?.len() as u64;
        self.size = Some(size);
        Ok(size)
    }

    /// The root of the tree of the first `size` records.
    ///
    /// # Errors
    ///
    /// There are not as many, or they can't be read.
    pub fn root(&mut self, size: u64) -> Result<Digest, ArchiveError> {
        let now = self.size()?;
        match size {
            0 => Ok(merkle::empty()),
            size if size > now => Err(ArchiveError::NoRecord(size, now)),
            size => self.subtree(0, size).map_err(failed(Name::Lines(1))),
        }
    }

    /// The hashes which show that the first `size` records go on from the first `old`.
    ///
    /// # Errors
    ///
    /// There are not as many, or they can't be read.
    pub fn consistency(&mut self, old: u64, size: u64) -> Result<Vec<Digest>, ArchiveError> {
        merkle::consistency(old, size, self).map_err(failed(Name::Lines(1)))
    }

    /// The segment that has the record at `index`.
    fn place_of(&self, index: u64) -> Option<usize> {
        self.spans
            .partition_point(|span| span.from() <= index)
            .checked_sub(1)
    }

    /// Proves that `line` is record `seq`, by a checkpoint of its own segment's key: one that witnesses
    /// signed, where there is one.
    ///
    /// # Errors
    ///
    /// No checkpoint speaks of it, it is not there, or the journal is damaged.
    pub fn prove(&mut self, seq: u64, line: &[u8]) -> Result<Proof, ArchiveError> {
        let none = || ArchiveError::NoRecord(seq, seq.saturating_sub(1));
        let index = seq.checked_sub(1).ok_or_else(none)?;
        let place = self.place_of(index).ok_or_else(none)?;
        let covers = |found: &(Note, Checkpoint)| found.1.size > index;
        let known = self.signed.take();
        let known = known.filter(|(at, found)| *at == place && covers(found));
        let (note, checkpoint) = match known {
            Some((_, found)) => found,
            None => {
                let found = match self.cosigned(place).filter(covers) {
                    Some(found) => found,
                    None => self
                        .last_note(place)?
                        .filter(covers)
                        .ok_or(ArchiveError::Unsigned(seq))?,
                };
                // A host may go on meanwhile: leaves of before need not reach as far as this.
                self.leaves = None;
                found
            }
        };
        let hashes =
            merkle::inclusion(index, checkpoint.size, self).map_err(failed(Name::Lines(1)))?;
        let proof = Proof {
            extra: None,
            index,
            hashes,
            note: note.clone(),
        };
        self.signed = Some((place, (note, checkpoint)));
        let signer = self.spans.get(place).map(|span| span.key.clone());
        proof.shows(&merkle::leaf(line), signer.as_slice())?;
        Ok(proof)
    }

    /// The closing records before record `seq`: those by which its key was named.
    ///
    /// # Errors
    ///
    /// They can't be read.
    pub fn closing_before(&self, seq: u64) -> Result<Vec<(u64, Vec<u8>)>, ArchiveError> {
        let until = self.place_of(seq.saturating_sub(1)).unwrap_or(0);
        let mut lines = Vec::new();
        for (span, next) in self.spans.iter().zip(self.spans.iter().skip(1)).take(until) {
            let place = next.from().saturating_sub(span.first);
            let line = self
                .line_of(span.first, place)?
                .ok_or_else(|| bad(self.source(span.first), "its last record is missing"))?;
            lines.push((next.from(), line));
        }
        Ok(lines)
    }

    /// The line of record `seq`, without its newline.
    ///
    /// # Errors
    ///
    /// There is none, or it was removed.
    pub fn line(&mut self, seq: u64) -> Result<Vec<u8>, ArchiveError> {
        let none = |size| ArchiveError::NoRecord(seq, size);
        let place = seq.checked_sub(1).and_then(|index| self.place_of(index));
        let Some(span) = place.and_then(|place| self.spans.get(place)) else {
            return Err(none(self.size()?));
        };
        let (first, at) = (span.first, seq - span.first);
        match self.line_of(first, at)? {
            Some(line) => Ok(line),
            None if self.is_removed(first) => Err(ArchiveError::Removed(seq)),
            None => Err(none(self.size()?)),
        }
    }

    fn is_removed(&self, first: u64) -> bool {
        let has = |name| self.names.contains(&name);
        !has(Name::Lines(first)) && !has(Name::Packed(first))
    }

    /// Where the lines of a segment are.
    fn source(&self, first: u64) -> Name {
        [Name::Lines(first), Name::Packed(first)]
            .into_iter()
            .find(|name| self.names.contains(name))
            .unwrap_or(Name::Ends(first))
    }
}

fn read(name: Name, line: &[u8]) -> Result<Record, ArchiveError> {
    Head::read(line)
        .and_then(|head| head.record())
        .map_err(|why| ArchiveError::Bad {
            file: name.to_string(),
            why,
        })
}

#[cfg(test)]
mod tests;
