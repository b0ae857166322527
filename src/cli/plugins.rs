//! `tollgate plugins`: what there is, where each stands, and what to do about it.

use serde_json::Value;

use super::args::{Plugins, PluginsCommand};
use super::client::{self, Absent, spinner};
use super::exit::Exit;
use super::fault::Fault;
use super::inspect;
use super::printer::{BAD, GOOD, Printer, WAIT};
use super::table::Table;
use crate::control::PluginReport;
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;

pub(crate) fn run(plugins: Plugins, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match plugins.command {
        None => {
            let bar = spinner(printer, "asking the daemon");
            let answer = client::ask_for::<Vec<PluginReport>>(home, Absent::Starts, Command::Plugins {});
            bar.finish_and_clear();
            list(&answer?, home, printer)
        }
        Some(PluginsCommand::Inspect { plugin }) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(inspect::run(&plugin, home, printer))?;
            Ok(Exit::Ok)
        }
        Some(PluginsCommand::Accept { name }) => {
            let command = Command::Accept {
                plugin: name.to_string(),
            };
            let answer = client::ask(home, Absent::Starts, command, drop)?;
            if printer.is_json() {
                printer.object("accepted", &answer)?;
            }
            let digest = answer.get("digest").and_then(Value::as_str).unwrap_or_default();
            printer.say(&format!("accepted `{name}` as {}: new calls use it", escape(digest)));
            Ok(Exit::Ok)
        }
    }
}

fn list(reports: &[PluginReport], home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for report in reports {
            printer.object("plugin", report)?;
        }
        return Ok(Exit::Ok);
    }
    if reports.is_empty() {
        printer.say(&format!("there are no plugins in `{}`", home.plugins().display()));
        printer.hint("put a `.wasm` component there");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["NAME", "VERSION", "TOOLS", "STATUS", "DIGEST"]);
    for report in reports {
        table.row([
            escape(&report.name),
            report.version.as_deref().map_or_else(|| "-".to_owned(), escape),
            report.tools.len().to_string(),
            escape(&report.status),
            report.digest.map_or_else(|| "-".to_owned(), |digest| digest.short()),
        ]);
    }
    // Painted after it is aligned: colour has no width, and the table does not know that.
    for line in table.lines() {
        let painted = reports.iter().find(|report| line.starts_with(&format!("{} ", escape(&report.name))));
        let line = match painted.map(|report| report.status.as_str()) {
            Some("serving") => line.replacen(" serving ", &format!(" {} ", printer.paint(GOOD, "serving")), 1),
            Some("refused") => line.replacen(" refused ", &format!(" {} ", printer.paint(BAD, "refused")), 1),
            Some("quarantined") => {
                line.replacen(" quarantined ", &format!(" {} ", printer.paint(WAIT, "quarantined")), 1)
            }
            _ => line,
        };
        printer.line(&line)?;
    }
    for report in reports {
        for line in explained(report) {
            printer.line(&line)?;
        }
    }
    Ok(Exit::Ok)
}

/// Why a plugin does not serve, and what to do.
fn explained(report: &PluginReport) -> Vec<String> {
    let (Some(reason), Some(message)) = (&report.reason, &report.message) else {
        return Vec::new();
    };
    let mut lines = vec![
        String::new(),
        format!("plugins/{}: {}: {}", escape(&report.file), escape(reason), escape(message)),
    ];
    if report.status == "quarantined" {
        match report.serving {
            Some(serving) => lines.push(format!("  meanwhile {} goes on serving", serving.short())),
            None => lines.push(String::from("  meanwhile its tools can't be called")),
        }
        lines.push(format!(
            "  hint: `tollgate plugins inspect {0}` shows it, `tollgate plugins accept {0}` takes it",
            escape(&report.name)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::args::Format;
    use crate::digest::Digest;

    fn report(name: &str, status: &str, why: Option<(&str, &str)>) -> PluginReport {
        PluginReport {
            file: format!("{name}.wasm"),
            name: name.to_owned(),
            version: why.is_none().then(|| "1.2.0".to_owned()),
            tools: if why.is_none() { vec![format!("{name}.run")] } else { Vec::new() },
            status: status.to_owned(),
            digest: Some(Digest::of(name.as_bytes())),
            reason: why.map(|(reason, _)| reason.to_owned()),
            message: why.map(|(_, message)| message.to_owned()),
            serving: (status == "quarantined").then(|| Digest::of(b"old")),
        }
    }

    fn all() -> [PluginReport; 3] {
        [
            report("fetch", "serving", None),
            report("github", "quarantined", Some(("pin.digest_mismatch", "its code changed since it was accepted"))),
            report("zip", "refused", Some(("component.invalid", "not WebAssembly\u{1b}[2J"))),
        ]
    }

    #[test]
    fn the_table_says_where_each_stands_and_what_to_do() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let exit = list(&all(), &home, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @"");
    }

    #[test]
    fn no_plugins_says_where_they_go() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        list(&[], &home, &mut printer).unwrap();
        insta::assert_snapshot!(format!("{}---\n{}", out.text(), err.text()), @"");
    }

    #[test]
    fn a_plugin_for_programs() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, _) = Printer::buffers(Format::Json);
        list(&all()[..1], &home, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @"");
    }
}
