//! Records for people: one line each, and a call as a story.
//!
//! Pure functions to text. Everything that came from outside is escaped here, whatever was done when
//! it was recorded, since a journal may have been written by someone else.

mod approval;
mod story;

pub use story::call;

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::escape::{escape, head};
use super::record::{
    Event, HostCall, HostCallOutcome, HostCallRef, LeaseChange, Outcome, Record, Refused,
};
use crate::policy::Ground;

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
        Event::Stopped {} | Event::Heartbeat {} => Vec::new(),
        Event::SegmentOpened(opened) => vec![
            format!("key {}", foreign(&opened.key, 2 * SHORT)),
            format!("{} records before", opened.size),
        ],
        Event::SegmentClosed(closed) => {
            vec![format!("next key {}", foreign(&closed.next, 2 * SHORT))]
        }
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
