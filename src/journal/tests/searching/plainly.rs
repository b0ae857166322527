//! What a query means, told from the records themselves: the plain and slow way.

use std::collections::BTreeMap;

use super::*;

fn agent(record: &Record, wanted: &str) -> bool {
    let caller = record.event.caller();
    caller.is_some_and(|caller| caller.agents().any(|agent| agent.as_str() == wanted))
        || matches!(&record.event, Event::Changed(changed) if changed.subject.as_deref() == Some(wanted))
}

fn user(record: &Record, wanted: &str) -> bool {
    let by = match &record.event {
        Event::ApprovalUsed(used) => used.by.iter().any(|by| by.as_str() == wanted),
        _ => false,
    };
    by || record
        .event
        .caller()
        .is_some_and(|caller| caller.user.as_deref() == Some(wanted))
}

fn tool(record: &Record, wanted: &str) -> bool {
    let Some(tool) = record.event.tool() else {
        return false;
    };
    tool == wanted || tool.split('.').next() == Some(wanted)
}

fn origin(record: &Record, wanted: &str) -> bool {
    let target = match &record.event {
        Event::HostCall(made) => &made.host_call.target,
        Event::Refusal(refused) => match &refused.host_call {
            Some(host_call) => &host_call.target,
            None => return false,
        },
        _ => return false,
    };
    let Ok(url) = url::Url::parse(target) else {
        return false;
    };
    url.origin().ascii_serialization() == wanted || url.host_str() == Some(wanted)
}

fn policy(record: &Record, wanted: &str) -> bool {
    let ground = match &record.event {
        Event::Intent(intent) => Some(&intent.decision),
        Event::HostCall(made) => Some(&made.decision),
        _ => None,
    };
    ground.is_some_and(|ground| ground.policies.iter().any(|policy| policy.id == wanted))
}

fn decision(record: &Record, wanted: Decision) -> bool {
    match wanted {
        Decision::Allow => matches!(record.event, Event::Intent(_) | Event::HostCall(_)),
        Decision::Hold => matches!(record.event, Event::Hold(_) | Event::ApprovalAsked(_)),
        Decision::Refuse => matches!(record.event, Event::Refusal(_)),
    }
}

fn reason(record: &Record, wanted: Reason) -> bool {
    matches!(&record.event, Event::Refusal(refused) if refused.reason == wanted)
}

fn status(record: &Record, wanted: &str) -> bool {
    matches!(&record.event, Event::Outcome(outcome) if outcome.status == wanted)
}

type Holds<'a> = Box<dyn Fn(&Record) -> bool + 'a>;

/// The calls that have each of what is asked for in one of their records, and the records of no call that
/// have all of it.
pub(super) fn found(records: &[Record], query: &Query) -> (BTreeSet<CallId>, BTreeSet<u64>) {
    let mut wanted: Vec<Holds<'_>> = Vec::new();
    if let Some(text) = &query.agent {
        wanted.push(Box::new(|record| agent(record, text.as_str())));
    }
    if let Some(text) = &query.user {
        wanted.push(Box::new(|record| user(record, text)));
    }
    if let Some(text) = &query.tool {
        wanted.push(Box::new(|record| tool(record, text)));
    }
    if let Some(text) = &query.origin {
        wanted.push(Box::new(|record| origin(record, text)));
    }
    if let Some(which) = query.decision {
        wanted.push(Box::new(move |record| decision(record, which)));
    }
    if let Some(which) = query.reason {
        wanted.push(Box::new(move |record| reason(record, which)));
    }
    if let Some(text) = &query.status {
        wanted.push(Box::new(|record| status(record, text)));
    }
    if let Some(text) = &query.policy {
        wanted.push(Box::new(|record| policy(record, text)));
    }
    if let Some(text) = &query.kind {
        wanted.push(Box::new(move |record| record.event.kind() == text));
    }
    let mut calls: BTreeMap<CallId, Vec<&Record>> = BTreeMap::new();
    let mut alone = BTreeSet::new();
    for record in records {
        match record.event.call() {
            Some(call) => calls.entry(call).or_default().push(record),
            // The journal's own are for whoever asks for them by kind.
            None if matches!(
                record.event,
                Event::SegmentOpened(_) | Event::SegmentClosed(_) | Event::Heartbeat {}
            ) => {}
            None if wanted.iter().all(|wanted| wanted(record)) => {
                alone.insert(record.seq);
            }
            None => {}
        }
    }
    let met = calls
        .into_iter()
        .filter(|(_, records)| {
            wanted
                .iter()
                .all(|wanted| records.iter().any(|r| wanted(r)))
        })
        .map(|(call, _)| call);
    (met.collect(), alone)
}
