//! Putting a backup back.
//!
//! In this order, so that a restore that is cut short at any point leaves a home that says so and
//! starts nothing: the backup is verified whole; a copy is made beside the state and made safe; a
//! marker is written, without which no step changes what is in force; what was there is moved aside,
//! never removed; the copy takes its place; a new log begins with the record of it; the marker goes.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::files::{self, Until};
use super::manifest::{Manifest, ManifestError};
use crate::clock::SharedClock;
use crate::daemon::{self, DaemonError};
use crate::home::Home;
use crate::journal::record::{Changed, Event};
use crate::journal::storage::{Disk, LOCK, Lock, Storage as _};
use crate::journal::{self, Journal, ReadError};
use crate::private::{self, PrivateError};
use crate::state::{State, StateError};

/// A backup could not be put back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is no backup that this host reads.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file of it is not what was backed up.
    #[error("`{}` is not what was backed up: {why}; nothing was changed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// What shows it.
        why: String,
    },
    /// Something is there already.
    #[error("`{}` has a state already: name another home with `--home`, or have it moved aside with `--replace`", .0.display())]
    There(PathBuf),
    /// A daemon serves the home.
    #[error(transparent)]
    Running(#[from] DaemonError),
    /// A host has the journal, and not yet, or no more, the daemon's place.
    #[error("a host is starting or ending in `{}`", .0.display())]
    InUse(PathBuf),
    /// A folder or file can't be had.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// The database can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// A step failed.
    #[error("can't {doing} `{}`: {source}", path.display())]
    Step {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The journal can't be read.
    #[error("the journal in the backup can't be read: {0}")]
    Journal(#[from] ReadError),
    /// The new log can't begin.
    #[error("a new journal can't begin: {0}")]
    Begin(String),
}

/// What was put back.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// Where the log of the backup is, to be read and verified.
    pub journal: PathBuf,
    /// Where what was there was moved to, where anything was.
    pub aside: Option<PathBuf>,
    /// Keys that the home does not have and the backup neither.
    pub missing: Vec<&'static str>,
}

/// Stands while what is in force is being exchanged.
const MARKER: &str = "restore.unfinished";
/// Where the copy is made ready.
const READY: &str = "restoring";

/// Whether a restore of `home` was cut short: then nothing in it may be relied upon.
#[must_use]
pub fn is_unfinished(home: &Home) -> bool {
    home.state().join(MARKER).exists()
}

/// Puts the backup in the folder `from` into `home`. With `replace`, what is there is moved aside.
///
/// # Errors
///
/// The backup is not whole, the home is in use or has a state, or a step failed. Before the marker is
/// written nothing is changed; after it, the same again finishes it.
pub async fn restore(
    home: &Home,
    from: &Path,
    replace: bool,
    clock: &SharedClock,
) -> Result<Restored, RestoreError> {
    let now = clock.now();
    let (manifest, digest) = Manifest::read(from)?;
    verify(&manifest, from)?;
    home.create()?;
    let _lock = daemon::hold(&home.daemon_lock())?;
    let state = home.state();
    let again = is_unfinished(home);
    if !replace && !again && has_state(home)? {
        return Err(RestoreError::There(home.root().to_owned()));
    }
    // A host that starts has the journal long before it has the daemon's place, and would serve what was
    // moved aside under it.
    let _log = hold_log(home)?;
    let ready = state.join(READY);
    copy(&manifest, from, &ready)?;
    make_safe(&ready.join(files::DATABASE), &manifest, now)?;

    let marker = state.join(MARKER);
    private::replace(&marker, manifest.time.as_bytes())?;
    // Of two within a second, the later one is named by the next.
    let is_free = |stamp: &String| {
        let taken = [home.earlier_journals().join(stamp), before(&state, stamp)];
        !taken.iter().any(|path| path.exists())
    };
    let stamp = (0..60)
        .map(|more| stamp(now + Duration::from_secs(more)))
        .find(is_free)
        .unwrap_or_else(|| stamp(now));
    let aside = before(&state, &stamp);
    let moved = move_aside(&manifest, &state, &aside)?;
    let earlier = home.earlier_journals().join(&stamp);
    put(&manifest, &ready, &state, &earlier)?;
    begin(home, &manifest, digest, &stamp, clock).await?;
    std::fs::remove_file(&marker).map_err(step("remove", &marker))?;
    files::sync_folder(&state).map_err(step("sync", &state))?;
    // What is sealed under a key is in the backup, and the key is nowhere.
    let has = |start: &str| {
        manifest
            .files
            .iter()
            .any(|file| file.name.starts_with(start))
    };
    let missing = [
        (files::SECRETS, "keys/secrets.key"),
        (files::TAPES, "keys/tapes.key"),
    ]
    .into_iter()
    .filter(|(sealed, key)| has(sealed) && !state.join(key).exists())
    .map(|(_, key)| key)
    .collect();
    Ok(Restored {
        manifest,
        journal: earlier,
        aside: moved.then_some(aside),
        missing,
    })
}

/// What was there before the restore of that time.
fn before(state: &Path, stamp: &str) -> PathBuf {
    state.join(format!("before-{stamp}"))
}

fn step(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Step {
        path,
        doing,
        source,
    }
}

/// Every file, by its digest; then the log, line by line.
fn verify(manifest: &Manifest, from: &Path) -> Result<(), RestoreError> {
    for entry in &manifest.files {
        let path = from.join(&entry.name);
        let (bytes, digest) = files::measure(&path).map_err(step("read", &path))?;
        if (bytes, digest) != (entry.bytes, entry.digest) {
            let why = format!("the manifest has {}, and this is {digest}", entry.digest);
            return Err(RestoreError::Changed { path, why });
        }
    }
    let has = |name: &str| manifest.files.iter().any(|entry| entry.name == name);
    let folder = from.join(files::JOURNAL);
    if !has(files::DATABASE) {
        return Err(RestoreError::Changed {
            path: from.to_owned(),
            why: "it has no database".to_owned(),
        });
    }
    let report = journal::verify(&folder, |_| {})?;
    match &report.first_bad {
        None if report.records == manifest.records => Ok(()),
        None => Err(RestoreError::Changed {
            path: folder,
            why: format!(
                "the manifest has {} records, and there are {}",
                manifest.records, report.records
            ),
        }),
        Some(bad) => Err(RestoreError::Changed {
            path: folder,
            why: bad.to_string(),
        }),
    }
}

/// Whether a host has served here.
fn has_state(home: &Home) -> Result<bool, RestoreError> {
    Ok(home.database().exists() || home.secrets().exists() || has_log(&home.journal())?)
}

/// Whether a log has begun in a folder: a lock alone is none.
fn has_log(folder: &Path) -> Result<bool, RestoreError> {
    for entry in std::fs::read_dir(folder).map_err(step("read", folder))? {
        if entry.map_err(step("read", folder))?.file_name() != LOCK {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keeps hosts from the log that is there.
fn hold_log(home: &Home) -> Result<Box<dyn Lock>, RestoreError> {
    let folder = home.journal();
    Disk::new(&folder)
        .lock()
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => RestoreError::InUse(home.root().to_owned()),
            _ => step("lock", &folder)(error),
        })
}

fn copy(manifest: &Manifest, from: &Path, ready: &Path) -> Result<(), RestoreError> {
    match std::fs::remove_dir_all(ready) {
        // Left over from one that was cut short.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(step("remove", ready)(error));
        }
        _ => {}
    }
    private::make_folder(ready)?;
    let mut folders = BTreeSet::from([ready.to_owned()]);
    for entry in &manifest.files {
        let to = ready.join(&entry.name);
        if let Some(folder) = Path::new(&entry.name).parent() {
            let mut path = ready.to_owned();
            for part in folder {
                path.push(part);
                private::make_folder(&path)?;
                folders.insert(path.clone());
            }
        }
        let source = from.join(&entry.name);
        let copied = files::copy(&source, &to, Until::End).map_err(step("copy", &source))?;
        // The file that was verified is the one that is used, or it is none.
        if copied != (entry.bytes, entry.digest) {
            let why = "it changed while it was copied".to_owned();
            return Err(RestoreError::Changed { path: source, why });
        }
    }
    // Most of them are put in their places whole: a name in one that a loss of power took would be missing
    // from a home that no longer says that it is unfinished.
    for folder in folders {
        files::sync_folder(&folder).map_err(step("sync", &folder))?;
    }
    Ok(())
}

/// Makes the database one that a host may start on.
fn make_safe(database: &Path, manifest: &Manifest, now: Duration) -> Result<(), RestoreError> {
    let state = State::open(database)?;
    state.void_the_past(&format!("restored from a backup of {}", manifest.time), now)?;
    // The last to close it writes its log into it.
    drop(state);
    for end in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(end);
        let left = PathBuf::from(name);
        if left.exists() {
            return Err(step("close", &left)(io::Error::other(
                "the database is still open",
            )));
        }
    }
    Ok(())
}

/// Moves aside what is there and would be in the way; whether there was anything.
fn move_aside(manifest: &Manifest, state: &Path, aside: &Path) -> Result<bool, RestoreError> {
    let mut names = vec![
        files::DATABASE,
        "tollgate.db-wal",
        "tollgate.db-shm",
        files::SECRETS,
        files::TAPES,
        files::JOURNAL,
        // Tokens that were made under it are of the past that is turned back: another one is made.
        files::STEPS,
    ];
    let given = |name: &&&str| manifest.files.iter().any(|entry| entry.name == **name);
    names.extend(files::KEYS.iter().filter(given).copied());
    names.sort_unstable();
    names.dedup();
    // A log that has not begun has nothing but the lock, which is held.
    let log = state.join(files::JOURNAL);
    if log.exists() && !has_log(&log)? {
        let lock = log.join(LOCK);
        std::fs::remove_file(&lock).map_err(step("remove", &lock))?;
    }
    let mut any = false;
    for name in names {
        let (from, to) = (state.join(name), aside.join(name));
        // A folder that was just made for this home has nothing in it.
        if !from.exists() || std::fs::remove_dir(&from).is_ok() {
            continue;
        }
        if !any {
            private::make_folder(aside)?;
            private::make_folder(&aside.join("keys"))?;
        }
        any = true;
        std::fs::rename(&from, &to).map_err(step("move", &from))?;
    }
    if any {
        for folder in [aside.join("keys"), aside.to_owned(), state.to_owned()] {
            files::sync_folder(&folder).map_err(step("sync", &folder))?;
        }
    }
    Ok(any)
}

/// Moves the copy into its place; the log beside the one that begins.
fn put(
    manifest: &Manifest,
    ready: &Path,
    state: &Path,
    earlier: &Path,
) -> Result<(), RestoreError> {
    if let Some(folder) = earlier.parent() {
        private::make_folder(folder)?;
    }
    let journal = ready.join(files::JOURNAL);
    std::fs::rename(&journal, earlier).map_err(step("move", &journal))?;
    let older = ready.join(files::EARLIER);
    if older.is_dir() {
        for entry in std::fs::read_dir(&older).map_err(step("read", &older))? {
            let entry = entry.map_err(step("read", &older))?;
            let to = state.join(files::EARLIER).join(entry.file_name());
            // Put back into the home that it was taken of: it is there.
            if !to.exists() {
                std::fs::rename(entry.path(), &to).map_err(step("move", &entry.path()))?;
            }
        }
    }
    let mut names = vec![files::SECRETS, files::TAPES];
    names.extend(files::KEYS.iter().filter(|_| manifest.keys).copied());
    // The database last: without it there is no state.
    names.push(files::DATABASE);
    for name in names {
        let (from, to) = (ready.join(name), state.join(name));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(step("move", &from))?;
        }
    }
    for folder in [
        state.to_owned(),
        state.join("keys"),
        state.join(files::EARLIER),
    ] {
        files::sync_folder(&folder).map_err(step("sync", &folder))?;
    }
    std::fs::remove_dir_all(ready).map_err(step("remove", ready))
}

/// Begins a new log, with the record of what was put back.
async fn begin(
    home: &Home,
    manifest: &Manifest,
    digest: crate::digest::Digest,
    stamp: &str,
    clock: &SharedClock,
) -> Result<(), RestoreError> {
    private::make_folder(&home.journal())?;
    let failed = |error: &dyn std::fmt::Display| RestoreError::Begin(error.to_string());
    let options = journal::Options::new(Arc::clone(clock));
    let (journal, _) = Journal::open(home.journal(), options).map_err(|e| failed(&e))?;
    let event = Event::Changed(Changed {
        change: "state.restored".to_owned(),
        subject: Some(manifest.time.clone()),
        digest: Some(digest),
        detail: Some(format!(
            "{} records of the log before are in `{}/{stamp}`",
            manifest.records,
            files::EARLIER
        )),
        ..Changed::default()
    });
    journal.append(&event).map_err(|e| failed(&e))?;
    journal.close().await.map_err(|e| failed(&e))
}

/// A time as it can be a folder's name: `20261123T003600Z`.
fn stamp(now: Duration) -> String {
    let text = crate::clock::rfc3339(now);
    let plain = |c: &char| c.is_ascii_digit() || *c == 'T';
    let digits: String = text.chars().filter(plain).take(15).collect();
    format!("{digits}Z")
}
