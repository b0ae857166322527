//! Credentials that the host makes itself: with a key that no plugin ever holds.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tollgate::clock::SystemClock;
use tollgate::journal::record::LeaseChange;

use super::works::{changes, local, nowhere, stages};
use crate::harness::{Look as _, Setup, arrival, host};
use crate::servers::{APP_KEY, GitHub, until};

#[tokio::test]
async fn the_host_signs_and_the_plugin_never_holds_the_key() {
    let bench = Setup::probe()
        .secret(
            "probe",
            "token",
            r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"canary-of-a-key-8Zq1"}"#,
        )
        .start()
        .await;
    let send = |name: &str, headers: Value| {
        let arguments = json!({
            "requirement": "api", "method": "POST", "url": "https://granted.example/echo", "body": "{}",
            "headers": headers,
            "credentials": [{"secret": "token", "scheme": "sign_aws", "name": name}],
        });
        bench.call("probe_send", arguments)
    };
    let reply = send(
        "eu-central-1/sqs",
        json!([["content-type", "application/json"]]),
    )
    .await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    let signature = seen[0].header("authorization");
    assert!(signature[0].starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/eu-central-1/sqs/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature="), "{signature:?}");
    assert_eq!(seen[0].header("x-amz-date").len(), 1);
    assert!(!reply.everything().contains("canary-of-a-key"));
    assert!(!seen[0].text().contains("canary-of-a-key"));
    // What the host sets is the host's.
    let reply = send(
        "eu-central-1/sqs",
        json!([["x-amz-date", "20200101T000000Z"]]),
    )
    .await;
    assert_eq!(*reply.at("/reason"), "egress.request_invalid");
    let reply = send("eu central/s3", json!([])).await;
    assert_eq!(*reply.at("/reason"), "egress.request_invalid");
    assert_eq!(bench.upstream.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_token_of_an_installation_is_narrow_and_given_back() {
    let github = GitHub::start().await;
    let app = format!(
        "[secret.probe.token]\nsource = \"github-app\"\napi = \"{}\"\napp = \"12345\"\ninstallation = 7\n\
         repositories = [\"docs\"]\npermissions = {{ contents = \"read\" }}",
        github.origin
    );
    let setup = local(&github.origin)
        .toml(&app)
        .secret("probe", "token", APP_KEY);
    let (_folder, home) = setup.make().await;
    let host = host(home, Arc::new(SystemClock)).await;
    let read = json!({
        "requirement": "api", "method": "GET", "url": format!("{}/repos/a/docs", github.origin), "repeat": 2,
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let reply = host
        .call(
            arrival("alice", "probe_send", read.to_string()),
            CancellationToken::new(),
        )
        .await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    until("it is given back", || async { github.alive() == 0 }).await;
    assert_eq!((github.served(), github.made().len()), (2, 1));
    assert_eq!(
        github.wishes(),
        [json!({"repositories": ["docs"], "permissions": {"contents": "read"}})]
    );
    let home = host.home().clone();
    host.stop().await;
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    nowhere(&home, &github.made()[0]);
}

#[tokio::test]
async fn a_signed_token_is_for_one_audience_and_short() {
    let jwt = "[secret.probe.token]\nsource = \"jwt\"\nissuer = \"https://tollgate.example\"\nsubject = \"tollgate\"\n\
               audience = \"https://granted.example\"\nkey_id = \"k1\"";
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let bench = Setup::probe()
        .toml(jwt)
        .secret("probe", "token", &key)
        .start()
        .await;
    let arguments = json!({
        "requirement": "api", "method": "GET", "url": "https://granted.example/echo",
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    });
    let reply = bench.call("probe_send", arguments).await;
    assert_eq!(*reply.at("/status"), 200, "{}", reply.text());
    let seen = bench.upstream.ledger().await;
    let token = seen[0].header("authorization")[0].clone();
    let token = token.strip_prefix("Bearer ").unwrap();
    assert!(
        !reply.everything().contains(token),
        "redacted where it is echoed"
    );
    let read = |part: &str| -> Value {
        use base64::Engine as _;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(part)
            .unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let mut parts = token.split('.');
    let (header, claims) = (read(parts.next().unwrap()), read(parts.next().unwrap()));
    assert_eq!(header, json!({"alg": "ES256", "typ": "JWT", "kid": "k1"}));
    assert_eq!(claims["aud"], "https://granted.example");
    let lives = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(lives <= 120, "{claims}");
    let ended: Vec<_> = changes(bench.host.home());
    let made = |change: &&LeaseChange| change.stage != "wanted";
    // Live, and left.
    assert_eq!(ended.iter().filter(made).count(), 2);
    assert!(
        ended
            .iter()
            .filter(made)
            .all(|change| !change.revocable && change.expires.is_some())
    );
}
