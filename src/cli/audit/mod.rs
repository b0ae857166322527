//! `tollgate audit`: reads the journal's files directly, so it works whether a daemon runs or not,
//! and shows what is on the disk rather than what a process says of it.

mod anchor;
mod check;
mod export;
mod prove;
mod search;
mod show;
mod since;
mod tail;
mod verify;

use serde_json::{Value, json};

use super::args::{Audit, AuditCommand};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::Printer;
use crate::home::Home;
use crate::journal::ReadError;
use crate::journal::archive::ArchiveError;
use crate::journal::record::{Event, Record};
use crate::journal::show::{self as shown, Look};

pub(crate) fn run(
    command: AuditCommand,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let AuditCommand { journal, command } = command;
    let folder = journal.unwrap_or_else(|| home.journal());
    // Whoever checks a receipt need not have a journal.
    if let Audit::Check(check) = command {
        return check::run(&check, &folder, printer);
    }
    if !folder.is_dir() {
        return Err(Fault::new(
            Exit::Failed,
            format!("there is no journal in `{}`", folder.display()),
        )
        .hint("name the home with `--home DIR`; `tollgate serve` starts a journal"));
    }
    match command {
        Audit::Tail(tail) => tail::tail(&folder, tail, printer, |_| {
            std::thread::sleep(tail::FOLLOW_EVERY);
            true
        }),
        Audit::Show { call } => show::call(&folder, &call, printer),
        Audit::Search(search) => search::search(&folder, search, printer),
        Audit::Export(export) => export::export(&folder, export, printer),
        Audit::Verify(verify) => verify::run(&folder, &verify, printer),
        Audit::Prove { record } => prove::record(record, &folder, printer),
        Audit::Receipt { call } => prove::receipt(&call, &folder, printer),
        Audit::Check(check) => check::run(&check, &folder, printer),
        Audit::Since(since) => since::run(&since, &folder, printer),
        Audit::Anchor { now, key } => anchor::run(now, key, home, printer),
    }
}

fn print(record: &Record, printer: &mut Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.object("record", &as_written(record)?);
    }
    let look = Look {
        colour: printer.colour(),
    };
    printer.line(&shown::line(record, look))
}

/// The record as its line has it.
fn as_written(record: &Record) -> Result<Value, Fault> {
    let mut line = json!({"seq": record.seq, "time": record.time, "prev": record.prev});
    if let (Some(line), Value::Object(event)) = (
        line.as_object_mut(),
        serde_json::to_value::<&Event>(&record.event)?,
    ) {
        line.extend(event);
    }
    Ok(line)
}

fn fault(error: ReadError) -> Fault {
    let fault = Fault::of(&error);
    match error {
        ReadError::NoCall(_) => fault
            .exit(Exit::Invalid)
            .hint("`tollgate audit tail` shows the last calls, each with the end of its id"),
        ReadError::NotAnId(_) | ReadError::Ambiguous { .. } => fault.exit(Exit::Invalid),
        ReadError::Bad { .. } => fault
            .exit(Exit::Tampered)
            .hint("run `tollgate audit verify`"),
        _ => fault,
    }
}

fn of_archive(error: ArchiveError) -> Fault {
    let fault = Fault::of(&error);
    match error {
        ArchiveError::NoRecord(..) | ArchiveError::Removed(_) => fault.exit(Exit::Invalid),
        ArchiveError::Bad { .. } | ArchiveError::Note { .. } | ArchiveError::Proof(_) => fault
            .exit(Exit::Tampered)
            .hint("run `tollgate audit verify`"),
        _ => fault,
    }
}
