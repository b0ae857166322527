//! Taking a backup, while a host serves or not.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::{self, Until};
use super::manifest::{Entry, Manifest, ManifestError};
use super::restore::is_unfinished;
use crate::clock::rfc3339;
use crate::home::Home;
use crate::journal::{self, ReadError};
use crate::private::{self, PrivateError};
use crate::state::{StateError, copy_database};

/// A backup could not be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is nothing to take one of.
    #[error("there is nothing to back up in `{}`: no host has served there", .0.display())]
    Nothing(PathBuf),
    /// A restore was cut short there.
    #[error("a restore of `{}` was cut short: run the same command again to finish it, and then back it up", .0.display())]
    Unfinished(PathBuf),
    /// The folder is there and has something in it.
    #[error("`{}` is not empty: name a folder that is not there yet", .0.display())]
    NotEmpty(PathBuf),
    /// The folder can't be had.
    #[error(transparent)]
    Folder(#[from] PrivateError),
    /// The database can't be copied.
    #[error(transparent)]
    State(#[from] StateError),
    /// A file can't be copied.
    #[error("can't copy `{}`: {source}", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The journal can't be read back from the backup.
    #[error("the journal in the backup can't be read: {0}")]
    Journal(#[from] ReadError),
    /// The journal is not what was written.
    #[error(
        "the journal does not verify ({0}), so that a backup of it is none: run `tollgate audit verify`"
    )]
    Bad(String),
    /// The manifest can't be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// How often a folder is listed again whose files went while they were copied: rotation and retention
/// take seconds between two steps.
const TRIES: usize = 5;

/// Takes a backup of what the host in `home` keeps into the folder `to`, which is made. Gives what is
/// in it. Until this returns there is no manifest in the folder, so that it is no backup.
///
/// # Errors
///
/// Something can't be copied, or does not verify.
pub fn take(home: &Home, to: &Path, keys: bool, now: Duration) -> Result<Manifest, BackupError> {
    let state = home.state();
    // It may be of two moments, and not made safe.
    if is_unfinished(home) {
        return Err(BackupError::Unfinished(home.root().to_owned()));
    }
    if !home.database().is_file() {
        return Err(BackupError::Nothing(state));
    }
    private::make_folder(to)?;
    let mut there = std::fs::read_dir(to).map_err(PrivateError::io(to, "read"))?;
    if there.next().is_some() {
        return Err(BackupError::NotEmpty(to.to_owned()));
    }
    // The database first: a record comes before what it is about, so that the journal, taken later, has
    // all that the database knows of, and perhaps more; the reverse would be a past without a trace.
    let schema = copy_database(&home.database(), &to.join(files::DATABASE))?;
    let mut taking = Taking {
        state: &state,
        to,
        entries: Vec::new(),
    };
    taking.measured(files::DATABASE)?;
    taking.file(files::SECRETS, Until::End)?;
    if keys {
        private::make_folder(&to.join("keys"))?;
        for key in files::KEYS {
            taking.file(key, Until::End)?;
        }
        let folder = to.join("keys");
        files::sync_folder(&folder).map_err(copying(&folder))?;
    }
    taking.folder(files::TAPES, files::is_tape)?;
    let earlier = names(&state.join(files::EARLIER), files::is_earlier)?;
    if !earlier.is_empty() {
        let folder = to.join(files::EARLIER);
        private::make_folder(&folder)?;
        for name in earlier {
            taking.folder(&format!("{}/{name}", files::EARLIER), files::is_of_journal)?;
        }
        files::sync_folder(&folder).map_err(copying(&folder))?;
    }
    taking.folder(files::JOURNAL, files::is_of_journal)?;
    let report = journal::verify(&to.join(files::JOURNAL), |_| {})?;
    if let Some(bad) = &report.first_bad {
        return Err(BackupError::Bad(bad.to_string()));
    }
    let mut manifest = Manifest::new(rfc3339(now), schema, report.records, keys);
    taking
        .entries
        .sort_by(|one, other| one.name.cmp(&other.name));
    manifest.files = taking.entries;
    files::sync_folder(to).map_err(copying(to))?;
    manifest.write(to)?;
    Ok(manifest)
}

fn copying(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    |source| BackupError::Copy { path, source }
}

/// The names in a folder that are wanted, none where there is no such folder. Lines of the journal come
/// last: a checkpoint that was copied before them speaks of nothing that they do not have.
fn names(folder: &Path, wanted: fn(&str) -> bool) -> Result<Vec<String>, BackupError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(copying(folder)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(copying(folder))?.file_name();
        names.extend(name.to_str().filter(|name| wanted(name)).map(str::to_owned));
    }
    names.sort_by_key(|name| (Until::of(name) == Until::Line, name.clone()));
    Ok(names)
}

struct Taking<'a> {
    state: &'a Path,
    to: &'a Path,
    entries: Vec<Entry>,
}

impl Taking<'_> {
    /// Copies a file, where it is there.
    fn file(&mut self, name: &str, until: Until) -> Result<(), BackupError> {
        let from = self.state.join(name);
        match files::copy(&from, &self.to.join(name), until) {
            Ok((bytes, digest)) => {
                self.entries.push(Entry {
                    name: name.to_owned(),
                    bytes,
                    digest,
                });
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(copying(&from)(error)),
        }
    }

    /// Takes account of a file that is there already.
    fn measured(&mut self, name: &str) -> Result<(), BackupError> {
        let path = self.to.join(name);
        let (bytes, digest) = files::measure(&path).map_err(copying(&path))?;
        self.entries.push(Entry {
            name: name.to_owned(),
            bytes,
            digest,
        });
        Ok(())
    }

    /// Copies what is wanted of a folder. A log whose files went meanwhile (a segment was compressed, or
    /// removed) is copied anew, so that no mixture of two moments is taken for one.
    fn folder(&mut self, folder: &str, wanted: fn(&str) -> bool) -> Result<(), BackupError> {
        let from = self.state.join(folder);
        let to = self.to.join(folder);
        let begun = self.entries.len();
        for _ in 0..TRIES {
            let before = names(&from, wanted)?;
            if before.is_empty() {
                return Ok(());
            }
            private::make_folder(&to)?;
            for name in &before {
                self.file(&format!("{folder}/{name}"), Until::of(name))?;
            }
            let all = self.entries.len() - begun == before.len();
            // Tapes come and go by themselves.
            if all || folder == files::TAPES {
                return files::sync_folder(&to).map_err(copying(&to));
            }
            for entry in self.entries.drain(begun..) {
                let path = self.to.join(&entry.name);
                std::fs::remove_file(&path).map_err(copying(&path))?;
            }
        }
        Err(copying(&from)(io::Error::other(
            "its files change faster than they can be copied",
        )))
    }
}
