//! The commands.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{build, place, root, say, shipped, target, toolchain};

/// Builds the shipped plugins and puts each component at `plugins/<name>.wasm`.
pub fn plugins() -> Result<()> {
    let toolchain = toolchain::ensure()?;
    let plugins = root().join("plugins");
    for name in shipped(&plugins)? {
        say(format_args!("building the plugin `{name}`"));
        let component = build(
            &toolchain,
            &plugins,
            &plugins.join("target"),
            &name,
            &[],
            false,
        )?;
        let changed = place(&component, &plugins.join(&name).with_extension("wasm"))?;
        say(format_args!(
            "plugins/{name}.wasm {}",
            if changed { "written" } else { "unchanged" }
        ));
    }
    Ok(())
}

/// Builds the plugins and the host, and becomes `tollgate serve --quickstart` with these arguments added.
pub fn serve(arguments: Vec<OsString>) -> Result<Infallible> {
    plugins()?;
    say("building the host");
    let built = cargo()
        .args(["build", "--release", "--package", "tollgate"])
        .status()
        .context("start cargo")?;
    if !built.success() {
        bail!("could not build the host: what the compiler says stands above");
    }
    let tollgate = target().join("release").join("tollgate");
    let error = Command::new(&tollgate)
        .args(["serve", "--quickstart"])
        .args(arguments)
        .current_dir(root())
        .exec();
    Err(error).with_context(|| format!("run `{}`", tollgate.display()))
}

/// Runs every test, and says with which exit code the first that failed ended (0 where none did).
pub fn test() -> Result<u8> {
    toolchain::ensure()?;
    let workspace = cargo_with(["test", "--workspace", "--locked"]);
    let plugins = cargo_with(["test", "--manifest-path", "plugins/Cargo.toml", "--locked"]);
    let mut steps = Vec::new();
    let servers = root().join("tests/servers/setup");
    if servers.is_file() {
        let mut setup = Command::new(servers);
        setup.current_dir(root());
        steps.push(("whether the servers are there", setup));
    }
    steps.extend([("the host", workspace), ("the plugins, natively", plugins)]);
    let clients = Path::new("tests/clients/run");
    if root().join(clients).is_file() {
        let mut run = Command::new(root().join(clients));
        run.current_dir(root());
        steps.push(("with real clients", run));
    }
    let conformance = root().join("tests/conformance/run");
    if conformance.is_file() {
        let mut run = Command::new(conformance);
        run.current_dir(root());
        steps.push(("with the protocol's own conformance suite", run));
    }
    for (what, mut step) in steps {
        say(format_args!("testing {what}"));
        let status = step
            .status()
            .with_context(|| format!("start {:?}", step.get_program()))?;
        if !status.success() {
            say(format_args!(
                "testing {what} failed; what comes after it was not run"
            ));
            return Ok(status
                .code()
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(1));
        }
    }
    Ok(0)
}

/// The fuzz targets of `tests/fuzz`, and the largest input of each in bytes.
const TARGETS: [(&str, &str); 3] = [
    ("fuzz_json", "4096"),
    ("fuzz_journal", "2048"),
    ("fuzz_receipt", "16384"),
];

/// Builds the fuzz targets and runs each for so many seconds; the first that finds something ends it.
pub fn fuzz(seconds: u32) -> Result<u8> {
    let folder = root().join("tests/fuzz");
    let mut build = cargo_with([
        "build",
        "--workspace",
        "--locked",
        "--features",
        "fuzz/libfuzzer",
    ]);
    for (target, _) in TARGETS {
        build.args(["--bin", target]);
    }
    // With a test among what is built, dependencies have the features that they have in every test build.
    build.args(["--test", "edits"]);
    build.env("RUSTC_WORKSPACE_WRAPPER", folder.join("instrument"));
    say("building the fuzz targets");
    if !build.status().context("start cargo")?.success() {
        bail!("could not build the fuzz targets: what the compiler says stands above");
    }
    for (name, bytes) in TARGETS {
        let found = target().join("fuzz").join(name);
        // What reached new code in this run and those before it; the next one begins with that.
        let corpus = found.join("corpus");
        std::fs::create_dir_all(&corpus).with_context(|| format!("make `{}`", corpus.display()))?;
        say(format_args!("fuzzing `{name}` for {seconds} s"));
        let status = Command::new(target().join("debug").join(name))
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={bytes}"))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .args([
                "-rss_limit_mb=1024",
                "-timeout=20",
                "-print_final_stats=1",
                "-verbosity=0",
            ])
            .arg(&corpus)
            .status()
            .with_context(|| format!("start `{name}`"))?;
        if !status.success() {
            say(format_args!(
                "`{name}` found something: the input is the newest file in `{}`; run the target with its name to see it again",
                found.display()
            ));
            return Ok(1);
        }
    }
    Ok(0)
}

/// Has 64 clients call a host for so many seconds, while others stall or vanish. Gives the exit code.
pub fn load(seconds: u32) -> Result<u8> {
    say(format_args!("serving many clients for {seconds} s"));
    sole(
        "load::clients_stall_and_vanish_and_nothing_is_lost",
        ("TOLLGATE_LOAD", seconds),
        "load.txt",
    )
}

/// Kills the real program so often, at random points under load. Gives the exit code.
pub fn crash(kills: u32) -> Result<u8> {
    say(format_args!("killing the host {kills} times"));
    sole(
        "crash::kill_9_at_any_point_loses_nothing_and_repeats_nothing",
        ("TOLLGATE_KILLS", kills),
        "crash.txt",
    )
}

/// Runs one test of `tests/it` with another number than `cargo xtask test` has for it.
fn sole(test: &str, (variable, number): (&str, u32), report: &str) -> Result<u8> {
    toolchain::ensure()?;
    // What it leaves says that it ran: a name that no test has any more passes as well.
    let report = target().join("tmp").join(report);
    if report.exists() {
        std::fs::remove_file(&report).with_context(|| format!("remove `{}`", report.display()))?;
    }
    let mut cargo = cargo_with(["test", "--workspace", "--locked", "--quiet", "--test", "it"]);
    cargo
        .args(["--", "--exact", test, "--nocapture"])
        .env(variable, number.to_string());
    if !cargo.status().context("start cargo")?.success() {
        return Ok(1);
    }
    if !report.is_file() {
        bail!("there is no test `{test}`, so nothing was done");
    }
    Ok(0)
}

fn cargo_with<const N: usize>(arguments: [&str; N]) -> Command {
    let mut cargo = cargo();
    cargo.args(arguments);
    cargo
}

fn cargo() -> Command {
    let mut cargo = Command::new(
        std::env::var_os("CARGO")
            .as_deref()
            .unwrap_or(OsStr::new("cargo")),
    );
    cargo.current_dir(root());
    cargo
}
