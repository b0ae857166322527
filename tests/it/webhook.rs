//! The webhook, against a real server: signed, told again where it failed, and never in a call's way.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tollgate::reason::Reason;
use tollgate::webhook::{Pauses, run};

use crate::harness::{Bench, Look as _, PROBE_POLICY, Setup};
use crate::upstream::Seen;

const KEY: &[u8] = b"a key of thirty-two bytes, or so";

/// A home whose holds are told to two servers: one that always fails, and one that takes it.
async fn bench() -> Bench {
    bench_with("").await
}

async fn bench_with(more: &str) -> Bench {
    let toml = r#"
[plugin.probe.tool.echo]
tier = "hold"
[[webhook]]
url = "https://hooks.example/echo-secret"
secret = { source = "file", path = "hook.key" }
[[webhook]]
url = "https://hooks.example/hook?token=x"
secret = { source = "file", path = "hook.key" }
"#;
    let setup = Setup::probe_under(PROBE_POLICY).toml(toml).toml(more);
    let (folder, home) = setup.make().await;
    let path = home.root().join("hook.key");
    std::fs::write(&path, format!("whsec_{}\n", STANDARD.encode(KEY))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Bench::start_in(folder, home).await
}

/// The receiver's side, as the standard describes it.
fn verified(seen: &Seen) -> Value {
    let header = |name: &str| {
        let mut values = seen.header(name);
        assert_eq!(values.len(), 1, "{name}");
        values.remove(0)
    };
    let body = seen.body();
    let signed = format!(
        "{}.{}.{body}",
        header("webhook-id"),
        header("webhook-timestamp")
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).unwrap();
    mac.update(signed.as_bytes());
    let given = header("webhook-signature");
    let given = STANDARD.decode(given.strip_prefix("v1,").unwrap()).unwrap();
    mac.verify_slice(&given).unwrap();
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn a_new_hold_is_told_signed_and_told_again_where_that_failed() {
    let bench = bench().await;
    let pauses = Pauses(vec![Duration::ZERO, Duration::ZERO]);
    let telling = tokio::spawn(run(bench.host.clone(), pauses));
    let secret = "do not tell this to a chat";
    let reply = bench.call("probe_echo", json!({"text": secret})).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
    let id = reply.at("/approvalId").as_str().unwrap().to_owned();
    // Three attempts at the one, one at the other.
    bench.upstream.arrived(4).await;
    // Asked for again, it is not told again.
    bench.call("probe_echo", json!({"text": secret})).await;
    let seen = bench.upstream.ledger().await;
    let of = |path: &str| -> Vec<&Seen> {
        let line = format!("POST {path} HTTP/1.1");
        seen.iter().filter(|seen| seen.line() == line).collect()
    };
    let (failing, taken) = (of("/echo-secret"), of("/hook?token=x"));
    assert_eq!((failing.len(), taken.len()), (3, 1));
    for seen in failing.iter().chain(&taken) {
        let told = verified(seen);
        assert_eq!(told["type"], "approval.requested");
        assert_eq!(told["data"]["approval"], id);
        assert_eq!(told["data"]["effect"], "call probe.echo");
        assert!(!seen.text().contains(secret), "{}", seen.text());
        assert_eq!(seen.header("webhook-id"), [format!("msg_{id}")]);
        assert_eq!(seen.tls.as_deref(), Some("hooks.example"));
    }
    // What left the host was written down before, without what may be a secret in the address.
    let told: Vec<_> = bench
        .changes_since(0)
        .into_iter()
        .filter(|changed| changed.change == "webhook.told")
        .collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for changed in told {
        assert_eq!(changed.subject.as_deref(), Some(id.as_str()));
        let detail = changed.detail.unwrap();
        assert_eq!(detail, "to https://hooks.example");
    }
    telling.abort();
}

#[tokio::test]
async fn a_server_that_is_down_keeps_no_other_from_being_told() {
    let bench = bench_with("[approvals]\nper_minute = 1000").await;
    // What failed once waits for as long as the test lasts.
    let pauses = Pauses(vec![Duration::from_secs(3_600)]);
    let telling = tokio::spawn(run(bench.host.clone(), pauses));
    for number in 0..65_usize {
        let agent = if number < 64 { "alice" } else { "bob" };
        let arguments = json!({"text": number.to_string()}).to_string();
        let reply = bench.call_as(agent, "probe_echo", arguments).await;
        assert_eq!(reply.reason(), Some(Reason::ApprovalRequired), "{number}");
        bench.upstream.arrived(2 * (number + 1)).await;
    }
    telling.abort();
}

#[tokio::test]
async fn what_waits_is_told_again_after_a_restart_under_the_same_id() {
    let bench = bench().await;
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    let id = reply.at("/approvalId").as_str().unwrap().to_owned();
    assert!(bench.upstream.ledger().await.is_empty(), "nobody tells yet");
    let telling = tokio::spawn(run(bench.host.clone(), Pauses(Vec::new())));
    bench.upstream.arrived(2).await;
    telling.abort();
    for seen in bench.upstream.ledger().await {
        assert_eq!(seen.header("webhook-id"), [format!("msg_{id}")]);
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_sent_and_no_call_waits() {
    let bench = bench().await;
    std::fs::remove_file(bench.host.home().root().join("hook.key")).unwrap();
    let telling = tokio::spawn(run(bench.host.clone(), Pauses(Vec::new())));
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
    telling.abort();
    assert!(bench.upstream.ledger().await.is_empty());
}
