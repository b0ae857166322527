//! The copy of the repository that has switches: sources with edits, and links to all the rest.
//!
//! It is built in a target folder of its own, so that no artifact with switches can be taken for
//! one without. What was compiled for the host already (its dependencies, the guests) is linked
//! there, so that one package is built, once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// A control, how to switch it off, and the rows that must see it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutation {
    /// Its name.
    pub(crate) control: String,
    /// What it is, in a line.
    pub(crate) what: String,
    #[serde(default)]
    pub(crate) edits: Vec<Edit>,
    /// Controls that go off with it: where two of them refuse the same, one alone is not seen to be gone.
    #[serde(default)]
    pub(crate) with: Vec<String>,
    /// The rows that go red without it.
    pub(crate) rows: Vec<String>,
}

/// One place in the sources.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    pub(crate) file: String,
    /// A text that stands there exactly once: sources that moved on are noticed, and not guessed at.
    pub(crate) find: String,
    /// What stands there instead. `OFF` is whether the control is off.
    pub(crate) replace: String,
}

/// The variable that names the controls that are off, separated by commas.
pub(crate) const VARIABLE: &str = "TOLLGATE_MUTANT";

/// What the sources get to know of it.
const SWITCH: &str = "
/// Of the copy that `cargo mutate` builds, and of no other.
pub(crate) fn mutated(control: &str) -> bool {
    std::env::var(\"TOLLGATE_MUTANT\").is_ok_and(|off| off.split(',').any(|off| off == control))
}
";

/// Makes the copy and builds its tests; gives the program that runs them.
pub(crate) fn build(mutations: &[Mutation]) -> Result<PathBuf> {
    let folder = crate::target().join("mutate");
    let tree = folder.join("tree");
    let target = folder.join("build");
    make(&tree, mutations)?;
    seed(&crate::target(), &target)?;
    eprintln!("building the host with {} switches", mutations.len());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "test",
            "--workspace",
            "--test",
            "it",
            "--no-run",
            "--locked",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(&tree)
        .env("CARGO_TARGET_DIR", &target)
        .stderr(Stdio::inherit())
        .output()
        .context("start cargo")?;
    if !output.status.success() {
        bail!("the copy with switches could not be built: what the compiler says stands above");
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let is_it = message
            .pointer("/target/name")
            .is_some_and(|name| name == "it");
        if let Some(path) = message.get("executable").and_then(|path| path.as_str())
            && is_it
        {
            return Ok(path.into());
        }
    }
    bail!("cargo did not say where the tests are")
}

fn make(tree: &Path, mutations: &[Mutation]) -> Result<()> {
    let root = crate::root();
    fs::create_dir_all(tree)?;
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        let Some(name) = path.file_name() else {
            continue;
        };
        let to = tree.join(name);
        match name.to_str() {
            Some("src" | "target" | ".git") => {}
            // Cargo takes the folder that a manifest is linked to for that of the package.
            Some("Cargo.toml" | "Cargo.lock") => {
                fs::copy(&path, &to)?;
            }
            _ if to.symlink_metadata().is_ok() => {}
            _ => std::os::unix::fs::symlink(&path, &to)?,
        }
    }
    copy(&root, tree, Path::new("src"), &edited(&root, mutations)?)
}

/// The sources that change, with every switch in them.
fn edited<'a>(root: &Path, mutations: &'a [Mutation]) -> Result<BTreeMap<&'a str, String>> {
    let mut edited: BTreeMap<&str, String> = BTreeMap::new();
    for mutation in mutations {
        for edit in &mutation.edits {
            let text = match edited.get(edit.file.as_str()) {
                Some(text) => text.clone(),
                None => fs::read_to_string(root.join(&edit.file))
                    .with_context(|| format!("read `{}`", edit.file))?,
            };
            let found = text.matches(&edit.find).count();
            ensure!(
                found == 1,
                "`{}`: `{}` has {found} places that read `{}`; mend `tests/mutations.jsonl`",
                mutation.control,
                edit.file,
                edit.find
            );
            let off = format!("crate::mutated({:?})", mutation.control);
            let replace = edit.replace.replace("OFF", &off);
            edited.insert(&edit.file, text.replace(&edit.find, &replace));
        }
    }
    Ok(edited)
}

/// Copies a folder of sources. A file that would not change is left as it is, so that the second
/// build is a small one.
fn copy(from: &Path, to: &Path, folder: &Path, edited: &BTreeMap<&str, String>) -> Result<()> {
    fs::create_dir_all(to.join(folder))?;
    let mut there = Vec::new();
    for entry in fs::read_dir(from.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        there.push(entry.file_name());
        if entry.path().is_dir() {
            copy(from, to, &path, edited)?;
            continue;
        }
        let mut bytes = match path.to_str().and_then(|path| edited.get(path)) {
            Some(text) => text.clone().into_bytes(),
            None => fs::read(entry.path())?,
        };
        if path == Path::new("src/lib.rs") {
            bytes.extend_from_slice(SWITCH.as_bytes());
        }
        if fs::read(to.join(&path)).ok().as_deref() != Some(&bytes[..]) {
            fs::write(to.join(&path), bytes)?;
        }
    }
    for entry in fs::read_dir(to.join(folder))? {
        let entry = entry?;
        if !there.contains(&entry.file_name()) {
            match entry.path().is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

/// Links what was compiled of the host's dependencies into the target folder of the copy.
fn seed(from: &Path, to: &Path) -> Result<()> {
    if to.join("debug").exists() {
        return Ok(());
    }
    for part in ["deps", "build", ".fingerprint"] {
        link(
            &from.join("debug").join(part),
            &to.join("debug").join(part),
            true,
        )?;
    }
    // Compiled components are keyed by the component and the engine, not by the host.
    fs::create_dir_all(from.join("tmp"))?;
    std::os::unix::fs::symlink(from.join("tmp"), to.join("tmp"))?;
    Ok(())
}

fn link(from: &Path, to: &Path, top: bool) -> Result<()> {
    let Ok(entries) = fs::read_dir(from) else {
        return Ok(());
    };
    fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // Never anything of the host itself: that is what is built anew.
        let own = ["tollgate", "libtollgate", "it-", "gate-", "libgate"];
        if top && own.iter().any(|own| text.starts_with(own)) {
            continue;
        }
        let to = to.join(&name);
        if entry.path().is_dir() {
            link(&entry.path(), &to, false)?;
        } else if fs::hard_link(entry.path(), &to).is_err() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_control_is_still_where_its_switch_goes() {
        let path = crate::root().join("tests/mutations.jsonl");
        let mutations: Vec<Mutation> = crate::rows::lines(&path).unwrap();
        for (file, text) in edited(&crate::root(), &mutations).unwrap() {
            assert!(text.contains("crate::mutated("), "{file}");
        }
    }

    /// What could be switched off could be left off.
    #[test]
    fn the_sources_of_the_host_have_no_switch() {
        fn look(folder: &Path) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    look(&path);
                    continue;
                }
                let text = fs::read_to_string(&path).unwrap_or_default();
                for word in ["mutated(", "TOLLGATE_MUTANT"] {
                    assert!(!text.contains(word), "`{}` has `{word}`", path.display());
                }
            }
        }
        look(&crate::root().join("src"));
    }
}
