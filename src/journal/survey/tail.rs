//! What a write that did not finish leaves behind the last whole record, and what is signed before it.

use super::super::line::Head;
use super::super::note::Note;
use super::super::open::{OpenError, failed};
use super::super::scan::Next;
use super::super::seal::{self, Notes};
use super::super::storage::{Name, get};
use super::{Fault, Reading, bad, lines_of, next};

/// The most bytes of checkpoints that a segment has: the last of each minute and as many again as are
/// written before the file is written anew, with room to spare.
const MOST_CHECKPOINTS: u64 = 64 << 20;

impl Reading<'_> {
    /// Whether what comes behind the last good line is a write that did not finish: half a line, zeroes,
    /// a block of another place. It is not where any of it is a record that comes later: then
    /// something before it was changed.
    pub(super) fn is_torn(&mut self) -> Result<bool, OpenError> {
        let mut lines = lines_of(self.storage, self.segment, self.found.bytes)?;
        let size = self.found.tree.size();
        loop {
            let line = match next(&mut lines, self.segment)? {
                Next::End | Next::Partial(_) => return Ok(true),
                // Beyond what any record has: more of the same, up to the next newline.
                Next::TooLong => {
                    lines.skip_line().map_err(failed("read the journal"))?;
                    continue;
                }
                Next::Line(line) => line,
            };
            if let Ok(head) = Head::read(line)
                && head.seq > size
                && head.record().is_ok()
            {
                return Ok(false);
            }
        }
    }

    /// Reads the checkpoints up to the first that is none.
    pub(super) fn read_checkpoints(&mut self) -> Result<(), OpenError> {
        let name = Name::Checkpoints(self.segment);
        let bytes = get(self.storage, name, MOST_CHECKPOINTS);
        let bytes = bytes
            .map_err(failed(format!("read `{name}`")))?
            .unwrap_or_default();
        let mut cut = Notes::default();
        let mut end = 0;
        // There is no record 0, whatever a file is called.
        let mut size = self.segment.saturating_sub(1);
        for line in bytes.split_inclusive(|b| *b == b'\n') {
            end += line.len() as u64;
            let Some((_, note)) = cut.take(line) else {
                continue;
            };
            let checkpoint = Note::parse(&note).and_then(|note| note.unverified());
            let (Ok(checkpoint), Ok(text)) = (checkpoint, String::from_utf8(note)) else {
                break;
            };
            if checkpoint.size <= size {
                break;
            }
            size = checkpoint.size;
            self.found.checkpoint_bytes = end;
            self.notes.push((checkpoint, text));
        }
        self.found.checkpoints.count = self.notes.len();
        Ok(())
    }

    /// The log must extend its last checkpoint.
    pub(super) fn settle_checkpoints(&self, fault: Option<Fault>) -> Result<(), OpenError> {
        let Some((checkpoint, _)) = self.notes.last() else {
            return Ok(());
        };
        let size = self.found.tree.size();
        if checkpoint.size > size {
            return Err(match fault {
                Some(fault) => bad(Name::Lines(self.segment), fault.line, fault.why),
                None => OpenError::Cut {
                    signed: checkpoint.size,
                    records: size,
                },
            });
        }
        // `kept` has the text of the last one, whatever it had of others.
        let signed = self.found.checkpoints.kept.last().unwrap_or_default();
        let key = self.found.key.as_ref();
        match key.map(|key| seal::read(signed.as_bytes(), key)) {
            Some(Ok(_)) => Ok(()),
            Some(Err(why)) => Err(bad(
                Name::Checkpoints(self.segment),
                1,
                format!("the last checkpoint: {why}"),
            )),
            None => Err(OpenError::Cut {
                signed: checkpoint.size,
                records: size,
            }),
        }
    }
}
