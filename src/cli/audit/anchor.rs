//! `tollgate audit anchor`: the newest checkpoint, to be kept elsewhere.

use super::of_archive;
use crate::cli::client::{self, Absent};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::{BAD, GOOD, Printer};
use crate::daemon::Command;
use crate::entropy::SystemEntropy;
use crate::home::Home;
use crate::host::anchors::{self, AnchorReport};
use crate::journal::archive::Archive;
use crate::journal::escape;

pub(super) fn run(now: bool, key: bool, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    if now {
        let reports: Vec<AnchorReport> =
            client::ask_for(home, Absent::Starts, Command::Anchor {}, printer)?;
        return told(&reports, printer);
    }
    let archive = Archive::open(&home.journal()).map_err(of_archive)?;
    if key {
        let signer = anchors::submission_key(home, archive.origin(), &SystemEntropy)?;
        let key = signer.verifier().to_string();
        if printer.is_json() {
            let shown = serde_json::json!({"origin": archive.origin(), "key": key});
            printer.object("anchor-key", &shown)?;
        } else {
            printer.line(&key)?;
        }
        return Ok(Exit::Ok);
    }
    let (note, checkpoint) = archive.newest().map_err(of_archive)?;
    if printer.is_json() {
        let shown = serde_json::json!({"size": checkpoint.size, "note": note.to_string()});
        printer.object("checkpoint", &shown)?;
    } else {
        printer.raw(note.to_string().as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn told(reports: &[AnchorReport], printer: &mut Printer) -> Result<Exit, Fault> {
    let mut exit = Exit::Ok;
    for report in reports {
        if report.conflict {
            exit = Exit::Tampered;
        } else if report.error.is_some() && exit == Exit::Ok {
            exit = Exit::Failed;
        }
        if printer.is_json() {
            printer.object("anchored", report)?;
            continue;
        }
        let to = escape(&report.to);
        let line = match (&report.error, report.size) {
            (Some(error), _) => format!("{}: {to}: {}", printer.paint(BAD, "bad"), escape(error)),
            (None, size) => format!(
                "{}: {to}: {} records",
                printer.paint(GOOD, "good"),
                size.unwrap_or(0)
            ),
        };
        printer.line(&line)?;
    }
    if reports.is_empty() {
        printer.say("there is no `[[journal.anchor]]` in `tollgate.toml`");
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    #[test]
    fn each_place_has_a_line_and_a_conflict_has_its_own_exit() {
        let report = |to: &str, error: Option<&str>, conflict| AnchorReport {
            to: to.into(),
            size: error.is_none().then_some(7),
            error: error.map(str::to_owned),
            conflict,
        };
        let good = report("stdout", None, false);
        let late = report("syslog", Some("there is none"), false);
        let fork = report("witness w/1", Some("it has seen another history"), true);
        for (reports, code) in [
            (vec![], 0),
            (vec![good.clone()], 0),
            (vec![late.clone(), good.clone()], 1),
            (vec![fork, late, good], 6),
        ] {
            let (mut printer, out, _) = Printer::buffers(Format::Human);
            let exit = told(&reports, &mut printer).unwrap();
            assert_eq!(exit.code(), code);
            if code == 6 {
                insta::assert_snapshot!(out.text(), @"
                bad: witness w/1: it has seen another history
                bad: syslog: there is none
                good: stdout: 7 records
                ");
            }
        }
    }
}
