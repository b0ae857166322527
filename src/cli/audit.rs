//! `tollgate audit`: reads the journal's files directly, so it works whether a daemon runs or not,
//! and shows what is on the disk rather than what a process says of it.

use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::{Audit, Tail};
use super::exit::Exit;
use super::fault::Fault;
use super::finding::number;
use super::printer::{BAD, GOOD, Printer};
use crate::home::Home;
use crate::journal::record::{Event, Record};
use crate::journal::show::{self, Look};
use crate::journal::{self, Filter, ReadError, VerifyReport, escape};

/// How often the end of the journal is looked at while following it: as soon as a person would notice.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(command: Audit, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let folder = home.journal();
    if !folder.is_dir() {
        return Err(Fault::new(
            Exit::Failed,
            format!("there is no journal in `{}`", folder.display()),
        )
        .hint("name the home with `--home DIR`; `tollgate serve` starts a journal"));
    }
    match command {
        Audit::Tail(tail) => self::tail(&folder, tail, printer, |_| {
            std::thread::sleep(FOLLOW_EVERY);
            true
        }),
        Audit::Show { call } => show_call(&folder, &call, printer),
        Audit::Verify => verify(&folder, printer),
    }
}

/// Prints the last records. `again` is asked before each further look; tests answer, people interrupt.
fn tail(
    folder: &Path,
    tail: Tail,
    printer: &mut Printer,
    mut again: impl FnMut(usize) -> bool,
) -> Result<Exit, Fault> {
    let filter = Filter {
        agent: tail.agent,
        tool: tail.tool,
        kind: tail.kind.map(known_kind).transpose()?,
        call: None,
    };
    let (records, mut reader) = journal::tail(folder, tail.count, &filter).map_err(fault)?;
    for record in &records {
        print(record, printer)?;
    }
    let mut looks = 0;
    while tail.follow && again(looks) {
        looks += 1;
        while let Some(record) = reader.next_record().map_err(fault)? {
            if filter.wants(&record) {
                print(&record, printer)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// A kind that there is. A misspelt one would show nothing, which looks like nothing happened.
fn known_kind(kind: String) -> Result<String, Fault> {
    if Event::KINDS.contains(&kind.as_str()) {
        Ok(kind)
    } else {
        Err(
            Fault::invalid(format!("there are no records of the kind `{kind}`"))
                .hint(format!("the kinds are {}", Event::KINDS.join(", "))),
        )
    }
}

fn show_call(folder: &Path, call: &str, printer: &mut Printer) -> Result<Exit, Fault> {
    let records = journal::call(folder, call).map_err(fault)?;
    if printer.is_json() {
        for record in &records {
            print(record, printer)?;
        }
    } else {
        let look = Look {
            colour: printer.colour(),
        };
        printer.raw(show::call(&records, look).as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn print(record: &Record, printer: &mut Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.object("record", &as_written(record)?);
    }
    let look = Look {
        colour: printer.colour(),
    };
    printer.line(&show::line(record, look))
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

fn verify(folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let bar = printer.progress().add(ProgressBar::new(0));
    if let Ok(style) =
        ProgressStyle::with_template("verifying {bar:30} {binary_bytes}/{binary_total_bytes}")
    {
        bar.set_style(style);
    }
    let report = journal::verify(folder, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    told(&report.map_err(fault)?, printer)
}

fn told(report: &VerifyReport, printer: &mut Printer) -> Result<Exit, Fault> {
    let exit = if report.is_good() {
        Exit::Ok
    } else {
        Exit::Tampered
    };
    if printer.is_json() {
        let bad = report
            .first_bad
            .as_ref()
            .map(|bad| json!({"file": bad.file, "line": bad.line, "why": bad.why}));
        printer.object(
            "verified",
            &json!({
                "good": report.is_good(), "records": report.records, "segments": report.segments,
                "bytes": report.bytes, "last": report.last, "torn_tail": report.torn_tail, "first_bad": bad,
            }),
        )?;
        return Ok(exit);
    }
    let Some(bad) = &report.first_bad else {
        let good = printer.paint(GOOD, "good");
        let last = report
            .last
            .map_or_else(String::new, |last| format!(", last {last}"));
        printer.line(&format!(
            "{good}: {} records in {}, {} bytes{last}",
            report.records,
            number(report.segments, "segment"),
            report.bytes
        ))?;
        if report.torn_tail > 0 {
            printer.say(&format!(
                "{} bytes behind the last record are being written, or were torn off when the host died",
                report.torn_tail
            ));
        }
        return Ok(exit);
    };
    let head = printer.paint(BAD, "bad");
    printer.line(&format!("{head}: {}", escape(&bad.to_string())))?;
    printer.say(&format!(
        "the {} records before it are what was written; nothing from that line on can be relied upon",
        report.records
    ));
    Ok(exit)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::journal::BadPlace;

    #[test]
    fn a_changed_line_is_named_and_has_its_own_exit() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let report = VerifyReport {
            records: 41,
            first_bad: Some(BadPlace {
                file: "00000001.jsonl".into(),
                line: 42,
                why: "the line was changed: the one after it carries another digest".into(),
            }),
            ..VerifyReport::default()
        };
        let exit = told(&report, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 6
        bad: `00000001.jsonl`, line 42: the line was changed: the one after it carries another digest
        ---
        the 41 records before it are what was written; nothing from that line on can be relied upon
        "#);
    }

    #[test]
    fn a_kind_that_does_not_exist_is_named() {
        for kind in ["intent", "task-started", "revocation", "lease"] {
            assert!(known_kind(kind.into()).is_ok(), "{kind}");
        }
        let fault = known_kind("intents".into()).unwrap_err();
        insta::assert_snapshot!(fault.message, @"there are no records of the kind `intents`");
    }
}
