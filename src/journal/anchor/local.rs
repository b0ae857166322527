//! Places on this machine, or that look so: a file on another disk, the standard output, the system's log.
//!
//! Each gets a checkpoint on one line. A file is looked at first: what it has must be what the journal
//! goes on from, and if it is not, nothing is added to it, for it is the evidence.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use rustix::fs::OFlags;

use super::{MARK, Standing, one_line, read, stands};
use crate::journal::archive::{Archive, ArchiveError};
use crate::journal::note::{Checkpoint, Note};

/// How much of a file's end is looked at for the last checkpoint of this log.
const END: u64 = 1 << 20;

/// The system's log: where it listens, and as what: security (`authpriv`), worth a notice.
const SYSLOG: &str = "/dev/log";
const PRIORITY: u8 = 10 * 8 + 5;

/// A checkpoint did not get where it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalError {
    /// The place can't be read or written.
    #[error("can't write to {place}: {error}")]
    Io {
        /// Where.
        place: String,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The journal can't be held against what is there.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What is there says that this journal was changed.
    #[error("{place} has a checkpoint that the journal does not go on from: {why}")]
    Conflict {
        /// Where.
        place: String,
        /// How the two differ.
        why: String,
    },
}

fn io_error(place: &str) -> impl Fn(io::Error) -> LocalError + use<> {
    let place = place.to_owned();
    move |error| LocalError::Io {
        place: place.clone(),
        error,
    }
}

/// Adds `note` to a file, as the last line; `time` stands before it, for people.
///
/// # Errors
///
/// The file can't be read or written, or its last checkpoint of this log conflicts with the journal.
pub fn to_file(
    path: &Path,
    archive: &mut Archive,
    note: &Note,
    time: &str,
) -> Result<(), LocalError> {
    let place = format!("`{}`", path.display());
    let wrong = io_error(&place);
    let mut ends_line = true;
    match unheld().read(true).open(path) {
        Ok(mut file) => {
            let found = file.metadata().map_err(&wrong)?;
            // A device or a pipe takes lines and gives none back.
            if found.is_file() {
                let end = end_of(&mut file, found.len()).map_err(&wrong)?;
                ends_line = end.is_empty() || end.ends_with('\n');
                if let Some(why) = conflict(archive, &end)? {
                    return Err(LocalError::Conflict { place, why });
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(wrong(error)),
    }
    // A line that was cut short stays one of its own.
    let start = if ends_line { "" } else { "\n" };
    let line = format!("{start}{time} {}\n", one_line(&note.to_string()));
    let mut file = unheld()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(&wrong)?;
    file.write_all(line.as_bytes()).map_err(&wrong)?;
    match file.sync_data() {
        // What is no file on a disk can't be waited for.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
            Ok(())
        }
        other => other.map_err(&wrong),
    }
}

/// A pipe that nobody reads, or not fast enough, must not hold the host.
fn unheld() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

fn end_of(file: &mut File, len: u64) -> io::Result<String> {
    file.seek(SeekFrom::Start(len.saturating_sub(END)))?;
    let mut bytes = Vec::new();
    file.take(END).read_to_end(&mut bytes)?;
    // Whatever else is written there need not be text.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How the journal conflicts with the last checkpoint of this log in `text`.
fn conflict(archive: &mut Archive, text: &str) -> Result<Option<String>, ArchiveError> {
    for line in text.lines().rev().filter(|line| line.contains(MARK)) {
        let notes = read(line).unwrap_or_default();
        let Some(note) = notes.first() else { continue };
        // Others may write to the same place.
        let ours = note
            .unverified()
            .is_ok_and(|checkpoint| checkpoint.origin == archive.origin());
        if ours {
            return Ok(described(stands(archive, note)?));
        }
    }
    Ok(None)
}

/// What a standing means, where it is a bad one.
#[must_use]
pub fn described((checkpoint, standing): (Option<Checkpoint>, Standing)) -> Option<String> {
    let kept = checkpoint.map_or(0, |checkpoint| checkpoint.size);
    match standing {
        Standing::Extends => None,
        Standing::Cut { size } => Some(format!(
            "it speaks of {kept} records, and the journal has {size}: its end was cut off, or an older copy was put in its place"
        )),
        Standing::Forked => Some(format!(
            "the first {kept} records are not those that it speaks of: the journal was rewritten"
        )),
        Standing::Foreign(why) => Some(why.to_string()),
    }
}

/// Writes `note` as a line to the standard output.
///
/// # Errors
///
/// It takes nothing.
pub fn to_stdout(note: &Note) -> Result<(), LocalError> {
    let line = format!("{}\n", one_line(&note.to_string()));
    let mut out = io::stdout().lock();
    out.write_all(line.as_bytes())
        .and_then(|()| out.flush())
        .map_err(io_error("the standard output"))
}

/// Sends `note` as a message to the system's log.
///
/// # Errors
///
/// There is none, or it does not take it.
pub fn to_syslog(note: &Note) -> Result<(), LocalError> {
    to_syslog_at(Path::new(SYSLOG), note)
}

pub(super) fn to_syslog_at(socket: &Path, note: &Note) -> Result<(), LocalError> {
    // As `syslog(3)` writes it, but for the time, which the log itself puts there.
    let message = format!(
        "<{PRIORITY}>tollgate[{}]: {}",
        std::process::id(),
        one_line(&note.to_string())
    );
    let sent = UnixDatagram::unbound().and_then(|from| {
        // A log that is stuck must not hold the host.
        from.set_nonblocking(true)?;
        from.send_to(message.as_bytes(), socket)
    });
    sent.map(drop).map_err(io_error(&format!(
        "the system's log (`{}`)",
        socket.display()
    )))
}
