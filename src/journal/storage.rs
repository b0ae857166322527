//! Where the journal's bytes go: the files of one directory that one process at a time may write.
//!
//! ```text
//! <first record>.jsonl         the lines of a segment; `.jsonl.gz` once it is closed and compressed
//! <first record>.checkpoints   signed notes, each followed by an empty line
//! <first record>.cosigned      the last of these that witnesses signed, with what they signed
//! <first record>.hashes        of a closed segment: the leaf of each of its lines, 32 bytes each
//! <first record>.ends          of a segment whose lines retention removed: the first line and the last
//! key  key.next                the key that signs, and the one that will
//! log.pub                      the public key of the first segment
//! making  sealing              files that are not complete: taken for nothing, and removed at a start
//! lock
//! ```
//!
//! The operations are few and go through a trait, so that tests make each of them fail in turn (a
//! full disk, an error, a short write, a failed sync) and see that nothing is then taken for
//! written. [`Disk`] is the only implementation that a host uses.

mod disk;

use std::collections::BTreeSet;
use std::fmt::{self, Debug};
use std::io::{self, Read};
use std::sync::Arc;

pub use self::disk::Disk;

/// The file whose lock is held while the journal is open for writing. It stays where it was once held.
pub(crate) const LOCK: &str = "lock";

/// A file, open for appending.
pub trait LogFile: Send + Sync + Debug {
    /// Appends some of `bytes`, as `write(2)` does, and says how many.
    ///
    /// # Errors
    ///
    /// What the file system says. Some of the bytes may have been written all the same.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns once everything written before is on the disk.
    ///
    /// # Errors
    ///
    /// What the file system says. It must then be taken as lost, whatever a later sync says: Linux
    /// reports a failed write-back once, and marks the pages clean.
    fn sync(&self) -> io::Result<()>;
}

/// Held while the journal is open for writing; dropped to let the next one in.
pub trait Lock: Send + Sync + Debug {}

/// A file of the journal. Those of a segment go by the number of its first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// The lines of a segment.
    Lines(u64),
    /// The lines of a closed segment, compressed.
    Packed(u64),
    /// The first and the last line of a segment whose lines were removed.
    Ends(u64),
    /// The leaves of a closed segment.
    Hashes(u64),
    /// The checkpoints of a segment.
    Checkpoints(u64),
    /// The checkpoint of a segment that witnesses signed last.
    Cosigned(u64),
    /// The private key of the open segment.
    Key,
    /// The private key of the next one, while there are both.
    NextKey,
    /// The public key of the first segment.
    Public,
    /// A file that is being made, and renamed once it is complete.
    Making,
    /// The same of checkpoints, which are written while something else is made.
    Sealing,
}

impl Name {
    /// The segment that it belongs to.
    #[must_use]
    pub const fn segment(self) -> Option<u64> {
        match self {
            Self::Lines(first)
            | Self::Packed(first)
            | Self::Ends(first)
            | Self::Hashes(first)
            | Self::Checkpoints(first)
            | Self::Cosigned(first) => Some(first),
            Self::Key | Self::NextKey | Self::Public | Self::Making | Self::Sealing => None,
        }
    }

    /// The file of this name, if it is one of the journal's.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "key" => return Some(Self::Key),
            "key.next" => return Some(Self::NextKey),
            "log.pub" => return Some(Self::Public),
            "making" => return Some(Self::Making),
            "sealing" => return Some(Self::Sealing),
            _ => {}
        }
        let (digits, rest) = name.split_once('.')?;
        let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        let first = plain.then(|| digits.parse().ok()).flatten()?;
        match rest {
            "jsonl" => Some(Self::Lines(first)),
            "jsonl.gz" => Some(Self::Packed(first)),
            "ends" => Some(Self::Ends(first)),
            "hashes" => Some(Self::Hashes(first)),
            "checkpoints" => Some(Self::Checkpoints(first)),
            "cosigned" => Some(Self::Cosigned(first)),
            _ => None,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Twenty digits, so that names sort as numbers.
            Self::Lines(first) => write!(f, "{first:020}.jsonl"),
            Self::Packed(first) => write!(f, "{first:020}.jsonl.gz"),
            Self::Ends(first) => write!(f, "{first:020}.ends"),
            Self::Hashes(first) => write!(f, "{first:020}.hashes"),
            Self::Checkpoints(first) => write!(f, "{first:020}.checkpoints"),
            Self::Cosigned(first) => write!(f, "{first:020}.cosigned"),
            Self::Key => f.write_str("key"),
            Self::NextKey => f.write_str("key.next"),
            Self::Public => f.write_str("log.pub"),
            Self::Making => f.write_str("making"),
            Self::Sealing => f.write_str("sealing"),
        }
    }
}

/// The file name of the segment whose first record is `first`.
#[must_use]
pub fn segment_name(first: u64) -> String {
    Name::Lines(first).to_string()
}

/// The directory of the journal.
pub trait Storage: Send + Sync + Debug {
    /// Makes the directory where there is none, and takes the exclusive lock.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where another holds it; otherwise what the file system says.
    fn lock(&self) -> io::Result<Box<dyn Lock>>;

    /// The files that there are.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn names(&self) -> io::Result<BTreeSet<Name>>;

    /// The size of a file.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn size(&self, name: Name) -> io::Result<u64>;

    /// Reads a file from byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn reader(&self, name: Name, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Makes a new file. Its name is on the disk after [`Storage::sync_names`].
    ///
    /// # Errors
    ///
    /// What the file system says; also where it exists.
    fn create(&self, name: Name) -> io::Result<Arc<dyn LogFile>>;

    /// Opens a file to append to.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn open(&self, name: Name) -> io::Result<Arc<dyn LogFile>>;

    /// Cuts a file to `len` bytes, and returns once that is on the disk.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn truncate(&self, name: Name, len: u64) -> io::Result<()>;

    /// Writes zeroes over a file, and returns once they are on the disk.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn wipe(&self, name: Name) -> io::Result<()>;

    /// Gives a file another name, in the place of the file that has it. On the disk after
    /// [`Storage::sync_names`].
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn rename(&self, from: Name, to: Name) -> io::Result<()>;

    /// Removes a file. On the disk after [`Storage::sync_names`].
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn remove(&self, name: Name) -> io::Result<()>;

    /// Returns once every name that was made, changed or removed before is so on the disk.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn sync_names(&self) -> io::Result<()>;

    /// The first numbers of all segments whose lines are there, ascending.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<u64>> {
        let mut segments = BTreeSet::new();
        for name in self.names()? {
            if let Name::Lines(first) | Name::Packed(first) = name {
                segments.insert(first);
            }
        }
        Ok(segments.into_iter().collect())
    }

    /// The bytes of a segment's lines; of a compressed one as far as its file says, and 0 where that is too
    /// short to say.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn len(&self, first: u64) -> io::Result<u64> {
        match self.size(Name::Lines(first)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let name = Name::Packed(first);
                let mut size = [0; 4];
                // Who reads it is told what is wrong with it.
                let Some(at) = self.size(name)?.checked_sub(size.len() as u64) else {
                    return Ok(0);
                };
                // RFC 1952: the last four bytes. Only ever told to people, and planned with.
                self.reader(name, at)?.read_exact(&mut size)?;
                Ok(u32::from_le_bytes(size).into())
            }
            other => other,
        }
    }

    /// Reads the lines of a segment from byte `offset` on, whether they are compressed or not.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn read(&self, first: u64, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        match self.reader(Name::Lines(first), offset) {
            // The compressed file is there before the other is removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let packed = self.reader(Name::Packed(first), 0)?;
                let mut lines = unpacked(packed);
                io::copy(&mut (&mut lines).take(offset), &mut io::sink())?;
                Ok(lines)
            }
            other => other,
        }
    }
}

/// The lines in a compressed file. Every member of it counts, as for `gzip` and for Python's reader:
/// what one of them showed and another left out would be two logs in one file.
pub(super) fn unpacked(packed: Box<dyn Read + Send>) -> Box<dyn Read + Send> {
    let buffered = io::BufReader::with_capacity(256 << 10, packed);
    Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
}

/// One `write(2)`, unless the kernel takes less than it was given.
pub(super) fn write_all(file: &dyn LogFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What was done to a file, where one that is not there is as good.
pub(super) fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Writes whatever `write` does to a new file, and puts it in the place of `name` once all of it is on
/// the disk: whoever reads sees the old file or the new one, also after a loss of power.
pub(super) fn put(
    storage: &dyn Storage,
    name: Name,
    write: impl FnOnce(&dyn LogFile) -> io::Result<()>,
) -> io::Result<()> {
    // Two at most write at a time: who appends, and who tidies up.
    let fresh = match name {
        Name::Checkpoints(_) => Name::Sealing,
        _ => Name::Making,
    };
    if_there(storage.remove(fresh))?;
    let file = storage.create(fresh)?;
    write(&*file)?;
    file.sync()?;
    storage.rename(fresh, name)?;
    storage.sync_names()
}

/// Reads a small file whole; `None` where there is none.
pub(super) fn get(storage: &dyn Storage, name: Name, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut reader = match storage.reader(name, 0) {
        Ok(reader) => reader.take(limit + 1),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let why = format!("`{name}` is larger than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_again_by_its_name() {
        for name in [
            Name::Lines(1),
            Name::Packed(77),
            Name::Ends(u64::MAX),
            Name::Hashes(0),
            Name::Checkpoints(12),
            Name::Cosigned(13),
            Name::Key,
            Name::NextKey,
            Name::Public,
            Name::Making,
            Name::Sealing,
        ] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for other in [
            "lock",
            "1.jsonl",
            "0000000000000000000x.jsonl",
            "00000000000000000001.jsonl.gz.gz",
            "99999999999999999999.jsonl",
            "+0000000000000000001.hashes",
            "",
        ] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
