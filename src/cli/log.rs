//! The log: to standard error, whatever the command; standard output is for data and protocols.

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;

use super::args::Global;
use super::printer::LogWriter;
use crate::config::{Format, Level, Log};

/// Starts the log of a daemon, as configured; `-v` and `-q` go before the configuration.
pub(crate) fn of_daemon(log: Log, global: &Global, colour: bool, progress: MultiProgress) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => Level::Error,
        (false, 0) => log.level,
        (false, 1) if log.level == Level::Trace => Level::Trace,
        (false, 1) => Level::Debug,
        (false, _) => Level::Trace,
    };
    start(level, log.format, colour, progress);
}

/// Starts the log of a command that ends at once: it tells what it has to tell itself.
pub(crate) fn of_command(global: &Global, colour: bool, progress: MultiProgress) {
    let level = match global.verbose {
        0 => Level::Error,
        1 => Level::Info,
        2 => Level::Debug,
        _ => Level::Trace,
    };
    start(level, Format::Text, colour, progress);
}

fn start(level: Level, format: Format, colour: bool, progress: MultiProgress) {
    // Of what others' code says only what went wrong: its debug lines may show what is in requests.
    let others = match level {
        Level::Error => "error",
        _ => "warn",
    };
    let filter = EnvFilter::new(format!(
        "{others},tollgate={0},guest={0},rmcp::service=off",
        level.as_str()
    ));
    let writer = move || LogWriter(progress.clone());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false);
    // A log that was started before stays: only tests start it twice.
    match format {
        Format::Text => drop(log.with_ansi(colour).try_init()),
        Format::Json => drop(log.json().flatten_event(true).try_init()),
    }
}
