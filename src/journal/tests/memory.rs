//! A disk in memory: it knows what was synced, and fails where it is told to.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use super::super::storage::{Lock, LogFile, Storage};

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
struct Segment {
    bytes: Vec<u8>,
    synced: usize,
}

#[derive(Debug, Default)]
struct State {
    segments: BTreeMap<u64, Segment>,
    is_locked: bool,
    operations: u64,
    fault: Option<(u64, Fault)>,
    syncs: u64,
    writes: u64,
}

/// Tells of each sync that begins, and lets it go on when told to.
#[derive(Debug)]
struct Gate {
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
    /// A disk whose syncs wait: the receiver hears of each one, the sender lets one go on.
    pub(super) fn gated() -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (entered, hears) = mpsc::channel();
        let (lets, release) = mpsc::channel();
        let gate = Gate {
            entered,
            release: Mutex::new(release),
        };
        let memory = Self {
            gate: Some(Arc::new(gate)),
            ..Self::default()
        };
        (memory, hears, lets)
    }

    pub(super) fn of(segments: BTreeMap<u64, Vec<u8>>) -> Self {
        let memory = Self::default();
        memory.state().segments = segments
            .into_iter()
            .map(|(first, bytes)| {
                (
                    first,
                    Segment {
                        synced: bytes.len(),
                        bytes,
                    },
                )
            })
            .collect();
        memory
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn segments(&self) -> BTreeMap<u64, Vec<u8>> {
        let state = self.state();
        state
            .segments
            .iter()
            .map(|(first, s)| (*first, s.bytes.clone()))
            .collect()
    }

    /// What is there after the process died.
    pub(super) fn after_kill(&self) -> Self {
        Self::of(self.segments())
    }

    /// What is there after the power went, with so many percent of what was not synced.
    pub(super) fn after_power_loss(&self, percent: usize) -> Self {
        let state = self.state();
        let kept = |s: &Segment| {
            let more = (s.bytes.len() - s.synced) * percent / 100;
            s.bytes[..s.synced + more].to_vec()
        };
        Self::of(
            state
                .segments
                .iter()
                .map(|(first, s)| (*first, kept(s)))
                .collect(),
        )
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
            Fate::WorksButFails(error) => what(self).and(Err(error)),
        }
    }

    fn segment(&mut self, first: u64) -> io::Result<&mut Segment> {
        self.segments
            .get_mut(&first)
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
    first: u64,
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

    fn list(&self) -> io::Result<Vec<u64>> {
        self.state()
            .whole(|state| Ok(state.segments.keys().copied().collect()))
    }

    fn len(&self, first: u64) -> io::Result<u64> {
        self.state()
            .whole(|state| Ok(state.segment(first)?.bytes.len() as u64))
    }

    fn read(&self, first: u64, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let bytes = self
            .state()
            .whole(|state| Ok(state.segment(first)?.bytes.clone()))?;
        let mut cursor = Cursor::new(bytes);
        cursor.set_position(offset);
        Ok(Box::new(cursor))
    }

    fn create(&self, first: u64) -> io::Result<Arc<dyn LogFile>> {
        self.state().whole(|state| {
            let old = state.segments.insert(first, Segment::default());
            old.map_or(Ok(()), |_| Err(io::ErrorKind::AlreadyExists.into()))
        })?;
        Ok(Arc::new(Open {
            memory: self.clone(),
            first,
        }))
    }

    fn open(&self, first: u64) -> io::Result<Arc<dyn LogFile>> {
        self.state()
            .whole(|state| state.segment(first).map(|_| ()))?;
        Ok(Arc::new(Open {
            memory: self.clone(),
            first,
        }))
    }

    fn truncate(&self, first: u64, len: u64) -> io::Result<()> {
        self.state().whole(|state| {
            let segment = state.segment(first)?;
            segment.bytes.truncate(usize::try_from(len).unwrap());
            segment.synced = segment.bytes.len();
            Ok(())
        })
    }
}

impl LogFile for Open {
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.memory.state();
        state.writes += 1;
        let (taken, error) = match state.operation()? {
            Fate::Works => (bytes.len(), None),
            Fate::Half(error) => (bytes.len().div_ceil(2), error),
            Fate::WorksButFails(error) => (bytes.len(), Some(error)),
        };
        state
            .segment(self.first)?
            .bytes
            .extend_from_slice(&bytes[..taken]);
        error.map_or(Ok(taken), Err)
    }

    fn sync(&self) -> io::Result<()> {
        // What is written while a sync runs is not part of it.
        let length = self.memory.state().segment(self.first)?.bytes.len();
        if let Some(gate) = &self.memory.gate {
            let _ = gate.entered.send(());
            let _ = gate.release.lock().unwrap().recv();
        }
        let mut state = self.memory.state();
        state.syncs += 1;
        state.whole(|state| {
            let segment = state.segment(self.first)?;
            segment.synced = segment.synced.max(length);
            Ok(())
        })
    }
}
