//! `tollgate plugins`: what there is, where each stands, and what to do about it.

use serde::{Deserialize, Serialize};

use super::args::{Plugins, PluginsCommand};
use super::client::{self, Absent, spinner};
use super::exit::Exit;
use super::fault::Fault;
use super::inspect;
use super::pins;
use super::printer::{BAD, GOOD, Printer, WAIT};
use super::sign;
use super::table::Table;
use crate::daemon::Command;
use crate::digest::Digest;
use crate::home::Home;
use crate::journal::escape;
use crate::reason::Reason;

/// A file in `plugins/`, as the daemon reports it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Report {
    file: String,
    status: String,
    digest: Option<Digest>,
    version: Option<String>,
    summary: Option<String>,
    tools: Vec<String>,
    reason: Option<Reason>,
    message: Option<String>,
    detail: Option<String>,
    has_policy: bool,
}

impl Report {
    /// The plugin's name, escaped: a file may be called anything.
    fn name(&self) -> String {
        escape(self.file.strip_suffix(".wasm").unwrap_or(&self.file))
    }
}

pub(crate) fn run(plugins: Plugins, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match plugins.command {
        None => {
            let bar = spinner(printer, "asking the daemon");
            let answer =
                client::ask_for::<Vec<Report>>(home, Absent::Starts, Command::Plugins {}, printer);
            bar.finish_and_clear();
            list(&answer?, home, printer)
        }
        Some(PluginsCommand::Inspect { plugin }) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(inspect::run(&plugin, home, printer))?;
            Ok(Exit::Ok)
        }
        Some(PluginsCommand::Key { name, out }) => sign::key(&name, out, printer),
        Some(PluginsCommand::Sign {
            file,
            key,
            version,
            name,
        }) => sign::sign(&file, &key, version, name, printer),
        Some(PluginsCommand::Diff { name }) => pins::diff(name.as_ref(), home, printer),
        Some(PluginsCommand::Accept {
            name,
            yes,
            component,
        }) => pins::accept(&name, yes, component, home, printer),
    }
}

fn list(reports: &[Report], home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for report in reports {
            printer.object("plugin", report)?;
        }
        return Ok(Exit::Ok);
    }
    if reports.is_empty() {
        printer.say(&format!(
            "there are no plugins in `{}`",
            home.plugins().display()
        ));
        printer.hint("put a `.wasm` component there");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["NAME", "VERSION", "TOOLS", "POLICY", "DIGEST", "STATUS"]);
    for report in reports {
        // The last column, since colour has a length and no width.
        let style = match report.status.as_str() {
            "serving" => GOOD,
            "refused" => BAD,
            _ => WAIT,
        };
        table.row([
            report.name(),
            report
                .version
                .as_deref()
                .map_or_else(|| "-".to_owned(), escape),
            report.tools.len().to_string(),
            String::from(if report.has_policy { "yes" } else { "none" }),
            report
                .digest
                .map_or_else(|| "-".to_owned(), |digest| digest.short()),
            printer.paint(style, &escape(&report.status)),
        ]);
    }
    for line in table.lines() {
        printer.line(&line)?;
    }
    for report in reports {
        for line in explained(report) {
            printer.line(&line)?;
        }
    }
    let without = reports
        .iter()
        .find(|report| report.status == "serving" && !report.has_policy);
    if let Some(report) = without {
        printer.hint(&format!(
            "without a policy no agent may call its tools: `tollgate policy init {} --write` makes a first one",
            report.name()
        ));
    }
    Ok(Exit::Ok)
}

/// Why a plugin does not serve, and what to do.
fn explained(report: &Report) -> Vec<String> {
    let (Some(reason), Some(message)) = (&report.reason, &report.message) else {
        return Vec::new();
    };
    let detail = report
        .detail
        .as_ref()
        .map(|detail| format!(": {}", escape(detail)))
        .unwrap_or_default();
    let mut lines = vec![
        String::new(),
        format!(
            "plugins/{}: {reason}: {}{detail}",
            escape(&report.file),
            escape(message)
        ),
    ];
    if report.status == "quarantined" {
        let name = report.name();
        lines.push(format!(
            "  hint: `tollgate plugins diff {name}` shows what changed, `tollgate plugins accept {name}` takes it"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::args::Format;

    fn report(name: &str, status: &str, why: Option<(Reason, &str)>) -> Report {
        let is_described = status != "refused";
        Report {
            file: format!("{name}.wasm"),
            status: status.to_owned(),
            digest: Some(Digest::of(name.as_bytes())),
            version: is_described.then(|| "1.2.0".to_owned()),
            summary: None,
            tools: if is_described {
                vec![format!("{name}_run")]
            } else {
                Vec::new()
            },
            reason: why.map(|(reason, _)| reason),
            message: why.map(|(_, message)| message.to_owned()),
            detail: None,
            has_policy: name == "fetch",
        }
    }

    fn all() -> [Report; 4] {
        [
            report("fetch", "serving", None),
            report(
                "github",
                "quarantined",
                Some((
                    Reason::PinDigestMismatch,
                    "its code changed since it was accepted",
                )),
            ),
            report("jq", "serving", None),
            report(
                "zip",
                "refused",
                Some((Reason::ComponentInvalid, "not WebAssembly\u{1b}[2J")),
            ),
        ]
    }

    #[test]
    fn the_table_says_where_each_stands_and_what_to_do() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        let exit = list(&all(), &home, &mut printer).unwrap();
        insta::assert_snapshot!(format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text()), @r#"
        exit 0
        NAME    VERSION  TOOLS  POLICY  DIGEST        STATUS
        fetch   1.2.0    1      yes     e7d3799ecc09  serving
        github  1.2.0    1      none    c0b0109d9439  quarantined
        jq      1.2.0    1      none    c84d384f2a25  serving
        zip     -        0      none    4a70fe9aa643  refused

        plugins/github.wasm: pin.digest_mismatch: its code changed since it was accepted
          hint: `tollgate plugins diff github` shows what changed, `tollgate plugins accept github` takes it

        plugins/zip.wasm: component.invalid: not WebAssembly\u{1b}[2J
        ---

        hint: without a policy no agent may call its tools: `tollgate policy init jq --write` makes a first one
        "#);
    }

    #[test]
    fn no_plugins_says_where_they_go() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        list(&[], &home, &mut printer).unwrap();
        insta::assert_snapshot!(format!("{}---\n{}", out.text(), err.text()), @r#"
        ---
        there are no plugins in `/nonexistent/plugins`

        hint: put a `.wasm` component there
        "#);
    }

    #[test]
    fn a_plugin_for_programs() {
        let home = Home::at(Path::new("/nonexistent")).unwrap();
        let (mut printer, out, _) = Printer::buffers(Format::Json);
        list(&all()[..1], &home, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"{"v":1,"type":"plugin","file":"fetch.wasm","status":"serving","digest":"sha256:e7d3799ecc09f5cbc446aa0a79bb1fb9d0126395fa19a5903b7425f42e5e92e7","version":"1.2.0","summary":null,"tools":["fetch_run"],"reason":null,"message":null,"detail":null,"has_policy":true}"#);
    }
}
