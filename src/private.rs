//! Files and folders that only their owner may use: how the host makes them, and how it makes sure.
//!
//! Whoever can write `state/` can approve, and whoever can read it can be any agent. So nothing in it
//! is used before its owner and mode are verified, and nothing is ever widened or repaired silently.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A file or folder is not as private as it must be, or can't be used at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateError {
    /// It could not be made, opened, read or written.
    #[error("can't {doing} `{}`: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Another user owns it.
    #[error("`{}` belongs to user {owner}, not to user {user} that runs this: use another folder, or change its owner", path.display())]
    Owner {
        /// Which.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who runs this.
        user: u32,
    },
    /// Others than the owner may use it.
    #[error("`{}` is open to other users (mode {mode:03o}): run `chmod {} '{}'`", path.display(), wanted, path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// The mode it should have, for `chmod`.
        wanted: &'static str,
    },
    /// A symbolic link, a device, a folder in a file's place.
    #[error("`{}` is not {wanted}: move it away", path.display())]
    Kind {
        /// Which.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// More bytes than it may have.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// The most that is read.
        limit: u64,
    },
}

impl PrivateError {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            doing,
            source,
        }
    }

    /// Whether the file is not there.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

fn check(path: &Path, found: &Metadata, wanted: &'static str) -> Result<(), PrivateError> {
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        return Err(PrivateError::Owner {
            path: path.to_owned(),
            owner: found.uid(),
            user,
        });
    }
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(PrivateError::Open {
            path: path.to_owned(),
            mode,
            wanted,
        });
    }
    Ok(())
}

/// Makes sure that `path` is a folder, not a link to one, of this user and of nobody else.
///
/// # Errors
///
/// It is not.
pub fn check_folder(path: &Path) -> Result<(), PrivateError> {
    let found = fs::symlink_metadata(path).map_err(PrivateError::io(path, "look at"))?;
    if !found.is_dir() {
        return Err(PrivateError::Kind {
            path: path.to_owned(),
            wanted: "a folder",
        });
    }
    check(path, &found, "700")
}

/// Makes the folder `path` for its owner only, or makes sure that it is such a folder.
///
/// # Errors
///
/// It can't be made, or is there and not private.
pub fn make_folder(path: &Path) -> Result<(), PrivateError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(PrivateError::io(path, "make")(e)),
    }
    check_folder(path)
}

/// Opens the file `path` and makes sure, on the open file, that it is private.
///
/// # Errors
///
/// It is not there, not a file, or not private.
pub fn open(path: &Path) -> Result<File, PrivateError> {
    open_with(path, OpenOptions::new().read(true))
}

/// Opens the file `path` for reading and writing, and makes it where there is none.
///
/// # Errors
///
/// It can't be made, is not a file, or not private.
pub fn open_or_make(path: &Path) -> Result<File, PrivateError> {
    open_with(path, OpenOptions::new().read(true).write(true).create(true))
}

fn open_with(path: &Path, options: &mut OpenOptions) -> Result<File, PrivateError> {
    // Never through a link, and never stuck on a pipe that someone put here.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = options
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
        .map_err(PrivateError::io(path, "open"))?;
    let found = file.metadata().map_err(PrivateError::io(path, "look at"))?;
    if !found.is_file() {
        return Err(PrivateError::Kind {
            path: path.to_owned(),
            wanted: "a file",
        });
    }
    check(path, &found, "600")?;
    Ok(file)
}

/// Reads the private file `path`, of at most `limit` bytes.
///
/// # Errors
///
/// As `open`; and it is larger than `limit`.
pub fn read(path: &Path, limit: u64) -> Result<zeroize::Zeroizing<Vec<u8>>, PrivateError> {
    let file = open(path)?;
    // Room for all of it at once: a buffer that grows leaves copies of a secret behind.
    let size = file.metadata().map_or(0, |m| m.len()).min(limit);
    let mut bytes =
        zeroize::Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 64));
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(PrivateError::io(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(PrivateError::TooLarge {
            path: path.to_owned(),
            limit,
        });
    }
    Ok(bytes)
}

/// Puts `bytes` in the place of the file `path`: readers see the old file or the new one, whole,
/// also after a power failure.
///
/// # Errors
///
/// It can't be written; the old file is then unchanged.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), PrivateError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    // Left over from a write that was cut short.
    match fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(PrivateError::io(&fresh, "remove")(e));
        }
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    write().map_err(PrivateError::io(path, "write"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_made_is_for_the_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("keys");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        let file = folder.join("key");
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(&**read(&file, 3).unwrap(), b"two");
        assert!(matches!(
            read(&file, 2),
            Err(PrivateError::TooLarge { limit: 2, .. })
        ));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn what_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        replace(&file, b"x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(&file).unwrap_err().to_string();
        assert!(error.contains("(mode 640): run `chmod 600"), "{error}");
        let folder = dir.path().join("state");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        let error = make_folder(&folder).unwrap_err().to_string();
        assert!(error.contains("(mode 755): run `chmod 700"), "{error}");
    }

    #[test]
    fn links_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        replace(&real, b"x").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(open(&link).is_err());
        let folder = dir.path().join("folder");
        std::os::unix::fs::symlink(dir.path(), &folder).unwrap();
        assert!(matches!(
            check_folder(&folder),
            Err(PrivateError::Kind { .. })
        ));
    }
}
