//! `tollgate plugins`: what there is, where each stands, and what to do about it.

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
use crate::home::Home;
use crate::host::{PluginReport, PluginStatus};
use crate::journal::escape;

/// The plugin's name, escaped: a file may be called anything.
fn shown_name(report: &PluginReport) -> String {
    escape(report.file.strip_suffix(".wasm").unwrap_or(&report.file))
}

pub(crate) fn run(plugins: Plugins, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match plugins.command {
        None => {
            let bar = spinner(printer, "asking the daemon");
            let command = Command::Plugins {};
            let answer =
                client::ask_for::<Vec<PluginReport>>(home, Absent::Starts, command, printer);
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

fn list(reports: &[PluginReport], home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
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
        let style = match report.status {
            PluginStatus::Serving => GOOD,
            PluginStatus::Refused => BAD,
            PluginStatus::Loading | PluginStatus::Quarantined | PluginStatus::Revoked => WAIT,
        };
        table.row([
            shown_name(report),
            report
                .version
                .as_deref()
                .map_or_else(|| "-".to_owned(), escape),
            report.tools.len().to_string(),
            String::from(if report.has_policy { "yes" } else { "none" }),
            report
                .digest
                .map_or_else(|| "-".to_owned(), |digest| digest.short()),
            printer.paint(style, report.status.as_str()),
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
        .find(|report| report.status == PluginStatus::Serving && !report.has_policy);
    if let Some(report) = without {
        printer.hint(&format!(
            "without a policy no agent may call its tools: `tollgate policy init {} --write` makes a first one",
            shown_name(report)
        ));
    }
    Ok(Exit::Ok)
}

/// Why a plugin does not serve, and what to do.
fn explained(report: &PluginReport) -> Vec<String> {
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
    if report.status == PluginStatus::Quarantined {
        let name = shown_name(report);
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
    use crate::digest::Digest;
    use crate::reason::Reason;

    fn report(name: &str, status: PluginStatus, why: Option<(Reason, &str)>) -> PluginReport {
        let is_described = status != PluginStatus::Refused;
        PluginReport {
            file: format!("{name}.wasm"),
            status,
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

    fn all() -> [PluginReport; 4] {
        [
            report("fetch", PluginStatus::Serving, None),
            report(
                "github",
                PluginStatus::Quarantined,
                Some((
                    Reason::PinDigestMismatch,
                    "its code changed since it was accepted",
                )),
            ),
            report("jq", PluginStatus::Serving, None),
            report(
                "zip",
                PluginStatus::Refused,
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
