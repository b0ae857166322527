//! Counters and histograms, kept once and told twice: to Prometheus and over OTLP.
//!
//! Every label is from a closed list, or a name of a tool that there is; and a metric has a bounded number of
//! series whatever happens: what would be one more is counted under `other`. They follow from the records
//! of calls, so that a number here can be found again in the journal.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::family::{
    ACTIVE, APPROVALS, CALL_TIME, CALLS, DECISIONS, DROPPED, FUEL, Family, HOST_CALL_TIME,
    HOST_CALLS, START,
};
use super::trace::Called;
use crate::journal::record::Event;
use crate::reason::Reason;

/// Series of one metric. Sixty tools, each with some reasons, fit; a collector takes tens of thousands.
const SERIES: usize = 1_000;

/// What is counted where a series would be one too many.
const OTHER: &str = "other";

/// Bounds of the histograms, in seconds: those of the conventions for MCP, and below them what a call that
/// does not leave the host takes.
pub(super) const BOUNDS: &[f64] = &[
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0,
    300.0,
];

/// Values of labels, in the order of the family's names.
pub(super) type Labels = Vec<Cow<'static, str>>;

/// A metric as it is now.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) family: &'static Family,
    pub(super) points: Vec<(Labels, Point)>,
}

/// The value of one series.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Point {
    Whole(u64),
    Buckets(Buckets),
}

/// A histogram: how many values lie in each bucket, the last being beyond all bounds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Buckets {
    pub(super) counts: Vec<u64>,
    pub(super) sum: f64,
}

impl Buckets {
    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// A metric of one number.
pub(super) fn single(family: &'static Family, value: u64) -> Snapshot {
    Snapshot {
        family,
        points: vec![(Vec::new(), Point::Whole(value))],
    }
}

#[derive(Debug, Default)]
struct Counter(Mutex<BTreeMap<Labels, u64>>);

#[derive(Debug, Default)]
struct Histogram(Mutex<BTreeMap<Labels, Buckets>>);

/// All that is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    started: Duration,
    active: AtomicU64,
    calls: Counter,
    call_time: Histogram,
    fuel: Counter,
    decisions: Counter,
    host_calls: Counter,
    host_call_time: Histogram,
    approvals: Counter,
}

impl Metrics {
    pub(super) fn new(started: Duration) -> Self {
        Self {
            started,
            active: AtomicU64::new(0),
            calls: Counter::default(),
            call_time: Histogram::default(),
            fuel: Counter::default(),
            decisions: Counter::default(),
            host_calls: Counter::default(),
            host_call_time: Histogram::default(),
            approvals: Counter::default(),
        }
    }

    /// Since when it is counted, since 1970.
    pub(super) const fn started(&self) -> Duration {
        self.started
    }

    pub(super) fn began(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// What became of an approval.
    pub(super) fn approval(&self, what: &'static str) {
        self.approvals.add(vec![what.into()], 1);
    }

    /// Counts what a record of a call says, `took` after it arrived. `called` is one that there is; what a
    /// model asked for and there is not counts as `unknown`. `capability` is that of a host call that ends.
    pub(super) fn saw(
        &self,
        event: &Event,
        called: Option<&Called>,
        capability: Option<&'static str>,
        took: Duration,
    ) {
        let name: Cow<'static, str> = called.map_or(Cow::Borrowed("unknown"), |called| {
            called.wire.to_string().into()
        });
        let plugin: Cow<'static, str> = called.map_or(Cow::Borrowed("unknown"), |called| {
            called.tool.plugin().as_str().to_owned().into()
        });
        match event {
            Event::Intent(_) => self.decided("call", "allow"),
            Event::Hold(_) => {
                self.decided("call", "hold");
                self.call(name, "held", Some(Reason::ApprovalRequired), took);
            }
            Event::Outcome(outcome) => {
                self.fuel.add(vec![name.clone()], outcome.fuel);
                let status = known(&outcome.status, &["ok", "error", "failed"]);
                self.call(name, status, outcome.reason, took);
            }
            Event::Refusal(refused) => {
                let question = refused
                    .host_call
                    .as_ref()
                    .map_or("call", |host_call| capability_of(&host_call.capability));
                if refused.decision.is_some() || refused.reason == Reason::ApprovalRequired {
                    let is_hold = refused.reason == Reason::ApprovalRequired;
                    self.decided(question, if is_hold { "hold" } else { "refuse" });
                }
                if refused.host_call.is_some() {
                    self.host_call(plugin, question, "refused", Some(refused.reason));
                } else {
                    self.call(name, "refused", Some(refused.reason), took);
                }
            }
            Event::HostCall(made) => {
                let capability = capability_of(&made.host_call.capability);
                self.decided(capability, "allow");
            }
            Event::HostCallOutcome(outcome) => {
                let status = known(&outcome.status, &["ok", "failed", "refused"]);
                // One that was refused is counted by the record that says why.
                if status != "refused" {
                    let capability = capability.unwrap_or(OTHER);
                    self.host_call(plugin.clone(), capability, status, outcome.reason);
                }
                let seconds = Duration::from_micros(outcome.duration_us);
                self.host_call_time
                    .add(vec![plugin, status.into()], seconds);
            }
            _ => {}
        }
    }

    fn call(
        &self,
        tool: Cow<'static, str>,
        status: &'static str,
        reason: Option<Reason>,
        took: Duration,
    ) {
        let reason = reason.map_or("", Reason::code);
        self.calls
            .add(vec![tool.clone(), status.into(), reason.into()], 1);
        self.call_time
            .add(vec!["tools/call".into(), tool, status.into()], took);
    }

    fn decided(&self, question: &'static str, decision: &'static str) {
        self.decisions
            .add(vec![question.into(), decision.into()], 1);
    }

    fn host_call(
        &self,
        plugin: Cow<'static, str>,
        capability: &'static str,
        status: &'static str,
        reason: Option<Reason>,
    ) {
        let reason = reason.map_or("", Reason::code);
        self.host_calls.add(
            vec![plugin, capability.into(), status.into(), reason.into()],
            1,
        );
    }

    /// Everything as it is now; `dropped` traces did not arrive.
    pub(super) fn snapshot(&self, dropped: u64) -> Vec<Snapshot> {
        let mut all = vec![
            self.calls.snapshot(&CALLS),
            self.call_time.snapshot(&CALL_TIME),
            self.fuel.snapshot(&FUEL),
            self.decisions.snapshot(&DECISIONS),
            self.host_calls.snapshot(&HOST_CALLS),
            self.host_call_time.snapshot(&HOST_CALL_TIME),
            self.approvals.snapshot(&APPROVALS),
        ];
        all.retain(|metric| !metric.points.is_empty());
        all.push(single(&ACTIVE, self.active.load(Ordering::Relaxed)));
        all.push(single(&DROPPED, dropped));
        all.push(single(&START, self.started.as_secs()));
        all
    }
}

/// The capability of this name.
pub(super) fn capability_of(name: &str) -> &'static str {
    known(name, CAPABILITIES)
}

/// Capabilities whose host calls are recorded.
const CAPABILITIES: &[&str] = &[
    "http", "secret", "clock", "random", "settings", "log", "progress",
];

/// The same word from a closed list.
fn known(word: &str, list: &[&'static str]) -> &'static str {
    list.iter()
        .find(|known| **known == word)
        .copied()
        .unwrap_or(OTHER)
}

/// The labels, or those of the rest where that would be a series too many.
fn bounded<V>(series: &BTreeMap<Labels, V>, labels: Labels) -> Labels {
    if series.len() < SERIES || series.contains_key(&labels) {
        return labels;
    }
    labels.iter().map(|_| Cow::Borrowed(OTHER)).collect()
}

impl Counter {
    fn add(&self, labels: Labels, value: u64) {
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = bounded(&series, labels);
        let count = series.entry(labels).or_default();
        *count = count.saturating_add(value);
    }

    fn snapshot(&self, family: &'static Family) -> Snapshot {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let points = series
            .iter()
            .map(|(labels, count)| (labels.clone(), Point::Whole(*count)));
        Snapshot {
            family,
            points: points.collect(),
        }
    }
}

impl Histogram {
    fn add(&self, labels: Labels, value: Duration) {
        let seconds = value.as_secs_f64();
        let mut series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = bounded(&series, labels);
        let buckets = series.entry(labels).or_insert_with(|| Buckets {
            counts: vec![0; BOUNDS.len() + 1],
            sum: 0.0,
        });
        let place = BOUNDS.partition_point(|bound| *bound < seconds);
        if let Some(count) = buckets.counts.get_mut(place) {
            *count += 1;
        }
        buckets.sum += seconds;
    }

    fn snapshot(&self, family: &'static Family) -> Snapshot {
        let series = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let points = series
            .iter()
            .map(|(labels, buckets)| (labels.clone(), Point::Buckets(buckets.clone())));
        Snapshot {
            family,
            points: points.collect(),
        }
    }
}
