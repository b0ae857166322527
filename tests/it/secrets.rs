//! Secrets: lent to a call, put in by the host towards one origin, and nowhere to be found afterwards.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tollgate::call::ProgressSink;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::{
    Bench, Look as _, PROBE_POLICY, REVEAL, Setup, arrival_with, assert_verifies, intents, records,
};

/// Nothing else looks like it.
const CANARY: &str = "canary-7Qk2vX9pLmZ4/tR8wY3n+bC6";
const OTHER: &str = "kanarie-1Jd5sG8hFaQ2_uI0oP7e~xV9";

fn setup() -> Setup {
    Setup::probe_under(&format!("{PROBE_POLICY}{REVEAL}"))
        .secret("probe", "token", CANARY)
        .secret("probe", "seen", OTHER)
}

/// Every form in which a value could stand somewhere.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let encoded: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    vec![
        value.to_owned(),
        STANDARD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
        hex.to_uppercase(),
        hex,
        percent,
        encoded,
    ]
}

/// Asserts that no form of a value stands in `text`.
#[track_caller]
fn clean(text: &str, what: &str) {
    for value in [CANARY, OTHER] {
        for form in forms(value) {
            assert!(!text.contains(&form), "{what} holds `{form}`: {text}");
        }
    }
}

/// Every file below `folder`, and what is in it.
fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, all);
        } else if path.is_file() {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

/// Asserts that no file of the home holds any form of a value.
#[track_caller]
fn assert_nowhere(bench: &Bench) {
    let mut all = Vec::new();
    files(bench.host.home().root(), &mut all);
    assert!(all.iter().any(|(path, _)| path.ends_with("secrets.store")));
    for (path, bytes) in all {
        for form in [CANARY, OTHER].into_iter().flat_map(forms) {
            let found = bytes
                .windows(form.len())
                .any(|window| window == form.as_bytes());
            assert!(!found, "`{path}` holds `{form}`");
        }
    }
}

fn send(url: &str, credentials: Value) -> Value {
    json!({"requirement": "api", "method": "GET", "url": url, "credentials": credentials})
}

#[tokio::test]
async fn a_secret_goes_to_its_origin_only_and_comes_back_redacted() {
    let bench = setup().start().await;
    let echo = "https://granted.example/echo-secret";
    for (scheme, name, header, value) in [
        (
            "bearer",
            Value::Null,
            "authorization",
            format!("Bearer {CANARY}"),
        ),
        (
            "basic",
            json!("user"),
            "authorization",
            format!("Basic {}", STANDARD.encode(format!("user:{CANARY}"))),
        ),
        ("header", json!("x-api-key"), "x-api-key", CANARY.to_owned()),
        (
            "placeholder",
            json!("x-api-key"),
            "x-api-key",
            CANARY.to_owned(),
        ),
    ] {
        let before = bench.upstream.ledger().await.len();
        let mut credential = json!({"secret": "token", "scheme": scheme});
        if !name.is_null() {
            credential["name"] = name;
        }
        let reply = bench
            .call("probe_send", send(echo, json!([credential])))
            .await;
        assert_eq!(*reply.at("/status"), 500, "{scheme}: {}", reply.text());
        let seen = &bench.upstream.ledger().await[before..];
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].header(header), [value], "{scheme}");
        assert_eq!(seen[0].tls.as_deref(), Some("granted.example"));
        clean(&reply.everything(), scheme);
        let made = bench
            .records_of(reply.call)
            .into_iter()
            .find_map(|event| match event {
                Event::HostCall(made) => Some(made),
                _ => None,
            });
        let made = made.unwrap();
        assert_eq!(made.secrets, ["token"], "by name only");
        let [lent] = made.secret_uses.as_slice() else {
            panic!("one use: {made:?}");
        };
        assert_eq!(
            (lent.secret.as_str(), lent.scheme.as_str()),
            ("token", scheme)
        );
        assert_eq!(lent.decision.policies[0].id, "probe.secrets", "{scheme}");
    }
    // As a parameter, where policy allows it.
    let reply = bench
        .call(
            "probe_send",
            send(
                "https://granted.example/echo",
                json!([{"secret": "token", "scheme": "query", "name": "key"}]),
            ),
        )
        .await;
    assert_eq!(*reply.at("/status"), 200);
    clean(&reply.everything(), "query");
    let line = bench.upstream.ledger().await.last().unwrap().line();
    let encoded: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    assert!(line.contains(&format!("key={encoded}")), "{line}");
    assert_nowhere(&bench);
    bench.verify();
}

#[tokio::test]
async fn a_secret_is_bound_to_its_origin_whatever_else_is_granted() {
    let bench = setup().start().await;
    for scheme in ["bearer", "header", "placeholder"] {
        let send = json!({
            "requirement": "open", "method": "GET", "url": "https://elsewhere.example/",
            "credentials": [{"secret": "token", "scheme": scheme, "name": "x-api-key"}],
        });
        let reply = bench.call("probe_send", send).await;
        assert_eq!(*reply.at("/reason"), "secret.binding", "{scheme}");
    }
    assert!(bench.upstream.ledger().await.is_empty() && bench.resolver.asked().is_empty());
    assert_nowhere(&bench);
}

#[tokio::test]
async fn a_placeholder_is_worth_nothing_but_in_a_header_of_its_own_call() {
    let bench = setup().start().await;
    let reply = bench
        .call(
            "probe_secret",
            json!({"name": "token", "act": "placeholder"}),
        )
        .await;
    let placeholder = reply.at("/value").as_str().unwrap().to_owned();
    clean(&placeholder, "the placeholder");
    // Kept for a later call, and used wherever a text can stand.
    let later = json!({
        "requirement": "api", "method": "POST", "url": format!("https://granted.example/echo?p={placeholder}"),
        "headers": [["authorization", format!("Bearer {placeholder}")]], "body": placeholder,
    });
    let reply = bench.call("probe_send", later).await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    clean(&seen[0].text(), "the request");
    // In its own call the header alone is replaced.
    let other = bench
        .call(
            "probe_secret",
            json!({"name": "token", "act": "placeholder"}),
        )
        .await;
    assert_ne!(*other.at("/value"), *placeholder, "never the same twice");
}

#[tokio::test]
async fn a_handle_shows_nothing_and_reading_takes_a_rule_by_name() {
    // Without the rule for `seen`.
    let bench = Setup::probe()
        .secret("probe", "token", CANARY)
        .secret("probe", "seen", OTHER)
        .start()
        .await;
    for (name, reason) in [
        ("token", "secret.handle_only"),
        ("seen", "policy.default_deny"),
    ] {
        let reply = bench
            .call("probe_secret", json!({"name": name, "act": "reveal"}))
            .await;
        assert_eq!(*reply.at("/reason"), reason);
        clean(&reply.everything(), name);
    }
    // With it, and still not for the other.
    let bench = setup().start().await;
    let reply = bench
        .call("probe_secret", json!({"name": "token", "act": "reveal"}))
        .await;
    assert_eq!(*reply.at("/reason"), "secret.handle_only");
    let reply = bench
        .call("probe_secret", json!({"name": "seen", "act": "reveal"}))
        .await;
    assert_eq!(*reply.at("/ok"), true, "the plugin may read it");
    clean(&reply.everything(), "the result");
    assert!(bench.outcome(reply.call).redacted > 0);
    bench.verify();
}

/// Where the probe's `leak` can write what it read.
pub(crate) const LEAKS: [&str; 12] = [
    "result",
    "structured",
    "meta",
    "is_error",
    "error",
    "panic",
    "log",
    "stdout",
    "progress",
    "requirement",
    "key",
    "state",
];

#[tokio::test]
pub(crate) async fn a_secret_that_a_plugin_may_read_leaves_by_no_door() {
    let _row = crate::attacks::stands_for("X08");
    let bench = setup().start().await;
    for place in LEAKS {
        for form in ["plain", "base64", "hex", "percent"] {
            let reports = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
            let sink = {
                let reports = reports.clone();
                ProgressSink(std::sync::Arc::new(move |report| {
                    reports.lock().unwrap().push_str(&format!("{report:?}"))
                }))
            };
            let arguments = json!({"name": "seen", "form": form, "where": place});
            let arrival = arrival_with("alice", "probe_leak", &arguments, sink);
            let reply = bench
                .host
                .call(arrival, tokio_util::sync::CancellationToken::new())
                .await;
            clean(&reply.everything(), &format!("{form} in {place}"));
            clean(&reports.lock().unwrap(), &format!("{form} in progress"));
        }
    }
    // What was refused is named in its record, without the value.
    let asked_for: Vec<_> = bench
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Refusal(refused) => refused.host_call.map(|host_call| host_call.target),
            _ => None,
        })
        .collect();
    assert_eq!(asked_for.len(), 4, "{asked_for:?}");
    for target in &asked_for {
        assert!(target.contains("[redacted:seen]"), "{target}");
    }
    assert_nowhere(&bench);
    bench.verify();
}

/// X17. A key and a state go out as the plugin wrote them, or not at all.
#[tokio::test]
pub(crate) async fn a_lent_value_in_a_question_is_asked_of_nobody() {
    let _row = crate::attacks::stands_for("X17");
    let bench = setup().start().await;
    for (place, form) in [
        // The forms that a key's letters allow.
        ("key", "hex"),
        ("state", "plain"),
        ("state", "base64"),
        ("state", "hex"),
    ] {
        let arguments = json!({"name": "seen", "form": form, "where": place});
        let reply = bench.call("probe_leak", arguments).await;
        assert_eq!(reply.reason(), Some(Reason::SecretInRequest), "{place}");
        assert!(reply.asks.is_none(), "{place}: nothing is left to be asked");
        clean(&reply.everything(), &format!("{form} in {place}"));
        assert_eq!(
            bench.outcome(reply.call).reason,
            Some(Reason::SecretInRequest)
        );
        // Nobody decided on it, and nothing was asked.
        let asked = bench.records_of(reply.call).into_iter().any(
            |event| matches!(event, Event::HostCall(call) if call.host_call.capability == "ask"),
        );
        assert!(!asked, "{place}");
    }
    assert_nowhere(&bench);
    bench.verify();
}

#[tokio::test]
async fn a_lent_value_in_what_the_plugin_writes_itself_is_not_sent() {
    let bench = setup().start().await;
    let lent = json!([{"secret": "token", "scheme": "bearer"}]);
    for form in forms(CANARY) {
        for request in [
            json!({"url": format!("https://granted.example/echo?x={}", url::form_urlencoded::byte_serialize(form.as_bytes()).collect::<String>())}),
            json!({"url": "https://granted.example/echo", "headers": [["x-other", form]]}),
            json!({"url": "https://granted.example/echo", "body": format!("{{\"a\":\"{form}\"}}")}),
        ] {
            let mut send = request.clone();
            send["requirement"] = json!("api");
            send["method"] = json!("POST");
            send["credentials"] = lent.clone();
            let reply = bench.call("probe_send", send).await;
            assert_eq!(*reply.at("/reason"), "dlp.secret_in_request", "{request}");
        }
    }
    assert!(bench.upstream.ledger().await.is_empty());
    assert!(bench.resolver.asked().is_empty(), "not even as a name");
}

#[tokio::test]
async fn a_secret_that_is_missing_and_one_that_is_not_granted_are_told_alike() {
    let bench = Setup::probe().start().await;
    let told = |name: &str| {
        let arguments = json!({"name": name, "act": "open"});
        bench.call("probe_secret", arguments)
    };
    // Granted and not set; declared by nobody.
    let (missing, foreign) = (told("token").await, told("nobodys").await);
    assert_eq!(*missing.at("/reason"), "secret.not_granted");
    assert_eq!(missing.completion.structured, foreign.completion.structured);
    assert_eq!(missing.text(), foreign.text());
    // Another tool of the same plugin was not granted it at all.
    let send = send(
        "https://granted.example/",
        json!([{"secret": "token", "scheme": "bearer"}]),
    );
    let reply = bench.call("probe_send_unlisted", send).await;
    assert_eq!(*reply.at("/reason"), "grant.absent");
    assert!(bench.upstream.ledger().await.is_empty());
}

#[tokio::test]
pub(crate) async fn no_connection_is_used_twice() {
    let _row = crate::attacks::stands_for("S29");
    let twin = PROBE_POLICY.replace("\"probe\"", "\"twin\"");
    let bench = setup()
        .component("twin", guests::PROBE)
        .policy("twin", &twin)
        .toml("[plugin.twin.settings]\norigin = \"https://granted.example\"")
        .start()
        .await;
    let with = json!({
        "requirement": "api", "method": "GET", "url": "https://granted.example/hello", "repeat": 2,
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let without = json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hello", "repeat": 2});
    for (tool, arguments) in [
        ("probe_send", &with),
        ("twin_send", &without),
        ("probe_send", &without),
    ] {
        let reply = bench.call(tool, arguments.clone()).await;
        assert_eq!(*reply.at("/reasons"), json!(["ok", "ok"]), "{tool}");
    }
    let seen = bench.upstream.ledger().await;
    assert_eq!(seen.len(), 6);
    assert_eq!(
        bench.connector.dialled().len(),
        6,
        "a connection for each request"
    );
    for (at, request) in seen.iter().enumerate() {
        assert_eq!(
            request.text().matches(" HTTP/1.1\r\n").count(),
            1,
            "one request in each"
        );
        assert_eq!(request.header("connection"), ["close"]);
        assert_eq!(
            request.header("authorization").len(),
            usize::from(at < 2),
            "the token with its own requests"
        );
    }
}

#[tokio::test]
async fn sources_are_files_and_the_store_and_never_the_plugins_to_choose() {
    let bench = Setup::probe()
        .toml("[secret.probe.token]\nsource = \"file\"\npath = \"token.txt\"")
        .start()
        .await;
    let path = bench.host.home().root().join("token.txt");
    let told = send(
        "https://granted.example/echo-secret",
        json!([{"secret": "token", "scheme": "bearer"}]),
    );
    // Not there yet.
    let reply = bench.call("probe_send", told.clone()).await;
    assert!(matches!(
        reply.at("/reason").as_str(),
        Some("secret.not_granted" | "secret.unavailable")
    ));
    std::fs::write(&path, format!("{CANARY}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let reply = bench.call("probe_send", told).await;
    assert_eq!(*reply.at("/status"), 500, "{}", reply.text());
    clean(&reply.everything(), "the result");
    let seen = bench.upstream.ledger().await;
    assert_eq!(
        seen[0].header("authorization"),
        [format!("Bearer {CANARY}")]
    );
    assert_eq!(bench.echo().await, None);
    assert!(!matches!(
        bench
            .call("probe_panic", json!({"message": "x"}))
            .await
            .reason(),
        Some(Reason::HostInternal)
    ));
}

#[tokio::test]
pub(crate) async fn a_loop_of_guesses_learns_nothing_and_is_stopped() {
    let _row = crate::attacks::stands_for("X16");
    let bench = setup().start().await;
    let told = |name: &'static str| {
        let lent = json!([{"secret": name, "scheme": "bearer"}]);
        let mut arguments = send("https://granted.example/", lent);
        arguments["repeat"] = json!(100);
        bench.call("probe_send", arguments)
    };
    // Neither a part of a name nor what looks like a pattern or a path is worth more than nothing.
    let first = told("toke").await;
    assert_eq!(
        first.reason(),
        Some(Reason::BudgetRefusals),
        "{:?}",
        first.refusal
    );
    for name in ["token2", "TOKEN", "*", "../token", "github/token", "tok"] {
        let reply = told(name).await;
        assert_eq!(reply.text(), first.text(), "{name}");
        assert_eq!(reply.reason(), first.reason(), "{name}");
        let outcome = bench.outcome(reply.call);
        assert_eq!(
            outcome.refused.get(&Reason::SecretNotGranted),
            bench
                .outcome(first.call)
                .refused
                .get(&Reason::SecretNotGranted),
            "{name}"
        );
    }
    assert!(bench.upstream.ledger().await.is_empty());
    bench.verify();
}

#[tokio::test]
pub(crate) async fn the_token_of_a_client_goes_nowhere() {
    use crate::harness::binary::Daemon;
    let _row = crate::attacks::stands_for("X15");
    let upstream = crate::upstream::Upstream::start().await;
    let (_folder, home) = crate::journal::local(&upstream).make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let client = daemon.client(&token);
    let url = format!("http://{}/hello", upstream.plain);
    let result = client
        .call(
            "probe_send",
            &json!({"requirement": "api", "method": "GET", "url": url}),
        )
        .await;
    assert_eq!(result["structuredContent"]["status"], 200, "{result}");
    let environment = client.call("probe_environment", &json!({})).await;
    assert!(!environment.to_string().contains(&token));
    let seen = upstream.ledger().await;
    assert_eq!(seen.len(), 1);
    assert!(seen[0].header("authorization").is_empty());
    assert!(!seen[0].text().contains(&token), "{}", seen[0].text());
    daemon.stop().await;
    assert_verifies(&home.journal());
    let ran = intents(records(&home.journal()));
    assert_eq!(ran.len(), 2, "the records are searched below as well");
    // Kept as a digest only.
    let mut all = Vec::new();
    files(home.root(), &mut all);
    for (path, bytes) in all {
        let found = bytes
            .windows(token.len())
            .any(|window| window == token.as_bytes());
        assert!(!found, "`{path}` holds the token");
    }
}
