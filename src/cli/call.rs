//! `tollgate call`: a call as an agent would make it, shown for a person.

use std::io::Read as _;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use super::args::Call;
use super::client::{self, Absent, spinner};
use super::exit::Exit;
use super::fault::Fault;
use super::printer::{Printer, escape_lines};
use crate::control::{CallReport, RefusalReport};
use crate::daemon::Command;
use crate::home::Home;
use crate::journal::escape;
use crate::reason::Reason;

/// Bytes of arguments that are read from standard input; the host's own limit is far below.
const MOST: u64 = 8 << 20;

pub(crate) fn run(call: Call, home: &Home, printer: &mut Printer) -> Result<Exit, Fault> {
    let agent = call
        .agent
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let command = Command::Call {
        tool: call.tool.clone(),
        arguments: arguments(call.arguments)?,
        agent: agent.clone(),
        task: call.task,
    };
    let bar = spinner(printer, &escape(&call.tool));
    let answer = client::ask(home, Absent::Starts, command, printer, |progress| {
        report(&bar, &progress)
    });
    bar.finish_and_clear();
    let report: CallReport = serde_json::from_value(answer?)?;
    show(&report, &call.tool, printer)
}

/// The arguments' text, byte for byte: the host reads it as strictly as an agent's.
pub(crate) fn arguments(given: Option<String>) -> Result<String, Fault> {
    match given.as_deref() {
        None => Ok(String::new()),
        Some("-") => {
            let mut text = String::new();
            std::io::stdin()
                .take(MOST + 1)
                .read_to_string(&mut text)
                .map_err(|error| {
                    Fault::of(&error)
                        .context("can't read the arguments from standard input")
                        .exit(Exit::Invalid)
                })?;
            if text.len() as u64 > MOST {
                return Err(Fault::invalid(format!(
                    "the arguments have more than {MOST} bytes"
                )));
            }
            Ok(text.trim().to_owned())
        }
        Some(text) => Ok(text.to_owned()),
    }
}

fn report(bar: &ProgressBar, progress: &Value) {
    let number = |key: &str| {
        progress
            .get(key)
            .and_then(Value::as_f64)
            .filter(|n| (0.0..1e15).contains(n))
    };
    if let Some(message) = progress.get("message").and_then(Value::as_str) {
        let short: String = message.chars().take(120).collect();
        bar.set_message(escape(&short));
    }
    if let (Some(value), Some(total)) = (number("value"), number("total")) {
        if bar.length().is_none()
            && let Ok(style) = ProgressStyle::with_template("{bar:30} {percent}% {msg}")
        {
            bar.set_style(style);
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be from 0 to 10^15; the bar shows thousandths"
        )]
        let thousandths = |n: f64| (n * 1000.0) as u64;
        bar.set_length(thousandths(total));
        bar.set_position(thousandths(value.min(total)));
    }
}

fn show(report: &CallReport, tool: &str, printer: &mut Printer) -> Result<Exit, Fault> {
    let is_error = report
        .result
        .get("isError")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let exit = match &report.refusal {
        Some(refusal) => Exit::of_reason(refusal.reason),
        None if is_error => Exit::Failed,
        None => Exit::Ok,
    };
    if printer.is_json() {
        printer.object("call", report)?;
        return Ok(exit);
    }
    if let Some(refusal) = &report.refusal {
        let mut fault = refused(refusal, &report.call, tool, exit);
        let waits = report.result.pointer("/structuredContent/approvalId");
        if let Some(id) = waits.and_then(Value::as_str) {
            fault = fault.hint(format!(
                "`tollgate approvals show {id}` shows what waits for a person; once approved, the same call goes through"
            ));
        }
        return Ok(printer.fault(&fault));
    }
    for block in blocks(&report.result) {
        // Many a text ends its last line by itself.
        printer.line(block.strip_suffix('\n').unwrap_or(&block))?;
    }
    if is_error {
        printer.fault(&Fault::new(exit, format!("`{tool}` failed")).hint(format!(
            "`tollgate audit show {}` tells what it did",
            short(&report.call)
        )));
    }
    Ok(exit)
}

fn refused(refusal: &RefusalReport, call: &str, tool: &str, exit: Exit) -> Fault {
    let mut text = format!("{}: {}", refusal.reason, refusal.message);
    if let Some(detail) = refusal.detail.as_ref().filter(|detail| !detail.is_empty()) {
        text.push_str(&format!(": {detail}"));
    }
    let policies: Vec<String> = refusal
        .policies
        .iter()
        .map(|policy| {
            format!(
                "`{}` at policies/{}:{}",
                policy.id, policy.file, policy.line
            )
        })
        .collect();
    if !policies.is_empty() {
        text.push_str(&format!(" (by {})", policies.join(", ")));
    }
    let hint = match refusal.reason {
        Reason::NameUnknown => String::from("`tollgate plugins` lists the tools"),
        Reason::PolicyDefault
        | Reason::PolicyForbidden
        | Reason::PolicyError
        | Reason::ApprovalRequired => {
            format!(
                "`tollgate policy explain {tool} JSON --agent NAME` says what would change the answer"
            )
        }
        _ if exit == Exit::Invalid => {
            let plugin = tool.split(['.', '_']).next().unwrap_or(tool);
            format!("`tollgate plugins inspect {plugin}` shows the arguments that its tools take")
        }
        _ => format!("`tollgate audit show {}` tells what happened", short(call)),
    };
    Fault::new(exit, text).hint(hint)
}

/// The end of a call's id, which finds it.
fn short(call: &str) -> &str {
    call.rsplit('-').next().unwrap_or(call)
}

/// The content for a terminal, or the structured content where there is nothing else.
fn blocks(result: &Value) -> Vec<String> {
    let content = result.get("content").and_then(Value::as_array);
    let blocks: Vec<String> = content.into_iter().flatten().map(block).collect();
    match result.get("structuredContent") {
        Some(structured) if blocks.is_empty() => {
            let text = serde_json::to_string_pretty(structured).unwrap_or_default();
            vec![escape_lines(&text)]
        }
        _ => blocks,
    }
}

fn block(block: &Value) -> String {
    let text = |key: &str| block.get(key).and_then(Value::as_str);
    let of = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .map(escape)
            .unwrap_or_default()
    };
    match text("type") {
        Some("text") => escape_lines(text("text").unwrap_or_default()),
        Some("resource") => {
            let resource = block.get("resource").unwrap_or(&Value::Null);
            match resource.get("text").and_then(Value::as_str) {
                Some(text) => format!("{}:\n{}", of(resource, "uri"), escape_lines(text)),
                None => format!("{}: {}", of(resource, "uri"), bytes(resource.get("blob"))),
            }
        }
        Some("resource_link") => format!("{} <{}>", of(block, "name"), of(block, "uri")),
        Some(kind) => format!(
            "[{} {}: {}]",
            escape(kind),
            of(block, "mimeType"),
            bytes(block.get("data"))
        ),
        None => String::new(),
    }
}

/// How much there is of base64 text, and how to get it.
fn bytes(base64: Option<&Value>) -> String {
    let length = base64
        .and_then(Value::as_str)
        .map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4);
    format!("{length} bytes; `--format json` has them")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::args::Format;
    use crate::policy::PolicyRef;

    const CALL: &str = "019a0000-0000-7000-8000-00000000cafe";

    fn shown(report: &CallReport, format: Format) -> String {
        let (mut printer, out, err) = Printer::buffers(format);
        let exit = show(report, "github.search", &mut printer).unwrap();
        format!("exit {}\n{}---\n{}", exit.code(), out.text(), err.text())
    }

    fn ended(result: Value, refusal: Option<RefusalReport>) -> CallReport {
        CallReport {
            call: CALL.into(),
            result,
            refusal,
        }
    }

    #[test]
    fn a_result_is_escaped_for_a_terminal() {
        let content = json!([
            {"type": "text", "text": "two\nlines\u{1b}]0;x\u{7}"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "resource_link", "name": "a", "uri": "https://example.com/a"},
        ]);
        let report = ended(json!({"content": content, "isError": false}), None);
        insta::assert_snapshot!(shown(&report, Format::Human), @r#"
        exit 0
        two
        lines\u{1b}]0;x\u{7}
        [image image/png: 3 bytes; `--format json` has them]
        a <https://example.com/a>
        ---
        "#);
    }

    #[test]
    fn a_tool_that_failed_has_its_own_exit() {
        let content = json!([{"type": "text", "text": "no such repository"}]);
        let report = ended(json!({"content": content, "isError": true}), None);
        insta::assert_snapshot!(shown(&report, Format::Human), @r#"
        exit 1
        no such repository
        ---
        error: `github.search` failed

        hint: `tollgate audit show 00000000cafe` tells what it did
        "#);
    }

    #[test]
    fn a_refusal_names_policy_and_what_would_change_it() {
        let refusal = RefusalReport {
            reason: Reason::PolicyForbidden,
            message: "a policy forbids it".into(),
            detail: None,
            policies: vec![PolicyRef {
                id: "no-writes".into(),
                file: "shared.cedar".into(),
                line: 12,
            }],
        };
        let report = ended(json!({"content": [], "isError": true}), Some(refusal));
        insta::assert_snapshot!(shown(&report, Format::Human), @r#"
        exit 2
        ---
        error: policy.forbidden: a policy forbids it (by `no-writes` at policies/shared.cedar:12)

        hint: `tollgate policy explain github.search JSON --agent NAME` says what would change the answer
        "#);
        insta::assert_snapshot!(shown(&report, Format::Json), @r#"
        exit 2
        {"v":1,"type":"call","call":"019a0000-0000-7000-8000-00000000cafe","result":{"content":[],"isError":true},"refusal":{"reason":"policy.forbidden","message":"a policy forbids it","detail":null,"policies":[{"id":"no-writes","file":"shared.cedar","line":12}]}}
        ---
        "#);
    }

    #[test]
    fn structured_content_is_shown_where_there_is_nothing_else() {
        let result = json!({"content": [], "structuredContent": {"n": 1}, "isError": false});
        assert_eq!(blocks(&result), ["{\n  \"n\": 1\n}"]);
    }
}
