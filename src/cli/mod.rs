//! The command line: what people type, and what they read.
//!
//! Commands that look at files work on the files; commands that look at a running host are thin and
//! ask the daemon. All print through one `printer`, and end with one of the codes of [`Exit`].

mod agent;
mod approvals;
mod args;
mod audit;
mod backup;
mod call;
mod check;
mod client;
mod clients;
mod compiling;
mod credential;
mod daemon;
mod endpoint;
mod exit;
mod fault;
mod finding;
mod hostcall;
mod inspect;
mod leases;
mod log;
mod offline;
mod person;
mod pins;
mod plugins;
mod policy;
mod printer;
mod prompt;
mod quickstart;
mod replay;
mod revoke;
mod secret;
mod serve;
mod sign;
mod standing;
mod table;
mod task;
mod token;

pub use exit::Exit;

use std::future::Future;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use self::args::{Cli, Command, Global};
use self::fault::Fault;
use self::printer::Printer;
use crate::home::Home;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    if matches!(cli.command, Command::CompileComponent) {
        return compile();
    }
    run(cli).into()
}

/// A child of the daemon, under limits, with its protocol on its pipes and exit codes of its own:
/// nothing else happens here.
fn compile() -> ExitCode {
    match crate::runtime::compile_child() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Exit {
    let mut printer = Printer::new(&cli.global);
    match dispatch(cli.command, &cli.global, &mut printer) {
        Ok(exit) => exit,
        Err(fault) => printer.fault(&fault),
    }
}

/// Help and version are what was asked for; anything else is a mistake of usage.
fn usage(error: &clap::Error) -> Exit {
    // Nothing can be done where neither stream takes anything.
    drop(error.print());
    if error.use_stderr() {
        Exit::Invalid
    } else {
        Exit::Ok
    }
}

fn dispatch(command: Command, global: &Global, printer: &mut Printer) -> Result<Exit, Fault> {
    // The variable is read by the parser.
    let home = Home::find(global.home.as_deref(), None)?;
    if !matches!(command, Command::Serve(_)) {
        log::of_command(global, printer.colour_of_talk(), printer.progress());
    }
    match command {
        Command::Serve(serve) => serve::run(&serve, global, &home, printer),
        Command::Call(call) => call::run(call, &home, printer),
        Command::Plugins(plugins) => plugins::run(plugins, &home, printer),
        Command::Policy(command) => wait(policy::run(command, &home, printer)),
        Command::Check(check) => wait(check::run(check.zero_standing, &home, printer)),
        Command::Agent(command) => agent::run(command, &home, printer),
        Command::Client(command) => clients::run(&command, &home, printer),
        Command::Task(command) => task::run(command, &home, printer),
        Command::Revoke(revoke) => revoke::run(&revoke, &home, printer),
        Command::Approvals(command) => approvals::run(command, &home, printer),
        Command::Person(command) => person::run(command, &home, printer),
        Command::Token(command) => token::run(command, &home, printer),
        Command::Secret(command) => secret::run(command, &home, printer),
        Command::Leases { pending } => leases::run(pending, &home, printer),
        Command::Audit(command) => audit::run(command, &home, printer),
        Command::Backup(command) => backup::take(&command, &home, printer),
        Command::Restore(command) => wait(backup::put(&command, &home, printer)),
        Command::Replay(command) => wait(replay::run(command, &home, printer)),
        Command::Reload => daemon::reload(&home, printer),
        Command::Status => daemon::status(&home, printer),
        Command::Stop => daemon::stop(&home, printer),
        Command::CompileComponent => Err(Fault::invalid(
            "`compile-component` is for the daemon itself",
        )),
    }
}

/// For commands that load plugins: compiling is a child process, describing an instance.
fn wait(command: impl Future<Output = Result<Exit, Fault>>) -> Result<Exit, Fault> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
