//! Where the journal's bytes go: segments in a directory that one process at a time may write.
//!
//! The operations are few and go through a trait, so that tests make each of them fail in turn (a
//! full disk, an error, a short write, a failed sync) and see that nothing is then taken for
//! written. [`Disk`] is the only implementation that a host uses.

use std::fmt::Debug;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};

/// A segment, open for appending.
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

/// The directory of segments. A segment is named by the number of its first record.
pub trait Storage: Send + Sync + Debug {
    /// Makes the directory where there is none, and takes the exclusive lock.
    ///
    /// # Errors
    ///
    /// `WouldBlock` where another holds it; otherwise what the file system says.
    fn lock(&self) -> io::Result<Box<dyn Lock>>;

    /// The first numbers of all segments, ascending.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn list(&self) -> io::Result<Vec<u64>>;

    /// The size of a segment.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn len(&self, first: u64) -> io::Result<u64>;

    /// Reads a segment from byte `offset` on.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn read(&self, first: u64, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Makes a new segment, whose name is on the disk when this returns.
    ///
    /// # Errors
    ///
    /// What the file system says; also where it exists.
    fn create(&self, first: u64) -> io::Result<Arc<dyn LogFile>>;

    /// Opens a segment to append to.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn open(&self, first: u64) -> io::Result<Arc<dyn LogFile>>;

    /// Cuts a segment to `len` bytes, and returns once that is on the disk.
    ///
    /// # Errors
    ///
    /// What the file system says.
    fn truncate(&self, first: u64, len: u64) -> io::Result<()>;
}

/// The file name of the segment whose first record is `first`. Twenty digits, so names sort as numbers.
#[must_use]
pub fn segment_name(first: u64) -> String {
    format!("{first:020}.jsonl")
}

fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// A directory of the file system.
#[derive(Debug, Clone)]
pub struct Disk {
    directory: PathBuf,
}

impl Disk {
    /// The journal in `directory`, which need not exist.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, first: u64) -> PathBuf {
        self.directory.join(segment_name(first))
    }

    /// Nobody else needs to read what agents did, and nobody else may write it.
    fn make_directory(&self) -> io::Result<()> {
        if !self.directory.exists() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.directory)?;
            // The name of the directory must survive a crash as well as what is in it.
            if let Some(parent) = self.directory.parent()
                && !parent.as_os_str().is_empty()
            {
                File::open(parent)?.sync_all()?;
            }
        }
        let mode = fs::metadata(&self.directory)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                directory = %self.directory.display(),
                mode = format_args!("{mode:o}"),
                "others could reach the journal: its directory is now its owner's alone"
            );
            fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        }
        Ok(())
    }
}

/// Opens for appending: every write goes to the end, wherever that is.
fn for_appending() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).mode(0o600).custom_flags(no_follow());
    options
}

/// A link in place of a segment would lead the journal's bytes to somewhere else.
fn no_follow() -> i32 {
    OFlags::NOFOLLOW.bits().cast_signed()
}

impl Storage for Disk {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        self.make_directory()?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .custom_flags(no_follow())
            .open(self.directory.join("lock"))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(DiskLock { _file: file }))
    }

    fn list(&self) -> io::Result<Vec<u64>> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            if let Some(first) = entry?.file_name().to_str().and_then(segment_number) {
                segments.push(first);
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }

    fn len(&self, first: u64) -> io::Result<u64> {
        Ok(fs::metadata(self.path(first))?.len())
    }

    fn read(&self, first: u64, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(no_follow())
            .open(self.path(first))?;
        if offset > 0 {
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }

    fn create(&self, first: u64) -> io::Result<Arc<dyn LogFile>> {
        let file = for_appending().create_new(true).open(self.path(first))?;
        File::open(&self.directory)?.sync_all()?;
        Ok(Arc::new(file))
    }

    fn open(&self, first: u64) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(for_appending().open(self.path(first))?))
    }

    fn truncate(&self, first: u64, len: u64) -> io::Result<()> {
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(no_follow())
            .open(self.path(first))?;
        file.set_len(len)?;
        file.sync_all()
    }
}

#[derive(Debug)]
struct DiskLock {
    /// Closing it gives the lock back; so does the end of the process, however it ends.
    _file: File,
}

impl Lock for DiskLock {}

impl LogFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // By its full name: this trait's own method is the nearer one.
        io::Write::write(&mut &*self, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}
