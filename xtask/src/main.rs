//! `cargo xtask <command>`.

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask <command>

  plugins         build the plugins of `plugins/` and put the components beside their sources
  serve [args]    build the plugins and the host, then run `tollgate serve --quickstart [args]`
  test            make sure that guests can be built, then run every test
  toolchain       make sure that guests can be built
";

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    let done = match command.to_str() {
        Some("plugins") => xtask::plugins().map(|()| 0),
        Some("serve") => xtask::serve(arguments.collect()).map(|never| match never {}),
        Some("test") => xtask::test(),
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
