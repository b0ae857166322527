//! `tollgate audit verify`: whether the journal is what was written.

use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::fault;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::finding::number;
use crate::cli::printer::{BAD, GOOD, Printer};
use crate::journal::{self, VerifyReport, escape};

pub(super) fn run(folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let report = verified(folder, printer)?;
    told(&report, printer)
}

/// What `verify` finds, with a bar while it looks.
pub(super) fn verified(folder: &Path, printer: &Printer) -> Result<VerifyReport, Fault> {
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
    report.map_err(fault)
}

pub(super) fn told(report: &VerifyReport, printer: &mut Printer) -> Result<Exit, Fault> {
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
}
