//! `cargo mutate` and `cargo threats`: whether the attacks' tests see what they are there to see.
//!
//! `mutate` builds the host once more with every control of `tests/mutations.jsonl` made to be
//! switched off by a variable, runs the rows of `tests/attacks.jsonl` against it with one control
//! off after the other, and fails unless each control's rows go red. `threats` prints what the rows
//! mean for the frameworks in `tests/frameworks.jsonl`, with the results of the last test run.
//!
//! The switches are in a copy of the sources, under `target/`. The host's own sources have none, so
//! none can be left on: there is no feature, no variable and no configuration for it.

mod matrix;
mod mutate;
mod rows;
mod tree;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo mutate [CONTROL...]   build once, switch off one control after the other, see its rows go red
       cargo mutate --survey       the same with every row, and print which rows see which control
       cargo threats [--json]      frameworks x rows x results of the last `cargo test`
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some("mutate") => {
            let rest: Vec<String> = arguments.collect();
            match rest.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["--survey"] => mutate::survey(),
                _ if rest.iter().any(|argument| argument.starts_with('-')) => Ok(false),
                _ => mutate::gate(&rest),
            }
        }
        Some("threats") => matrix::print(arguments.any(|argument| argument == "--json")),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The host's target folder.
fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}
