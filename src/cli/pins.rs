//! `tollgate plugins diff` and `accept`: what changed, what it could now reach, and a person's word.
//!
//! What is accepted is what was shown: the acceptance names the digest of the changes, and the
//! daemon takes no other. Everything here comes from the plugin, so all of it is escaped, and each
//! line of a value stands behind its mark: no text can look like a line of ours.

use std::collections::BTreeSet;
use std::io::{IsTerminal as _, Write as _};

use serde_json::Value;

use super::client::{self, Absent};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::{BAD, GOOD, Printer, STRONG, WAIT, escape_lines};
use crate::daemon::Command;
use crate::digest::Digest;
use crate::home::Home;
use crate::host::{PluginDiff, Reach};
use crate::journal::escape;
use crate::name::PluginName;
use crate::plugin::{Change, Side, What};

/// `tollgate plugins diff`.
pub(super) fn diff(
    name: Option<&PluginName>,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let diffs = ask(name, home, printer)?;
    for (at, diff) in diffs.iter().enumerate() {
        if at > 0 && !printer.is_json() {
            printer.line("")?;
        }
        show(diff, printer)?;
    }
    match diffs.iter().find(|diff| diff.reason.is_some()) {
        Some(diff) => {
            let name = &diff.diff.plugin;
            printer.hint(&format!("`tollgate plugins accept {name}` takes it"));
        }
        None => printer.say("nothing waits to be accepted"),
    }
    Ok(Exit::Ok)
}

/// `tollgate plugins accept`.
pub(super) fn accept(
    name: &PluginName,
    yes: bool,
    component: Option<Digest>,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let diffs = ask(Some(name), home, printer)?;
    let Some(diff) = diffs.first() else {
        return Err(Fault::invalid(format!("there is no plugin `{name}`")));
    };
    show(diff, printer)?;
    if diff.reason.is_some() && !yes && !asked(name, printer)? {
        printer.say("nothing was accepted");
        return Ok(Exit::Denied);
    }
    let command = Command::Accept {
        plugin: name.to_string(),
        diff: Some(diff.digest),
        component,
    };
    let answer = client::ask(home, Absent::Starts, command, printer, drop)?;
    if printer.is_json() {
        printer.object("accepted", &answer)?;
    }
    let digest = answer
        .get("digest")
        .and_then(Value::as_str)
        .unwrap_or_default();
    printer.say(&format!(
        "accepted `{name}` as {}: new calls use it",
        escape(digest)
    ));
    Ok(Exit::Ok)
}

fn ask(
    name: Option<&PluginName>,
    home: &Home,
    printer: &mut Printer,
) -> Result<Vec<PluginDiff>, Fault> {
    let command = Command::PluginDiff {
        plugin: name.map(ToString::to_string),
    };
    client::ask_for(home, Absent::Starts, command, printer)
}

/// Asks the person at the terminal; where there is none, only `--yes` is an answer.
fn asked(name: &PluginName, printer: &Printer) -> Result<bool, Fault> {
    let stdin = std::io::stdin();
    if printer.is_json() || !stdin.is_terminal() {
        return Err(
            Fault::invalid(format!("nobody can be asked whether to accept `{name}`"))
                .hint("review what is shown, and run it again with `--yes`"),
        );
    }
    let mut error = std::io::stderr();
    write!(error, "\naccept `{name}` as shown? [y/N] ")?;
    error.flush()?;
    let mut line = String::new();
    stdin.read_line(&mut line)?;
    Ok(agrees(&line))
}

fn agrees(line: &str) -> bool {
    matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn show(diff: &PluginDiff, printer: &mut Printer) -> Result<(), Fault> {
    if printer.is_json() {
        return printer.object("diff", diff);
    }
    for line in lines(diff, printer) {
        printer.line(&line)?;
    }
    Ok(())
}

/// All of it, for people.
fn lines(shown: &PluginDiff, printer: &Printer) -> Vec<String> {
    let PluginDiff {
        reason,
        message,
        digest,
        diff,
        reach,
        policy,
    } = shown;
    let name = printer.paint(STRONG, diff.plugin.as_str());
    let mut lines = vec![match (reason, message) {
        (Some(reason), Some(message)) => {
            let reason = printer.paint(WAIT, reason.code());
            format!("{name}: {reason}: {}", escape(message))
        }
        _ => format!("{name}: serves as it was accepted"),
    }];
    match &diff.accepted {
        Some(accepted) => lines.push(format!("  accepted  {}", side(accepted))),
        None => lines.push(String::from("  accepted  nothing of this name")),
    }
    lines.push(format!("  found     {}", side(&diff.found)));
    lines.push(format!("  changes   {digest}"));
    for change in &diff.changes {
        lines.extend(change_lines(change, printer));
    }
    if reason.is_some() || !reach.is_empty() {
        lines.push(String::new());
        lines.push(printer.paint(STRONG, "what policy would let it reach"));
        if reach.is_empty() {
            lines.push(String::from("  nothing: no agent may call its tools"));
        }
        for reach in reach {
            lines.extend(reach_lines(reach, printer));
        }
    }
    if !policy.is_empty() {
        lines.push(String::new());
        lines.push(printer.paint(STRONG, "what its policies would be found to say"));
        lines.extend(
            policy
                .iter()
                .map(|finding| format!("  {}", escape(finding))),
        );
    }
    lines
}

fn side(side: &Side) -> String {
    let signed = side.signed.as_ref().map(|signed| {
        let key = escape(&signed.key);
        format!(", signed by {key} as version {}", signed.version)
    });
    format!(
        "{}  {}{}",
        side.component,
        escape(&side.version),
        signed.unwrap_or_default()
    )
}

fn change_lines(change: &Change, printer: &Printer) -> Vec<String> {
    let what = match change.what {
        What::Component => "component",
        What::Version => "version",
        What::Summary => "summary",
        What::Signature => "signature",
        What::Import => "import",
        What::Requirement => "requirement",
        What::Setting => "setting",
        What::Tool => "tool",
    };
    let (mark, style) = match (&change.before, &change.after) {
        (None, Some(_)) => ("+", GOOD),
        (Some(_), None) => ("-", BAD),
        _ => ("~", WAIT),
    };
    let name = match change.name.as_str() {
        "" => String::new(),
        name => format!(" {}", escape(name)),
    };
    let part = match change.part.as_str() {
        "" => String::new(),
        part => format!(": {}", escape(part)),
    };
    let mut lines = vec![
        String::new(),
        format!("  {} {what}{name}{part}", printer.paint(style, mark)),
    ];
    // That a capability is imported has no value beyond its name.
    if change.what != What::Import {
        lines.extend(value_lines("-", change.before.as_ref(), printer));
        lines.extend(value_lines("+", change.after.as_ref(), printer));
    }
    lines
}

/// A value, each of its lines behind its mark.
fn value_lines(mark: &str, value: Option<&Value>, printer: &Printer) -> Vec<String> {
    let style = if mark == "+" { GOOD } else { BAD };
    let text = match value {
        None => return Vec::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => serde_json::to_string_pretty(value).unwrap_or_default(),
    };
    escape_lines(&text)
        .split('\n')
        .map(|line| format!("      {} {line}", printer.paint(style, mark)))
        .collect()
}

fn reach_lines(reach: &Reach, printer: &Printer) -> Vec<String> {
    let nothing = BTreeSet::new();
    let (mark, style) = match (&reach.before, &reach.after) {
        (None, Some(_)) => ("+", GOOD),
        (Some(_), None) => ("-", BAD),
        _ => (" ", STRONG),
    };
    let mut lines = vec![format!(
        "  {} {} may call {}",
        printer.paint(style, mark),
        escape(reach.agent.name()),
        reach.tool
    )];
    let before = reach.before.as_ref().unwrap_or(&nothing);
    let after = reach.after.as_ref().unwrap_or(&nothing);
    for what in before.union(after) {
        let (mark, style) = match (before.contains(what), after.contains(what)) {
            (false, true) => ("+", GOOD),
            (true, false) => ("-", BAD),
            _ => (" ", STRONG),
        };
        lines.push(format!(
            "      {} {}",
            printer.paint(style, mark),
            escape(what)
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::args::Format;
    use crate::plugin::Diff;
    use crate::reason::Reason;
    use crate::state::Signed;

    fn change(what: What, name: &str, part: &str, before: Value, after: Value) -> Change {
        let there = |value: Value| Some(value).filter(|value| !value.is_null());
        Change {
            what,
            name: name.to_owned(),
            part: part.to_owned(),
            before: there(before),
            after: there(after),
        }
    }

    fn shown() -> PluginDiff {
        let side = |version: &str| Side {
            component: Digest::of(version.as_bytes()),
            version: version.to_owned(),
            signed: Some(Signed {
                key: "acme".into(),
                version: 7,
            }),
        };
        let set = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect());
        let diff = Diff {
            plugin: "notes".parse().unwrap(),
            accepted: Some(side("1")),
            found: side("2"),
            changes: vec![
                change(What::Import, "http", "", Value::Null, json!(true)),
                change(
                    What::Tool,
                    "notes.add",
                    "description",
                    json!("Adds."),
                    json!("Adds.\n  + reach\u{1b}[2J"),
                ),
                change(
                    What::Tool,
                    "notes.add",
                    "input_schema/properties/to",
                    Value::Null,
                    json!({"type": "string"}),
                ),
                change(
                    What::Tool,
                    "notes.drop",
                    "",
                    json!({"name": "notes.drop"}),
                    Value::Null,
                ),
            ],
        };
        PluginDiff {
            reason: Some(Reason::PinDigestMismatch),
            message: Some("its code changed".into()),
            digest: Digest::of(b"diff"),
            diff,
            reach: vec![Reach {
                agent: "claude".parse().unwrap(),
                tool: "notes.add".parse().unwrap(),
                before: set(&["clock"]),
                after: set(&["clock", "http api: GET https://a.example /"]),
            }],
            policy: vec!["policies/notes.cedar:1:1: no tool `drop`".into()],
        }
    }

    #[test]
    fn a_person_reads_every_change_and_no_text_leaves_its_mark() {
        let (mut printer, out, _) = Printer::buffers(Format::Human);
        show(&shown(), &mut printer).unwrap();
        insta::assert_snapshot!(out.text(), @r#"
        notes: pin.digest_mismatch: its code changed
          accepted  sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b  1, signed by acme as version 7
          found     sha256:d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35  2, signed by acme as version 7
          changes   sha256:df087996d45b03e7eb8c133c0298fd98d35113fca26aaba58612fef3cc212cad

          + import http

          ~ tool notes.add: description
              - Adds.
              + Adds.
              +   + reach\u{1b}[2J

          + tool notes.add: input_schema/properties/to
              + {
              +   "type": "string"
              + }

          - tool notes.drop
              - {
              -   "name": "notes.drop"
              - }

        what policy would let it reach
            claude may call notes.add
                clock
              + http api: GET https://a.example /

        what its policies would be found to say
          policies/notes.cedar:1:1: no tool `drop`
        "#);
    }

    #[test]
    fn a_program_reads_the_same() {
        let (mut printer, out, _) = Printer::buffers(Format::Json);
        show(&shown(), &mut printer).unwrap();
        let line: Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!(line["type"], "diff");
        let read: PluginDiff = serde_json::from_value(line).unwrap();
        assert_eq!(read, shown());
    }

    #[test]
    fn only_yes_is_yes() {
        assert!(agrees("y\n") && agrees(" YES \n"));
        assert!(!agrees("\n") && !agrees("") && !agrees("yeah") && !agrees("n"));
    }
}
