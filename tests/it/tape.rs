//! Tapes: a call runs again as it ran, with no reach, or the replay says where it does not.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde_json::{Value, json};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use tollgate::call::Reply;
use tollgate::digest::Digest;
use tollgate::home::Home;
use tollgate::journal::record::{CallId, Event};
use tollgate::reason::Reason;

use crate::harness::binary::{Said, run};
use crate::harness::{Bench, Look as _, PROBE_POLICY, REVEAL, Setup};

const CANARY: &str = "canary-7c1e9a52d0b84f36";

fn taped() -> Setup {
    let policy = format!("{PROBE_POLICY}\n{REVEAL}");
    Setup::empty()
        .component("probe", guests::PROBE)
        .policy("probe", &policy)
        .secret("probe", "token", CANARY)
        .secret("probe", "seen", CANARY)
        .toml("[plugin.probe]\ntape = true\n[plugin.probe.settings]\norigin = \"https://granted.example\"")
}

fn send(url: &str) -> Value {
    json!({"requirement": "api", "method": "POST", "url": url, "body": "abc"})
}

async fn replay(home: &Home, call: CallId) -> Said {
    run(home, &["--format", "json", "replay", &call.to_string()]).await
}

/// Replays a call, and asserts that it came out the same.
#[track_caller]
fn assert_identical(said: &Said, what: &str) -> Value {
    assert_eq!(said.code, 0, "{what}: {said:?}");
    let line = said.lines().pop().unwrap();
    assert_eq!(line["type"], "replay");
    assert_eq!(line["identical"], true, "{what}: {line}");
    assert_eq!(line["output"]["identical"], true, "{what}: {line}");
    assert_eq!(line["differences"], json!([]), "{what}: {line}");
    line
}

#[tokio::test]
async fn whatever_a_call_was_given_it_runs_again_alike_and_reaches_nothing() {
    let bench = taped()
        .toml("[plugin.probe.tool.loop.limits]\nfuel = 30_000_000")
        .toml("[plugin.probe.tool.grow_memory.limits]\nmemory = \"16MiB\"")
        .toml("[plugin.probe.tool.handles.limits]\nhandles = 64")
        .toml("[plugin.probe.tool.refused_storm.limits]\nrefusals = 5")
        .start()
        .await;
    let secret = |act: &str| json!({"name": "token", "act": act});
    let good = "https://granted.example/echo";
    let calls = [
        (
            "probe_echo",
            json!({"text": "x", "value": {"a": [1.5, null]}}),
        ),
        ("probe_chance", json!({})),
        ("probe_now", json!({})),
        ("probe_sleep", json!({"ms": 3})),
        ("probe_settings_get", json!({"name": "greeting"})),
        ("probe_settings_get", json!({"name": "nothing"})),
        ("probe_progress_reports", json!({"n": 5})),
        ("probe_log_line", json!({"text": "a line"})),
        ("probe_environment", json!({})),
        ("probe_storm", json!({"capability": "clock", "n": 200})),
        (
            "probe_random_bulk",
            json!({"bytes": 5000, "of": "tollgate"}),
        ),
        ("probe_random_bulk", json!({"bytes": 5000, "of": "wasi"})),
        // More than the floor gives: the instance ends there, on the tape as well.
        ("probe_random_bulk", json!({"bytes": 100_000, "of": "wasi"})),
        ("probe_send", send(good)),
        (
            "probe_send",
            json!({
                "requirement": "api", "method": "GET", "url": good,
                "credentials": [
                    {"secret": "token", "scheme": "bearer"},
                    {"secret": "token", "scheme": "placeholder", "name": "x-api-key"},
                ],
            }),
        ),
        ("probe_send", send("https://evil.example/")),
        ("probe_send", send("not a URL")),
        ("probe_secret", secret("open")),
        ("probe_secret", secret("placeholder")),
        ("probe_secret", secret("reveal")),
        ("probe_refused_storm", json!({"n": 3})),
        ("probe_refused_storm", json!({"n": 30})),
        ("probe_handles", json!({"n": 100})),
        ("probe_fail", json!({"how": "is_error", "message": "m"})),
        ("probe_fail", json!({"how": "failed", "message": "m"})),
        ("probe_fail", json!({"how": "arguments", "message": "m"})),
        ("probe_panic", json!({"message": "m"})),
        ("probe_exit", json!({"code": 3})),
        ("probe_loop", json!({})),
        ("probe_recurse", json!({})),
        ("probe_grow_memory", json!({"mib": 30})),
        ("probe_input_required", json!({})),
        (
            "probe_big_output",
            json!({"bytes": 5000, "shape": "not_json"}),
        ),
        ("probe_now_unlisted", json!({})),
    ];
    let mut made = Vec::new();
    for (tool, arguments) in calls {
        let reply = bench.call(tool, arguments.clone()).await;
        let what = format!("{tool} {arguments}");
        let outcome = bench.outcome(reply.call);
        assert!(outcome.tape.is_some(), "{what}: {outcome:?}");
        assert_eq!(outcome.untaped, None);
        made.push((what, reply.call, outcome.fuel));
    }
    let sent = bench.upstream.ledger().await.len();
    let asked = bench.resolver.asked().len();
    let of_calls = || {
        let records = bench.records().into_iter();
        records
            .filter(|record| record.event.call().is_some())
            .count()
    };
    let recorded = of_calls();
    assert!(sent > 0 && asked > 0);
    let home = bench.host.home().clone();
    for (what, call, fuel) in made {
        let line = assert_identical(&replay(&home, call).await, &what);
        assert_eq!(
            line["fuel"],
            json!({"recorded": fuel, "replayed": fuel, "identical": true}),
            "{what}"
        );
        let calls = &line["host_calls"];
        assert_eq!(calls["taped"], calls["replayed"], "{what}");
    }
    assert_eq!(bench.upstream.ledger().await.len(), sent);
    assert_eq!(bench.resolver.asked().len(), asked);
    assert_eq!(of_calls(), recorded, "a replay is no act");
    bench.verify();
}

#[tokio::test]
async fn what_comes_out_is_the_result_that_the_record_has() {
    let bench = taped().start().await;
    let mut seen = Vec::new();
    for _ in 0..2 {
        let reply = bench.call("probe_chance", json!({})).await;
        assert_eq!(reply.reason(), None, "{}", reply.text());
        let result = Digest::of(reply.completion.canonical().as_bytes());
        let line = assert_identical(&replay(bench.host.home(), reply.call).await, "chance");
        assert_eq!(line["output"]["replayed"], result.to_string());
        assert_eq!(line["output"]["recorded"], result.to_string());
        seen.push(result);
    }
    assert_ne!(seen[0], seen[1], "otherwise the tape would prove nothing");
    // A swallowed refusal is named in the result by the host, and so it is in the replay's.
    let arguments = json!({
        "requirement": "api", "method": "GET", "url": "https://evil.example/", "repeat": 3, "swallow": true,
    });
    let reply = bench.call("probe_send", arguments).await;
    let line = assert_identical(&replay(bench.host.home(), reply.call).await, "swallowed");
    let result = Digest::of(reply.completion.canonical().as_bytes());
    assert_eq!(line["output"]["replayed"], result.to_string());
}

#[tokio::test]
async fn a_call_that_was_stopped_is_the_same_until_then() {
    let bench = taped()
        .toml("[plugin.probe.tool.sleep.limits]\ntime = \"50ms\"")
        .start()
        .await;
    let home = bench.host.home().clone();
    // While it waited for the other side.
    let running = bench.spawn("alice", "probe_send", send("https://granted.example/hold"));
    bench.upstream.arrived(1).await;
    running.cancel.cancel();
    let reply = running.reply().await;
    assert_eq!(reply.reason(), Some(Reason::CallCancelled));
    let line = assert_identical(&replay(&home, reply.call).await, "cancelled");
    assert_eq!(line["stopped"], "call.cancelled");
    assert_eq!(line["fuel"]["identical"], true, "{line}");
    // While it waited for a timer.
    let reply = bench.call("probe_sleep", json!({"ms": 3_600_000})).await;
    assert_eq!(reply.reason(), Some(Reason::TrapDeadline));
    let line = assert_identical(&replay(&home, reply.call).await, "late");
    assert_eq!(line["stopped"], "trap.deadline");
    let human = run(&home, &["replay", &reply.call.to_string()]).await;
    assert!(
        human
            .out
            .ends_with("identical, until it was stopped (trap.deadline)\n"),
        "{human:?}"
    );
    assert_eq!(bench.upstream.ledger().await.len(), 1);
}

fn tape_of(home: &Home, call: CallId) -> std::path::PathBuf {
    home.tapes().join(format!("{call}.tape"))
}

#[tokio::test]
async fn a_tape_that_is_not_the_one_that_was_written_is_not_run() {
    let bench = taped().start().await;
    let home = bench.host.home().clone();
    let one = bench.call("probe_chance", json!({})).await.call;
    let other = bench.call("probe_chance", json!({})).await.call;
    let path = tape_of(&home, one);
    let good = std::fs::read(&path).unwrap();
    assert_identical(&replay(&home, one).await, "as it was");

    let refused = |said: Said, code: i32, why: &str| {
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.err.contains(why), "{said:?}");
        assert_eq!(said.out, "", "nothing was run");
    };
    let mut changed = good.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    refused(
        replay(&home, one).await,
        6,
        "is not the tape that was written",
    );
    std::fs::write(&path, &good[..last]).unwrap();
    refused(
        replay(&home, one).await,
        6,
        "is not the tape that was written",
    );
    std::fs::copy(tape_of(&home, other), &path).unwrap();
    refused(
        replay(&home, one).await,
        6,
        "is not the tape that was written",
    );
    std::fs::remove_file(&path).unwrap();
    refused(replay(&home, one).await, 3, "there is no tape of the call");

    // Forged with the host's own key: its digest is still not the one in the journal.
    let text = opened(&home, other);
    std::fs::write(&path, sealed(&home, one, &text)).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    refused(
        replay(&home, one).await,
        6,
        "is not the tape that was written",
    );
    std::fs::write(&path, &good).unwrap();
    assert_identical(&replay(&home, one).await, "as it was");
}

fn cipher(home: &Home) -> XChaCha20Poly1305 {
    let key = std::fs::read(home.keys().join("tapes.key")).unwrap();
    XChaCha20Poly1305::new_from_slice(&key).unwrap()
}

/// The text of a tape, as whoever has the key reads it.
fn opened(home: &Home, call: CallId) -> Vec<u8> {
    let file = std::fs::read(tape_of(home, call)).unwrap();
    let (head, rest) = file.split_at(32);
    let (nonce, sealed) = rest.split_at(24);
    let payload = Payload {
        msg: sealed,
        aad: head,
    };
    cipher(home)
        .decrypt(XNonce::from_slice(nonce), payload)
        .unwrap()
}

fn sealed(home: &Home, call: CallId, text: &[u8]) -> Vec<u8> {
    let mut head = b"tollgate-tape 1\n".to_vec();
    head.extend_from_slice(call.0.as_bytes());
    let payload = Payload {
        msg: text,
        aad: &head,
    };
    let nonce = [1; 24];
    let sealed = cipher(home)
        .encrypt(XNonce::from_slice(&nonce), payload)
        .unwrap();
    [head.as_slice(), &nonce, &sealed].concat()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

#[tokio::test]
async fn a_tape_shows_nothing_without_its_key_and_no_secret_with_it() {
    let bench = taped().start().await;
    let home = bench.host.home().clone();
    // The other side gives back the whole request.
    let arguments = json!({
        "requirement": "api", "method": "GET", "url": "https://granted.example/echo",
        "headers": [["x-marker", "marker-in-the-request"]],
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let reply = bench.call("probe_send", arguments).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    assert!(
        seen.iter().any(|seen| holds(&seen.raw, CANARY)),
        "it was lent, else this shows nothing"
    );
    let file = std::fs::read(tape_of(&home, reply.call)).unwrap();
    assert!(!holds(&file, "marker-in-the-request"), "in the clear");
    let text = opened(&home, reply.call);
    assert!(holds(&text, "marker-in-the-request"));
    assert!(!holds(&text, CANARY), "a secret's value is on the tape");

    // What was shown to the plugin may be anywhere behind that: no tape.
    let reply = bench
        .call("probe_secret", json!({"name": "seen", "act": "reveal"}))
        .await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    let outcome = bench.outcome(reply.call);
    assert_eq!(outcome.tape, None);
    assert_eq!(
        outcome.untaped.as_deref(),
        Some("the plugin was shown a secret's value")
    );
    assert!(!tape_of(&home, reply.call).exists());
    let said = replay(&home, reply.call).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("the plugin was shown a secret's value"),
        "{said:?}"
    );
    let steps = run(&home, &["replay", "--steps", &reply.call.to_string()]).await;
    assert!(!format!("{steps:?}").contains(CANARY));
}

async fn echo(bench: &Bench) -> (Reply, Option<Digest>) {
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    let tape = bench.outcome(reply.call).tape;
    (reply, tape)
}

#[tokio::test]
async fn a_call_is_taped_only_where_the_operator_says_so() {
    let bench = Setup::probe().start().await;
    let (reply, tape) = echo(&bench).await;
    assert_eq!(tape, None);
    assert!(!bench.host.home().tapes().exists());
    assert!(!bench.host.home().keys().join("tapes.key").exists());
    let said = replay(bench.host.home(), reply.call).await;
    assert_eq!(said.code, 3);
    assert!(said.err.contains("the call was not taped"), "{said:?}");

    let origin = "[plugin.probe.settings]\norigin = \"https://granted.example\"";
    for (toml, is) in [
        ("[tools]\ntape = true", true),
        ("[tools]\ntape = true\n[plugin.probe]\ntape = false", false),
        ("[plugin.probe.tool.echo]\ntape = true", true),
        (
            "[plugin.probe]\ntape = true\n[plugin.probe.tool.echo]\ntape = false",
            false,
        ),
        (
            "[tier.watched]\nlike = \"auto\"\ntape = true\n[plugin.probe.tool.echo]\ntier = \"watched\"",
            true,
        ),
        (
            "[tier.watched]\nlike = \"auto\"\ntape = true\n[plugin.probe.tool.now]\ntier = \"watched\"",
            false,
        ),
    ] {
        let text = format!("{toml}\n{origin}\n[egress]\nextra_ca = [\"ca.pem\"]\n");
        std::fs::write(bench.host.home().config(), text).unwrap();
        let refreshed = bench.refresh().await;
        assert_eq!(refreshed.findings, [], "{toml}");
        assert_eq!(echo(&bench).await.1.is_some(), is, "{toml}");
    }
}

#[tokio::test]
async fn tapes_are_bounded_one_by_one_and_together() {
    let bench = taped()
        .toml("[tapes]\ncall = \"4KiB\"\nspace = \"1MiB\"\nkeep = \"1h\"")
        .start()
        .await;
    let home = bench.host.home().clone();
    let big = json!({"bytes": 5000, "of": "wasi"});
    let reply = bench.call("probe_random_bulk", big).await;
    assert_eq!(reply.reason(), None, "the call itself is not bounded by it");
    let outcome = bench.outcome(reply.call);
    assert_eq!(outcome.tape, None);
    assert_eq!(
        outcome.untaped.as_deref(),
        Some("it has more than 4096 bytes")
    );
    let (reply, tape) = echo(&bench).await;
    assert!(tape.is_some());
    assert_eq!(std::fs::read_dir(home.tapes()).unwrap().count(), 1);
    drop(reply);
}

#[tokio::test]
async fn a_component_that_is_gone_is_asked_for() {
    let bench = taped().start().await;
    let home = bench.host.home().clone();
    let reply = bench.call("probe_chance", json!({})).await;
    bench.host.stop().await;
    let component = home.plugins().join("probe.wasm");
    let kept = home.root().join("kept.wasm");
    // What was compiled is enough.
    std::fs::rename(&component, &kept).unwrap();
    assert_identical(&replay(&home, reply.call).await, "from its compiled form");
    for entry in std::fs::read_dir(home.artifacts()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let said = replay(&home, reply.call).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(said.err.contains("is not here any more"), "{said:?}");
    let call = reply.call.to_string();
    let kept = kept.to_str().unwrap();
    let wrong = home.config();
    let wrong = wrong.to_str().unwrap();
    let said = run(&home, &["replay", &call, "--component", wrong]).await;
    assert_eq!(said.code, 3, "{said:?}");
    let arguments = ["--format", "json", "replay", &call, "--component", kept];
    assert_identical(&run(&home, &arguments).await, "from its file");
}

#[tokio::test]
async fn the_host_calls_of_a_tape_can_be_looked_at() {
    let bench = taped().start().await;
    let home = bench.host.home().clone();
    let reply = bench
        .call("probe_send", send("https://granted.example/echo"))
        .await;
    let said = run(&home, &["replay", "--steps", &reply.call.to_string()]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for part in [
        "http.open -> ",
        "      name api\n",
        "http.send -> ",
        "      method POST\n",
        "      url https://granted.example/echo\n",
        "      body 3 bytes, sha256:",
    ] {
        assert!(said.out.contains(part), "{part:?}: {}", said.out);
    }
    let intents = bench
        .records_of(reply.call)
        .into_iter()
        .filter(|event| matches!(event, Event::Intent(_)))
        .count();
    assert_eq!(intents, 1);
}
