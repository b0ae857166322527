//! Records as events of the Open Cybersecurity Schema Framework, version 1.6.0.
//!
//! Calls, host calls, approvals and changes are API Activity (class 6003); starts and ends of the host are
//! Application Lifecycle (6002). An event stands for what was done, not for each record about it: the
//! intent of a call shows in the event of its outcome.
//!
//! What leaves with an export is meant for others to keep, so it is less than the journal has: of arguments
//! the digest and the size, of URLs no query, of secrets the names. Texts for the operator (`detail`) stay
//! behind; so does the view of the arguments, in which a person may find what no rule can know to be secret.

mod event;

use std::collections::{HashMap, VecDeque};

use serde_json::{Value, json};

use self::event::{Activity, Event as Made, Status};
use crate::journal::record::{
    ApprovalAnswered, ArgumentsView, CallId, Caller, Changed, Event, HostCall, HostCallOutcome,
    Outcome, Record, Refused, Revocation,
};
use crate::policy::Ground;
use crate::reason::Reason;

/// Calls that are remembered, for what comes of them later. Beyond that the oldest are forgotten, and
/// events of theirs say less.
const REMEMBERED: usize = 65_536;

/// Makes events of records that come in order.
#[derive(Debug, Default)]
pub struct Ocsf {
    calls: HashMap<CallId, Known>,
    order: VecDeque<CallId>,
}

/// What the first records of a call say of it.
#[derive(Debug, Clone)]
struct Known {
    caller: Caller,
    tool: String,
    plugin: Option<String>,
    arguments: Option<Value>,
    ground: Option<Ground>,
    host_calls: HashMap<u32, HostCall>,
}

impl Ocsf {
    /// The events that a record completes.
    pub fn events(&mut self, record: &Record) -> Vec<Value> {
        let made = match &record.event {
            Event::Started(started) => Some(
                Made::lifecycle(3, "Start")
                    .message(format!("the host started, version {}", started.version)),
            ),
            Event::Stopped {} => {
                Some(Made::lifecycle(4, "Stop").message("the host ended in order"))
            }
            Event::Recovered(recovered) => {
                let unknown = recovered.unknown.iter();
                return unknown.map(|call| self.unknown(record, *call)).collect();
            }
            Event::Changed(changed) => Some(change(changed)),
            Event::TaskStarted(started) => Some(
                Made::api(Activity::Create, "task.started")
                    .ordered_by(&started.by)
                    .about("task", &started.task.to_string()),
            ),
            Event::Revocation(revocation) => Some(revoked(revocation)),
            Event::Intent(intent) => {
                let known = Known {
                    caller: intent.caller.clone(),
                    tool: intent.tool.to_string(),
                    plugin: Some(intent.plugin.to_string()),
                    arguments: Some(arguments(&intent.arguments)),
                    ground: Some(intent.decision.clone()),
                    host_calls: HashMap::new(),
                };
                self.remember(intent.call, known);
                None
            }
            Event::Hold(held) => {
                let known = Known {
                    caller: held.caller.clone(),
                    tool: held.tool.to_string(),
                    plugin: Some(held.plugin.to_string()),
                    arguments: Some(arguments(&held.arguments)),
                    ground: Some(held.decision.clone()),
                    host_calls: HashMap::new(),
                };
                let made = of_call(&known)
                    .decided("Held", 99, Some(&held.decision))
                    .status(Status::Other("held"))
                    .reason(held.reason);
                self.remember(held.call, known);
                Some(made)
            }
            Event::Refusal(refused) => self.refusal(refused),
            Event::HostCall(made) => {
                if let Some(known) = self.calls.get_mut(&made.call) {
                    known.host_calls.insert(made.host_call.number, made.clone());
                }
                None
            }
            Event::HostCallOutcome(outcome) => self.host_call(outcome),
            Event::Outcome(outcome) => self.outcome(outcome),
            Event::ApprovalAnswered(answered) => Some(answer(answered)),
            _ => None,
        };
        made.map(|made| made.written(record, record.event.call()))
            .into_iter()
            .collect()
    }

    fn remember(&mut self, call: CallId, known: Known) {
        if self.calls.insert(call, known).is_none() {
            self.order.push_back(call);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
    }

    fn refusal(&mut self, refused: &Refused) -> Option<Made> {
        let known = match &refused.caller {
            Some(caller) => Known {
                caller: caller.clone(),
                tool: match &refused.tool {
                    Some(tool) if is_of_a_tool(refused) => tool.clone(),
                    _ => String::from("unknown"),
                },
                plugin: None,
                arguments: refused.arguments.as_ref().map(arguments),
                ground: refused.decision.clone(),
                host_calls: HashMap::new(),
            },
            None => self.calls.get(&refused.call)?.clone(),
        };
        let made = match &refused.host_call {
            None => of_call(&known),
            Some(host_call) => Made::api(Activity::Other("Host Call"), &host_call.capability)
                .caller(&known.caller)
                .service(&known.tool)
                .target(&host_call.target),
        };
        let made = made
            .decided("Denied", 2, refused.decision.as_ref())
            .status(Status::Failure)
            .reason(refused.reason)
            .unmapped(
                "repeated",
                (refused.repeated > 0).then_some(refused.repeated),
            );
        if refused.caller.is_some() {
            self.remember(refused.call, known);
        }
        Some(made)
    }

    fn host_call(&mut self, outcome: &HostCallOutcome) -> Option<Made> {
        let known = self.calls.get_mut(&outcome.call)?;
        let made = known.host_calls.remove(&outcome.number)?;
        let operation = match &made.method {
            Some(method) => format!("{} {method}", made.host_call.capability),
            None => made.host_call.capability.clone(),
        };
        let activity = made
            .method
            .as_deref()
            .map_or(Activity::Other("Host Call"), Activity::of_method);
        let status = if outcome.status == "ok" {
            Status::Success
        } else {
            Status::Failure
        };
        let event = Made::api(activity, &operation)
            .caller(&known.caller)
            .service(&known.tool)
            .request(made.method.as_deref(), &made.host_call.target)
            .decided("Allowed", 1, Some(&made.decision))
            .status(status)
            .answered(outcome.http_status, outcome.address.as_deref())
            .duration(outcome.duration_us)
            .unmapped("number", Some(outcome.number))
            .unmapped("bytes_out", Some(made.bytes_out))
            .unmapped("bytes_in", Some(outcome.bytes_in))
            .unmapped(
                "secrets",
                (!made.secrets.is_empty()).then_some(&made.secrets),
            );
        Some(match outcome.reason {
            Some(reason) => event.reason(reason),
            None => event,
        })
    }

    fn outcome(&mut self, outcome: &Outcome) -> Option<Made> {
        let known = self.calls.get_mut(&outcome.call)?;
        // Whatever of its host calls has no outcome never gets one.
        known.host_calls.clear();
        let status = if outcome.status == "ok" {
            Status::Success
        } else {
            Status::Failure
        };
        let event = of_call(known)
            .decided("Allowed", 1, known.ground.as_ref())
            .status(status)
            .duration(outcome.duration_us)
            .unmapped("status", Some(&outcome.status))
            .unmapped("fuel", Some(outcome.fuel))
            .unmapped(
                "host_calls",
                (!outcome.host_calls.is_empty()).then_some(&outcome.host_calls),
            )
            .unmapped(
                "refused",
                (!outcome.refused.is_empty()).then_some(&outcome.refused),
            )
            .unmapped("result", outcome.result)
            .unmapped("bytes_out", Some(outcome.bytes_out));
        Some(match outcome.reason {
            Some(reason) => event.reason(reason),
            None => event,
        })
    }

    /// A call that was under way when a host died.
    fn unknown(&self, record: &Record, call: CallId) -> Value {
        let event = match self.calls.get(&call) {
            Some(known) => of_call(known),
            None => Made::api(Activity::Other("Call"), "unknown"),
        };
        event
            .status(Status::Unknown)
            .severity(3, "Medium")
            .message("the host died while this call was under way; what it did is not known")
            .written(record, Some(call))
    }
}

/// The call itself, as far as its first records say.
fn of_call(known: &Known) -> Made {
    Made::api(Activity::Other("Call"), &known.tool)
        .caller(&known.caller)
        .service(&known.tool)
        .unmapped("plugin_digest", known.plugin.as_ref())
        .unmapped("arguments", known.arguments.as_ref())
}

/// Whether a call was refused once its tool was found: until then its name is only what a model wrote.
fn is_of_a_tool(refused: &Refused) -> bool {
    // Arguments are read after that; the reasons are those of what comes in between.
    let is_read = refused
        .arguments
        .as_ref()
        .is_some_and(|view| view.digest.is_some());
    is_read || refused.reason == Reason::RevokedPlugin || refused.reason.code().starts_with("args.")
}

/// Arguments without a word of what is in them.
fn arguments(view: &ArgumentsView) -> Value {
    json!({"digest": view.digest, "bytes": view.bytes})
}

fn change(changed: &Changed) -> Made {
    let what = changed.change.rsplit('.').next().unwrap_or_default();
    let activity = match what {
        "added" | "set" | "minted" | "pinned" | "handed_on" => Activity::Create,
        "rotated" | "accepted" | "loaded" | "lifted" | "quarantined" | "stepped" => {
            Activity::Update
        }
        "removed" | "revoked" | "ended" | "expired" => Activity::Delete,
        _ => Activity::Other("Change"),
    };
    // What nobody orders is the host's own doing: it refuses, expires, prunes and tells.
    let whom = match what {
        "added" | "set" | "rotated" | "accepted" | "lifted" | "removed" | "revoked" => "operator",
        _ => "host",
    };
    let made = Made::api(activity, &changed.change).ordered_by(whom);
    let made = match &changed.subject {
        Some(subject) => made.about("subject", subject),
        None => made,
    };
    let made = made.unmapped("digest", changed.digest);
    match changed.reason {
        Some(reason) => made.status(Status::Failure).reason(reason),
        None => made.status(Status::Success),
    }
}

fn revoked(revocation: &Revocation) -> Made {
    let operation = format!("{}.revoked", revocation.scope);
    let made = Made::api(Activity::Delete, &operation)
        .ordered_by(&revocation.by)
        .status(Status::Success)
        .severity(3, "Medium")
        .unmapped("calls_stopped", Some(revocation.calls.len()))
        .unmapped("tasks_ended", Some(revocation.tasks.len()))
        .unmapped("leases", Some(revocation.leases.len()))
        .unmapped("approvals", Some(revocation.approvals.len()));
    match &revocation.subject {
        Some(subject) => made.about(&revocation.scope, subject),
        None => made,
    }
}

fn answer(answered: &ApprovalAnswered) -> Made {
    let operation = if answered.approve {
        "approval.approve"
    } else {
        "approval.deny"
    };
    let made = Made::api(Activity::Update, operation)
        .person(answered.by.as_str())
        .about("approval", &answered.approval.to_string())
        .unmapped("approval_status", Some(&answered.status));
    match answered.refused {
        Some(reason) => made
            .decided("Denied", 2, answered.decision.as_ref())
            .status(Status::Failure)
            .reason(reason),
        None => made
            .decided("Allowed", 1, answered.decision.as_ref())
            .status(Status::Success),
    }
}

#[cfg(test)]
mod tests;
