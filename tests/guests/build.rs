//! Builds the shipped plugins and the test guests as components, and writes a constant with the path of each.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context as _, Result};

/// What stands in the data of `misfits` where the kind goes.
const MARK: &[u8; 32] = b"misfit-kind:--------------------";

/// What the misfits are: see `misfits/src/lib.rs`.
const MISFITS: [&str; 32] = [
    "plain",
    "twice",
    "no-tools",
    "many-tools",
    "bad-tool-name",
    "long-tool-name",
    "poisoned-bidi",
    "poisoned-tags",
    "poisoned-ansi",
    "poisoned-title",
    "poisoned-schema",
    "poisoned-summary",
    "poisoned-why",
    "schema-remote",
    "schema-file",
    "schema-deep",
    "schema-loop",
    "schema-regex",
    "schema-array",
    "schema-not-json",
    "schema-output",
    "huge-description",
    "unused-http",
    "unused-clock",
    "secret-anywhere",
    "secret-userinfo",
    "origin-path",
    "origin-setting",
    "uses-undeclared",
    "requirement-twice",
    "fickle",
    "chatty",
];

/// The same, of those whose `describe` does not return.
const STUCK: [&str; 2] = ["describe-loops", "describe-traps"];

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the guests of the tests could not be built: {error:#}");
            eprintln!(
                "\nhint: `cargo xtask toolchain` makes sure that guests can be built, and says what is missing"
            );
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let out = PathBuf::from(env::var_os("OUT_DIR").context("`OUT_DIR` is set by cargo")?);
    let root = xtask::root();
    let plugins = root.join("plugins");
    watch(&root, &plugins)?;

    let toolchain = xtask::toolchain::ensure()?;
    // Shared with no other build, so that no lock of one is waited for while the other is held.
    let target = out.join("target");
    let mut constants = String::new();
    let mut table = Vec::new();
    for name in xtask::shipped(&plugins)? {
        let built = xtask::build(&toolchain, &plugins, &target, &name, &[], true)?;
        let path = keep(&built, &out, &name)?;
        constant(
            &mut constants,
            &name,
            &path,
            &format!("The shipped plugin `{name}`."),
        )?;
        table.push((name, path));
    }
    list(
        &mut constants,
        "PLUGINS",
        "The shipped plugins, by name.",
        &table,
    )?;

    let built = xtask::build(&toolchain, &plugins, &target, "probe", &[], true)?;
    let path = keep(&built, &out, "probe")?;
    constant(
        &mut constants,
        "probe",
        &path,
        "The hostile plugin of `tests/guests/probe`.",
    )?;

    let built = xtask::build(&toolchain, &plugins, &target, "conformance", &[], true)?;
    let path = keep(&built, &out, "conformance")?;
    constant(
        &mut constants,
        "conformance",
        &path,
        "What the protocol's own conformance suite asks of a server.",
    )?;

    let built = xtask::build(&toolchain, &plugins, &target, "misfits", &["http"], true)?;
    let path = keep(&built, &out, "liar")?;
    constant(
        &mut constants,
        "liar",
        &path,
        "Imports `http` and declares no requirement of it.",
    )?;

    let built = xtask::build(&toolchain, &plugins, &target, "misfits", &[], true)?;
    let misfit = fs::read(&built).context("read the misfits")?;
    let mut table = Vec::new();
    for kind in MISFITS.iter().chain(&STUCK) {
        let path = out.join(format!("misfit-{kind}.wasm"));
        fs::write(&path, of_kind(&misfit, kind)?)
            .with_context(|| format!("write `{}`", path.display()))?;
        constant(
            &mut constants,
            &format!("misfit-{kind}"),
            &path,
            &format!("The misfit `{kind}`."),
        )?;
        table.push(((*kind).to_owned(), path));
    }
    list(&mut constants, "MISFITS", "The misfits, by kind.", &table)?;

    fs::write(out.join("gen.rs"), constants).context("write `gen.rs`")
}

/// Everything that a guest is made of. A new plugin needs its line in `plugins/Cargo.toml`, so it is seen as well.
fn watch(root: &Path, plugins: &Path) -> Result<()> {
    println!("cargo::rerun-if-env-changed=TOLLGATE_GUEST_TOOLCHAIN");
    println!("cargo::rerun-if-changed={}", root.join("wit").display());
    for part in ["build.rs", "probe", "misfits", "conformance"] {
        println!(
            "cargo::rerun-if-changed={}",
            root.join("tests/guests").join(part).display()
        );
    }
    for part in ["Cargo.toml", "Cargo.lock", "sdk"] {
        println!("cargo::rerun-if-changed={}", plugins.join(part).display());
    }
    for name in xtask::shipped(plugins)? {
        println!("cargo::rerun-if-changed={}", plugins.join(name).display());
    }
    Ok(())
}

/// A copy that a later build of the same package leaves alone, named as the host would name the plugin.
fn keep(built: &Path, out: &Path, name: &str) -> Result<PathBuf> {
    let path = out.join(format!("{name}.wasm"));
    xtask::place(built, &path)?;
    Ok(path)
}

fn of_kind(misfit: &[u8], kind: &str) -> Result<Vec<u8>> {
    let at = misfit
        .windows(MARK.len())
        .position(|window| window == MARK)
        .context("the misfits hold no mark for their kind")?;
    let mut component = misfit.to_vec();
    for (place, byte) in component
        .iter_mut()
        .skip(at + "misfit-kind:".len())
        .zip(kind.bytes())
    {
        *place = byte;
    }
    Ok(component)
}

fn constant(constants: &mut String, name: &str, path: &Path, documentation: &str) -> Result<()> {
    let name = name.to_uppercase().replace('-', "_");
    writeln!(
        constants,
        "/// {documentation}\npub const {name}: &str = {:?};\n",
        path.display().to_string()
    )?;
    Ok(())
}

fn list(
    constants: &mut String,
    name: &str,
    documentation: &str,
    entries: &[(String, PathBuf)],
) -> Result<()> {
    writeln!(
        constants,
        "/// {documentation}\npub const {name}: &[(&str, &str)] = &["
    )?;
    for (entry, path) in entries {
        writeln!(
            constants,
            "    ({entry:?}, {:?}),",
            path.display().to_string()
        )?;
    }
    writeln!(constants, "];\n")?;
    Ok(())
}
