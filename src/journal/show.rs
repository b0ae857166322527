//! Records for people: one line each, and a call as a story.
//!
//! Pure functions to text. Everything that came from outside is escaped here, whatever was done when
//! it was recorded, since a journal may have been written by someone else.

mod approval;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::escape::{escape, head};
use super::record::{
    ArgumentsView, Caller, Event, HostCall, HostCallOutcome, HostCallRef, LeaseChange, Outcome,
    Record, Refused,
};
use crate::policy::{Ground, PolicyRef};

/// How to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    /// With colour. Nothing is said by colour alone.
    pub colour: bool,
}

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WAIT: Style = AnsiColor::Yellow.on_default();
const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Bytes of one text from outside on a line of its own.
const LONG: usize = 2048;
/// Bytes of one on a line with others.
const SHORT: usize = 120;

impl Look {
    fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    fn faint(self, text: &str) -> String {
        self.paint(FAINT, text)
    }
}

/// Text from outside, escaped and cut.
fn foreign(text: &str, bytes: usize) -> String {
    let shown = head(text, bytes);
    let mut out = escape(shown);
    if shown.len() < text.len() {
        let _ = write!(out, "\u{2026} ({} bytes)", text.len());
    }
    out
}

/// A record on one line: time, kind, who, what, how it was decided or ended, and the call's end of
/// its id, by which `tollgate audit show` finds it. Without a newline.
#[must_use]
pub fn line(record: &Record, look: Look) -> String {
    let event = &record.event;
    let mut parts = vec![look.faint(&escape(&record.time)), kind(event, look)];
    if let Some(caller) = event.caller() {
        parts.push(look.paint(STRONG, caller.agent.name()));
    }
    if let Some(tool) = event.tool() {
        parts.push(look.paint(STRONG, &foreign(&tool, SHORT)));
    }
    parts.extend(
        what(event, look)
            .into_iter()
            .filter(|part| !part.is_empty()),
    );
    if let Some(call) = event.call() {
        let id = call.to_string();
        let end = id.rsplit('-').next().unwrap_or_default();
        parts.push(look.faint(&format!("call {end}")));
    }
    parts.join("  ")
}

/// The kind, in one width, so that columns stand below each other.
fn kind(event: &Event, look: Look) -> String {
    let style = match event {
        Event::Refusal(_) => BAD,
        Event::Hold(_) => WAIT,
        Event::Recovered(recovered) if !recovered.unknown.is_empty() => WAIT,
        Event::ApprovalAsked(_) => WAIT,
        Event::ApprovalAnswered(answered) if answered.refused.is_some() || !answered.approve => BAD,
        Event::ApprovalAnswered(_) | Event::ApprovalUsed(_) => GOOD,
        Event::ApprovalEnded(_) => WAIT,
        Event::Outcome(outcome) => status_style(&outcome.status),
        Event::HostCallOutcome(outcome) => status_style(&outcome.status),
        _ => Style::new(),
    };
    look.paint(style, &format!("{:<17}", event.kind()))
}

fn status_style(status: &str) -> Style {
    if status == "ok" { GOOD } else { BAD }
}

/// What is particular to each kind.
fn what(event: &Event, look: Look) -> Vec<String> {
    match event {
        Event::Started(started) => {
            let version = format!("version {}", foreign(&started.version, SHORT));
            vec![version, format!("{} plugins", started.plugins)]
        }
        Event::Recovered(recovered) => vec![
            format!("{} torn bytes cut", recovered.cut_bytes),
            format!("{} calls of unknown outcome", recovered.unknown.len()),
        ],
        Event::Stopped {} => Vec::new(),
        Event::Changed(changed) => {
            let mut parts = vec![foreign(&changed.change, SHORT)];
            parts.extend(changed.subject.as_deref().map(|text| foreign(text, SHORT)));
            parts.extend(changed.reason.map(|r| look.paint(BAD, r.code())));
            parts.extend(changed.diff.map(|diff| format!("diff {}", diff.short())));
            parts.extend(changed.detail.as_deref().map(|text| foreign(text, SHORT)));
            parts
        }
        Event::TaskStarted(started) => vec![
            started.task.to_string(),
            foreign(&started.intent, SHORT),
            foreign(&started.tools.join(", "), 4 * SHORT),
            format!("until {}", foreign(&started.expires, SHORT)),
        ],
        Event::Revocation(revocation) => {
            let mut parts = vec![look.paint(BAD, revocation.reason.code())];
            let subject = revocation.subject.as_deref();
            parts.extend(subject.map(|text| foreign(text, SHORT)));
            parts.push(format!("by {}", foreign(&revocation.by, SHORT)));
            for (count, what) in [
                (revocation.calls.len(), "calls stopped"),
                (revocation.tasks.len(), "tasks ended"),
                (revocation.leases.len(), "leases taken back"),
                (revocation.approvals.len(), "approvals void"),
            ] {
                if count > 0 || what == "calls stopped" {
                    parts.push(format!("{count} {what}"));
                }
            }
            parts
        }
        Event::Intent(intent) => {
            let arguments = foreign(&intent.arguments.view, SHORT);
            vec![arguments, look.faint(&by(&intent.decision))]
        }
        Event::Refusal(refused) => refusal(refused, look),
        Event::Hold(held) => {
            let arguments = foreign(&held.arguments.view, SHORT);
            vec![arguments, look.paint(WAIT, held.reason.code())]
        }
        Event::HostCall(made) => vec![host_call(made), look.faint(&by(&made.decision))],
        Event::HostCallOutcome(outcome) => host_call_outcome(outcome, look),
        Event::Outcome(outcome) => self::outcome(outcome, look),
        Event::ApprovalAsked(_)
        | Event::ApprovalAnswered(_)
        | Event::ApprovalUsed(_)
        | Event::ApprovalEnded(_) => approval::told(event, look),
        Event::Lease(change) => lease(change, look),
    }
}

fn lease(change: &LeaseChange, look: Look) -> Vec<String> {
    let style = match change.stage.as_str() {
        "pending" => WAIT,
        "revoked" => GOOD,
        _ => Style::new(),
    };
    let mut parts = vec![
        look.paint(style, &foreign(&change.stage, SHORT)),
        format!(
            "`{}` from {}",
            foreign(&change.secret, SHORT),
            foreign(&change.source, SHORT)
        ),
        change.lease.to_string(),
    ];
    if !change.revocable {
        parts.push(String::from("can't be taken back"));
    }
    if change.uses > 0 {
        parts.push(format!("used \u{d7}{}", change.uses));
    }
    if change.attempts > 0 {
        parts.push(look.paint(BAD, &format!("failed \u{d7}{}", change.attempts)));
    }
    parts.extend(change.detail.as_deref().map(|text| foreign(text, SHORT)));
    parts
}

fn refusal(refused: &Refused, look: Look) -> Vec<String> {
    let mut parts = Vec::new();
    parts.extend(refused.host_call.as_ref().map(numbered));
    parts.push(look.paint(BAD, refused.reason.code()));
    parts.push(foreign(&refused.message, SHORT));
    if refused.repeated > 0 {
        parts.push(format!("and {} more times", refused.repeated));
    }
    parts
}

fn numbered(call: &HostCallRef) -> String {
    format!(
        "#{} {} {}",
        call.number,
        foreign(&call.capability, SHORT),
        foreign(&call.target, 4 * SHORT)
    )
}

fn host_call(made: &HostCall) -> String {
    let mut text = format!(
        "#{} {}",
        made.host_call.number,
        foreign(&made.host_call.capability, SHORT)
    );
    if let Some(method) = &made.method {
        let _ = write!(text, " {}", foreign(method, SHORT));
    }
    let _ = write!(text, " {}", foreign(&made.host_call.target, 4 * SHORT));
    if made.bytes_out > 0 {
        let _ = write!(text, ", {} out", size(made.bytes_out));
    }
    if !made.secrets.is_empty() {
        let _ = write!(text, ", with {}", names(&made.secrets));
    }
    text
}

fn host_call_outcome(outcome: &HostCallOutcome, look: Look) -> Vec<String> {
    let status = foreign(&outcome.status, SHORT);
    let mut parts = vec![
        format!("#{}", outcome.number),
        look.paint(status_style(&outcome.status), &status),
    ];
    parts.extend(outcome.reason.map(|r| look.paint(BAD, r.code())));
    parts.extend(outcome.http_status.map(|status| status.to_string()));
    parts.extend(outcome.address.as_deref().map(|text| foreign(text, SHORT)));
    if outcome.bytes_in > 0 {
        parts.push(format!("{} in", size(outcome.bytes_in)));
    }
    parts.push(duration(outcome.duration_us));
    parts
}

fn outcome(outcome: &Outcome, look: Look) -> Vec<String> {
    let status = foreign(&outcome.status, SHORT);
    let mut parts = vec![look.paint(status_style(&outcome.status), &status)];
    parts.extend(outcome.reason.map(|r| look.paint(BAD, r.code())));
    parts.push(duration(outcome.duration_us));
    parts.push(format!("fuel {}", outcome.fuel));
    parts.push(format!("{} out", size(outcome.bytes_out)));
    if !outcome.refused.is_empty() {
        let refused: Vec<_> = outcome
            .refused
            .iter()
            .map(|(reason, count)| format!("{reason} \u{d7}{count}"))
            .collect();
        parts.push(look.paint(BAD, &format!("refused within: {}", refused.join(", "))));
    }
    parts
}

/// A call as a story: a heading, then what happened, in order, each with the time since the first
/// record. Ends with a newline.
#[must_use]
pub fn call(records: &[Record], look: Look) -> String {
    let mut out = String::new();
    let Some(first) = records.first() else {
        return out;
    };
    if let Some(call) = first.event.call() {
        let _ = writeln!(out, "call {}", look.paint(STRONG, &call.to_string()));
    }
    heading(records, look, &mut out);
    let began = millis(&first.time);
    for record in records {
        let since = millis(&record.time)
            .zip(began)
            .map_or_else(String::new, |(time, began)| {
                format!("{:+} ms", time - began)
            });
        let mut parts = vec![
            look.faint(&format!("{since:>12}")),
            look.faint(&format!("record {}", record.seq)),
            kind(&record.event, look),
        ];
        let told = match &record.event {
            // Arguments and caller stand in the heading.
            Event::Intent(intent) => vec![by(&intent.decision)],
            Event::Hold(held) => vec![held.reason.code().to_owned(), by(&held.decision)],
            event => what(event, look),
        };
        parts.extend(told.into_iter().filter(|part| !part.is_empty()));
        let _ = writeln!(out, "{}", parts.join("  ").trim_end());
        for more in details(&record.event) {
            let _ = writeln!(out, "{:>14}{}", "", look.faint(&more));
        }
    }
    if ends_open(records) {
        let note = "no outcome is recorded: it is under way, or the host ended meanwhile";
        let _ = writeln!(out, "{:>14}{}", "", look.paint(WAIT, note));
    }
    out
}

/// Whether the call ran and its end is not there.
fn ends_open(records: &[Record]) -> bool {
    let has = |wanted: fn(&Event) -> bool| records.iter().any(|record| wanted(&record.event));
    has(|event| matches!(event, Event::Intent(_)))
        && !has(|event| match event {
            Event::Outcome(_) => true,
            Event::Refusal(refused) => refused.host_call.is_none(),
            _ => false,
        })
}

/// Who asked for what; from the first records that say so.
fn heading(records: &[Record], look: Look, out: &mut String) {
    let mut row = |name: &str, text: &str| {
        let _ = writeln!(out, "{} {text}", look.faint(&format!("{name:>11}")));
    };
    let events = || records.iter().map(|record| &record.event);
    if let Some(record) = records.first() {
        row("time", &escape(&record.time));
    }
    if let Some(caller) = events().find_map(Event::caller) {
        row("agent", &self::caller(caller));
    }
    if let Some(tool) = events().find_map(Event::tool) {
        row("tool", &foreign(&tool, SHORT));
    }
    let plugin = events().find_map(|event| match event {
        Event::Intent(intent) => Some(intent.plugin),
        Event::Hold(held) => Some(held.plugin),
        _ => None,
    });
    if let Some(plugin) = plugin {
        row("plugin", &plugin.to_string());
    }
    let view = events().find_map(|event| match event {
        Event::Intent(intent) => Some(&intent.arguments),
        Event::Hold(held) => Some(&held.arguments),
        Event::Refusal(refused) => refused.arguments.as_ref(),
        _ => None,
    });
    if let Some(view) = view {
        row("arguments", &arguments(view));
        if let Some(digest) = view.digest {
            row("", &digest.to_string());
        }
    }
    let grants = events().find_map(|event| match event {
        Event::Intent(intent) => Some(&intent.grants),
        _ => None,
    });
    if let Some(grants) = grants.filter(|grants| !grants.is_empty()) {
        row("grants", &names(grants));
    }
    let attempt = events().find_map(|event| match event {
        Event::Intent(intent) => Some(intent.attempt),
        Event::Hold(held) => Some(held.attempt),
        Event::Refusal(refused) => refused.attempt,
        _ => None,
    });
    if let Some(attempt) = attempt.filter(|attempt| *attempt > 1) {
        row("attempt", &attempt.to_string());
    }
}

fn caller(caller: &Caller) -> String {
    let mut text = format!(
        "{} over {}",
        escape(caller.agent.as_str()),
        foreign(&caller.transport, SHORT)
    );
    if let Some(user) = &caller.user {
        let _ = write!(text, ", for {}", foreign(user, SHORT));
    }
    if let Some(task) = &caller.task {
        let _ = write!(text, ", on {task}");
    }
    if let Some(client) = &caller.client {
        let _ = write!(
            text,
            ", with a client that calls itself `{}`",
            foreign(client, SHORT)
        );
    }
    text
}

fn arguments(view: &ArgumentsView) -> String {
    let cut = if view.cut { ", not shown whole" } else { "" };
    format!("{} ({}{cut})", foreign(&view.view, LONG), size(view.bytes))
}

/// What has room only in the story of a call.
fn details(event: &Event) -> Vec<String> {
    let mut lines = Vec::new();
    let ground = match event {
        Event::Intent(intent) => Some(&intent.decision),
        Event::Hold(held) => Some(&held.decision),
        Event::HostCall(made) => Some(&made.decision),
        Event::Refusal(refused) => refused.decision.as_ref(),
        Event::ApprovalAsked(asked) => Some(&asked.decision),
        Event::ApprovalAnswered(answered) => answered.decision.as_ref(),
        _ => None,
    };
    if let Some(ground) = ground {
        lines.extend(ground.policies.iter().map(policy));
        lines.extend(
            ground
                .errors
                .iter()
                .map(|e| format!("error: {}", foreign(e, LONG))),
        );
        lines.push(format!("policy set {}", ground.set.short()));
    }
    match event {
        Event::Refusal(refused) => {
            lines.extend(refused.detail.as_deref().map(|text| foreign(text, LONG)));
        }
        Event::HostCall(made) => {
            lines.extend(made.secret_uses.iter().map(|lent| {
                let by: Vec<_> = lent.decision.policies.iter().map(policy).collect();
                format!(
                    "secret `{}` lent ({}) by {}",
                    foreign(&lent.secret, SHORT),
                    foreign(&lent.scheme, SHORT),
                    by.join(", ")
                )
            }));
            lines.extend(made.body.map(|digest| format!("body {digest}")));
        }
        Event::Outcome(outcome) => {
            lines.extend(outcome.detail.as_deref().map(|text| foreign(text, LONG)));
            lines.extend(outcome.result.map(|digest| format!("result {digest}")));
            if !outcome.host_calls.is_empty() {
                let counts: Vec<_> = outcome
                    .host_calls
                    .iter()
                    .map(|(name, count)| format!("{} \u{d7}{count}", foreign(name, SHORT)))
                    .collect();
                lines.push(format!("host calls: {}", counts.join(", ")));
            }
            if outcome.redacted > 0 {
                lines.push(format!("{} lent values redacted", outcome.redacted));
            }
        }
        _ => {}
    }
    lines
}

fn policy(policy: &PolicyRef) -> String {
    format!(
        "policy `{}` at policies/{}:{}",
        foreign(&policy.id, SHORT),
        foreign(&policy.file, SHORT),
        policy.line
    )
}

/// The policies that determined it, in few words.
fn by(ground: &Ground) -> String {
    match ground.policies.as_slice() {
        [] => String::from("no policy applied"),
        [one] => format!("by `{}`", foreign(&one.id, SHORT)),
        [one, rest @ ..] => format!("by `{}` and {} more", foreign(&one.id, SHORT), rest.len()),
    }
}

fn names(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| foreign(name, SHORT)).collect();
    names.join(", ")
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes >> 20),
    }
}

fn duration(us: u64) -> String {
    match us {
        0..1000 => format!("{us} \u{b5}s"),
        1000..10_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => format!("{} s", us / 1_000_000),
    }
}

/// Milliseconds since 1970.
fn millis(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_millisecond())
}
