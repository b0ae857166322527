//! `cargo xtask <command>`.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

const HELP: &str = "\
Usage: cargo xtask <command>

  plugins         build the plugins of `plugins/` and put the components beside their sources
  serve [args]    build the plugins and the host, then run `tollgate serve --quickstart [args]`
  test            make sure that guests can be built, then run every test
  fuzz [seconds]  run each fuzz target of `tests/fuzz` for so long, 60 unless told
  load [seconds]  have 64 clients call a host for so long, 60 unless told, while others stall or vanish
  crash [kills]   kill a host so often under load, 10,000 times unless told, and hold its journal against what was done
  toolchain       make sure that guests can be built
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let done = match command.to_str() {
        Some("plugins") => xtask::plugins().map(|()| 0),
        Some("serve") => xtask::serve(arguments.collect()).map(|never| match never {}),
        Some("test") => xtask::test(),
        Some("load") => number(arguments.next(), 60, "seconds").and_then(xtask::load),
        Some("fuzz") => number(arguments.next(), 60, "seconds").and_then(xtask::fuzz),
        Some("crash") => number(arguments.next(), 10_000, "kills").and_then(xtask::crash),
        Some("toolchain") => xtask::toolchain::ensure().map(|_| 0),
        Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(0)
        }
        _ => {
            eprint!("{HELP}");
            Ok(2)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn number(argument: Option<OsString>, default: u32, of: &str) -> Result<u32> {
    let Some(argument) = argument else {
        return Ok(default);
    };
    let text = argument.to_string_lossy();
    text.parse()
        .with_context(|| format!("`{text}` is no number of {of}"))
}
