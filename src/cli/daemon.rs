//! `tollgate status`, `reload` and `stop`: the daemon that runs. None of them starts one.

use std::time::Duration;

use super::client::{self, Absent, spinner};
use super::exit::Exit;
use super::fault::Fault;
use super::finding::{self, Finding, in_home, number};
use super::printer::Printer;
use crate::control::StatusReport;
use crate::daemon::{self, Command};
use crate::home::Home;
use crate::host::Refreshed;
use crate::journal::escape;

pub(crate) fn status(home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let report = client::ask_for(home, Absent::Fails, Command::Status {}, printer)?;
    told(&report, printer)
}

fn told(report: &StatusReport, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("status", report)?;
        return Ok(Exit::Ok);
    }
    let state = match report {
        report if report.draining => "ending",
        report if report.stopped => "stopped (`tollgate revoke --lift`), up",
        _ => "serving",
    };
    let held = report.plugins.saturating_sub(report.serving);
    let held = if held == 0 {
        String::new()
    } else {
        format!(", {held} not (`tollgate plugins`)")
    };
    let page = report.admin.as_deref().map_or_else(String::new, |page| {
        format!(", answered on {}", escape(page))
    });
    for line in [
        format!(
            "{state} since {}, process {}, version {}",
            escape(&report.started),
            report.pid,
            escape(&report.version)
        ),
        format!("  home      {}", escape(&report.home.display().to_string())),
        format!(
            "  endpoint  {}",
            report
                .endpoint
                .as_deref()
                .map_or_else(|| "none".to_owned(), escape)
        ),
        format!("  plugins   {} serving{held}", report.serving),
        format!("  agents    {}", report.agents),
        format!("  tasks     {}", report.tasks),
        format!("  calls     {} under way", report.calls),
        format!("  waiting   {}{page}", report.waiting),
        format!("  policies  {}", report.policy_set),
    ] {
        printer.line(&line)?;
    }
    Ok(Exit::Ok)
}

pub(crate) fn reload(home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let bar = spinner(printer, "reloading");
    let answer = client::ask_for::<Refreshed>(home, Absent::Fails, Command::Reload {}, printer);
    bar.finish_and_clear();
    let Refreshed {
        serving,
        policy_set,
        findings,
    } = answer?;
    let findings: Vec<Finding> = findings
        .into_iter()
        .map(|found| {
            Finding::new(
                found.severity.into(),
                in_home(home, &found.file),
                found.message,
            )
            .at(found.line, found.column)
            .help(found.help)
        })
        .collect();
    let good = format!(
        "{} serving, policies {}",
        number(serving, "plugin"),
        policy_set.short()
    );
    finding::print(&findings, &good, printer)
}

/// How long a daemon that was asked to end is waited for: it gives calls 40 s and its journal 5 s.
const ENDING: Duration = Duration::from_secs(60);

pub(crate) fn stop(home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    stop_within(home, ENDING, printer)
}

fn stop_within(home: &Home, within: Duration, printer: &mut Printer) -> Result<Exit, Fault> {
    let bar = spinner(printer, "ending: calls under way are finished");
    let ended = daemon::end(&client::paths(home), within, || {
        client::ask(home, Absent::Fails, Command::Stop {}, printer, drop)
    });
    bar.finish_and_clear();
    let (_, ended) = ended?;
    if !ended {
        return Err(Fault::new(
            Exit::Failed,
            format!(
                "the daemon was asked to end and has not ended within {} s",
                within.as_secs()
            ),
        )
        .hint(format!(
            "it takes no more calls and ends with the last one; see the end of `{}`",
            home.log().display()
        )));
    }
    if printer.is_json() {
        printer.object("stopped", &serde_json::json!({}))?;
    }
    printer.say("the daemon has ended");
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::digest::Digest;

    #[test]
    fn a_daemon_that_ends_is_waited_for_and_one_that_does_not_only_so_long() {
        let folder = tempfile::tempdir().unwrap();
        let paths = daemon::Paths::within(folder.path());
        let held = std::fs::File::create(&paths.lock).unwrap();
        std::fs::write(&paths.lock, "4711\n").unwrap();
        let lock = |file: &std::fs::File| {
            rustix::fs::flock(file, rustix::fs::FlockOperation::LockExclusive).unwrap();
        };
        lock(&held);
        let end = |within, asked: &dyn Fn()| {
            let ask = || -> std::io::Result<()> {
                asked();
                Ok(())
            };
            daemon::end(&paths, within, ask).unwrap().1
        };
        assert!(!end(Duration::ZERO, &|| {}), "it goes on");
        let next = || std::fs::write(&paths.lock, "4712\n").unwrap();
        assert!(end(Duration::ZERO, &next), "that is another one");
        let waited = std::thread::scope(|scope| {
            let waits = scope.spawn(|| end(Duration::from_secs(3_600), &|| {}));
            drop(held);
            waits.join().unwrap()
        });
        assert!(waited);
    }

    #[test]
    fn how_a_daemon_is() {
        let report = StatusReport {
            version: "0.1.0".into(),
            pid: 4711,
            home: "/srv/tools".into(),
            endpoint: Some("http://127.0.0.1:8787/mcp".into()),
            started: "2026-01-01T00:00:00.000Z".into(),
            plugins: 5,
            serving: 4,
            agents: 1,
            waiting: 2,
            admin: Some("http://127.0.0.1:8788/approvals".into()),
            policy_set: Digest::of(b""),
            calls: 2,
            tasks: 3,
            stopped: false,
            draining: false,
        };
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        told(&report, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        serving since 2026-01-01T00:00:00.000Z, process 4711, version 0.1.0
          home      /srv/tools
          endpoint  http://127.0.0.1:8787/mcp
          plugins   4 serving, 1 not (`tollgate plugins`)
          agents    1
          tasks     3
          calls     2 under way
          waiting   2, answered on http://127.0.0.1:8788/approvals
          policies  sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
        "#);
    }
}
