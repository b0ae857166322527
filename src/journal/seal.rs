//! Signing what the log is: the checkpoints of the open segment.
//!
//! A checkpoint is written after the sync of the lines that it speaks of, and without a sync of its
//! own: so one that is found speaks of lines that are on the disk, and for those that a loss of power
//! takes the next start writes another. A busy host writes thousands a second, so the file is written
//! anew now and then with the last of each minute, and once more when the segment is closed; that one
//! is synced, since the key is destroyed after it.

use std::io;
use std::sync::Arc;

use super::merkle::Tree;
use super::note::{Checkpoint, MAX_NOTE, Note, NoteError, Signer, VerifierKey};
use super::storage::{LogFile, Name, Storage, put, write_all};

/// Checkpoints in the file beyond those that stay, before it is written anew: about 1 MiB, which any
/// reader verifies within a second.
const LOOSE: usize = 4096;

/// Letters of a record's time that say the minute: `2026-11-22T13:22`.
const MINUTE: usize = 16;

/// The checkpoints that stay: the last of each minute, by the time of the last record they speak of.
#[derive(Debug, Default)]
pub(super) struct Kept(Vec<(String, String)>);

impl Kept {
    /// Adds a later one; `time` is that of the last record that it speaks of.
    pub(super) fn push(&mut self, time: &str, note: String) {
        let minute = time.get(..MINUTE).unwrap_or(time);
        match self.0.last_mut() {
            Some((last, kept)) if *last == minute => *kept = note,
            _ => self.0.push((minute.to_owned(), note)),
        }
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&str> {
        self.0.last().map(|(_, note)| note.as_str())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (_, note) in &self.0 {
            bytes.extend_from_slice(note.as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }
}

/// The key of the open segment, and the file of its checkpoints.
#[derive(Debug)]
pub(super) struct Seal {
    storage: Arc<dyn Storage>,
    signer: Signer,
    segment: u64,
    file: Arc<dyn LogFile>,
    kept: Kept,
    /// Checkpoints in the file.
    written: usize,
    /// The records that the last one speaks of.
    size: u64,
    /// The last one, for whoever publishes it.
    last: Option<Arc<str>>,
}

impl Seal {
    /// Goes on with a file in which `kept` was found, of `written` checkpoints, up to `size` records.
    pub(super) fn new(
        storage: Arc<dyn Storage>,
        signer: Signer,
        segment: u64,
        file: Arc<dyn LogFile>,
        found: Found,
    ) -> Self {
        Self {
            storage,
            signer,
            segment,
            file,
            written: found.count,
            size: found.size,
            last: found.kept.last().map(Into::into),
            kept: found.kept,
        }
    }

    /// The log's name.
    pub(super) fn origin(&self) -> &str {
        self.signer.verifier().name()
    }

    /// The key that verifies what this one signs.
    pub(super) const fn key(&self) -> &VerifierKey {
        self.signer.verifier()
    }

    /// The last checkpoint.
    pub(super) fn last(&self) -> Option<Arc<str>> {
        self.last.clone()
    }

    /// Signs the tree after the lines of it are on the disk; nothing where it is no longer the newest,
    /// or another segment has begun: then the checkpoint that closed this one speaks of it.
    pub(super) fn seal(&mut self, segment: u64, tree: &Tree, time: &str) -> io::Result<()> {
        if segment != self.segment || tree.size() <= self.size {
            return Ok(());
        }
        let note = self.sign(tree, time);
        write_all(&*self.file, format!("{note}\n").as_bytes())?;
        self.written += 1;
        if self.written > self.kept.0.len() + LOOSE {
            self.rewrite()?;
            self.file = self.storage.open(Name::Checkpoints(self.segment))?;
        }
        Ok(())
    }

    /// The last checkpoint of the segment: on the disk when this returns, with those that stay.
    pub(super) fn close(&mut self, tree: &Tree, time: &str) -> io::Result<()> {
        if tree.size() > self.size {
            self.sign(tree, time);
        }
        self.rewrite()
    }

    /// Waits for the disk: where the host ends, its last checkpoint should not be lost with the power.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn sign(&mut self, tree: &Tree, time: &str) -> Arc<str> {
        let note = self.signer.sign(&Checkpoint {
            origin: self.origin().to_owned(),
            size: tree.size(),
            root: tree.root(),
        });
        let shared: Arc<str> = note.as_str().into();
        self.kept.push(time, note);
        self.size = tree.size();
        self.last = Some(Arc::clone(&shared));
        shared
    }

    fn rewrite(&mut self) -> io::Result<()> {
        let bytes = self.kept.bytes();
        put(&*self.storage, Name::Checkpoints(self.segment), |file| {
            write_all(file, &bytes)
        })?;
        self.written = self.kept.0.len();
        Ok(())
    }
}

/// The checkpoints that were found of a segment.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) kept: Kept,
    pub(super) count: usize,
    pub(super) size: u64,
}

/// Cuts notes apart: text up to an empty line, signatures up to the next.
#[derive(Debug, Default)]
pub(super) struct Notes {
    note: Vec<u8>,
    empty_lines: usize,
    /// Lines before this note.
    before: u64,
    lines: u64,
}

impl Notes {
    /// Takes a line, with its newline; gives the note that it completes, and the line where that began.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<(u64, Vec<u8>)> {
        self.lines += 1;
        if line == b"\n" {
            self.empty_lines += 1;
            if self.empty_lines == 2 {
                let began = self.before + 1;
                self.before = self.lines;
                self.empty_lines = 0;
                return Some((began, std::mem::take(&mut self.note)));
            }
        }
        self.note.extend_from_slice(line);
        if self.note.len() > MAX_NOTE {
            // Not a note, whatever comes: it is given as it is, and kept no longer.
            self.empty_lines = 0;
            let began = self.began();
            self.before = self.lines;
            return Some((began, std::mem::take(&mut self.note)));
        }
        None
    }

    /// Bytes of the note that is not complete.
    pub(super) fn pending(&self) -> usize {
        self.note.len()
    }

    /// Where it begins, by lines from 1.
    pub(super) const fn began(&self) -> u64 {
        self.before + 1
    }
}

/// What one of the segment's own notes says.
pub(super) fn read(note: &[u8], key: &VerifierKey) -> Result<Checkpoint, NoteError> {
    Note::parse(note)?.verify(std::slice::from_ref(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_checkpoint_of_each_minute_stays() {
        let mut kept = Kept::default();
        for (time, note) in [
            ("2026-11-22T13:22:08.123Z", "a\n"),
            ("2026-11-22T13:22:59.999Z", "b\n"),
            ("2026-11-22T13:23:00.000Z", "c\n"),
            // A clock that was set back.
            ("2026-11-22T13:22:10.000Z", "d\n"),
        ] {
            kept.push(time, note.to_owned());
        }
        assert_eq!(kept.bytes(), b"b\n\nc\n\nd\n\n");
    }

    #[test]
    fn notes_are_cut_apart_at_the_second_empty_line() {
        let mut notes = Notes::default();
        let text = b"o\n1\nr\n\ns\n\no\n2\nr\n\ns\ns\n\no\n3";
        let found: Vec<_> = text
            .split_inclusive(|b| *b == b'\n')
            .filter_map(|line| notes.take(line))
            .collect();
        assert_eq!(
            found,
            [
                (1, b"o\n1\nr\n\ns\n".to_vec()),
                (7, b"o\n2\nr\n\ns\ns\n".to_vec())
            ]
        );
        assert_eq!((notes.pending(), notes.began()), (3, 14));
    }
}
