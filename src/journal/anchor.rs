//! Checkpoints kept elsewhere: how they are written there, and how they are held against the journal.
//!
//! The journal alone shows every change that leaves a later checkpoint in place. Its own end, and all
//! of what the key of today signed, can be rewritten by whoever has this machine. A checkpoint that
//! is somewhere else by then shows that: the journal must go on from it.

mod kept;
mod local;
mod witness;

use super::archive::{Archive, ArchiveError};
use super::note::{Checkpoint, Note, NoteError, VerifierKey};

pub use self::kept::{MARK, one_line, read};
pub use self::local::{LocalError, described, to_file, to_stdout, to_syslog};
pub use self::witness::{Answer, Submission};

/// How a journal stands to a checkpoint that was kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It goes on from it.
    Extends,
    /// It has fewer records: its end was cut off, or an older copy of it was put in its place.
    Cut {
        /// How many it has.
        size: u64,
    },
    /// It has as many, and they are not the same ones.
    Forked,
    /// None of its keys signed the checkpoint.
    Foreign(NoteError),
}

/// Holds a checkpoint from elsewhere against the journal.
///
/// # Errors
///
/// The journal can't be read.
pub fn stands(
    archive: &mut Archive,
    note: &Note,
) -> Result<(Option<Checkpoint>, Standing), ArchiveError> {
    let keys: Vec<VerifierKey> = archive.keys().cloned().collect();
    let checkpoint = match note.verify(&keys) {
        Ok(checkpoint) => checkpoint,
        Err(why) => return Ok((note.unverified().ok(), Standing::Foreign(why))),
    };
    let size = archive.size()?;
    let standing = if checkpoint.size > size {
        Standing::Cut { size }
    } else if archive.root(checkpoint.size)? == checkpoint.root {
        Standing::Extends
    } else {
        Standing::Forked
    };
    Ok((Some(checkpoint), standing))
}

#[cfg(test)]
mod tests;
