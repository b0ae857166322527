//! Building a guest, and putting it where it is looked for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::toolchain::{TARGET, Toolchain};

/// Names of the plugins that are shipped: each folder of `plugins/` with a manifest, the SDK apart.
pub fn shipped(plugins: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(plugins).with_context(|| format!("list `{}`", plugins.display()))? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string()
            && name != "sdk"
            && entry.path().join("Cargo.toml").is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Builds one package of the workspace in `workspace` as a component, and says where it is.
///
/// One package at a time, although that costs a little: packages that are built together share the features of what
/// they depend on, so a component would differ with what else was built.
pub fn build(
    toolchain: &Toolchain,
    workspace: &Path,
    target: &Path,
    package: &str,
    features: &[&str],
    locked: bool,
) -> Result<PathBuf> {
    let mut cargo = toolchain.cargo();
    cargo.args([
        "build",
        "--release",
        "--target",
        TARGET,
        "--package",
        package,
    ]);
    cargo
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(target);
    if !features.is_empty() {
        cargo.arg("--features").arg(features.join(","));
    }
    if locked {
        cargo.arg("--locked");
    }
    let status = cargo.status().context("start cargo")?;
    if !status.success() {
        bail!("could not build the guest `{package}`: what the compiler says stands above");
    }
    let component = target
        .join(TARGET)
        .join("release")
        .join(package.replace('-', "_"))
        .with_extension("wasm");
    if !component.is_file() {
        bail!(
            "`{package}` built, but left no `{}`: does its manifest say `crate-type = [\"cdylib\"]`?",
            component.display()
        );
    }
    Ok(component)
}

/// Puts a component in its place, at once and only where it differs, since a host may be watching. Says whether it differed.
pub fn place(component: &Path, at: &Path) -> Result<bool> {
    let bytes = fs::read(component).with_context(|| format!("read `{}`", component.display()))?;
    if fs::read(at).is_ok_and(|there| there == bytes) {
        return Ok(false);
    }
    // Not `.wasm`: a host that watches the folder must not take the half-written file for a plugin.
    let partial = at.with_extension(format!("wasm.{}.partial", std::process::id()));
    fs::write(&partial, bytes).with_context(|| format!("write `{}`", partial.display()))?;
    fs::rename(&partial, at).with_context(|| format!("write `{}`", at.display()))?;
    Ok(true)
}
