//! Nothing of what a call is about is in anything that monitoring is told.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::net::TcpListener;
use tollgate::telemetry::serve;

use super::collector::Collector;
use super::{PARENT, Telling, telling};
use crate::harness::binary;
use crate::harness::web::send;
use crate::journal::local;
use crate::upstream::Upstream;

/// Nothing else looks like it.
const CANARY: &str = "canary-7Qk2vX9pLmZ4tR8wY3n";
const LENT: &str = "kanarie-1Jd5sG8hFaQ2uI0oP7e";

/// Every form in which a value could stand somewhere.
fn forms(value: &str) -> Vec<String> {
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    vec![
        value.to_owned(),
        STANDARD.encode(value),
        URL_SAFE_NO_PAD.encode(value),
        hex.to_uppercase(),
        hex,
        percent,
    ]
}

#[track_caller]
fn clean(bytes: &[u8], what: &str) {
    for value in [CANARY, LENT] {
        for form in forms(value) {
            let found = bytes
                .windows(form.len())
                .position(|window| window == form.as_bytes());
            let around = found.map(|at| &bytes[at.saturating_sub(300)..at]);
            let around = String::from_utf8_lossy(around.unwrap_or_default());
            assert_eq!(found, None, "{what} holds `{form}` behind `{around}`");
        }
    }
}

/// An agent, a plugin and a server write secrets wherever they can write something: those of the host,
/// and one that only the agent knows, which the host can't tell from any other word.
#[tokio::test]
async fn nothing_that_a_call_is_about_is_told() {
    let upstream = Upstream::start().await;
    let collector = Collector::start([]).await;
    let policy = format!(
        "{}{}permit (principal in Group::\"everyone\", action in Action::\"connect\", resource in Plugin::\"probe\");",
        crate::harness::PROBE_POLICY,
        crate::harness::REVEAL
    );
    let setup = local(&upstream)
        .policy("probe", &policy)
        .secret("probe", "token", LENT)
        .secret("probe", "seen", LENT);
    let telling = Telling::start(telling(setup, &collector, "")).await;
    let origin = format!("http://{}", upstream.plain);
    let requests = [
        // Sent, and echoed by the server in its status, headers and body. (The path of a request that was allowed
        // is in the export, and says so.)
        json!({
            "requirement": "api", "method": "POST", "url": format!("{origin}/echo-secret?key={CANARY}"),
            "headers": [["x-other", CANARY]], "body": CANARY,
            "credentials": [{"secret": "token", "scheme": "bearer"}],
        }),
        json!({"requirement": "api", "method": "GET", "url": format!("https://elsewhere.example/{CANARY}?{CANARY}")}),
        // Refused: at another place (whose host is in the export, in small letters, and says so), as no URL at
        // all, with what was lent in it, by a requirement of that name.
        json!({"requirement": "api", "method": "GET", "url": format!("https://{CANARY}.example/{CANARY}")}),
        json!({"requirement": "api", "method": "GET", "url": CANARY}),
        json!({"requirement": "api", "method": CANARY, "url": format!("{origin}/hello")}),
        json!({
            "requirement": "api", "method": "GET", "url": format!("{origin}/echo?x={LENT}"),
            "credentials": [{"secret": "token", "scheme": "bearer"}],
        }),
        json!({"requirement": CANARY, "method": "GET", "url": format!("{origin}/hello")}),
    ];
    let meta = json!({
        "traceparent": PARENT, "tracestate": format!("{CANARY}=no key, so no state"), "other": CANARY,
        "io.modelcontextprotocol/clientInfo": {"name": CANARY, "version": CANARY},
    });
    for arguments in requests {
        telling.call(meta.clone(), "probe_send", arguments).await;
    }
    for place in crate::secrets::LEAKS {
        for form in ["plain", "hex"] {
            let leak = json!({"name": "seen", "form": form, "where": place});
            telling.call(meta.clone(), "probe_leak", leak).await;
        }
    }
    telling
        .call(
            meta.clone(),
            "probe_echo",
            json!({"text": CANARY, CANARY: 1}),
        )
        .await;
    telling
        .call(meta.clone(), "probe_echo", json!({"text": CANARY}))
        .await;
    telling.call(meta.clone(), CANARY, json!({})).await;
    telling
        .call(meta, &format!("probe_{CANARY}"), json!({}))
        .await;

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::clone(&telling.served.host)));
    let page = send(address, "GET", "/metrics", &[], "").await;
    let served = telling.end().await;

    let sent = collector.all();
    assert!(collector.spans().len() > 30 && !collector.metrics().is_empty());
    for one in &sent {
        clean(&one.body, &one.path);
    }
    clean(page.body.as_bytes(), "the text for Prometheus");
    let home = served.host.home().clone();
    let exported = binary::run(&home, &["audit", "export", "--as", "ocsf"]).await;
    assert_eq!(exported.code, 0, "{}", exported.err);
    let events = exported.lines();
    assert!(events.len() > 25, "{}", events.len());
    clean(exported.out.as_bytes(), "the export");
    // All of it was there to be told: the agent's own words stand in the journal.
    let journal = home.journal();
    let mut all = Vec::new();
    for entry in std::fs::read_dir(&journal).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(String::from_utf8_lossy(&all).contains(CANARY));
}
