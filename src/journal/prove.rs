//! A record shown to somebody who has none of the others (C2SP tlog-proof, v1).
//!
//! A proof is text: the record's index, the hashes that lead from it to the root, and a signed
//! checkpoint with that root. It is checked with the record's line and the log's key, without the
//! journal and by any program that knows the format. What this host makes carries the line itself as
//! the extra data, which the format leaves to the application.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::line::MAX_LINE;
use super::merkle;
use super::note::{self, Checkpoint, MAX_NOTE, Note, NoteError, VerifierKey};
use crate::digest::Digest;

/// The first line of every proof.
pub const PROOF: &str = "c2sp.org/tlog-proof@v1";

/// Hashes that a proof can have: one for each level of the largest tree.
const MOST_HASHES: usize = 64;

/// The most bytes of a proof's text.
pub const MAX_PROOF: usize = MAX_LINE * 4 / 3 + MOST_HASHES * 45 + MAX_NOTE + 256;

/// Why a proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Not in the form of a proof.
    #[error("this is no tlog-proof: {0}")]
    Form(&'static str),
    /// Its checkpoint can't be relied upon.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The record is not the one that was signed for.
    #[error(
        "record {0} is not in the log as the checkpoint has it: the record or the proof was changed"
    )]
    Elsewhere(u64),
}

/// That a record is in the log, as somebody may check it offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Whatever the application wants beside it; nobody vouches for it.
    pub extra: Option<Vec<u8>>,
    /// The record's place: its `seq` less one.
    pub index: u64,
    /// From the leaf's neighbour to the root's child.
    pub hashes: Vec<Digest>,
    /// The checkpoint, with all of its signatures.
    pub note: Note,
}

impl Proof {
    /// Reads a proof in its one form.
    ///
    /// # Errors
    ///
    /// It is not one.
    pub fn parse(text: &str) -> Result<Self, ProofError> {
        let form = ProofError::Form;
        if text.len() > MAX_PROOF {
            return Err(form("it is too large"));
        }
        let (head, note) = text
            .split_once("\n\n")
            .ok_or(form("no empty line stands before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(PROOF) {
            return Err(form("it does not start with the format's name"));
        }
        let mut line = lines.next();
        let mut extra = None;
        if let Some(encoded) = line.and_then(|line| line.strip_prefix("extra ")) {
            let bytes = STANDARD.decode(encoded);
            extra = Some(bytes.map_err(|_| form("the extra data is not in base64"))?);
            line = lines.next();
        }
        let index = line
            .and_then(|line| line.strip_prefix("index "))
            .and_then(note::plain_number)
            .ok_or(form("no line has the index"))?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == MOST_HASHES {
                return Err(form("it has more hashes than a tree has levels"));
            }
            hashes.push(note::hash(line).ok_or(form("a line is no hash in base64"))?);
        }
        Ok(Self {
            extra,
            index,
            hashes,
            note: Note::parse(note.as_bytes())?,
        })
    }

    /// The checkpoint that one of `keys` signed, where it has `leaf` at the index.
    ///
    /// # Errors
    ///
    /// None of them signed it, or it does not lead there.
    pub fn shows(&self, leaf: &Digest, keys: &[VerifierKey]) -> Result<Checkpoint, ProofError> {
        let checkpoint = self.note.verify(keys)?;
        if merkle::includes(
            leaf,
            self.index,
            checkpoint.size,
            &self.hashes,
            &checkpoint.root,
        ) {
            Ok(checkpoint)
        } else {
            Err(ProofError::Elsewhere(self.index.saturating_add(1)))
        }
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{PROOF}")?;
        if let Some(extra) = &self.extra {
            writeln!(f, "extra {}", STANDARD.encode(extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", STANDARD.encode(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests;
