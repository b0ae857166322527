//! A Rust toolchain that can build guests.
//!
//! Three ways, in this order: what is there already; `rustup target add`; and where rustup cannot bring the target, a
//! private toolchain made of the distribution's packages (`debian`). `TOLLGATE_GUEST_TOOLCHAIN=debian` takes the third
//! without trying the others.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{debian, say};

/// What guests are built for.
pub const TARGET: &str = "wasm32-wasip2";

/// A toolchain that builds for [`TARGET`].
#[derive(Debug, Clone)]
pub struct Toolchain {
    /// The compiler, where it is not the one that cargo takes by itself.
    rustc: Option<PathBuf>,
}

impl Toolchain {
    /// A cargo that builds guests with it: free of what a build of the host may have put into the environment.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for variable in [
            // Flags of the host's build.
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_RUSTFLAGS",
            "RUSTDOCFLAGS",
            // Its compiler and wrappers: `cargo clippy` puts its driver here.
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
            // Where it builds what.
            "CARGO_BUILD_TARGET",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET_DIR",
        ] {
            cargo.env_remove(variable);
        }
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        cargo
    }

    /// The compiler, where it is not the one that cargo takes by itself.
    #[must_use]
    pub fn rustc(&self) -> Option<&Path> {
        self.rustc.as_deref()
    }
}

/// Makes sure that guests can be built. What it fetches, it fetches once.
pub fn ensure() -> Result<Toolchain> {
    let forced = std::env::var_os("TOLLGATE_GUEST_TOOLCHAIN");
    match forced.as_deref().and_then(OsStr::to_str) {
        None | Some("") => {}
        Some("debian") => {
            return Ok(Toolchain {
                rustc: Some(debian::ensure()?),
            });
        }
        Some(other) => {
            bail!("`TOLLGATE_GUEST_TOOLCHAIN` is `{other}`: it can be `debian`, or not set")
        }
    }
    if has_target() {
        return Ok(Toolchain { rustc: None });
    }
    say(format_args!(
        "this toolchain has no `{TARGET}`: asking rustup for it"
    ));
    let added = Command::new("rustup")
        .args(["target", "add", TARGET])
        .status();
    if added.is_ok_and(|status| status.success()) && has_target() {
        return Ok(Toolchain { rustc: None });
    }
    say("rustup could not bring it: making a private toolchain of the distribution's packages");
    let rustc = debian::ensure()
        .with_context(|| format!("plugins are built for `{TARGET}`, which this toolchain lacks: run `rustup target add {TARGET}`"))?;
    Ok(Toolchain { rustc: Some(rustc) })
}

/// Whether the active compiler has the target's standard library.
fn has_target() -> bool {
    let Ok(folder) = print(["--print", "target-libdir", "--target", TARGET]) else {
        return false;
    };
    has_std(Path::new(&folder))
}

/// Whether there is a standard library in this folder.
pub(crate) fn has_std(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

/// What the active compiler prints for these arguments.
pub(crate) fn print<const N: usize>(arguments: [&str; N]) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    output(Command::new(rustc).args(arguments))
}

/// What a command prints; an error where it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {:?}", command.get_program()))?;
    if !output.status.success() {
        bail!(
            "{:?} failed: {}",
            command.get_program(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
