//! Building, serving and testing Tollgate together with its plugins.
//!
//! Plugins are guests: they are built for `wasm32-wasip2`, in a workspace and a target folder of their own, and nothing
//! of a build of the host (flags, wrappers, lock on its target folder) reaches them. The crate is a library as well,
//! for the build script of `tests/guests` builds its guests in the same way.

mod commands;
mod debian;
mod guest;
pub mod toolchain;

use std::path::{Path, PathBuf};

pub use commands::{crash, fuzz, load, plugins, serve, test};
pub use guest::{build, place, shipped};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The host's target folder.
#[must_use]
pub fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// One line of progress, for people.
pub(crate) fn say(line: impl std::fmt::Display) {
    eprintln!("{:>12} {line}", "xtask");
}
