//! Records that are too large, made to fit: each text cut with its length, each list with its count.
//!
//! Whoever makes an event bounds what comes from outside, so this is seldom needed; but a record
//! that could not be written would be a call that leaves no trace.

use std::collections::BTreeMap;

use super::escape::head;
use super::record::{ArgumentsView, Caller, Event, HostCallRef, LeaseChange};
use crate::policy::Ground;

/// Bytes of one text, of which a record has about a dozen; each may grow sixfold by escapes.
const TEXT: usize = 1024;
/// Items of one list.
const ITEMS: usize = 32;
/// Uses of secrets, and policies of each: every name stands among the secrets of the record.
const USES: usize = 4;
/// Bytes of one item's text.
const ITEM: usize = 256;

/// The event with all that has no bound of its own cut.
pub(super) fn bounded(event: &Event) -> Event {
    let mut event = event.clone();
    match &mut event {
        Event::Started(started) => text(&mut started.version),
        Event::Recovered(recovered) => {
            // 40 bytes each: far more than there can be calls at once.
            recovered.unknown.truncate(4096);
        }
        // Of these the host alone decides the size: 64 peaks at most, and calls as below.
        Event::Stopped {} | Event::Heartbeat {} | Event::SegmentClosed(_) => {}
        Event::SegmentOpened(opened) => opened.calls.truncate(4096),
        Event::Changed(changed) => {
            text(&mut changed.change);
            optional(&mut changed.subject);
            optional(&mut changed.detail);
        }
        Event::TaskStarted(started) => {
            optional(&mut started.user);
            text(&mut started.intent);
            items(&mut started.tools);
            text(&mut started.by);
        }
        Event::Revocation(revocation) => {
            optional(&mut revocation.subject);
            text(&mut revocation.by);
            // The calls stand in their own records, each with its reason.
            revocation.calls.truncate(512);
            revocation.tasks.truncate(1024);
            revocation.leases.truncate(1024);
            revocation.approvals.truncate(1024);
        }
        Event::Intent(intent) => {
            caller(&mut intent.caller);
            arguments(&mut intent.arguments);
            items(&mut intent.grants);
            ground(&mut intent.decision);
        }
        Event::Refusal(refused) => {
            refused.caller.iter_mut().for_each(caller);
            optional(&mut refused.tool);
            refused.arguments.iter_mut().for_each(arguments);
            refused.host_call.iter_mut().for_each(host_call);
            text(&mut refused.message);
            optional(&mut refused.detail);
            refused.decision.iter_mut().for_each(ground);
        }
        Event::Hold(held) => {
            caller(&mut held.caller);
            arguments(&mut held.arguments);
            ground(&mut held.decision);
        }
        Event::HostCall(made) => {
            host_call(&mut made.host_call);
            optional(&mut made.method);
            items(&mut made.secrets);
            made.secret_uses.truncate(USES);
            for lent in &mut made.secret_uses {
                text(&mut lent.secret);
                text(&mut lent.scheme);
                lent.decision.policies.truncate(USES);
                ground(&mut lent.decision);
            }
            ground(&mut made.decision);
        }
        Event::HostCallOutcome(outcome) => {
            text(&mut outcome.status);
            optional(&mut outcome.address);
        }
        Event::Outcome(outcome) => {
            text(&mut outcome.status);
            optional(&mut outcome.detail);
            optional(&mut outcome.untaped);
            let counts = std::mem::take(&mut outcome.host_calls);
            outcome.host_calls = counts
                .into_iter()
                .take(ITEMS)
                .map(|(mut name, count)| {
                    cut(&mut name, ITEM);
                    (name, count)
                })
                .collect::<BTreeMap<_, _>>();
        }
        Event::ApprovalAsked(asked) => {
            asked.host_call.iter_mut().for_each(host_call);
            ground(&mut asked.decision);
        }
        Event::ApprovalAnswered(answered) => {
            optional(&mut answered.why);
            answered.decision.iter_mut().for_each(ground);
        }
        // Far more than must ever agree.
        Event::ApprovalUsed(used) => used.by.truncate(ITEMS),
        Event::ApprovalEnded(ended) => optional(&mut ended.why),
        Event::Lease(change) => {
            let LeaseChange {
                stage,
                secret,
                source,
                origin,
                scheme,
                detail,
                ..
            } = change;
            [stage, secret, source, origin, scheme]
                .into_iter()
                .for_each(text);
            optional(detail);
        }
    }
    event
}

fn cut(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let kept = head(text, bytes);
        *text = format!("{kept}\u{2026} ({} bytes)", text.len());
    }
}

fn text(text: &mut String) {
    cut(text, TEXT);
}

fn optional(text: &mut Option<String>) {
    text.iter_mut().for_each(self::text);
}

fn items(list: &mut Vec<String>) {
    if list.len() > ITEMS {
        let left_out = list.len() - ITEMS;
        list.truncate(ITEMS);
        list.push(format!("\u{2026} ({left_out} more)"));
    }
    list.iter_mut().for_each(|item| cut(item, ITEM));
}

fn caller(caller: &mut Caller) {
    optional(&mut caller.user);
    text(&mut caller.transport);
    optional(&mut caller.client);
}

fn arguments(view: &mut ArgumentsView) {
    if view.view.len() > TEXT {
        text(&mut view.view);
        view.cut = true;
    }
}

fn host_call(call: &mut HostCallRef) {
    text(&mut call.capability);
    text(&mut call.target);
}

fn ground(ground: &mut Ground) {
    if ground.policies.len() > ITEMS {
        let left_out = ground.policies.len() - ITEMS;
        ground.policies.truncate(ITEMS);
        // The only list in a ground for words; a decision with something in it was looked at anyway.
        ground
            .errors
            .insert(0, format!("{left_out} more policies are not listed"));
    }
    for policy in &mut ground.policies {
        cut(&mut policy.id, ITEM);
        cut(&mut policy.file, ITEM);
    }
    items(&mut ground.errors);
}
