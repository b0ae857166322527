//! The checkpoints of a segment, one after the other, held against the tree as it grows.

use std::collections::BTreeSet;

use super::chain::Stop;
use crate::journal::merkle::Tree;
use crate::journal::note::{Checkpoint, Note, VerifierKey};
use crate::journal::scan::{Lines, Next};
use crate::journal::seal::{self, Notes};
use crate::journal::storage::{Name, Storage};

/// What is signed of a segment.
pub(super) struct Signed {
    file: Name,
    key: VerifierKey,
    /// The last segment's file may be torn.
    is_last: bool,
    lines: Option<Lines>,
    notes: Notes,
    /// Read, and not checked.
    next: Option<Claim>,
    /// What the one before speaks of.
    size: u64,
}

/// A note before its signature is looked at.
struct Claim {
    line: u64,
    checkpoint: Checkpoint,
    note: Vec<u8>,
}

impl Signed {
    pub(super) fn new(
        storage: &dyn Storage,
        names: &BTreeSet<Name>,
        first: u64,
        is_last: bool,
        key: VerifierKey,
    ) -> Result<Self, Stop> {
        let file = Name::Checkpoints(first);
        let lines = match names.contains(&file) {
            true => Some(Lines::new(storage.reader(file, 0)?)),
            false => None,
        };
        let mut this = Self {
            file,
            key,
            is_last,
            lines,
            notes: Notes::default(),
            next: None,
            size: first - 1,
        };
        this.advance()?;
        Ok(this)
    }

    /// How many records the next checkpoint speaks of.
    pub(super) fn next_size(&self) -> Option<u64> {
        self.next.as_ref().map(|claim| claim.checkpoint.size)
    }

    /// How many the one before speaks of.
    pub(super) const fn last_size(&self) -> u64 {
        self.size
    }

    /// Where the next one would be.
    pub(super) fn line(&self) -> u64 {
        self.next
            .as_ref()
            .map_or(self.notes.began(), |claim| claim.line)
    }

    /// Checks the next one against the tree of that size; whether it is of these lines.
    pub(super) fn check(&mut self, tree: &Tree) -> Result<bool, Stop> {
        let Some(claim) = self.next.take() else {
            return Ok(true);
        };
        let checkpoint = self.verified(&claim)?;
        self.size = checkpoint.size;
        self.advance()?;
        Ok(checkpoint.root == tree.root())
    }

    fn verified(&self, claim: &Claim) -> Result<Checkpoint, Stop> {
        seal::read(&claim.note, &self.key)
            .map_err(|why| Stop::at(self.file, claim.line, why.to_string()))
    }

    /// No more lines come: nothing may speak of more than there are.
    pub(super) fn finish(&self, records: u64) -> Result<(), Stop> {
        let Some(claim) = &self.next else {
            return Ok(());
        };
        let size = self.verified(claim)?.size;
        Err(Stop::at(
            self.file,
            claim.line,
            format!(
                "the checkpoint speaks of {size} records, and there are {records}: the end was cut off"
            ),
        ))
    }

    /// Reads on to the next note.
    fn advance(&mut self) -> Result<(), Stop> {
        let Some(lines) = &mut self.lines else {
            return Ok(());
        };
        let mut has_zeroes = false;
        let (line, note) = loop {
            let end = match lines.next()? {
                Next::Line(_) => {
                    let line = [lines.line(), b"\n"].concat();
                    has_zeroes |= line.contains(&0);
                    match self.notes.take(&line) {
                        Some(note) => break note,
                        None => continue,
                    }
                }
                Next::End if self.notes.pending() == 0 => None,
                // Being written, or torn: a checkpoint is written without a sync.
                Next::End | Next::Partial(_) if self.is_last => None,
                Next::End | Next::Partial(_) => Some("the checkpoint has no end"),
                Next::TooLong => match self.is_last && lines.line().contains(&0) {
                    true => None,
                    false => Some("longer than a checkpoint can be"),
                },
            };
            self.lines = None;
            return match end {
                None => Ok(()),
                Some(why) => Err(Stop::at(self.file, self.notes.began(), why)),
            };
        };
        let checkpoint = Note::parse(&note).and_then(|note| note.unverified());
        let why = match checkpoint {
            Ok(checkpoint) if checkpoint.size > self.size => {
                self.next = Some(Claim {
                    line,
                    checkpoint,
                    note,
                });
                return Ok(());
            }
            Ok(checkpoint) => format!(
                "a checkpoint of {} records stands behind one of {}",
                checkpoint.size, self.size
            ),
            // What a loss of power leaves.
            Err(_) if self.is_last && has_zeroes => {
                self.lines = None;
                return Ok(());
            }
            Err(why) => why.to_string(),
        };
        Err(Stop::at(self.file, line, why))
    }
}
