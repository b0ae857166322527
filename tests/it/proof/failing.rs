//! A directory whose operations fail where a test says so.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tollgate::journal::storage::{Disk, Lock, LogFile, Name, Storage};

/// How it fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Once, with nothing done.
    Once(i32),
    /// That one is not done, and none after it: the process is dead.
    Dies,
    /// A sync, once, when told to.
    Syncs(i32),
}

#[derive(Debug)]
struct State {
    operations: AtomicU64,
    syncs: AtomicU64,
    fails_now: AtomicBool,
    at: u64,
    fault: Fault,
}

/// The journal of a directory, on a disk that fails.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    disk: Disk,
    state: Arc<State>,
}

impl Failing {
    pub(crate) fn new(path: &Path, at: u64, fault: Fault) -> Self {
        Self {
            disk: Disk::new(path),
            state: Arc::new(State {
                operations: AtomicU64::new(0),
                syncs: AtomicU64::new(0),
                fails_now: AtomicBool::new(false),
                at,
                fault,
            }),
        }
    }

    /// Whether the operation that fails was reached.
    pub(crate) fn reached(&self) -> bool {
        self.state.operations.load(Ordering::SeqCst) > self.state.at
    }

    pub(crate) fn fail_once_from_now(&self) {
        self.state.fails_now.store(true, Ordering::SeqCst);
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.state.syncs.load(Ordering::SeqCst)
    }
}

impl State {
    fn operation(&self) -> io::Result<()> {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Fault::Once(code) if number == self.at => Err(io::Error::from_raw_os_error(code)),
            Fault::Dies if number >= self.at => Err(io::Error::other("the process is dead")),
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct File {
    file: Arc<dyn LogFile>,
    state: Arc<State>,
}

impl LogFile for File {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.state.operation()?;
        self.file.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.state.operation()?;
        self.state.syncs.fetch_add(1, Ordering::SeqCst);
        if let Fault::Syncs(code) = self.state.fault
            && self.state.fails_now.swap(false, Ordering::SeqCst)
        {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.file.sync()
    }
}

impl Failing {
    fn wrapped(&self, file: Arc<dyn LogFile>) -> Arc<dyn LogFile> {
        Arc::new(File {
            file,
            state: Arc::clone(&self.state),
        })
    }
}

impl Storage for Failing {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        self.state.operation()?;
        self.disk.lock()
    }

    fn names(&self) -> io::Result<BTreeSet<Name>> {
        self.state.operation()?;
        self.disk.names()
    }

    fn size(&self, name: Name) -> io::Result<u64> {
        self.state.operation()?;
        self.disk.size(name)
    }

    fn reader(&self, name: Name, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.state.operation()?;
        self.disk.reader(name, offset)
    }

    fn create(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        self.state.operation()?;
        Ok(self.wrapped(self.disk.create(name)?))
    }

    fn open(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        self.state.operation()?;
        Ok(self.wrapped(self.disk.open(name)?))
    }

    fn truncate(&self, name: Name, len: u64) -> io::Result<()> {
        self.state.operation()?;
        self.disk.truncate(name, len)
    }

    fn wipe(&self, name: Name) -> io::Result<()> {
        self.state.operation()?;
        self.disk.wipe(name)
    }

    fn rename(&self, from: Name, to: Name) -> io::Result<()> {
        self.state.operation()?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: Name) -> io::Result<()> {
        self.state.operation()?;
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.state.operation()?;
        self.disk.sync_names()
    }
}
