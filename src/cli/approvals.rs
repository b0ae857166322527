//! `tollgate approvals`: what waits for a person, and that person's answer.

use super::args::Approvals;
use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::{BAD, GOOD, Printer, STRONG, WAIT};
use super::table::Table;
use crate::control::{ApprovalReport, Which};
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;

pub(crate) fn run(command: Approvals, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    match command {
        Approvals::List { all, source } => {
            let command = Command::ApprovalList {
                credential: source.needed()?,
                which: if all { Which::All } else { Which::Pending },
            };
            let found: Vec<ApprovalReport> =
                client::ask_for(home, Absent::Starts, command, printer)?;
            list(&found, all, printer)
        }
        Approvals::Show { id, source } => {
            let command = Command::ApprovalShow {
                credential: source.needed()?,
                id: id.to_string(),
            };
            let found = client::ask_for(home, Absent::Starts, command, printer)?;
            show(&found, printer)
        }
        Approvals::Approve {
            id,
            standing,
            source,
        } => {
            let command = Command::ApprovalApprove {
                credential: source.needed()?,
                id: id.to_string(),
                standing: standing.map(|standing| standing.as_secs()),
            };
            let found = client::ask_for(home, Absent::Starts, command, printer)?;
            answered(&found, printer)
        }
        Approvals::Deny { id, why, source } => {
            let command = Command::ApprovalDeny {
                credential: source.needed()?,
                id: id.to_string(),
                why,
            };
            let found = client::ask_for(home, Absent::Starts, command, printer)?;
            answered(&found, printer)
        }
        Approvals::Watch { source } => {
            let command = Command::ApprovalWatch {
                credential: source.needed()?,
            };
            printer.say("approvals as they happen; press Ctrl-C to end");
            client::watch(home, command, printer, happened)?;
            printer.say("the daemon ended");
            Ok(Exit::Ok)
        }
    }
}

fn list(all: &[ApprovalReport], ended: bool, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        for report in all {
            printer.object("approval", report)?;
        }
        return Ok(Exit::Ok);
    }
    if all.is_empty() {
        printer.say(if ended {
            "no approvals are remembered; `tollgate audit tail --kind approval-asked` shows older ones"
        } else {
            "nothing waits for a person"
        });
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["APPROVAL", "STATUS", "AGENT", "EFFECT", "EXPIRES"]);
    for report in all {
        table.row(
            [
                &report.id,
                &report.status,
                short(&report.agent),
                &cut(&report.effect),
                &report.expires,
            ]
            .map(escape),
        );
    }
    table.print(printer)?;
    if let Some(waiting) = all.iter().find(|report| report.status == "pending") {
        printer.hint(&format!(
            "`tollgate approvals show {}` shows all of it",
            escape(&waiting.id)
        ));
    }
    Ok(Exit::Ok)
}

/// The last part of an agent's identity, for a table; `show` has the whole.
fn short(agent: &str) -> &str {
    agent.rsplit('/').next().unwrap_or(agent)
}

/// Enough of the effect for a table.
fn cut(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(MOST).collect();
    cut.push('\u{2026}');
    cut
}

/// All of an approval, each part behind a label of the host's. The daemon escaped what came from
/// outside; here it is escaped once more, since a terminal is about to get it.
fn show(report: &ApprovalReport, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("approval", report)?;
        return Ok(Exit::Ok);
    }
    let style = match report.status.as_str() {
        "pending" => WAIT,
        "approved" | "used" => GOOD,
        _ => BAD,
    };
    let effect = printer.paint(STRONG, &escape(&report.effect));
    let status = printer.paint(style, &escape(&report.status));
    printer.line(&format!("{effect}  {status}"))?;
    for (name, value) in facts(report) {
        printer.line(&format!("  {name:<11} {}", escape(&value)))?;
    }
    let mut matter = |name: &str, text: &str, whole: bool, bytes: u64, digest: &str| {
        let cut = if whole { "" } else { ", not shown whole" };
        let digest = escape(digest);
        printer.line(&format!("  {name:<11} {bytes} bytes{cut}, {digest}"))?;
        printer.line(&format!("    {}", escape(text)))
    };
    matter(
        "arguments",
        &report.arguments,
        report.arguments_whole,
        report.arguments_bytes,
        &report.arguments_digest,
    )?;
    if let Some(input) = &report.input {
        let name = format!("round {}", input.round);
        matter(
            &name,
            &input.answers,
            input.whole,
            input.bytes,
            &input.digest,
        )?;
    }
    if let Some(body) = &report.body {
        matter("body", &body.text, body.whole, body.bytes, &body.digest)?;
    }
    if report.status == "pending" {
        printer.hint(&format!(
            "`tollgate approvals approve {id}` lets it happen once, `tollgate approvals deny {id} --why TEXT` does not",
            id = escape(&report.id)
        ));
    }
    Ok(Exit::Ok)
}

fn facts(report: &ApprovalReport) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("approval", report.id.clone()),
        ("asked by", report.agent.clone()),
    ];
    rows.extend(report.user.iter().map(|user| ("for", user.clone())));
    if !report.chain.is_empty() {
        rows.push(("handed on", format!("by {}", report.chain.join(", then "))));
    }
    rows.extend(report.task.iter().map(|task| ("task", task.clone())));
    rows.push(("tool", report.tool.clone()));
    rows.push(("tier", report.tier.clone()));
    rows.extend(report.policies.iter().map(|policy| {
        (
            "policy",
            format!("{} ({}:{})", policy.id, policy.file, policy.line),
        )
    }));
    rows.push(("plugin", report.plugin.clone()));
    if let Some(state) = report.input.as_ref().and_then(|input| input.state.clone()) {
        rows.push(("its state", state));
    }
    rows.push(("asked", format!("{}{}", report.created, report.times())));
    rows.push(("expires", report.expires.clone()));
    if report.needed > 1 {
        let agreed = report.answers.iter().filter(|a| a.approve).count();
        rows.push(("agreed", format!("{agreed} of {} persons", report.needed)));
    }
    rows.extend(report.answers.iter().map(|answer| {
        let word = if answer.approve { "agreed" } else { "said no" };
        let why = answer
            .why
            .as_ref()
            .map_or_else(String::new, |why| format!(": {why}"));
        (
            "answer",
            format!("{} {word} at {}{why}", answer.person, answer.at),
        )
    }));
    rows.extend(
        report
            .standing
            .map(|seconds| ("standing", format!("identical calls for {seconds} s"))),
    );
    rows.push(("call", report.call.clone()));
    rows.extend(report.url.iter().map(|url| ("page", url.clone())));
    rows
}

fn answered(report: &ApprovalReport, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        printer.object("approval", report)?;
        return Ok(Exit::Ok);
    }
    let effect = escape(&report.effect);
    let told = match (report.status.as_str(), report.standing) {
        ("pending", _) => format!(
            "noted: {} more must agree before `{effect}` can happen",
            report.missing
        ),
        ("approved", Some(seconds)) => format!(
            "approved: `{effect}` and identical calls of this agent go through for {seconds} s"
        ),
        ("approved", None) => format!(
            "approved: `{effect}` goes through once, until {}",
            escape(&report.expires)
        ),
        ("denied", _) => format!("denied: `{effect}`"),
        (status, _) => format!("{}: `{effect}`", escape(status)),
    };
    printer.say(&told);
    Ok(Exit::Ok)
}

/// One line for each event.
fn happened(event: &serde_json::Value, printer: &mut Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.object("approval-event", event);
    }
    let report: ApprovalReport = serde_json::from_value(event.clone())?;
    let name = event
        .get("event")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("changed");
    let style = match name {
        "asked" => WAIT,
        "ended" => BAD,
        _ => STRONG,
    };
    let name = printer.paint(style, &format!("{:<9}", escape(name)));
    printer.line(&format!(
        "{name} {}  {:<9}  {}  {}",
        escape(&report.id),
        escape(&report.status),
        escape(short(&report.agent)),
        escape(&report.effect)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Format;
    use crate::control::sample;

    fn report(status: &str) -> ApprovalReport {
        ApprovalReport {
            status: status.into(),
            ..sample("{\"body\":\"\u{1b}[2J\\\\u202e\"}")
        }
    }

    #[test]
    fn an_approval_is_shown_whole_and_escaped() {
        let (mut printer, out, err) = Printer::buffers(Format::Human);
        show(&report("pending"), &mut printer).unwrap();
        insta::assert_snapshot!(format!("{}---\n{}", out.text(), err.text()), @r#"
        call github.comment  pending
          approval    approval_aaaaaaaaaaaaaaaa
          asked by    spiffe://tollgate.local/agent/claude
          tool        github.comment
          tier        hold
          plugin      sha256:00
          asked       2026-11-22T00:00:00.000Z
          expires     2026-11-22T00:15:00.000Z
          agreed      1 of 2 persons
          answer      bob agreed at 2026-11-22T00:01:00.000Z
          call        0
          arguments   22 bytes, sha256:11
            {"body":"\u{1b}[2J\\u202e"}
        ---

        hint: `tollgate approvals approve approval_aaaaaaaaaaaaaaaa` lets it happen once, `tollgate approvals deny approval_aaaaaaaaaaaaaaaa --why TEXT` does not
        "#);
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        let mut over = report("used");
        over.arguments_whole = false;
        show(&over, &mut printer).unwrap();
        let shown = out.text();
        assert!(shown.contains("22 bytes, not shown whole, "), "{shown}");
    }

    #[test]
    fn approvals_are_listed_and_answered_in_a_line() {
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        list(&[report("pending")], false, &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        APPROVAL                   STATUS   AGENT   EFFECT               EXPIRES
        approval_aaaaaaaaaaaaaaaa  pending  claude  call github.comment  2026-11-22T00:15:00.000Z
        "#);
        let (mut printer, _, err) = Printer::buffers(Format::Human);
        for status in ["pending", "approved", "denied"] {
            answered(&report(status), &mut printer).unwrap();
        }
        let mut standing = report("approved");
        standing.standing = Some(7_200);
        answered(&standing, &mut printer).unwrap();
        insta::assert_snapshot!(err.text(), @r#"
        noted: 1 more must agree before `call github.comment` can happen
        approved: `call github.comment` goes through once, until 2026-11-22T00:15:00.000Z
        denied: `call github.comment`
        approved: `call github.comment` and identical calls of this agent go through for 7200 s
        "#);
    }
}
