//! Running the cases. Those that need the same home share a host, one after the other, each as an
//! agent of its own: what one has used up is not the next one's doing.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tollgate::call::Reply;
use tollgate::journal::record::{CallId, Event};

use super::case::{Case, Row, rows};
use crate::harness::{Bench, Look as _, PROBE_POLICY, Setup, reason_of};

/// The agent of a case.
fn name(at: usize) -> String {
    format!("case-{at}")
}

/// What a home is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    setup: Option<String>,
    policy: Option<String>,
    toml: Option<String>,
}

/// Runs every case of a part, and fails with all that is wrong.
pub(super) async fn part(part: char) {
    let rows: Vec<Row> = rows()
        .into_iter()
        .filter(|row| row.part() == part)
        .collect();
    let mut groups: BTreeMap<Key, Vec<(String, usize, Case)>> = BTreeMap::new();
    let mut count = 0;
    for row in &rows {
        for (index, case) in row.cases.iter().enumerate() {
            let key = Key {
                setup: case.setup.clone(),
                policy: case.policy.clone(),
                toml: case.toml.clone(),
            };
            let named = format!("{}, case {}", row.id, index + 1);
            groups
                .entry(key)
                .or_default()
                .push((named, count, case.clone()));
            count += 1;
        }
    }
    assert!(count > 0, "part {part} has no cases");
    let mut wrong = Vec::new();
    for (key, cases) in groups {
        let bench = setup(&key, &cases).start().await;
        for (named, at, case) in cases {
            if let Err(error) = run(&bench, &name(at), &case).await {
                wrong.push(format!("{named} ({}): {error:#}", subject(&case)));
            }
        }
        bench.verify();
    }
    assert!(
        wrong.is_empty(),
        "{} of {count} cases went wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn subject(case: &Case) -> String {
    let what = match (&case.load, &case.arguments) {
        (Some(load), _) => load.clone(),
        (None, Some(Value::Object(members))) if members.contains_key("url") => {
            members["url"].to_string()
        }
        (None, Some(arguments)) => arguments.to_string(),
        (None, None) => case.text.clone().unwrap_or_default(),
    };
    let what: String = what.chars().take(120).collect();
    format!("{} {what}", case.tool)
}

fn setup(key: &Key, cases: &[(String, usize, Case)]) -> Setup {
    let base = match key.setup.as_deref() {
        Some("fetch") => Setup::empty().shipped("fetch"),
        Some("no-policies") => Setup::empty().component("probe", guests::PROBE),
        Some(other) => panic!("no such setup: {other}"),
        None => Setup::empty()
            .component("probe", guests::PROBE)
            .policy("probe", key.policy.as_deref().unwrap_or(PROBE_POLICY))
            .secret("probe", "token", "the-value-of-the-token"),
    };
    // The probe always needs its origin, or it could not be loaded.
    base.toml(key.toml.as_deref().unwrap_or(crate::harness::PROBE_TOML))
        .agents(cases.iter().map(|(_, at, _)| name(*at)))
}

async fn run(bench: &Bench, agent: &str, case: &Case) -> Result<()> {
    if key_is(case, "no-policies") {
        let policies = bench.host.home().policies();
        if policies.is_dir() {
            std::fs::remove_dir_all(policies)?;
            bench.refresh().await;
        }
    }
    match &case.load {
        Some(what) => load(bench, agent, what, case).await,
        None => call(bench, agent, case).await,
    }
}

fn key_is(case: &Case, setup: &str) -> bool {
    case.setup.as_deref() == Some(setup)
}

async fn call(bench: &Bench, agent: &str, case: &Case) -> Result<()> {
    for (host, answers) in &case.resolver {
        bench.resolver.answer(host, answers);
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
                || key_is(case, "fetch")
                    && reason.is_some_and(|reason| reason.code() == "plugin.failed");
            ensure!(
                as_expected,
                "the call ended as {:?}: {}",
                reply.refusal,
                reply.completion.canonical()
            );
            // What was allowed, tried and failed is no refusal.
            let refused = key_is(case, "fetch") || *reply.at("/kind") == *"refused";
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
            if !key_is(case, "fetch") {
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

/// Drops a component and looks at what was written about it.
async fn load(bench: &Bench, agent: &str, what: &str, case: &Case) -> Result<()> {
    let path = bench.plugin_file(agent);
    let changes = if let Some(size) = what.strip_prefix("size:") {
        // As a file with a hole: nothing has to be written.
        let before = bench.records().len();
        let hidden = path.with_file_name(".sparse");
        let file = std::fs::File::create(&hidden)?;
        std::io::Write::write_all(&mut &file, b"\0asm\x0d\0\x01\0")?;
        file.set_len(size.parse()?)?;
        std::fs::rename(&hidden, &path)?;
        bench.refresh().await;
        bench.changes_since(before)
    } else {
        bench.drop_plugin(agent, &component(what)?).await
    };
    let file = format!("{agent}.wasm");
    if let Some(code) = &case.expect.reason {
        let about: Vec<_> = changes
            .iter()
            .filter(|change| change.reason.is_some())
            .collect();
        ensure!(about.len() == 1, "records: {changes:?}");
        let change = about[0];
        ensure!(change.change == "plugin.refused", "{change:?}");
        ensure!(change.subject.as_ref() == Some(&file), "{change:?}");
        ensure!(
            change.reason.is_some_and(|reason| reason.code() == code),
            "{change:?}"
        );
        for part in &case.expect.says {
            ensure!(
                change
                    .detail
                    .as_ref()
                    .is_some_and(|detail| detail.contains(part.as_str())),
                "it does not say `{part}`: {change:?}"
            );
        }
    }
    if case.expect.serves {
        ensure!(
            changes
                .iter()
                .any(|change| change.change == "plugin.pinned"),
            "{changes:?}"
        );
    }
    if let Some(then) = &case.then {
        let policy = format!(
            "permit (principal, action in Action::\"call\", resource in Plugin::\"{agent}\");"
        );
        std::fs::write(bench.policy_file(agent), policy)?;
        bench.refresh().await;
        let reply = bench
            .call_as(
                agent,
                &then.tool.replace("{}", agent),
                then.arguments.to_string(),
            )
            .await;
        let ended = reply.reason().map(tollgate::reason::Reason::code);
        ensure!(
            ended == then.reason.as_deref(),
            "it ended as {ended:?}: {:?}",
            reply.refusal
        );
    }
    // Whatever it was, the others serve.
    let reply = bench
        .call_as(agent, "probe_echo", r#"{"text":"alive"}"#)
        .await;
    ensure!(
        reply.reason().is_none(),
        "the probe does not serve any more: {:?}",
        reply.refusal
    );
    std::fs::remove_file(&path)?;
    Ok(())
}

fn component(what: &str) -> Result<Vec<u8>> {
    use guests::crafted;
    let (kind, rest) = what.split_once(':').unwrap_or((what, ""));
    Ok(match kind {
        "misfit" => {
            let (_, path) = guests::MISFITS
                .iter()
                .find(|(name, _)| *name == rest)
                .with_context(|| format!("no misfit `{rest}`"))?;
            std::fs::read(path)?
        }
        "wat" => wat::parse_str(rest)?,
        "hex" => hex::decode(rest)?,
        "pathological" => pathological(),
        "crafted" => match rest {
            "garbage" => crafted::garbage(),
            "core_module" => crafted::core_module(),
            "empty" => crafted::empty(),
            "truncated" => crafted::truncated(),
            "imports_sockets" => crafted::imports_sockets(),
            "imports_filesystem" => crafted::imports_filesystem(),
            "imports_wasi_http" => crafted::imports_wasi_http(),
            "imports_wall_clock" => crafted::imports_wall_clock(),
            "imports_unknown" => crafted::imports_unknown(),
            "describe_loops" => crafted::describe_loops(),
            "describe_traps" => crafted::describe_traps(),
            "describe_not_utf8" => crafted::describe_not_utf8(),
            "describe_out_of_bounds" => crafted::describe_out_of_bounds(),
            "start_loops" => crafted::start_loops(),
            "start_traps" => crafted::start_traps(),
            "huge_memory" => crafted::huge_memory(),
            "huge_table" => crafted::huge_table(),
            "grows_table" => crafted::grows_table(),
            other => anyhow::bail!("nothing crafted is named `{other}`"),
        },
        other => anyhow::bail!("no such kind of component: `{other}`"),
    })
}

/// Code that is small to write and much to compile: many functions of deeply nested blocks.
fn pathological() -> Vec<u8> {
    let depth = 200;
    let body = format!(
        "{} (local.set 0 (i32.add (local.get 0) (i32.const 1))) {}",
        "(block (br_if 0 (local.get 0)) ".repeat(depth),
        ")".repeat(depth)
    );
    let functions = format!("(func (param i32) {body})").repeat(200);
    wat::parse_str(format!("(component (core module {functions}))")).unwrap()
}
