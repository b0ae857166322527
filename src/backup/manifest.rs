//! What a backup says of itself: written last, so that a folder without it is none.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::digest::Digest;
use crate::private::{self, PrivateError};

/// The version that this host writes, and the highest that it reads.
pub const VERSION: u32 = 1;

const FORMAT: &str = "tollgate-backup";
/// Its name in a backup.
const NAME: &str = "manifest.json";
/// Bytes of one with a hundred thousand tapes.
const MOST: u64 = 32 << 20;

/// What is in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    format: String,
    version: u32,
    /// When it was taken, RFC 3339 in UTC.
    pub time: String,
    /// Version of the host that took it.
    pub host: String,
    /// Version of the database's tables.
    pub schema: u32,
    /// Records of the journal.
    pub records: u64,
    /// Whether the keys of secrets and tapes are in it.
    pub keys: bool,
    /// The files, in the order of their names.
    pub files: Vec<Entry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its path below the backup, and below `state/`.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its digest.
    pub digest: Digest,
}

/// A manifest can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It can't be read or written.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// There is none.
    #[error("`{}` is no backup, or one that was not finished: there is no `{NAME}` in it", .0.display())]
    Missing(PathBuf),
    /// It is none.
    #[error("`{}` is not the manifest of a backup: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version of the host wrote it.
    #[error("`{}` has version {found}, and this host knows up to {VERSION}: use the host that wrote it, or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
}

impl Manifest {
    pub(super) fn new(time: String, schema: u32, records: u64, keys: bool) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            time,
            host: env!("CARGO_PKG_VERSION").to_owned(),
            schema,
            records,
            keys,
            files: Vec::new(),
        }
    }

    /// Writes it into the backup `folder`, which then is one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ManifestError> {
        let path = folder.join(NAME);
        let text = serde_json::to_vec_pretty(self).map_err(|error| ManifestError::Wrong {
            path: path.clone(),
            why: error.to_string(),
        })?;
        Ok(private::replace(&path, &text)?)
    }

    /// Reads that of the backup `folder`, and its digest.
    ///
    /// # Errors
    ///
    /// There is none, it is not one, or a later host wrote it.
    pub fn read(folder: &Path) -> Result<(Self, Digest), ManifestError> {
        let path = folder.join(NAME);
        let text = private::read(&path, MOST).map_err(|error| {
            if error.is_missing() {
                ManifestError::Missing(folder.to_owned())
            } else {
                error.into()
            }
        })?;
        let wrong = |why: String| ManifestError::Wrong {
            path: path.clone(),
            why,
        };
        // The version first: what a later one means by its members is not known here.
        let said: Version =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if said.format != FORMAT {
            return Err(wrong("it is of something else".to_owned()));
        }
        if said.version > VERSION {
            return Err(ManifestError::Newer {
                path,
                found: said.version,
            });
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        // What is not known is not put anywhere, and no name leads out of the folder.
        if let Some(entry) = manifest.files.iter().find(|e| !files::is_known(&e.name)) {
            return Err(wrong(format!(
                "`{}` can't be in a backup",
                entry.name.escape_default()
            )));
        }
        let sorted = manifest
            .files
            .is_sorted_by(|one, other| one.name < other.name);
        if !sorted {
            return Err(wrong("a file stands in it twice".to_owned()));
        }
        Ok((manifest, Digest::of(&text)))
    }
}

/// What every version begins with.
#[derive(Deserialize)]
struct Version {
    format: String,
    version: u32,
}
