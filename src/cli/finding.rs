//! Something that is wrong, or worth knowing, in the operator's files: with its place and what to do.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::exit::Exit;
use super::fault::Fault;
use super::printer::{BAD, Printer, STRONG, WAIT};
use crate::home::Home;
use crate::journal::escape;
use crate::policy::Severity;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Something does not work, or is not in force.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
    /// Nothing is wrong; an operator may want to know.
    Note,
}

impl From<Severity> for Level {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Error => Self::Error,
            Severity::Warning => Self::Warning,
        }
    }
}

/// A finding of `tollgate check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Level,
    /// The file, as the operator would open it from here.
    pub(crate) file: String,
    /// From 1; absent where the file has no lines.
    pub(crate) line: Option<usize>,
    /// From 1, in characters.
    pub(crate) column: Option<usize>,
    pub(crate) message: String,
    /// What to do; absent where the message says it.
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn new(
        severity: Level,
        file: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            severity,
            file: file.into(),
            line: None,
            column: None,
            message: message.into(),
            help: None,
        }
    }

    pub(crate) fn at(mut self, line: usize, column: usize) -> Self {
        (self.line, self.column) = (Some(line), Some(column));
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into()).filter(|help: &String| !help.is_empty());
        self
    }
}

/// `path` as the operator would open it from the current folder.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let short = path.strip_prefix(&here).unwrap_or(path);
    short.display().to_string()
}

/// A file of the home, by its path within it.
pub(crate) fn in_home(home: &Home, file: impl AsRef<Path>) -> String {
    let path: PathBuf = home.root().join(file);
    shown(&path)
}

/// Prints the findings, then how many there are; the exit code says whether one is an error.
pub(crate) fn print(
    findings: &[Finding],
    good: &str,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let count = |level| findings.iter().filter(|f| f.severity == level).count();
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    let exit = if errors == 0 { Exit::Ok } else { Exit::Invalid };
    if printer.is_json() {
        for finding in findings {
            printer.object("finding", finding)?;
        }
        printer.object(
            "summary",
            &serde_json::json!({"errors": errors, "warnings": warnings, "checked": good}),
        )?;
        return Ok(exit);
    }
    for finding in findings {
        let text = line(finding, printer);
        printer.line(&text)?;
    }
    let said = match (errors, warnings) {
        (0, 0) => format!("no problems: {good}"),
        _ => format!(
            "{}, {}: {good}",
            number(errors, "error"),
            number(warnings, "warning")
        ),
    };
    printer.say(&said);
    Ok(exit)
}

fn line(finding: &Finding, printer: &Printer) -> String {
    let place = match (finding.line, finding.column) {
        (Some(line), Some(column)) => format!("{}:{line}:{column}", escape(&finding.file)),
        (Some(line), None) => format!("{}:{line}", escape(&finding.file)),
        _ => escape(&finding.file),
    };
    let level = match finding.severity {
        Level::Error => printer.paint(BAD.bold(), "error"),
        Level::Warning => printer.paint(WAIT.bold(), "warning"),
        Level::Note => printer.paint(STRONG, "note"),
    };
    let help = finding
        .help
        .as_ref()
        .map(|help| format!("\n  hint: {}", escape(help)))
        .unwrap_or_default();
    format!("{place}: {level}: {}{help}", escape(&finding.message))
}

/// `1 error`, `2 errors`.
pub(crate) fn number(count: usize, noun: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;

    fn some() -> Vec<Finding> {
        vec![
            Finding::new(
                Level::Error,
                "policies/fetch.cedar",
                "unexpected token `permitt`",
            )
            .at(3, 1)
            .help("write `permit` or `forbid`"),
            Finding::new(
                Level::Error,
                "plugins/bad.wasm",
                "component.invalid: not WebAssembly\u{1b}[2J",
            ),
            Finding::new(Level::Warning, "tollgate.toml", "there is no plugin `x`")
                .at(7, 1)
                .help(""),
        ]
    }

    #[test]
    fn findings_name_their_place_and_what_to_do() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let exit = print(&some(), "2 plugins", &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 3
        policies/fetch.cedar:3:1: error: unexpected token `permitt`
          hint: write `permit` or `forbid`
        plugins/bad.wasm: error: component.invalid: not WebAssembly\u{1b}[2J
        tollgate.toml:7:1: warning: there is no plugin `x`
        ---
        2 errors, 1 warning: 2 plugins
        "#);
    }

    #[test]
    fn findings_for_programs() {
        let (mut printer, out, err) = Printer::buffers(Format::Json);
        let exit = print(&some(), "2 plugins", &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 3
        {"v":1,"type":"finding","severity":"error","file":"policies/fetch.cedar","line":3,"column":1,"message":"unexpected token `permitt`","help":"write `permit` or `forbid`"}
        {"v":1,"type":"finding","severity":"error","file":"plugins/bad.wasm","line":null,"column":null,"message":"component.invalid: not WebAssembly\u001b[2J","help":null}
        {"v":1,"type":"finding","severity":"warning","file":"tollgate.toml","line":7,"column":1,"message":"there is no plugin `x`","help":null}
        {"v":1,"type":"summary","errors":2,"warnings":1,"checked":"2 plugins"}
        ---
        "#);
    }

    #[test]
    fn nothing_found_is_a_success_that_says_what_was_looked_at() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let exit = print(&[], "2 plugins", &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 0
        ---
        no problems: 2 plugins
        "#);
    }
}
