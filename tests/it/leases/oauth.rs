//! Access tokens of a real authorization server, from a refresh token that a person consented to.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::secret::{SecretValue, Store};

use super::works::{changes, listed, local, none_listed, nowhere, stages};
use crate::harness::binary::Daemon;
use crate::harness::{Setup, assert_verifies, records};
use crate::servers::{CLIENT_SECRET, Oidc, until};

/// The probe, whose token that server gives; with more in the table of the secret.
fn setup(oidc: &Oidc, more: &str) -> Setup {
    let secret = format!(
        "[secret.probe.token]\nsource = \"oauth\"\ntoken_url = \"{}/token\"\nclient_id = \"tollgate\"\n\
         client_secret = \"client\"\n{more}",
        oidc.issuer
    );
    local(&oidc.issuer)
        .toml(&secret)
        .secret("probe", "token", &oidc.token)
        .secret("probe", "client", CLIENT_SECRET)
}

/// The same, where access tokens are taken back.
fn taking_back(oidc: &Oidc) -> Setup {
    let endpoint = format!("revocation_url = \"{}/token/revocation\"", oidc.issuer);
    setup(oidc, &endpoint)
}

/// What the probe is told: to ask that server with its token.
fn asks(oidc: &Oidc, path: &str) -> Value {
    json!({
        "requirement": "api", "method": "GET", "url": format!("{}/{path}", oidc.issuer),
        "credentials": [{"secret": "token", "scheme": "bearer"}],
    })
}

/// Asserts that no access token stands in a file of the home, nor in what was said.
async fn assert_nowhere(oidc: &Oidc, home: &Home, said: &str) {
    for token in oidc.made().await {
        assert!(!said.contains(&token));
        nowhere(home, &token);
    }
}

#[tokio::test]
async fn a_refresh_token_is_rotated_on_the_disk_before_its_access_token_is_used() {
    let oidc = Oidc::start("voids").await;
    let (_folder, home) = setup(&oidc, "").make().await;
    let store = Store::new(&home, Arc::new(SystemEntropy));
    let probe = "probe".parse().unwrap();
    let stored = || -> SecretValue { store.value(&probe, "token").unwrap() };
    let mut seen = vec![stored().expose().to_vec()];
    let me = asks(&oidc, "me");
    let mut token = None;
    // Each host has nothing in memory, so each refreshes, with what the one before it kept.
    for _ in 0..3 {
        let mut daemon = Daemon::start(&home).await;
        if token.is_none() {
            token = Some(daemon.agent("alice").await);
        }
        let token = token.as_deref().unwrap();
        let client = daemon.client(token);
        // At once: a refresh token that was sent twice would void the grant.
        let replies = tokio::join!(
            client.call("probe_send", &me),
            client.call("probe_send", &me),
            client.call("probe_send", &me)
        );
        for reply in [replies.0, replies.1, replies.2] {
            assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
            let body = reply["structuredContent"]["body"].as_str().unwrap();
            assert!(body.contains("anna"), "{reply}");
        }
        let now = stored().expose().to_vec();
        assert!(!seen.contains(&now), "it is a new one each time");
        seen.push(now);
        assert!(!daemon.said().contains(CLIENT_SECRET));
        daemon.kill().await;
    }
    let changes = changes(&home);
    assert!(
        changes
            .iter()
            .all(|change| change.source == "oauth" && !change.revocable)
    );
    assert!(
        changes
            .iter()
            .any(|change| change.stage == "live" && change.expires.is_some())
    );
    for token in seen {
        nowhere(&home, std::str::from_utf8(&token).unwrap());
    }
}

#[tokio::test]
async fn an_access_token_is_of_one_call_and_dead_after_it() {
    let oidc = Oidc::start("keeps").await;
    let (_folder, home) = taking_back(&oidc).make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let (client, me) = (daemon.client(&token), asks(&oidc, "me"));
    let replies = tokio::join!(
        client.call("probe_send", &me),
        client.call("probe_send", &me)
    );
    for reply in [replies.0, replies.1] {
        assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    }
    until("both are given back", || async { oidc.alive().await == 0 }).await;
    none_listed(&home).await;
    assert_eq!(oidc.made().await.len(), 2, "each call has its own");
    for token in oidc.made().await {
        assert_eq!(
            oidc.status(&token).await,
            401,
            "the server does not take it"
        );
    }
    // The refresh token was rotated, and is good for the next.
    let reply = client.call("probe_send", &me).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    until("it is given back", || async { oidc.alive().await == 0 }).await;
    none_listed(&home).await;
    daemon.stop().await;
    assert_eq!(oidc.made().await.len(), 3);
    let changes = changes(&home);
    assert!(changes.iter().all(|change| change.source == "oauth"));
    let ends = stages(&home, "token");
    let ends = ends.iter().filter(|stage| *stage == "revoked");
    assert_eq!(ends.count(), 3);
    assert_nowhere(&oidc, &home, &daemon.said()).await;
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn an_access_token_that_is_out_when_the_host_is_killed_is_dead_after_its_next_start() {
    let oidc = Oidc::start("keeps").await;
    let (_folder, home) = taking_back(&oidc).make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let (client, hold) = (daemon.client(&token), asks(&oidc, "hold"));
    let call = tokio::spawn(async move { client.try_call("probe_send", &hold).await });
    until("the call has come", || async { oidc.held().await == 1 }).await;
    daemon.kill().await;
    drop(call.await);
    assert_eq!(oidc.alive().await, 1, "it outlives the host");
    assert_nowhere(&oidc, &home, &daemon.said()).await;
    let mut daemon = Daemon::start(&home).await;
    none_listed(&home).await;
    assert_eq!((oidc.made().await.len(), oidc.alive().await), (1, 0));
    assert_eq!(
        stages(&home, "token"),
        ["wanted", "live", "pending", "revoked"]
    );
    daemon.stop().await;
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn a_server_that_voids_the_grant_with_the_access_token_is_told_of() {
    // RFC 7009 section 2 lets it.
    let oidc = Oidc::start("voids").await;
    let (_folder, home) = taking_back(&oidc).make().await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let (client, me) = (daemon.client(&token), asks(&oidc, "me"));
    let reply = client.call("probe_send", &me).await;
    assert_eq!(reply["structuredContent"]["status"], 200, "{reply}");
    until("it is given back", || async { oidc.alive().await == 0 }).await;
    let reply = client.call("probe_send", &me).await;
    assert_eq!(
        reply["structuredContent"]["reason"], "secret.unavailable",
        "{reply}"
    );
    assert!(listed(&home).await.is_empty());
    daemon.stop().await;
    let records = format!("{:?}", records(&home.journal()));
    let advice = "let a person consent again";
    assert!(records.contains(advice), "the operator is told what to do");
}
