//! The checkpoints that each segment's key signed, and what witnesses said of them.

use std::io::{self, Read as _};

use super::{Archive, ArchiveError, failed};
use crate::journal::note::{Checkpoint, MAX_NOTE, Note, VerifierKey};
use crate::journal::seal::Notes;
use crate::journal::storage::Name;

/// The most bytes of a segment's checkpoints that are read.
const MOST_NOTES: u64 = 64 << 20;

impl Archive {
    /// The newest checkpoint, as its segment's key signed it.
    ///
    /// # Errors
    ///
    /// There is none, or it does not verify.
    pub fn newest(&self) -> Result<(Note, Checkpoint), ArchiveError> {
        for place in (0..self.spans.len()).rev() {
            if let Some(found) = self.last_note(place)? {
                return Ok(found);
            }
        }
        Err(ArchiveError::Unsigned(1))
    }

    /// The last checkpoint of a segment.
    pub(super) fn last_note(
        &self,
        place: usize,
    ) -> Result<Option<(Note, Checkpoint)>, ArchiveError> {
        let Some(span) = self.spans.get(place) else {
            return Ok(None);
        };
        let name = Name::Checkpoints(span.first);
        let reader = match self.storage.reader(name, 0) {
            Ok(reader) => reader,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(name)(error)),
        };
        let mut bytes = Vec::new();
        reader
            .take(MOST_NOTES)
            .read_to_end(&mut bytes)
            .map_err(failed(name))?;
        let mut cut = Notes::default();
        let mut last = None;
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            last = cut.take(line).map(|(_, note)| note).or(last);
        }
        let verified = |bytes: &[u8]| {
            let note = Note::parse(bytes)?;
            let checkpoint = note.verify(std::slice::from_ref(&span.key))?;
            Ok((note, checkpoint))
        };
        last.map(|bytes| verified(&bytes))
            .transpose()
            .map_err(|why| ArchiveError::Note {
                file: name.to_string(),
                why,
            })
    }

    /// The checkpoint of a segment that witnesses signed last.
    pub(super) fn cosigned(&self, place: usize) -> Option<(Note, Checkpoint)> {
        let span = self.spans.get(place)?;
        let reader = self.storage.reader(Name::Cosigned(span.first), 0).ok()?;
        let mut bytes = Vec::new();
        reader.take(MAX_NOTE as u64).read_to_end(&mut bytes).ok()?;
        // One that was damaged is no loss: there is another without the witnesses.
        let note = Note::parse(&bytes).ok()?;
        let checkpoint = note.verify(std::slice::from_ref(&span.key)).ok()?;
        Some((note, checkpoint))
    }

    /// The file for what witnesses signed of the checkpoint of `size` records.
    #[must_use]
    pub fn cosigned_name(&self, size: u64) -> String {
        let place = self.place_of(size.saturating_sub(1)).unwrap_or(0);
        let first = self.spans.get(place).map_or(1, |span| span.first);
        Name::Cosigned(first).to_string()
    }

    /// How many records the last checkpoint speaks of that `witness` is known to have signed.
    #[must_use]
    pub fn signed_by(&self, witness: &VerifierKey) -> Option<u64> {
        let signed = |place| {
            let (note, checkpoint) = self.cosigned(place)?;
            let said = note.cosignatures(std::slice::from_ref(witness)).ok()?;
            (!said.is_empty()).then_some(checkpoint.size)
        };
        (0..self.spans.len()).rev().find_map(signed)
    }
}
