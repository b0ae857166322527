//! A client's file, changed in one place: what else is in it stays, and what it was is left beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::known::Form;
use super::{Broken, jsonc, toml};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::journal::escape;

/// The largest file that is read: some clients keep more than their configuration in it.
const LARGEST: u64 = 64 << 20;

/// What became of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Written {
    /// It was as it should be.
    Same,
    /// It was changed; what it was is there.
    Changed { backup: Option<PathBuf> },
}

/// Puts the server `name` into the file at `path`.
///
/// # Errors
///
/// The file can't be read or written, is not of its form, or has another server of that name and it is not
/// to be replaced; then it is as it was.
pub(super) fn put(
    path: &Path,
    form: Form,
    name: &str,
    server: &Value,
    replace: bool,
) -> Result<Written, Fault> {
    let shown = escape(&path.display().to_string());
    let broken = |Broken(why)| {
        Fault::invalid(format!("`{shown}` is left as it is: {why}"))
            .hint("mend the file, or use `tollgate client print` and put it there by hand")
    };
    // Whoever keeps the file elsewhere and a link to it here keeps both.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = read(&path).map_err(|error| failed(&error, "read", &path))?;
    let text = old.as_ref().map_or("", |old| old.text.as_str());
    let (table, found) = match form {
        Form::Json(table) => (table, jsonc::get(text, table, name)),
        Form::Toml(table) => (table, toml::get(text, table, name)),
    };
    match found.map_err(broken)? {
        Some(found) if found == *server => return Ok(Written::Same),
        Some(_) if !replace => {
            return Err(Fault::new(
                Exit::Conflict,
                format!("`{shown}` has another server `{name}` already"),
            )
            .hint(
                "`--replace` puts this one in its place, `--name NAME` gives this one another name",
            ));
        }
        _ => {}
    }
    let new = match form {
        Form::Json(_) => jsonc::put(text, table, name, server),
        Form::Toml(_) => toml::put(text, table, name, server),
    };
    let new = new.map_err(broken)?;
    let backup = match &old {
        None => {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder).map_err(|error| failed(&error, "make", folder))?;
            }
            None
        }
        Some(old) => Some(keep(&path, old).map_err(|error| failed(&error, "back up", &path))?),
    };
    // What may hold tokens of other servers is for its owner, as it was; a new one from the start.
    let mode = old.as_ref().map_or(0o600, |old| old.mode);
    let unchanged = read(&path).map_err(|error| failed(&error, "read", &path))?;
    if unchanged.as_ref().map(|now| &now.text) != old.as_ref().map(|old| &old.text) {
        return Err(Fault::new(
            Exit::Conflict,
            format!("`{shown}` changed just now, and is left as it is"),
        )
        .hint("end the client and try again"));
    }
    replace_with(&path, new.as_bytes(), mode).map_err(|error| failed(&error, "write", &path))?;
    Ok(Written::Changed { backup })
}

struct Old {
    text: String,
    mode: u32,
}

fn read(path: &Path) -> io::Result<Option<Old>> {
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !found.is_file() || found.len() > LARGEST {
        return Err(io::Error::other("it is no file of a client's"));
    }
    Ok(Some(Old {
        text: fs::read_to_string(path)?,
        mode: found.mode() & 0o777,
    }))
}

/// Leaves a copy beside the file, under a name that nothing has.
fn keep(path: &Path, old: &Old) -> io::Result<PathBuf> {
    for number in 1_u32..10_000 {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".before-tollgate-{number}"));
        let copy = path.with_file_name(name);
        match create(&copy, old.mode) {
            Ok(mut file) => {
                file.write_all(old.text.as_bytes())?;
                file.sync_all()?;
                return Ok(copy);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are thousands of copies already"))
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}

/// Readers see the old file or the new one, whole.
fn replace_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tollgate-{}", std::process::id()));
    let fresh = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = create(&fresh, mode)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().inspect_err(|_| drop(fs::remove_file(&fresh)))
}

fn failed(error: &io::Error, doing: &str, path: &Path) -> Fault {
    Fault::of(error).context(&format!("can't {doing} `{}`", path.display()))
}
