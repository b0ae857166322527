//! A journal's files in memory, to be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::sync::Arc;

use tollgate::journal::storage::{Lock, LogFile, Name, Storage};

#[derive(Debug)]
pub struct Memory(pub BTreeMap<Name, Vec<u8>>);

impl Memory {
    fn file(&self, name: Name) -> io::Result<&Vec<u8>> {
        self.0.get(&name).ok_or(io::ErrorKind::NotFound.into())
    }
}

fn unwritable<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Storage for Memory {
    fn names(&self) -> io::Result<BTreeSet<Name>> {
        Ok(self.0.keys().copied().collect())
    }

    fn size(&self, name: Name) -> io::Result<u64> {
        Ok(self.file(name)?.len() as u64)
    }

    fn reader(&self, name: Name, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut reader = Cursor::new(self.file(name)?.clone());
        reader.set_position(offset);
        Ok(Box::new(reader))
    }

    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        unwritable()
    }

    fn create(&self, _: Name) -> io::Result<Arc<dyn LogFile>> {
        unwritable()
    }

    fn open(&self, _: Name) -> io::Result<Arc<dyn LogFile>> {
        unwritable()
    }

    fn truncate(&self, _: Name, _: u64) -> io::Result<()> {
        unwritable()
    }

    fn wipe(&self, _: Name) -> io::Result<()> {
        unwritable()
    }

    fn rename(&self, _: Name, _: Name) -> io::Result<()> {
        unwritable()
    }

    fn remove(&self, _: Name) -> io::Result<()> {
        unwritable()
    }

    fn sync_names(&self) -> io::Result<()> {
        unwritable()
    }
}
