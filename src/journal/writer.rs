//! The handle on the open journal: appending, and waiting for the disk.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::append::{Change, Writer, with_event};
use super::commit::Shared;
use super::keep::{Keep, Keeper, Signal};
use super::open;
use super::record::Event;
use super::storage::Storage;
use crate::clock::SharedClock;
use crate::entropy::{SharedEntropy, SystemEntropy};
use crate::reason::{Reason, Refusal};

/// Within this, a record is on the disk although nobody waits for it.
///
/// Short enough that a loss of power takes a few outcomes at most; long enough that an idle disk
/// may sleep and a busy one does ten commits a second on this account.
pub const SYNC_WITHIN: Duration = Duration::from_millis(100);

/// How eagerly the disk is asked; argued in the documentation of [the journal](super).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// Effects wait for their intent, and replies for everything.
    Always,
    /// Effects wait for their intent.
    #[default]
    Gated,
    /// Nothing waits; the disk is asked this often.
    Interval(Duration),
}

/// How a journal is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where records take their time from.
    pub clock: SharedClock,
    /// How eagerly the disk is asked.
    pub sync: Sync,
    /// A segment that would grow beyond this is followed by a new one.
    pub segment_bytes: u64,
    /// So is one that is older than this, for the sake of its key.
    pub segment_age: Duration,
    /// After so long without a record there is one that says so.
    pub heartbeat: Duration,
    /// Where keys come from.
    pub entropy: SharedEntropy,
    /// What becomes of closed segments; they stay as they are without it.
    pub keep: Option<Keep>,
}

impl Options {
    /// The defaults: effects wait for the disk; a segment has 64 MiB, or a day; closed ones are
    /// compressed, and none is removed.
    #[must_use]
    pub fn new(clock: SharedClock) -> Self {
        Self {
            clock,
            sync: Sync::default(),
            // About 60,000 records: what `grep` and an upload take at once, and a start reads in
            // well under a second.
            segment_bytes: 64 << 20,
            // What a stolen key can sign anew.
            segment_age: Duration::from_secs(24 * 3600),
            heartbeat: Duration::from_secs(60),
            entropy: Arc::new(SystemEntropy),
            keep: Some(Keep::default()),
        }
    }
}

/// The journal can't be written, so nothing may be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal can't be written: {cause}")]
pub struct Unwritable {
    cause: Arc<str>,
}

impl Unwritable {
    pub(super) fn new(cause: impl Into<Arc<str>>) -> Self {
        Self {
            cause: cause.into(),
        }
    }

    pub(super) fn closed() -> Self {
        Self::new("it was closed")
    }
}

impl From<Unwritable> for Refusal {
    fn from(unwritable: Unwritable) -> Self {
        Self::new(
            Reason::JournalUnavailable,
            "the host can't write its journal, so it does nothing",
        )
        .with_detail(unwritable.to_string())
    }
}

/// A record's place: what to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub(super) u64);

impl Position {
    /// The record's number.
    #[must_use]
    pub const fn seq(self) -> u64 {
        self.0
    }
}

/// A handle on the open journal. All clones write to the same one; the last one dropped closes it.
#[derive(Debug, Clone)]
pub struct Journal {
    handle: Arc<Handle>,
}

impl Journal {
    /// Opens the journal in `directory`, after making it where there is none.
    ///
    /// # Errors
    ///
    /// Another process has it open, the file system fails, or the log is not what was once written:
    /// the error names the file and line, and nothing is changed.
    pub fn open(
        directory: impl Into<std::path::PathBuf>,
        options: Options,
    ) -> Result<(Self, open::Recovery), open::OpenError> {
        Self::open_in(Arc::new(super::storage::Disk::new(directory)), options)
    }

    /// As [`Journal::open`], in other storage.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_in(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Self, open::Recovery), open::OpenError> {
        open::open(storage, options)
    }

    pub(super) fn start(
        storage: Arc<dyn Storage>,
        options: &Options,
        writer: Writer,
    ) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let shared = Arc::new(Shared::new(options, writer, Arc::clone(&signal)));
        let keeper = options
            .keep
            .map(|keep| {
                let clock = Arc::clone(&options.clock);
                Keeper::start(storage, keep, clock, signal, Arc::downgrade(&shared))
            })
            .transpose()?;
        let committer = std::thread::Builder::new()
            .name(String::from("journal"))
            .spawn({
                let shared = Arc::clone(&shared);
                move || shared.commit_until_closed(keeper)
            })?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared,
                committer: Mutex::new(Some(committer)),
            }),
        })
    }

    /// Appends a record. When this returns, the death of the process no longer loses it.
    ///
    /// # Errors
    ///
    /// It can't be written now, or something could not be before; then nothing may be done.
    pub fn append(&self, event: &Event) -> Result<Position, Unwritable> {
        let shared = &self.handle.shared;
        let change = Change::of(event);
        let position = with_event(event, |event| shared.append(event, change))?;
        shared.appended_one();
        Ok(position)
    }

    /// Waits until the record is on the disk, together with everyone else who waits. The disk is
    /// asked at once, not when the future is first polled.
    ///
    /// # Errors
    ///
    /// The disk failed: whether the record is on it is not known, so nothing may be done.
    pub fn durable(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let waits = !matches!(self.handle.shared.sync(), Sync::Interval(_));
        self.wait(position, waits)
    }

    /// What a reply waits for before it goes out: the disk under [`Sync::Always`], nothing otherwise.
    ///
    /// # Errors
    ///
    /// As [`Journal::durable`].
    pub fn settled(
        &self,
        position: Position,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let waits = self.handle.shared.sync() == Sync::Always;
        self.wait(position, waits)
    }

    fn wait(
        &self,
        Position(seq): Position,
        waits: bool,
    ) -> impl Future<Output = Result<(), Unwritable>> + Send + use<> {
        let shared = &self.handle.shared;
        let is_synced = shared.synced() >= seq;
        // What is on the disk stays there, whatever failed since.
        let failure = if is_synced { None } else { shared.failure() };
        let waiting = (waits && failure.is_none() && !is_synced).then(|| {
            let waiting = (shared.watch_synced(), shared.watch_failed());
            shared.want(seq);
            waiting
        });
        async move {
            if let Some(failure) = failure {
                return Err(failure);
            }
            let Some((mut synced, mut failed)) = waiting else {
                return Ok(());
            };
            tokio::select! {
                // A record that is on the disk is, although a later one failed.
                biased;
                done = synced.wait_for(|synced| *synced >= seq) => {
                    done.map(|_| ()).map_err(|_| Unwritable::closed())
                }
                failed = failed.wait_for(Option::is_some) => {
                    Err(failed.ok().and_then(|f| f.clone()).unwrap_or_else(Unwritable::closed))
                }
            }
        }
    }

    /// Whether nothing has failed so far.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.handle.shared.failure().is_none()
    }

    /// Becomes `Some` once the journal can't be written any more, or was closed: the host then
    /// stops serving.
    #[must_use]
    pub fn failure(&self) -> watch::Receiver<Option<Unwritable>> {
        self.handle.shared.watch_failed()
    }

    /// The last checkpoint, a signed note: a new one after each sync. `None` before the first.
    #[must_use]
    pub fn checkpoint(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.handle.shared.watch_sealed()
    }

    /// Syncs and signs what was appended until now, without waiting for the next round of that: the newest
    /// checkpoint in the files then speaks of all of it. It blocks for the disk.
    ///
    /// # Errors
    ///
    /// The disk failed, now or before.
    pub fn seal(&self) -> Result<(), Unwritable> {
        self.handle.shared.commit()
    }

    /// Syncs what was appended, and gives the journal back. Later appends fail.
    ///
    /// # Errors
    ///
    /// The disk failed, now or before.
    pub async fn close(&self) -> Result<(), Unwritable> {
        let shared = &self.handle.shared;
        if let Some(failure) = shared.failure() {
            return if failure == Unwritable::closed() {
                Ok(())
            } else {
                Err(failure)
            };
        }
        let mut failed = shared.watch_failed();
        shared.begin_close();
        let ended = failed.wait_for(Option::is_some).await;
        match ended.ok().and_then(|failure| failure.clone()) {
            Some(failure) if failure != Unwritable::closed() => Err(failure),
            _ => Ok(()),
        }
    }
}

/// Ends the thread with the last handle.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_close();
        let committer = self
            .committer
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(committer) = committer.take() {
            // At most one sync; and whoever opens the journal next finds it given back.
            let _ = committer.join();
        }
    }
}
