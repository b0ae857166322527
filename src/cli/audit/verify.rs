//! `tollgate audit verify`: whether the journal is what was written.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::check::key_of;
use super::fault;
use crate::cli::args::Verify;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::finding::number;
use crate::cli::printer::{BAD, GOOD, Printer};
use crate::journal::{self, VerifyReport, escape};

pub(super) fn run(folder: &Path, verify: &Verify, printer: &mut Printer) -> Result<Exit, Fault> {
    let report = verified(folder, &verify.keys, printer)?;
    told(&report, printer)
}

/// What is found with these keys, with a bar while it is looked for.
pub(super) fn verified(
    folder: &Path,
    keys: &[String],
    printer: &Printer,
) -> Result<VerifyReport, Fault> {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| key_of(key))
        .collect::<Result<_, _>>()?;
    let bar = printer.progress().add(ProgressBar::new(0));
    if let Ok(style) =
        ProgressStyle::with_template("verifying {bar:30} {binary_bytes}/{binary_total_bytes}")
    {
        bar.set_style(style);
    }
    let report = journal::verify_with(folder, &keys, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.bytes);
    });
    bar.finish_and_clear();
    report.map_err(fault)
}

pub(super) fn told(report: &VerifyReport, printer: &mut Printer) -> Result<Exit, Fault> {
    let exit = if report.is_good() {
        Exit::Ok
    } else {
        Exit::Tampered
    };
    if printer.is_json() {
        printer.object("verified", &as_json(report))?;
        return Ok(exit);
    }
    match &report.first_bad {
        None => good(report, printer)?,
        Some(bad) => {
            let head = printer.paint(BAD, "bad");
            printer.line(&format!("{head}: {}", escape(&bad.to_string())))?;
            printer.say(&format!(
                "the first {} records are those that were signed; nothing after them can be relied upon",
                report.signed
            ));
        }
    }
    Ok(exit)
}

fn as_json(report: &VerifyReport) -> Value {
    let bad = report
        .first_bad
        .as_ref()
        .map(|bad| json!({"file": bad.file, "line": bad.line, "why": bad.why}));
    json!({
        "good": report.is_good(), "records": report.records, "removed": report.removed,
        "segments": report.segments, "bytes": report.bytes, "last": report.last, "root": report.root,
        "origin": report.origin, "key": report.key, "key_given": report.is_key_given,
        "checkpoints": report.checkpoints, "signed": report.signed, "unsigned": report.unsigned(),
        "set_back": report.set_back, "first_set_back": report.first_set_back,
        "torn_tail": report.torn_tail, "first_bad": bad,
    })
}

/// What was found, and in words what it is worth.
fn good(report: &VerifyReport, printer: &mut Printer) -> Result<(), Fault> {
    let head = printer.paint(GOOD, "good");
    let last = report
        .last
        .map_or_else(String::new, |last| format!(", last {last}"));
    printer.line(&format!(
        "{head}: {} records in {}, {} bytes{last}",
        report.records,
        number(report.segments, "segment"),
        report.bytes
    ))?;
    if let Some(key) = &report.key {
        printer.line(&format!(
            "signed: {} records, by {} checkpoints; first key {}",
            report.signed,
            report.checkpoints,
            escape(key)
        ))?;
    }
    if report.removed > 0 {
        printer.say(&format!(
            "the lines of the first {} records were removed, as records say; their digests are there and fit",
            report.removed
        ));
    }
    if let Some(first) = report.first_set_back {
        printer.say(&format!(
            "the clock was set back {}, first at record {first}: the order is that of the numbers, not of the times",
            times(report.set_back)
        ));
    }
    if report.unsigned() > 0 {
        printer.say(&format!(
            "the tail after record {} has no checkpoint: {} records that nothing protects yet",
            report.signed,
            report.unsigned()
        ));
    }
    if report.torn_tail > 0 {
        printer.say(&format!(
            "{} bytes behind the last record are being written, or were torn off when the host died",
            report.torn_tail
        ));
    }
    if report.key.is_some() && !report.is_key_given {
        printer.say(
            "no key was given, so the journal's own was taken: give `--pub` with the one that was kept elsewhere",
        );
    }
    printer.say(
        "without a checkpoint kept elsewhere the end is protected only against outsiders: who holds the key of today could have left it off or written it anew",
    );
    Ok(())
}

fn times(count: u64) -> String {
    match count {
        1 => String::from("once"),
        count => format!("{count} times"),
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
            signed: 40,
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
        the first 40 records are those that were signed; nothing after them can be relied upon
        "#);
    }

    #[test]
    fn what_is_good_is_said_with_what_it_is_worth() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let report = VerifyReport {
            records: 41,
            segments: 2,
            bytes: 4100,
            key: Some("h/tollgate/1+00000000+AQ".into()),
            checkpoints: 3,
            signed: 40,
            removed: 20,
            set_back: 2,
            first_set_back: Some(7),
            torn_tail: 5,
            ..VerifyReport::default()
        };
        let exit = told(&report, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 0
        good: 41 records in 2 segments, 4100 bytes
        signed: 40 records, by 3 checkpoints; first key h/tollgate/1+00000000+AQ
        ---
        the lines of the first 20 records were removed, as records say; their digests are there and fit
        the clock was set back 2 times, first at record 7: the order is that of the numbers, not of the times
        the tail after record 40 has no checkpoint: 1 records that nothing protects yet
        5 bytes behind the last record are being written, or were torn off when the host died
        no key was given, so the journal's own was taken: give `--pub` with the one that was kept elsewhere
        without a checkpoint kept elsewhere the end is protected only against outsiders: who holds the key of today could have left it off or written it anew
        "#);
    }
}
