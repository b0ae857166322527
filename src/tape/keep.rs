//! The folder of tapes: written, read back, bounded and pruned.
//!
//! A tape's name is its call's, and a call's id begins with the time that it was made at. So the order
//! of names is that of time, and what is too old shows without opening anything.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::recorder::Recorder;
use super::seal::{Key, VERSION};
use super::whole::Tape;
use crate::digest::Digest;
use crate::entropy::{Entropy, NoEntropy, SharedEntropy};
use crate::home::Home;
use crate::journal::record::CallId;
use crate::private::{self, PrivateError};

/// How tapes are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of one call's tape; a call that is worth more has none.
    pub call: usize,
    /// Bytes of all tapes; the oldest go first.
    pub space: u64,
    /// How long one is kept.
    pub keep: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            // Two responses of the largest size.
            call: 8 << 20,
            // Some ten thousand calls that fetch a page; nothing beside what a journal takes.
            space: 256 << 20,
            // A week: what went wrong is looked into within days, and what a call was given is worth
            // more to a thief than to its owner after that.
            keep: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

/// A tape can't be kept or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapeError {
    /// One of its files is not private, or can't be used.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// There is no tape of that call.
    #[error("there is no tape of the call in `{}`: it was pruned, or moved away", .0.display())]
    Missing(PathBuf),
    /// The key is not there.
    #[error("the tape can't be opened: its key `{}` is missing; restore the key", .0.display())]
    NoKey(PathBuf),
    /// The key is none.
    #[error("`{}` is not a key: expected 32 bytes; restore it, or move it away: tapes under it can't be opened then", .0.display())]
    BadKey(PathBuf),
    /// It is not the file whose digest stands in the journal.
    #[error("`{}` is not the tape that was written: the journal has {wanted}, and this is {found}", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// The digest in the journal.
        wanted: Digest,
        /// That of the file.
        found: Digest,
    },
    /// It is not what a host writes.
    #[error("`{}` can't be used: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another version of the host wrote it.
    #[error("`{}` has version {found}, and this host knows {VERSION}: use the host that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It is longer than what can be sealed.
    #[error("it is too long to be sealed")]
    TooLong,
    /// There are no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

impl TapeError {
    /// Whether it was changed since it was written.
    #[must_use]
    pub const fn is_tampered(&self) -> bool {
        matches!(self, Self::Other { .. } | Self::Damaged { .. })
    }
}

/// Bytes that a file has beside its text; more than enough.
const BESIDE: u64 = 1 << 10;
/// The most that `[tapes] call` can be set to.
pub(crate) const LARGEST: u64 = 256 << 20;

/// The tapes of a home. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Tapes(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    key: PathBuf,
    entropy: SharedEntropy,
    /// The tapes that there are and their sizes, once somebody looked.
    there: Mutex<Option<BTreeMap<CallId, u64>>>,
}

impl Tapes {
    /// The tapes of `home`. Touches nothing.
    #[must_use]
    pub fn new(home: &Home, entropy: SharedEntropy) -> Self {
        Self(Arc::new(Inner {
            folder: home.tapes(),
            key: home.tapes_key(),
            entropy,
            there: Mutex::default(),
        }))
    }

    /// Keeps what `recorder` has, at the time `now`, and gives the digest of its file. Waits for the
    /// disk to take it, and not for more: a tape that goes with the power is only missing.
    ///
    /// # Errors
    ///
    /// Why there is no tape, for the record.
    pub(crate) fn keep(
        &self,
        recorder: Recorder,
        settings: &Settings,
        now: Duration,
    ) -> Result<Digest, String> {
        let call = recorder.call();
        let text = recorder.finish()?;
        let file = self
            .sealed(call, &text)
            .map_err(|error| error.to_string())?;
        // Before room is made for it: the others would go for nothing.
        if file.len() as u64 > settings.space {
            return Err(format!("it has more than {} bytes", settings.space));
        }
        let mut there = self.there();
        let tapes = there.get_or_insert_with(|| self.look());
        // Room first, so that the bound holds at every moment.
        self.prune_to(tapes, settings, now, file.len() as u64);
        self.write(call, &file).map_err(|error| error.to_string())?;
        tapes.insert(call, file.len() as u64);
        Ok(Digest::of(&file))
    }

    fn sealed(&self, call: CallId, text: &[u8]) -> Result<Vec<u8>, TapeError> {
        let entropy: &dyn Entropy = self.0.entropy.as_ref();
        let key = {
            // One at a time: of two that find no key each would make one, and the tape of the first could
            // never be opened.
            let _there = self.there();
            Key::at(&self.0.key, Some(entropy))?
        };
        key.seal(call, text, entropy)
    }

    fn write(&self, call: CallId, file: &[u8]) -> Result<(), TapeError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        private::make_folder(&self.0.folder)?;
        let path = self.path(call);
        let fresh = path.with_extension("new");
        let written = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)
            .and_then(|mut open| open.write_all(file))
            .and_then(|()| std::fs::rename(&fresh, &path));
        written.map_err(|error| {
            // A part of it is of no use to anyone.
            drop(std::fs::remove_file(&fresh));
            PrivateError::io(&path, "write")(error).into()
        })
    }

    /// Removes what is older or more than `settings` allow.
    pub fn prune(&self, settings: &Settings, now: Duration) {
        let mut there = self.there();
        let tapes = there.get_or_insert_with(|| self.look());
        self.prune_to(tapes, settings, now, 0);
    }

    fn prune_to(
        &self,
        tapes: &mut BTreeMap<CallId, u64>,
        settings: &Settings,
        now: Duration,
        coming: u64,
    ) {
        let mut total: u64 = tapes.values().sum::<u64>().saturating_add(coming);
        while let Some((&call, &size)) = tapes.first_key_value() {
            let old = made(call).is_some_and(|made| made + settings.keep < now);
            if !old && total <= settings.space {
                return;
            }
            let path = self.path(call);
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    // It is tried again with the next one. It still takes its room.
                    tracing::warn!(path = %path.display(), %error, "a tape could not be removed");
                    return;
                }
                _ => {}
            }
            tapes.remove(&call);
            total = total.saturating_sub(size);
        }
    }

    /// What lies in the folder. What is left of a write that was cut short is removed.
    fn look(&self) -> BTreeMap<CallId, u64> {
        let Ok(entries) = std::fs::read_dir(&self.0.folder) else {
            return BTreeMap::new();
        };
        let mut found = BTreeMap::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let size = entry.metadata().map_or(0, |meta| meta.len());
            match path.extension().and_then(|end| end.to_str()) {
                Some("tape") => {
                    if let Some(call) = named(&path) {
                        found.insert(call, size);
                    }
                }
                Some("new") if named(&path).is_some() => drop(std::fs::remove_file(&path)),
                _ => {}
            }
        }
        found
    }

    /// The tape of `call`, whose file has the digest `wanted`.
    ///
    /// # Errors
    ///
    /// It is not there, not that file, not sealed by this host, or of another version.
    pub(crate) fn read(&self, call: CallId, wanted: Digest) -> Result<Tape, TapeError> {
        let path = self.path(call);
        let file = private::read(&path, LARGEST + BESIDE).map_err(|error| {
            if error.is_missing() {
                TapeError::Missing(path.clone())
            } else {
                error.into()
            }
        })?;
        let found = Digest::of(&file);
        // Before a byte of it is looked at: everything behind this line is what the host wrote.
        if found != wanted {
            return Err(TapeError::Other {
                path,
                wanted,
                found,
            });
        }
        let text = Key::at(&self.0.key, None)?.open(call, &file, &path)?;
        let tape = Tape::read(&text)
            .filter(|tape| tape.head.call == call)
            .ok_or(TapeError::Damaged {
                path,
                why: "it does not hold a tape",
            })?;
        Ok(tape)
    }

    fn path(&self, call: CallId) -> PathBuf {
        self.0.folder.join(format!("{call}.tape"))
    }

    fn there(&self) -> MutexGuard<'_, Option<BTreeMap<CallId, u64>>> {
        self.0.there.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn named(path: &Path) -> Option<CallId> {
    let stem = path.file_stem()?.to_str()?;
    uuid::Uuid::parse_str(stem).ok().map(CallId)
}

/// When the call was made, by its id.
fn made(call: CallId) -> Option<Duration> {
    let (seconds, nanoseconds) = call.0.get_timestamp()?.to_unix();
    Some(Duration::new(seconds, nanoseconds))
}
