//! The folder that plugins are dropped into.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::name::{ParseNameError, PluginName};
use crate::reason::{Reason, Refusal};
use crate::runtime::MAX_COMPONENT;

/// What a component's file and the one of its signature hold, or why that can't be read. Read once:
/// what is verified and digested is what is compiled.
#[derive(Debug)]
pub(crate) struct Content {
    /// The component.
    pub(crate) bytes: Result<Vec<u8>, Refusal>,
    /// Its signature, where it has one.
    pub(crate) note: Result<Option<String>, Refusal>,
}

impl Content {
    /// Reads the component at `path`, and what is beside it.
    pub(crate) fn read(path: &Path) -> Self {
        Self {
            bytes: read(path),
            note: super::signature::read(path),
        }
    }
}

/// What identifies a file's content without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Those of a component and of its signature, where it has one.
pub(super) type Stamps = (Stamp, Option<Stamp>);

/// The components in `folder`, by their names: what is looked at as a plugin.
pub(crate) fn files(folder: &Path) -> std::io::Result<BTreeMap<String, PathBuf>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        // A name that starts with a dot is a file that someone is still writing.
        if name.ends_with(".wasm") && !name.starts_with('.') {
            found.insert(name.to_owned(), path.clone());
        }
    }
    Ok(found)
}

/// The name of the plugin in this file: the file's own, without its ending.
pub(crate) fn name_of(file: &str) -> Result<PluginName, ParseNameError> {
    file.strip_suffix(".wasm").unwrap_or(file).parse()
}

/// What identifies the content of a component and of its signature now; nothing where the first is gone.
pub(super) fn stamps(path: &Path) -> Option<Stamps> {
    Some((stamp(path)?, stamp(&signature(path))))
}

/// The file that holds the signature of the component at `path`.
pub(super) fn signature(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn stamp(path: &Path) -> Option<Stamp> {
    use std::os::unix::fs::MetadataExt as _;
    let meta = std::fs::metadata(path).ok()?;
    Some(Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        length: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    })
}

/// A component's bytes, at most one more than are compiled.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Refusal> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| {
        Refusal::new(Reason::ComponentInvalid, "the file can't be read")
            .with_detail(error.to_string())
    };
    // Before it is opened: opening a pipe would wait for somebody to write into it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Refusal::new(Reason::ComponentInvalid, "not a file"));
    }
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(MAX_COMPONENT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}
