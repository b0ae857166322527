//! The journal's files in a directory of the file system.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::{LOCK, Lock, LogFile, Name, Storage};

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

    fn path(&self, name: Name) -> PathBuf {
        self.directory.join(name.to_string())
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

/// Opens to write somewhere within.
fn for_writing() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).custom_flags(no_follow());
    options
}

/// A link in place of a file would lead the journal's bytes to somewhere else.
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
            .open(self.directory.join(LOCK))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(DiskLock { _file: file }))
    }

    fn names(&self) -> io::Result<BTreeSet<Name>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.directory)? {
            names.extend(entry?.file_name().to_str().and_then(Name::parse));
        }
        Ok(names)
    }

    fn size(&self, name: Name) -> io::Result<u64> {
        Ok(fs::metadata(self.path(name))?.len())
    }

    fn reader(&self, name: Name, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(no_follow())
            .open(self.path(name))?;
        if offset > 0 {
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        }
        Ok(Box::new(file))
    }

    fn create(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        let file = for_appending().create_new(true).open(self.path(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(for_appending().open(self.path(name))?))
    }

    fn truncate(&self, name: Name, len: u64) -> io::Result<()> {
        let file = for_writing().open(self.path(name))?;
        file.set_len(len)?;
        file.sync_all()
    }

    fn wipe(&self, name: Name) -> io::Result<()> {
        let mut file = for_writing().open(self.path(name))?;
        let len = file.metadata()?.len();
        io::copy(&mut io::repeat(0).take(len), &mut file)?;
        file.flush()?;
        file.sync_all()
    }

    fn rename(&self, from: Name, to: Name) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: Name) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
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
