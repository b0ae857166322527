//! A disk in memory: it knows which bytes and which names were synced, and fails where it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use super::super::storage::{Lock, LogFile, Name, Storage};

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// An error, and nothing happened.
    Error(i32),
    /// A write puts half of its bytes there, then fails.
    Torn(i32),
    /// All of it happened, and an error was reported all the same.
    Late(i32),
    /// A write takes half of its bytes and says so. That is no failure.
    Short,
}

#[derive(Debug, Default, Clone)]
struct File {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Default)]
struct State {
    /// By a number that a file keeps under whatever name.
    files: BTreeMap<u64, File>,
    names: BTreeMap<Name, u64>,
    /// The names that are on the disk.
    synced_names: BTreeMap<Name, u64>,
    is_locked: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    syncs: u64,
    writes: u64,
}

/// Tells of each sync that begins, and lets it go on when told to, once it is shut.
#[derive(Debug)]
struct Gate {
    is_shut: AtomicBool,
    entered: mpsc::Sender<()>,
    release: Mutex<mpsc::Receiver<()>>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Memory {
    state: Arc<Mutex<State>>,
    gate: Option<Arc<Gate>>,
}

/// What becomes of an operation.
enum Fate {
    Works,
    Half(Option<io::Error>),
    WorksButFails(io::Error),
}

impl Memory {
    /// From now on syncs wait.
    pub(super) fn shut(&self) {
        let gate = self.gate.as_ref().unwrap();
        gate.is_shut.store(true, Ordering::SeqCst);
    }

    /// A disk whose syncs wait once it is shut: the receiver hears of each one, the sender lets one go on.
    pub(super) fn gated() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, hears) = mpsc::channel();
        let (lets, release) = mpsc::channel();
        let gate = Gate {
            is_shut: AtomicBool::new(false),
            entered,
            release: Mutex::new(release),
        };
        let memory = Self {
            gate: Some(Arc::new(gate)),
            ..Self::default()
        };
        (memory, hears, lets)
    }

    pub(super) fn of(files: BTreeMap<Name, Vec<u8>>) -> Self {
        let memory = Self::default();
        let mut state = memory.state();
        for (number, (name, bytes)) in (0..).zip(files) {
            let synced = bytes.len();
            state.files.insert(number, File { bytes, synced });
            state.names.insert(name, number);
        }
        state.synced_names = state.names.clone();
        drop(state);
        memory
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn files(&self) -> BTreeMap<Name, Vec<u8>> {
        let state = self.state();
        let bytes = |(name, file): (&Name, &u64)| (*name, state.files[file].bytes.clone());
        state.names.iter().map(bytes).collect()
    }

    /// The lines of each segment.
    pub(super) fn segments(&self) -> BTreeMap<u64, Vec<u8>> {
        self.files()
            .into_iter()
            .filter_map(|(name, bytes)| match name {
                Name::Lines(first) => Some((first, bytes)),
                _ => None,
            })
            .collect()
    }

    /// The same with other lines.
    pub(super) fn with_segments(&self, segments: BTreeMap<u64, Vec<u8>>) -> Self {
        let mut files = self.files();
        files.retain(|name, _| !matches!(name, Name::Lines(_)));
        let lines = segments.into_iter();
        files.extend(lines.map(|(first, bytes)| (Name::Lines(first), bytes)));
        Self::of(files)
    }

    /// The same with a file changed, or without it.
    pub(super) fn with(&self, name: Name, bytes: Option<Vec<u8>>) -> Self {
        let mut files = self.files();
        match bytes {
            Some(bytes) => files.insert(name, bytes),
            None => files.remove(&name),
        };
        Self::of(files)
    }

    /// What is there after the process died.
    pub(super) fn after_kill(&self) -> Self {
        Self::of(self.files())
    }

    /// What is there after the power went, with so many percent of what was not synced, and with the
    /// names that were not, or without. With them it is the rest of the checkpoints: what is written to
    /// one file may reach the disk long before what is written to another.
    pub(super) fn after_power_loss(&self, percent: usize, names: bool) -> Self {
        let state = self.state();
        let kept = |(name, file): (&Name, &u64)| {
            let percent = match name {
                Name::Checkpoints(_) if names => 100 - percent,
                _ => percent,
            };
            let file = &state.files[file];
            let more = (file.bytes.len() - file.synced) * percent / 100;
            (*name, file.bytes[..file.synced + more].to_vec())
        };
        let there = if names {
            &state.names
        } else {
            &state.synced_names
        };
        Self::of(there.iter().map(kept).collect())
    }

    /// The operation `at`, from 0, fails once.
    pub(super) fn fail(&self, at: u64, fault: Fault) {
        self.state().fault = Some((at, fault));
    }

    pub(super) fn operations(&self) -> u64 {
        self.state().operations
    }

    pub(super) fn syncs(&self) -> u64 {
        self.state().syncs
    }

    pub(super) fn writes(&self) -> u64 {
        self.state().writes
    }
}

impl State {
    fn operation(&mut self) -> io::Result<Fate> {
        let number = self.operations;
        self.operations += 1;
        let error = io::Error::from_raw_os_error;
        match self.fault {
            Some((at, fault)) if at == number => match fault {
                Fault::Error(code) => Err(error(code)),
                Fault::Torn(code) => Ok(Fate::Half(Some(error(code)))),
                Fault::Late(code) => Ok(Fate::WorksButFails(error(code))),
                Fault::Short => Ok(Fate::Half(None)),
            },
            _ => Ok(Fate::Works),
        }
    }

    /// An operation that has no half.
    fn whole<T>(&mut self, what: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        match self.operation()? {
            Fate::Works | Fate::Half(None) => what(self),
            Fate::Half(Some(error)) => Err(error),
            // Whatever came of it: the error that is reported is this one.
            Fate::WorksButFails(error) => {
                let _ = what(self);
                Err(error)
            }
        }
    }

    fn file(&mut self, name: Name) -> io::Result<&mut File> {
        let number = self.names.get(&name).ok_or(io::ErrorKind::NotFound)?;
        self.numbered(*number)
    }

    fn numbered(&mut self, number: u64) -> io::Result<&mut File> {
        // A file that was removed is there for whoever has it open.
        self.files
            .get_mut(&number)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct Locked(Memory);

impl Lock for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.state().is_locked = false;
    }
}

#[derive(Debug)]
struct Open {
    memory: Memory,
    file: u64,
}

impl Storage for Memory {
    fn lock(&self) -> io::Result<Box<dyn Lock>> {
        let mut state = self.state();
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        drop(state);
        let lock = Box::new(Locked(self.clone()));
        let done = self.state().whole(|_| Ok(()));
        done.map(|()| lock as Box<dyn Lock>)
    }

    fn names(&self) -> io::Result<BTreeSet<Name>> {
        self.state()
            .whole(|state| Ok(state.names.keys().copied().collect()))
    }

    fn size(&self, name: Name) -> io::Result<u64> {
        self.state()
            .whole(|state| Ok(state.file(name)?.bytes.len() as u64))
    }

    fn reader(&self, name: Name, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self
            .state()
            .whole(|state| Ok(state.file(name)?.bytes.clone()))?;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn create(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        let file = self.state().whole(|state| {
            if state.names.contains_key(&name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let file = state.files.len() as u64;
            state.files.insert(file, File::default());
            state.names.insert(name, file);
            Ok(file)
        })?;
        Ok(Arc::new(Open {
            memory: self.clone(),
            file,
        }))
    }

    fn open(&self, name: Name) -> io::Result<Arc<dyn LogFile>> {
        let file = self.state().whole(|state| {
            state.file(name)?;
            Ok(state.names[&name])
        })?;
        Ok(Arc::new(Open {
            memory: self.clone(),
            file,
        }))
    }

    fn truncate(&self, name: Name, len: u64) -> io::Result<()> {
        self.state().whole(|state| {
            let file = state.file(name)?;
            file.bytes.truncate(usize::try_from(len).unwrap());
            file.synced = file.bytes.len();
            Ok(())
        })
    }

    fn wipe(&self, name: Name) -> io::Result<()> {
        self.state().whole(|state| {
            let file = state.file(name)?;
            file.bytes.fill(0);
            file.synced = file.bytes.len();
            Ok(())
        })
    }

    fn rename(&self, from: Name, to: Name) -> io::Result<()> {
        self.state().whole(|state| {
            let file = state.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to, file);
            Ok(())
        })
    }

    fn remove(&self, name: Name) -> io::Result<()> {
        self.state().whole(|state| {
            let removed = state.names.remove(&name);
            removed
                .map(|_| ())
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.state().whole(|state| {
            state.synced_names = state.names.clone();
            Ok(())
        })
    }
}

impl LogFile for Open {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.memory.state();
        // Of lines; checkpoints are written besides.
        state.writes += u64::from(bytes.starts_with(b"{"));
        let (taken, error) = match state.operation()? {
            Fate::Works => (bytes.len(), None),
            Fate::Half(error) => (bytes.len().div_ceil(2), error),
            Fate::WorksButFails(error) => (bytes.len(), Some(error)),
        };
        state
            .numbered(self.file)?
            .bytes
            .extend_from_slice(&bytes[..taken]);
        error.map_or(Ok(taken), Err)
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while a sync runs is not part of it.
        let length = self.memory.state().numbered(self.file)?.bytes.len();
        let gate = self.memory.gate.as_ref();
        if let Some(gate) = gate.filter(|gate| gate.is_shut.load(Ordering::SeqCst)) {
            let _ = gate.entered.send(());
            let _ = gate.release.lock().unwrap().recv();
        }
        let mut state = self.memory.state();
        state.syncs += 1;
        state.whole(|state| {
            let file = state.numbered(self.file)?;
            file.synced = file.synced.max(length);
            Ok(())
        })
    }
}
