//! A case that is a call: what was said, what was written, what went out.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tollgate::call::Reply;
use tollgate::journal::record::{CallId, Event};

use super::case::Case;
use crate::harness::{Bench, Look as _, reason_of};

/// Makes the call of a case and holds all that came of it against what was expected.
pub(super) async fn call(bench: &Bench, agent: &str, case: &Case) -> Result<()> {
    for (host, answers) in &case.resolver {
        bench.resolver.answer(host, answers);
    }
    if let Some(on) = &case.task {
        let tools: Vec<&str> = on.tools.iter().map(String::as_str).collect();
        let mut task = crate::tasks::task(agent, &tools);
        task.budgets = on.budgets.clone();
        bench.host.start_task(task).await?;
    }
    for before in &case.before {
        let reply = bench
            .call_as(agent, &before.tool, before.arguments.to_string())
            .await;
        ensure!(
            reply.reason().map(|reason| reason.code()) == before.reason.as_deref(),
            "before it, `{}` ended as {:?}",
            before.tool,
            reply.refusal
        );
    }
    let (ledger, lookups, dials) = (
        bench.upstream.ledger().await.len(),
        bench.resolver.asked().len(),
        bench.connector.dialled().len(),
    );
    let arguments = match (&case.arguments, &case.text, &case.hex, &case.generate) {
        (Some(value), None, None, None) => value.to_string().into_bytes(),
        (None, Some(text), None, None) => text.clone().into_bytes(),
        (None, None, Some(bytes), None) => hex::decode(bytes)?,
        (None, None, None, Some(generate)) => generate.text().into_bytes(),
        _ => anyhow::bail!("a case has its arguments in one form"),
    };
    let reply = bench.call_as(agent, &case.tool, arguments).await;

    said(case, &reply)?;
    written(bench, case, &reply)?;
    let seen = bench.upstream.ledger().await;
    let new = &seen[ledger..];
    if let Some(expected) = case.expect.ledger {
        let lines: Vec<_> = new.iter().map(crate::upstream::Seen::line).collect();
        ensure!(
            new.len() == expected,
            "upstream got {lines:?}, expected {expected}"
        );
    }
    let asked = &bench.resolver.asked()[lookups..];
    if let Some(expected) = case.expect.lookups {
        ensure!(
            asked.len() == expected,
            "looked up {asked:?}, expected {expected}"
        );
    }
    let dialled = &bench.connector.dialled()[dials..];
    if let Some(expected) = case.expect.dials {
        ensure!(
            dialled.len() == expected,
            "dialled {dialled:?}, expected {expected}"
        );
    }
    for request in new {
        if let Some(line) = &case.line {
            ensure!(request.line() == *line, "upstream got {:?}", request.line());
        }
        if let Some(host) = &case.host {
            ensure!(
                request.header("host") == [host.as_str()],
                "hosts {:?}",
                request.header("host")
            );
        }
        if let Some(tls) = &case.name {
            ensure!(
                request.tls.as_ref() == Some(tls),
                "TLS for {:?}",
                request.tls
            );
        }
        if case.one_request {
            one_request(&request.text())?;
        }
    }
    Ok(())
}

/// The bytes are one request: what stands behind its head is exactly as long as the head says.
fn one_request(text: &str) -> Result<()> {
    let (head, body) = text.split_once("\r\n\r\n").context("a head that ends")?;
    let lengths: Vec<_> = head
        .lines()
        .filter_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")
                .map(str::to_owned)
        })
        .collect();
    ensure!(
        lengths == [body.len().to_string()],
        "lengths {lengths:?}, a body of {}",
        body.len()
    );
    ensure!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "a second framing"
    );
    Ok(())
}

/// What the agent and the plugin were told.
fn said(case: &Case, reply: &Reply) -> Result<()> {
    let expect = &case.expect;
    match (&expect.reason, reply.reason()) {
        (None, None) => {
            ensure!(
                !reply.completion.is_error,
                "it ended as an error: {}",
                reply.text()
            );
        }
        (None, Some(_)) => anyhow::bail!("it was refused: {:?}", reply.refusal),
        // The call as a whole: refused, or cut short.
        (Some(code), Some(reason)) if expect.call_reason.is_none() && reason.code() == code => {
            let word = if code == "approval.required" {
                "approval_required"
            } else {
                code
            };
            ensure!(
                *reply.at("/code") == *word,
                "the result says {}",
                reply.at("/code")
            );
            ensure!(reply.completion.is_error, "a refusal that is no error");
            ensure!(!reply.text().is_empty(), "a refusal without a word");
        }
        // A host call within it: the plugin got the typed error, and the host names it besides.
        (Some(code), reason) => {
            let as_expected = reason.map(tollgate::reason::Reason::code)
                == expect.call_reason.as_deref()
                || case.is_of("fetch")
                    && reason.is_some_and(|reason| reason.code() == "plugin.failed");
            ensure!(
                as_expected,
                "the call ended as {:?}: {}",
                reply.refusal,
                reply.completion.canonical()
            );
            // What was allowed, tried and failed is no refusal.
            let refused = case.is_of("fetch") || *reply.at("/kind") == *"refused";
            if expect.call_reason.is_none() && refused {
                ensure!(
                    reply.refused(code) >= 1,
                    "the result does not name it: {:?}",
                    reply.completion.meta
                );
                ensure!(
                    reply.text().contains(code),
                    "the text does not name it: {}",
                    reply.text()
                );
            }
            if !case.is_of("fetch") {
                ensure!(
                    *reply.at("/reason") == **code,
                    "the plugin was told {}",
                    reply.completion.canonical()
                );
                let kind = reply.at("/kind").as_str().unwrap_or_default();
                ensure!(
                    ["refused", "limit", "failed"].contains(&kind),
                    "of kind `{kind}`"
                );
            }
        }
    }
    if let Some(status) = expect.status {
        ensure!(
            *reply.at("/status") == status,
            "status {}",
            reply.at("/status")
        );
    }
    if let Some(Value::Object(members)) = &expect.structured {
        for (key, value) in members {
            ensure!(
                reply.at(&format!("/{key}")) == value,
                "`{key}` is {}",
                reply.at(&format!("/{key}"))
            );
        }
    }
    if let Some(raw) = &expect.raw {
        ensure!(
            *reply.at("/raw") == **raw,
            "the plugin got {}",
            reply.at("/raw")
        );
    }
    for (pointer, most) in &case.max {
        let value = reply.at(pointer).as_u64().context("a number")?;
        ensure!(value <= *most, "{pointer} is {value}, at most {most}");
    }
    if let Some(most) = case.max_body {
        let length = reply.at("/body").as_str().context("a body")?.len();
        ensure!((1..=most).contains(&length), "a body of {length} bytes");
        ensure!(
            length < crate::upstream::TOTAL_OF_BOMB,
            "it was decompressed"
        );
    }
    for (name, value) in &case.header {
        let found = reply
            .at("/headers")
            .as_array()
            .into_iter()
            .flatten()
            .any(|pair| pair[0].as_str() == Some(name) && pair[1].as_str() == Some(value));
        ensure!(
            found,
            "the response has no `{name}: {value}`: {}",
            reply.at("/headers")
        );
    }
    let everything = reply.everything();
    for text in &case.expect.absent {
        ensure!(
            !everything.contains(text.as_str()),
            "the agent was given `{text}`: {everything}"
        );
    }
    Ok(())
}

/// What stands in the journal.
fn written(bench: &Bench, case: &Case, reply: &Reply) -> Result<()> {
    let events = bench.records_of(reply.call);
    ensure!(!events.is_empty(), "nothing was written");
    if let Some(code) = &case.expect.reason {
        exactly_one(&events, reply.call, code)?;
    } else {
        let reasons: Vec<_> = events.iter().filter_map(reason_of).collect();
        ensure!(reasons.is_empty(), "written down as {reasons:?}");
    }
    ends(&events)?;
    let text = format!("{events:?}");
    for absent in case.expect.absent.iter().chain(&case.expect.unrecorded) {
        ensure!(
            !text.contains(absent.as_str()),
            "the records hold `{absent}`: {text}"
        );
    }
    if case.expect.redacted {
        let redacted = events
            .iter()
            .any(|event| matches!(event, Event::Outcome(outcome) if outcome.redacted > 0));
        ensure!(
            redacted,
            "no record says that the result was redacted: {text}"
        );
    }
    for part in &case.expect.detail {
        ensure!(
            text.contains(part.as_str()),
            "the record does not say `{part}`: {text}"
        );
    }
    if let Some(address) = &case.address {
        let dialled = events.iter().any(|event| {
            matches!(event, Event::HostCallOutcome(outcome) if outcome.address.as_deref() == Some(address))
        });
        ensure!(dialled, "no record says that {address} was dialled: {text}");
    }
    if !case.expect.refused.is_empty() {
        let total: BTreeMap<String, u64> = events
            .iter()
            .filter_map(|event| match event {
                Event::Outcome(outcome) => Some(&outcome.refused),
                _ => None,
            })
            .flatten()
            .map(|(reason, count)| (reason.code().to_owned(), *count))
            .collect();
        ensure!(total == case.expect.refused, "the outcome counts {total:?}");
        for (code, count) in &total {
            let recorded: u64 = events
                .iter()
                .filter_map(|event| match event {
                    Event::Refusal(refused) if refused.reason.code() == code => {
                        Some(1 + refused.repeated)
                    }
                    _ => None,
                })
                .sum();
            ensure!(
                recorded == *count,
                "records stand for {recorded} of {count} refusals"
            );
        }
    }
    Ok(())
}

fn exactly_one(events: &[Event], call: CallId, code: &str) -> Result<()> {
    let found: Vec<_> = events
        .iter()
        .filter(|event| reason_of(event).is_some_and(|reason| reason.code() == code))
        .collect();
    ensure!(
        found.len() == 1,
        "{} records of {call} have the reason: {events:?}",
        found.len()
    );
    Ok(())
}

/// A call that ran has an intent and an outcome; one that did not has one refusal or hold.
fn ends(events: &[Event]) -> Result<()> {
    let count =
        |wanted: &dyn Fn(&Event) -> bool| events.iter().filter(|event| wanted(event)).count();
    let intents = count(&|event| matches!(event, Event::Intent(_)));
    let outcomes = count(&|event| matches!(event, Event::Outcome(_)));
    let refused = count(&|event| {
        matches!(event, Event::Hold(_))
            || matches!(event, Event::Refusal(refused) if refused.host_call.is_none())
    });
    ensure!(
        (intents, outcomes, refused) == (1, 1, 0) || (intents, outcomes, refused) == (0, 0, 1),
        "{intents} intents, {outcomes} outcomes, {refused} refusals of the call"
    );
    Ok(())
}
