//! A call as a story.

use std::fmt::Write as _;

use super::{
    LONG, Look, SHORT, STRONG, WAIT, by, duration, foreign, kind, names, number_of, size, what,
};
use crate::id::ApprovalId;
use crate::journal::escape::escape;
use crate::journal::record::{ArgumentsView, CallId, Caller, Event, Record};
use crate::policy::PolicyRef;

/// A call as a story: a heading, then what happened, in order, each with the time since the first
/// record, and at the end where the time went. Records of others that name the call stand among its own,
/// and say so. Ends with a newline.
#[must_use]
pub fn call(records: &[Record], look: Look) -> String {
    let mut out = String::new();
    let Some(first) = records.first() else {
        return out;
    };
    let call = records.iter().find_map(|record| record.event.call());
    if let Some(call) = call {
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
        if let Some(other) = record.event.call().filter(|other| Some(*other) != call) {
            parts.push(look.faint(&format!("by call {other}")));
        }
        let _ = writeln!(out, "{}", parts.join("  ").trim_end());
        for more in details(&record.event) {
            let _ = writeln!(out, "{:>14}{}", "", look.faint(&more));
        }
    }
    if let Some(spent) = spent(records) {
        let _ = writeln!(out, "{:>14}{}", "", look.faint(&spent));
    }
    if ends_open(records) {
        let note = "no outcome is recorded: it is under way, or the host ended meanwhile";
        let _ = writeln!(out, "{:>14}{}", "", look.paint(WAIT, note));
    }
    out
}

/// Where the time of a call went that has an outcome: host calls, people, and all else.
fn spent(records: &[Record]) -> Option<String> {
    let (call, all) = records.iter().find_map(|record| match &record.event {
        Event::Outcome(outcome) => Some((outcome.call, outcome.duration_us)),
        _ => None,
    })?;
    let (mut host_calls, mut count) = (0_u64, 0);
    for record in records {
        if let Event::HostCallOutcome(outcome) = &record.event {
            host_calls = host_calls.saturating_add(outcome.duration_us);
            count += 1;
        }
    }
    let people = waited(records, call);
    if count == 0 && people == 0 {
        return None;
    }
    let mut parts = Vec::new();
    if people > 0 {
        parts.push(format!("{} waiting for people", duration(people)));
    }
    if count > 0 {
        let what = number_of(count, "host call");
        parts.push(format!("{} in {what}", duration(host_calls)));
    }
    let rest = all.saturating_sub(host_calls).saturating_sub(people);
    Some(format!(
        "{} in all: {}, {} in the host and the plugin",
        duration(all),
        parts.join(", "),
        duration(rest)
    ))
}

/// Microseconds from each ask of the call itself to the approval's use or end.
fn waited(records: &[Record], call: CallId) -> u64 {
    let mut asked: Vec<(ApprovalId, i64)> = Vec::new();
    let mut waited = 0;
    for record in records {
        let over = match &record.event {
            Event::ApprovalAsked(ask) if ask.call == call => {
                asked.extend(millis(&record.time).map(|time| (ask.approval, time)));
                continue;
            }
            Event::ApprovalUsed(used) if used.call == call => used.approval,
            Event::ApprovalEnded(ended) => ended.approval,
            _ => continue,
        };
        let Some(place) = asked.iter().position(|(approval, _)| *approval == over) else {
            continue;
        };
        let (_, since) = asked.swap_remove(place);
        let until = millis(&record.time).unwrap_or(since);
        waited += u64::try_from(until - since).unwrap_or(0);
    }
    waited.saturating_mul(1000)
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
            lines.extend(outcome.tape.map(|digest| format!("tape {digest}")));
            let untaped = outcome.untaped.as_deref();
            lines.extend(untaped.map(|why| format!("no tape: {}", foreign(why, LONG))));
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

/// Milliseconds since 1970.
fn millis(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_millisecond())
}
