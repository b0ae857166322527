//! A call on one line: when, who, what, how it ended, where it went.

use std::fmt::Write as _;

use serde::Serialize;

use super::{BAD, GOOD, Look, SHORT, STRONG, WAIT, duration, foreign, names, number_of};
use crate::egress::CanonicalUrl;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::escape::escape;
use crate::journal::record::{CallId, Caller, Event, Record};
use crate::reason::Reason;

/// Origins that are named; there may be more.
const ORIGINS: usize = 4;

/// What is known of a call after some of its records, in the order of these.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The call.
    pub call: CallId,
    /// When its first record was written.
    pub time: String,
    /// That record, and the last one.
    pub records: (u64, u64),
    /// Whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// On whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// On which task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// Of which tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// `ok`, `error`, `failed`, `refused`, `held`, or `open` where no end is recorded.
    pub status: &'static str,
    /// Why it did not come to a good end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// From its arrival to its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// Recorded host calls, and refused ones.
    pub host_calls: u64,
    /// Refusals of host calls.
    pub refusals: u64,
    /// Where they went, the first few.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

impl Summary {
    /// The summary of a call of which `record` is the first; none where it is of no call.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let mut summary = Self {
            call: record.event.call()?,
            time: record.time.clone(),
            records: (record.seq, record.seq),
            agent: None,
            user: None,
            task: None,
            tool: None,
            status: "open",
            reason: None,
            duration_us: None,
            host_calls: 0,
            refusals: 0,
            origins: Vec::new(),
        };
        summary.add(record);
        Some(summary)
    }

    /// Takes a further record of the call.
    pub fn add(&mut self, record: &Record) {
        self.records.1 = record.seq;
        if let Some(caller) = record.event.caller() {
            self.asked_by(caller);
        }
        self.tool = record.event.tool().or_else(|| self.tool.take());
        match &record.event {
            Event::Refusal(refused) => match &refused.host_call {
                None => {
                    self.status = "refused";
                    self.reason = Some(refused.reason);
                }
                Some(host_call) => {
                    self.refusals += 1 + refused.repeated;
                    self.went_to(&host_call.target);
                }
            },
            Event::Hold(held) => {
                self.status = "held";
                self.reason = Some(held.reason);
            }
            Event::HostCall(made) => {
                self.host_calls += 1;
                self.went_to(&made.host_call.target);
            }
            Event::Outcome(outcome) => {
                self.status = match outcome.status.as_str() {
                    "ok" => "ok",
                    "error" => "error",
                    _ => "failed",
                };
                self.reason = outcome.reason;
                self.duration_us = Some(outcome.duration_us);
            }
            _ => {}
        }
    }

    fn asked_by(&mut self, caller: &Caller) {
        self.agent = Some(caller.agent.clone());
        self.user.clone_from(&caller.user);
        self.task = caller.task;
    }

    /// Notes the origin of a URL. A target that is none is a name of something else.
    fn went_to(&mut self, target: &str) {
        let Ok(url) = CanonicalUrl::parse(target) else {
            return;
        };
        let origin = url.origin().to_string();
        if self.origins.len() < ORIGINS && !self.origins.contains(&origin) {
            self.origins.push(origin);
        }
    }
}

/// A call on one line, without a newline.
#[must_use]
pub fn summary(call: &Summary, look: Look) -> String {
    let style = match call.status {
        "ok" => GOOD,
        "held" | "open" => WAIT,
        _ => BAD,
    };
    let mut parts = vec![
        look.faint(&escape(&call.time)),
        look.paint(style, &format!("{:<7}", call.status)),
    ];
    if let Some(agent) = &call.agent {
        let mut who = look.paint(STRONG, &escape(agent.name()));
        if let Some(user) = &call.user {
            let _ = write!(who, " for {}", foreign(user, SHORT));
        }
        parts.push(who);
    }
    if let Some(tool) = &call.tool {
        parts.push(look.paint(STRONG, &foreign(tool, SHORT)));
    }
    parts.extend(call.reason.map(|reason| look.paint(BAD, reason.code())));
    parts.extend(call.duration_us.map(duration));
    if call.host_calls > 0 {
        parts.push(number_of(call.host_calls, "host call"));
    }
    if call.refusals > 0 {
        let refused = format!("{} refused within", call.refusals);
        parts.push(look.paint(BAD, &refused));
    }
    if !call.origins.is_empty() {
        parts.push(names(&call.origins));
    }
    let id = call.call.to_string();
    let end = id.rsplit('-').next().unwrap_or_default();
    parts.push(look.faint(&format!("call {end}")));
    parts.join("  ")
}
