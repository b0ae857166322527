//! What the records of a call say, put together for somebody who reads no records.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::digest::Digest;
use crate::id::{ApprovalId, LeaseId};
use crate::journal::record::{
    ArgumentsView, CallId, Caller, Event, HostCall, HostCallOutcome, Outcome, Record, Refused,
};
use crate::policy::Ground;
use crate::reason::Reason;

/// What a call was, who wanted it, what decided, what it did and how it ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// `ok`, `error` (the tool's own), `failed`, `refused`, `held`, `unknown` (the host ended
    /// meanwhile), or `open` where no record here says how it ended.
    pub status: &'static str,
    /// Why it was refused, or failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When its first record was written.
    pub began: String,
    /// When its last one was.
    pub ended: String,
    /// Who asked, and on whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Caller>,
    /// The tool, as it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// Digest of the component.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Digest>,
    /// Digest of the arguments' canonical text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Digest>,
    /// What it could have reached.
    pub grants: Vec<String>,
    /// The decision on the call: the policies that determined it, and the digest of the whole set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Ground>,
    /// Each host call that was decided by itself, refused ones too, by number.
    pub host_calls: Vec<HostCallSummary>,
    /// How many host calls there were of each capability, those that only read what is the call's
    /// own included.
    pub host_call_counts: BTreeMap<String, u64>,
    /// How many of them were numbered: had records of their own.
    pub host_calls_numbered: u32,
    /// The approvals that it asked for or used.
    pub approvals: Vec<ApprovalId>,
    /// The leases that were made for it.
    pub leases: Vec<LeaseId>,
    /// Fuel used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Digest of the result's canonical text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Digest>,
}

/// One host call.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HostCallSummary {
    /// Its number within the call, from 1.
    pub number: u32,
    /// The capability.
    pub capability: String,
    /// What it was about.
    pub target: String,
    /// The method, for HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Digest of the body that went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Names of the secrets that were lent to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What decided on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Ground>,
    /// `ok`, `refused`, `failed`, or `unknown` where no record says how it ended.
    pub status: String,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The status that the server answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
}

/// Collects what the records say, in their order.
#[derive(Default)]
struct Reading {
    summary: Summary,
    host_calls: BTreeMap<u32, HostCallSummary>,
    approvals: BTreeSet<ApprovalId>,
    leases: BTreeSet<LeaseId>,
}

impl Summary {
    /// What `records` say of `call`, in the order of the log.
    #[must_use]
    pub fn of(call: CallId, records: &[Record]) -> Self {
        let mut reading = Reading::default();
        reading.summary.status = "open";
        for record in records {
            reading.record(call, record);
        }
        let mut summary = reading.summary;
        summary.host_calls = reading.host_calls.into_values().collect();
        summary.approvals = reading.approvals.into_iter().collect();
        summary.leases = reading.leases.into_iter().collect();
        summary
    }
}

impl Reading {
    fn record(&mut self, call: CallId, record: &Record) {
        let summary = &mut self.summary;
        if summary.began.is_empty() {
            summary.began.clone_from(&record.time);
        }
        summary.ended.clone_from(&record.time);
        match &record.event {
            Event::Intent(intent) => {
                self.asked(&intent.caller, intent.tool.to_string(), &intent.arguments);
                let summary = &mut self.summary;
                summary.plugin = Some(intent.plugin);
                summary.grants.clone_from(&intent.grants);
                summary.decision = Some(intent.decision.clone());
            }
            Event::Hold(held) => {
                self.asked(&held.caller, held.tool.to_string(), &held.arguments);
                let summary = &mut self.summary;
                summary.status = "held";
                summary.reason = Some(held.reason);
                summary.plugin = Some(held.plugin);
                summary.decision = Some(held.decision.clone());
            }
            Event::Refusal(refused) => self.refused(refused),
            Event::HostCall(made) => self.made(made),
            Event::HostCallOutcome(outcome) => self.answered(outcome),
            Event::Outcome(outcome) => self.outcome(outcome),
            Event::ApprovalAsked(asked) => {
                self.approvals.insert(asked.approval);
            }
            Event::ApprovalAnswered(answered) => {
                self.approvals.insert(answered.approval);
            }
            Event::ApprovalUsed(used) => {
                self.approvals.insert(used.approval);
            }
            Event::ApprovalEnded(ended) => {
                self.approvals.insert(ended.approval);
            }
            Event::Lease(change) => {
                self.leases.insert(change.lease);
            }
            Event::Recovered(recovered) if recovered.unknown.contains(&call) => {
                summary.status = "unknown";
            }
            _ => {}
        }
    }

    fn asked(&mut self, caller: &Caller, tool: String, arguments: &ArgumentsView) {
        let summary = &mut self.summary;
        summary.caller = Some(caller.clone());
        summary.tool = Some(tool);
        summary.arguments = arguments.digest;
    }

    fn refused(&mut self, refused: &Refused) {
        if let Some(host_call) = &refused.host_call {
            let entry = self.host_calls.entry(host_call.number).or_default();
            entry.number = host_call.number;
            entry.capability.clone_from(&host_call.capability);
            entry.target.clone_from(&host_call.target);
            entry.status = "refused".to_owned();
            entry.reason = Some(refused.reason);
            if entry.decision.is_none() {
                entry.decision.clone_from(&refused.decision);
            }
            return;
        }
        let summary = &mut self.summary;
        summary.status = "refused";
        summary.reason = Some(refused.reason);
        if refused.caller.is_some() {
            summary.caller.clone_from(&refused.caller);
        }
        if refused.tool.is_some() {
            summary.tool.clone_from(&refused.tool);
        }
        if let Some(arguments) = &refused.arguments {
            summary.arguments = arguments.digest;
        }
        if refused.decision.is_some() {
            summary.decision.clone_from(&refused.decision);
        }
    }

    fn made(&mut self, made: &HostCall) {
        let entry = self.host_calls.entry(made.host_call.number).or_default();
        entry.number = made.host_call.number;
        entry.capability.clone_from(&made.host_call.capability);
        entry.target.clone_from(&made.host_call.target);
        entry.method.clone_from(&made.method);
        entry.body = made.body;
        entry.secrets.clone_from(&made.secrets);
        entry.decision = Some(made.decision.clone());
        entry.status = "unknown".to_owned();
    }

    fn answered(&mut self, outcome: &HostCallOutcome) {
        let entry = self.host_calls.entry(outcome.number).or_default();
        entry.number = outcome.number;
        entry.status.clone_from(&outcome.status);
        // A refusal has a record of its own, with the reason in it.
        if outcome.reason.is_some() {
            entry.reason = outcome.reason;
        }
        entry.address.clone_from(&outcome.address);
        entry.http_status = outcome.http_status;
    }

    fn outcome(&mut self, outcome: &Outcome) {
        let summary = &mut self.summary;
        summary.status = match outcome.status.as_str() {
            "ok" => "ok",
            "error" => "error",
            _ => "failed",
        };
        summary.reason = outcome.reason;
        summary.fuel = Some(outcome.fuel);
        summary.result = outcome.result;
        summary.host_call_counts.clone_from(&outcome.host_calls);
        summary.host_calls_numbered = outcome.numbered;
    }
}
