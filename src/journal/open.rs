//! Opening: the lock, the end of the log, the key, and what a host that died has left of them.
//!
//! Nothing but a torn end is ever changed: what comes behind the last whole record of the last
//! segment, where no checkpoint speaks of it. A log that its own last checkpoint says to be longer,
//! or to be another, is refused. A rotation that did not end is brought to its end.

mod rotation;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::append::{self, Ended, Writer};
use super::keys;
use super::line::ORIGIN;
use super::merkle::Tree;
use super::note::Signer;
use super::record::{CallId, Event, Recovered};
use super::seal::Seal;
use super::storage::{Lock, Name, Storage, get, put, write_all};
use super::survey::{self, survey};
use super::writer::{Journal, Options, Unwritable};

/// What opening found. A host records its start after it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The last record there was, or 0.
    pub seq: u64,
    /// Bytes of a torn record that were cut from the end.
    pub cut_bytes: u64,
    /// Calls with an intent and no outcome. What they did is not known, and they are not run again.
    pub unknown: Vec<CallId>,
}

/// The journal can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// One process writes at a time.
    #[error("another tollgate has the journal open: stop it, or name another directory")]
    Locked,
    /// The log is not what was written.
    #[error(
        "`{file}`, line {line}: {why}: the journal was changed or damaged; keep the files and start with another directory"
    )]
    Bad {
        /// The segment.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The log ends before what its last checkpoint speaks of.
    #[error(
        "the journal was cut: its last checkpoint speaks of {signed} records, and there are {records}; bring the files back, or keep them and start with another directory"
    )]
    Cut {
        /// Records that were signed.
        signed: u64,
        /// Records that there are.
        records: u64,
    },
    /// The key that must sign is not there.
    #[error(
        "the journal can't be gone on with: {0}; bring the file back, or keep the files and start with another directory"
    )]
    Key(String),
    /// The file system failed.
    #[error("can't {what}: {error}")]
    Storage {
        /// What was tried.
        what: String,
        /// What the file system said.
        #[source]
        error: io::Error,
    },
    /// What was found could not be recorded.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
}

pub(super) fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> OpenError {
    |error| OpenError::Storage {
        what: what.into(),
        error,
    }
}

pub(super) fn open(
    storage: Arc<dyn Storage>,
    options: Options,
) -> Result<(Journal, Recovery), OpenError> {
    let lock = storage.lock().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked,
        _ => failed("lock the journal")(error),
    })?;
    let names = storage.names().map_err(failed("list the journal"))?;
    for name in [Name::Making, Name::Sealing] {
        if names.contains(&name) {
            storage
                .remove(name)
                .map_err(failed(format!("remove `{name}`")))?;
        }
    }
    let segments = storage.list().map_err(failed("list the journal"))?;
    let opening = Opening {
        storage: Arc::clone(&storage),
        options: options.clone(),
        names,
    };
    let (writer, recovery) = if segments.is_empty() {
        (opening.make(lock)?, Recovery::default())
    } else {
        opening.go_on(&segments, lock)?
    };
    let journal =
        Journal::start(storage, &options, writer).map_err(failed("start the journal's threads"))?;
    if recovery.cut_bytes > 0 || !recovery.unknown.is_empty() {
        journal.append(&Event::Recovered(Recovered {
            cut_bytes: recovery.cut_bytes,
            unknown: recovery.unknown.clone(),
        }))?;
    }
    Ok((journal, recovery))
}

struct Opening {
    storage: Arc<dyn Storage>,
    options: Options,
    names: BTreeSet<Name>,
}

impl Opening {
    /// Begins a log.
    fn make(&self, lock: Box<dyn Lock>) -> Result<Writer, OpenError> {
        // A host that died as it began leaves keys and an empty file of checkpoints, and nothing else.
        for name in &self.names {
            let is_left = match name {
                Name::Checkpoints(1) => {
                    let size = self.storage.size(*name);
                    size.map_err(failed(format!("look at `{name}`")))? > 0
                }
                _ => name.segment().is_some(),
            };
            if is_left {
                return Err(OpenError::Key(format!(
                    "`{name}` is there, and the records are gone"
                )));
            }
        }
        let signer = self.first_key()?;
        let end = Ended {
            prev: ORIGIN,
            tree: Tree::default(),
            begun: Vec::new(),
        };
        self.begin(end, signer, lock)
    }

    fn begin(&self, end: Ended, signer: Signer, lock: Box<dyn Lock>) -> Result<Writer, OpenError> {
        let name = Name::Lines(end.tree.size() + 1);
        // Made for a rotation of a segment that is gone with the power.
        match self.storage.size(Name::NextKey) {
            Ok(_) => keys::discard_next(&*self.storage)
                .map_err(failed("remove a key that was never used"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look at `key.next`")(error)),
        }
        let (storage, options) = (Arc::clone(&self.storage), self.options.clone());
        Writer::begin(storage, options, end, signer, lock)
            .map_err(failed(format!("begin `{name}`")))
    }

    /// The key of the first segment: a new one, unless a host died after it had made it.
    fn first_key(&self) -> Result<Signer, OpenError> {
        let storage = &*self.storage;
        let kept = keys::load(storage, Name::Key).map_err(failed("read the journal's key"))?;
        let public = get(storage, Name::Public, 1024).map_err(failed("read `log.pub`"))?;
        let public_text = |signer: &Signer| format!("{}\n", signer.verifier()).into_bytes();
        let signer = match (kept, public) {
            (Some(signer), Some(public)) if public == public_text(&signer) => return Ok(signer),
            (_, Some(_)) => {
                return Err(OpenError::Key(String::from(
                    "`log.pub` is there, and the key and the records that belong to it are gone",
                )));
            }
            (Some(signer), None) => signer,
            (None, None) => self.make_key().map_err(failed("make the journal's key"))?,
        };
        let public = public_text(&signer);
        put(storage, Name::Public, |file| write_all(file, &public))
            .map_err(failed("write `log.pub`"))?;
        Ok(signer)
    }

    fn make_key(&self) -> io::Result<Signer> {
        if self.names.contains(&Name::Key) {
            // Half a key, that never signed anything.
            self.storage.remove(Name::Key)?;
        }
        let origin = keys::new_origin(&*self.options.entropy)?;
        let signer = keys::generate(&origin, &*self.options.entropy)?;
        keys::keep(&*self.storage, Name::Key, &signer)?;
        Ok(signer)
    }

    /// Goes on with a log.
    fn go_on(
        &self,
        segments: &[u64],
        lock: Box<dyn Lock>,
    ) -> Result<(Writer, Recovery), OpenError> {
        let storage = &*self.storage;
        self.check_last(segments)?;
        let found = survey(storage, segments)?;
        let recovery = Recovery {
            seq: found.tree.size(),
            cut_bytes: found.cut_bytes,
            unknown: found.begun.clone(),
        };
        self.cut(&found)?;
        let writer = match (&found.key, &found.next) {
            // Nothing but half of the first record of all.
            (None, None) if found.tree.size() == 0 => {
                let signer = self.first_key()?;
                self.begin(ended(found), signer, lock)?
            }
            (None, None) => {
                let why = format!("`{}` has no first record", Name::Lines(found.segment));
                return Err(OpenError::Key(why));
            }
            (_, Some(_)) => self.after_the_last(found, lock)?,
            (Some(_), None) => self.within(found, lock)?,
        };
        Ok((writer, recovery))
    }

    /// Nothing but the open segment comes last.
    fn check_last(&self, segments: &[u64]) -> Result<(), OpenError> {
        let last = segments.last().copied().unwrap_or_default();
        let later = self
            .names
            .iter()
            .find(|name| name.segment().is_some_and(|first| first > last));
        if let Some(name) = later {
            // Of a host that died as it began a segment.
            let size = self.storage.size(*name);
            let size = size.map_err(failed(format!("look at `{name}`")))?;
            if !matches!(name, Name::Checkpoints(_)) || size > 0 {
                let why = format!("`{name}` is there, and the records of that segment are gone");
                return Err(OpenError::Key(why));
            }
        }
        if !self.names.contains(&Name::Lines(last)) {
            return Err(OpenError::Key(format!(
                "`{}` is closed and compressed, and the segment after it is gone",
                Name::Packed(last)
            )));
        }
        Ok(())
    }

    fn cut(&self, found: &survey::End) -> Result<(), OpenError> {
        let storage = &*self.storage;
        let name = Name::Lines(found.segment);
        if found.cut_bytes > 0 {
            storage
                .truncate(name, found.bytes)
                .map_err(failed(format!("cut the torn end of `{name}`")))?;
            tracing::warn!(
                file = %name,
                bytes = found.cut_bytes,
                "a torn record was cut from the end of the journal"
            );
        }
        let name = Name::Checkpoints(found.segment);
        if self.names.contains(&name) {
            let size = storage
                .size(name)
                .map_err(failed(format!("look at `{name}`")))?;
            if size > found.checkpoint_bytes {
                storage
                    .truncate(name, found.checkpoint_bytes)
                    .map_err(failed(format!("cut the torn end of `{name}`")))?;
            }
        }
        Ok(())
    }

    /// Goes on in the open segment.
    fn within(&self, found: survey::End, lock: Box<dyn Lock>) -> Result<Writer, OpenError> {
        let storage = &*self.storage;
        let signer = keys::load(storage, Name::Key).map_err(failed("read the journal's key"))?;
        let Some(signer) = signer.filter(|signer| Some(signer.verifier()) == found.key.as_ref())
        else {
            return Err(OpenError::Key(format!(
                "`key` is not the one that signs `{}`",
                Name::Lines(found.segment)
            )));
        };
        if self.names.contains(&Name::NextKey) {
            // Made for a rotation that never came to name it.
            keys::discard_next(storage).map_err(failed("remove a key that was never used"))?;
        }
        let name = Name::Lines(found.segment);
        let file = storage
            .open(name)
            .map_err(failed(format!("open `{name}`")))?;
        // What the one before us appended may be in the kernel alone; new lines rest on it.
        file.sync().map_err(failed(format!("sync `{name}`")))?;
        let mut seal = self.seal(signer, found.segment, found.checkpoints)?;
        seal.seal(found.segment, &found.tree, &found.time)
            .map_err(failed("sign what is there"))?;
        let end = append::End {
            file,
            segment: found.segment,
            opened: found.opened,
            bytes: found.bytes,
            prev: found.prev,
            tree: found.tree,
            begun: found.begun,
        };
        let (storage, options) = (Arc::clone(&self.storage), self.options.clone());
        Ok(Writer::new(storage, options, end, seal, lock))
    }

    fn seal(
        &self,
        signer: Signer,
        segment: u64,
        found: super::seal::Found,
    ) -> Result<Seal, OpenError> {
        let name = Name::Checkpoints(segment);
        let file = if self.names.contains(&name) {
            self.storage.open(name)
        } else {
            self.storage
                .create(name)
                .and_then(|file| self.storage.sync_names().map(|()| file))
        };
        let file = file.map_err(failed(format!("open `{name}`")))?;
        let storage = Arc::clone(&self.storage);
        Ok(Seal::new(storage, signer, segment, file, found))
    }
}

fn ended(found: survey::End) -> Ended {
    Ended {
        prev: found.prev,
        tree: found.tree,
        begun: found.begun,
    }
}
