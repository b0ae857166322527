//! The files that a backup can have, by their names, and how one is copied.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::digest::Digest;
use crate::journal::storage::Name;

/// The database.
pub(super) const DATABASE: &str = "tollgate.db";
/// The encrypted secrets.
pub(super) const SECRETS: &str = "secrets.store";
/// The keys that may be in a backup.
pub(super) const KEYS: &[&str] = &["keys/secrets.key", "keys/tapes.key"];
/// The key of step tokens and hand-offs, which no backup has: they live for minutes, and one that was
/// used after the backup must not be good again.
pub(super) const STEPS: &str = "keys/steps.key";
/// The folder of the log that was in force.
pub(super) const JOURNAL: &str = "journal";
/// The folder of logs from before earlier restores.
pub(super) const EARLIER: &str = "journals";
/// The folder of tapes.
pub(super) const TAPES: &str = "tapes";

/// Whether a backup can have a file of this name.
pub(super) fn is_known(name: &str) -> bool {
    let mut parts = name.split('/');
    let parts = (parts.next(), parts.next(), parts.next(), parts.next());
    match parts {
        (Some(DATABASE | SECRETS), None, ..) => true,
        (Some("keys"), Some(_), None, _) => KEYS.contains(&name),
        (Some(JOURNAL), Some(file), None, _) => is_of_journal(file),
        (Some(EARLIER), Some(folder), Some(file), None) => {
            is_earlier(folder) && is_of_journal(file)
        }
        (Some(TAPES), Some(file), None, _) => is_tape(file),
        _ => false,
    }
}

/// A file of a log that a backup has: not the keys that sign it, nor what is just being made.
pub(super) fn is_of_journal(name: &str) -> bool {
    match Name::parse(name) {
        Some(
            Name::Lines(_)
            | Name::Packed(_)
            | Name::Ends(_)
            | Name::Hashes(_)
            | Name::Checkpoints(_)
            | Name::Cosigned(_)
            | Name::Public,
        ) => true,
        Some(Name::Key | Name::NextKey | Name::Making | Name::Sealing) | None => false,
    }
}

/// A log from before a restore, named by the time of that.
pub(super) fn is_earlier(name: &str) -> bool {
    name.len() == 16
        && name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'))
}

pub(super) fn is_tape(name: &str) -> bool {
    name.strip_suffix(".tape")
        .and_then(|stem| uuid::Uuid::try_parse(stem).ok())
        .is_some_and(|id| format!("{id}.tape") == name)
}

/// How much of a file is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// All of it.
    End,
    /// The end of the last line: what follows is being written.
    Line,
    /// The end of the last signed note.
    Note,
}

impl Until {
    /// How much of a file of this name.
    pub(super) fn of(name: &str) -> Self {
        match Name::parse(name) {
            Some(Name::Lines(_)) => Self::Line,
            Some(Name::Checkpoints(_)) => Self::Note,
            _ => Self::End,
        }
    }
}

/// Opens a file to be read: never through a link, and never stuck on what has no end and is no file.
fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    Ok(file)
}

/// Copies `from` to `to`, which must not be there, and gives its size and digest. What is copied is on
/// the disk at both ends when this returns: a copy must not have what its original may still lose.
pub(super) fn copy(from: &Path, to: &Path, until: Until) -> io::Result<(u64, Digest)> {
    let source = open(from)?;
    let length = source.metadata()?.len();
    // Whoever wrote it: this waits for the pages of the file, not of this process.
    source.sync_data()?;
    let length = match until {
        Until::End => length,
        Until::Line => end_of(&source, length, last_line)?,
        Until::Note => end_of(&source, length, last_note)?,
    };
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    let mut source = (&source).take(length);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut copied = 0;
    loop {
        let count = source.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
        target.write_all(bytes)?;
        copied += count as u64;
    }
    target.sync_all()?;
    Ok((copied, Digest::from_bytes(hasher.finalize().into())))
}

/// The position behind the last whole thing within the first `length` bytes, as `last` finds it in a
/// piece; 0 where there is none.
fn end_of(file: &File, length: u64, last: fn(&[u8]) -> Option<usize>) -> io::Result<u64> {
    use std::os::unix::fs::FileExt as _;
    /// Longer than any line or note.
    const STEP: u64 = 512 << 10;
    /// Longer than what shows an end, which may lie across the border of two pieces.
    const OVERLAP: u64 = 4 << 10;
    let mut behind = length;
    loop {
        let from = behind.saturating_sub(STEP);
        let mut piece = vec![0; usize::try_from(behind - from).unwrap_or(0)];
        file.read_exact_at(&mut piece, from)?;
        if let Some(end) = last(&piece) {
            return Ok(from + end as u64);
        }
        if from == 0 {
            return Ok(0);
        }
        behind = from + OVERLAP;
    }
}

/// Behind the last line.
fn last_line(piece: &[u8]) -> Option<usize> {
    piece
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map(|at| at + 1)
}

/// Behind the last empty line that follows a signature: one stands before the signatures, too.
fn last_note(piece: &[u8]) -> Option<usize> {
    const SIGNATURE: &[u8] = "\n\u{2014} ".as_bytes();
    let ends = piece.windows(2).enumerate().rev();
    let mut ends = ends.filter(|(_, window)| *window == b"\n\n");
    let signed = |at: usize| {
        let before = piece.get(..at).unwrap_or_default();
        let line = before.iter().rposition(|byte| *byte == b'\n');
        line.and_then(|line| before.get(line..))
            .is_some_and(|line| line.starts_with(SIGNATURE))
    };
    ends.find(|(at, _)| signed(*at)).map(|(at, _)| at + 2)
}

/// Size and digest of a file.
pub(super) fn measure(path: &Path) -> io::Result<(u64, Digest)> {
    let mut file = open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        match buffer.get(..count) {
            Some(bytes) if count > 0 => hasher.update(bytes),
            _ => break,
        }
        size += count as u64;
    }
    Ok((size, Digest::from_bytes(hasher.finalize().into())))
}

/// Puts the names in a folder on the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
