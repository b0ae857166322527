//! The host's own tokens, and how step tokens are asked for, over real HTTP and from the real program.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::identity::AgentId;
use tollgate::journal::record::Event;

use crate::harness::Setup;
use crate::harness::binary::{Daemon, run, run_with};
use crate::harness::served::{Served, code};

/// Alice may call everything of the probe, Bob only `echo`; nobody else anything.
pub(crate) const POLICY: &str = r#"
@id("alice")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action in Action::"call", resource in Plugin::"probe");
@id("bob")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"probe.echo");
"#;

pub(crate) fn x() -> Value {
    json!({"text": "x"})
}

/// A host, and the tokens of Alice and Bob.
pub(crate) async fn served() -> (Served, String, String) {
    let served = Served::start(Setup::probe_under(POLICY)).await;
    let (alice, bob) = (served.agent("alice"), served.agent("bob"));
    (served, alice, bob)
}

pub(crate) const ECHO: &[(&str, &str)] = &[("scope", "call:probe.echo")];

/// J13.
#[tokio::test]
pub(crate) async fn a_clock_that_is_set_back_revives_no_token() {
    let (served, alice, _) = served().await;
    let short = served
        .host
        .identities()
        .issue("carol", Some(Duration::from_secs(100)))
        .unwrap();
    let step = served.token(&alice, None, ECHO).await;
    served.at(3_600);
    assert_eq!(served.echo(&step).await, "http 401");
    served.at(0);
    assert_eq!(served.echo(&step).await, "http 401");
    assert_eq!(served.echo(short.token.expose()).await, "http 401");
    assert_eq!(served.echo(&alice).await, "ok");
    let stepped = served
        .records()
        .into_iter()
        .filter(|record| matches!(&record.event, Event::Changed(c) if c.change == "clock.stepped"))
        .count();
    assert_eq!(stepped, 1);
}

#[tokio::test]
async fn a_request_for_a_token_is_read_strictly() {
    let (served, alice, _) = served().await;
    for (more, error) in [
        (vec![], "invalid_scope"),
        (
            vec![("scope", "call:probe.echo call:probe.now")],
            "invalid_scope",
        ),
        (vec![("scope", "call:*")], "invalid_scope"),
        (
            vec![("scope", "call:probe.echo"), ("scope", "call:probe.now")],
            "invalid_request",
        ),
        (
            vec![("scope", "call:probe.echo"), ("audience", "x")],
            "invalid_request",
        ),
        (
            vec![
                ("scope", "call:probe.echo"),
                ("resource", "https://other.example"),
            ],
            "invalid_target",
        ),
        (
            vec![("scope", "call:probe.echo"), ("arguments", "[]")],
            "invalid_request",
        ),
        (
            vec![
                ("scope", "call:probe.echo"),
                ("arguments", "{\"a\":1,\"a\":2}"),
            ],
            "invalid_request",
        ),
        (
            vec![("scope", "call:probe.echo"), ("constraints", "{\"a\":1}")],
            "invalid_request",
        ),
        (
            vec![("scope", "call:probe.echo"), ("constraints", "{\"/a\":{}}")],
            "invalid_scope",
        ),
        (
            vec![("scope", "call:probe.echo"), ("task", "x")],
            "invalid_request",
        ),
        (
            vec![("scope", "call:probe.echo"), ("lifetime", "0")],
            "invalid_request",
        ),
        (vec![("handoff_to", "no such agent")], "invalid_target"),
        (vec![("handoff_to", "nobody")], "invalid_target"),
    ] {
        let (status, body) = served.exchange(&alice, None, &more).await;
        assert_eq!(
            (status, body["error"].as_str()),
            (400, Some(error)),
            "{more:?}: {body}"
        );
    }
    let (status, _) = served.exchange("tg_nobody", None, ECHO).await;
    assert_eq!(status, 400);
    // The longest life is the most, whatever is asked.
    let (_, body) = served
        .exchange(
            &alice,
            None,
            &[("scope", "call:probe.echo"), ("lifetime", "86400")],
        )
        .await;
    assert_eq!(body["expires_in"], 60);
    assert_eq!(body["token_type"], "Bearer");
}

/// The operator's side, with the real program.
#[tokio::test]
async fn tokens_are_rotated_listed_narrowed_and_revoked() {
    let (folder, home) = Setup::probe_under(POLICY).make().await;
    let mut daemon = Daemon::start(&home).await;
    let old = daemon.agent("alice").await;
    let list = run(&home, &["--format", "json", "agent", "list"]).await;
    let listed = &list.lines()[0];
    assert!(
        listed["expires"].is_string(),
        "a token ends by default: {listed}"
    );
    let ok = |token: &str| {
        let client = daemon.client(token);
        async move {
            client
                .try_call("probe_echo", &x())
                .await
                .is_some_and(|r| r["isError"] == false)
        }
    };
    assert!(ok(&old).await);
    let said = run(&home, &["--format", "json", "agent", "rotate", "alice"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let new = said.lines()[0]["token"].as_str().unwrap().to_owned();
    assert!(ok(&old).await, "the old one overlaps");
    assert!(ok(&new).await);
    let said = run(
        &home,
        &[
            "agent",
            "rotate",
            "alice",
            "--overlap",
            "0s",
            "--ttl",
            "never",
        ],
    )
    .await;
    let newest = said.out.trim().to_owned();
    assert!(said.err.contains("worth nothing from now on"), "{said:?}");
    assert!(!ok(&old).await && !ok(&new).await);
    assert!(ok(&newest).await);

    let make = [
        "token",
        "step",
        "--agent",
        "alice",
        "--tool",
        "probe_echo",
        "--argument",
        "/text=\"a\"",
    ];
    let token = run(&home, &make).await.out.trim().to_owned();
    let check = [
        "token",
        "narrow",
        "--check",
        "check if argument(\"/text\", \"b\")",
    ];
    let narrowed = run_with(&home, &check, &token).await;
    assert_eq!(narrowed.code, 0, "{narrowed:?}");
    let result = daemon
        .client(narrowed.out.trim())
        .call("probe_echo", &json!({"text": "a"}))
        .await;
    assert_eq!(
        result["_meta"]["dev.tollgate/refusal"]["code"],
        "token.check_failed"
    );
    let json = run(&home, &[&["--format", "json"][..], &make].concat()).await;
    let (id, token) = (
        json.lines()[0]["id"].as_str().unwrap().to_owned(),
        json.lines()[0]["token"].as_str().unwrap().to_owned(),
    );
    assert_eq!(run(&home, &["revoke", "token", &id]).await.code, 0);
    let answer = daemon
        .client(&token)
        .request("tools/list", json!({}))
        .await
        .unwrap();
    assert_eq!(answer.status, 401);
    let token = run(&home, &make).await.out.trim().to_owned();
    assert_eq!(run(&home, &["token", "rotate-key"]).await.code, 0);
    let tools = daemon.client(&token).tools().await;
    assert_eq!(tools, ["probe_echo"], "a rotation in order keeps them");
    assert_eq!(
        run(&home, &["token", "rotate-key", "--at-once"]).await.code,
        0
    );
    let answer = daemon
        .client(&token)
        .request("tools/list", json!({}))
        .await
        .unwrap();
    assert_eq!(answer.status, 401);

    for wrong in [
        &["token", "step", "--agent", "alice"][..],
        &["token", "step", "--agent", "alice", "--tool", "probe.none"],
        &["token", "step", "--agent", "nobody", "--tool", "probe.echo"],
        &[
            "token",
            "step",
            "--agent",
            "alice",
            "--tool",
            "probe.echo",
            "--to",
            "bob",
        ],
        &["token", "handoff", "--agent", "alice"],
        &["agent", "rotate", "nobody"],
    ] {
        assert_ne!(run(&home, wrong).await.code, 0, "{wrong:?}");
    }
    assert_eq!(run(&home, &["agent", "revoke", "alice"]).await.code, 0);
    assert!(!ok(&newest).await);
    daemon.stop().await;
    drop(folder);
}

/// J01: two agents never share a record.
#[tokio::test]
async fn each_agent_has_its_own_identity_in_the_records() {
    let (served, alice, bob) = served().await;
    assert_ne!(alice, bob);
    for token in [&alice, &bob] {
        let answer = served.call(token, &[], "probe_echo", &x()).await;
        assert_eq!(code(&answer), "ok");
    }
    let agents: Vec<_> = served
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Intent(intent) => Some(intent.caller.agent.name().to_owned()),
            _ => None,
        })
        .collect();
    assert_eq!(agents, ["alice", "bob"]);
}

/// An agent's credential of any form, where a person's belongs, is told for what it is.
#[tokio::test]
async fn no_token_of_an_agent_is_a_persons() {
    use tollgate::host::Door;
    use tollgate::reason::Reason;

    let (served, alice, _) = served().await;
    let step = served.token(&alice, None, ECHO).await;
    let handoff = served.token(&alice, None, &[("handoff_to", "bob")]).await;
    for token in [&alice, &step, &handoff] {
        let refusal = served.host.person(token, Door::Command).unwrap_err();
        assert_eq!(refusal.reason, Reason::IdentityKind, "{token}");
    }
    let nobody = served.host.person("tgs_x", Door::Command).unwrap_err();
    assert_eq!(nobody.reason, Reason::IdentityUnknown);
}

/// Whatever is refused is written down, and however often it comes, that is a line a minute.
#[tokio::test]
async fn what_is_not_believed_is_recorded_and_counted() {
    let (served, alice, _) = served().await;
    let told = |change: &str| {
        let changed = |record: tollgate::journal::record::Record| match record.event {
            Event::Changed(changed) if changed.change == change => {
                let reason = changed.reason.unwrap().code();
                Some((changed.subject, reason, changed.detail.unwrap()))
            }
            _ => None,
        };
        served
            .records()
            .into_iter()
            .filter_map(changed)
            .collect::<Vec<_>>()
    };
    for _ in 0..30 {
        assert_eq!(served.echo("tg_nobody").await, "http 401");
        let (status, _) = served.exchange("tg_nobody", None, ECHO).await;
        assert_eq!(status, 400);
    }
    let refused = told("credential.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (refused[0].0.as_ref(), refused[0].1),
        (None, "identity.unknown")
    );
    assert!(
        refused[0]
            .2
            .starts_with("presented at MCP: not a Tollgate token"),
        "{refused:?}"
    );
    // Another reason is another line; and the next minute tells how many there were.
    assert_eq!(served.echo("tgs_x").await, "http 401");
    served.at(61);
    assert_eq!(served.echo("tg_nobody").await, "http 401");
    let refused = told("credential.refused");
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert_eq!(refused[1].1, "token.invalid");
    assert!(
        refused[2]
            .2
            .ends_with(", and 59 times more since the last record"),
        "{refused:?}"
    );
    // So is what an agent asks for and may not have.
    for _ in 0..3 {
        let (status, _) = served
            .exchange(&alice, None, &[("handoff_to", "alice")])
            .await;
        assert_eq!(status, 400);
    }
    let alice = AgentId::local("alice").unwrap().to_string();
    let loops = "asked for at MCP: an agent gets back what it handed on";
    assert_eq!(
        told("token.refused"),
        [(Some(alice), "handoff.loop", loops.to_owned())]
    );
}

/// An agent is given only so many tokens, however it asks; what it may not have counts as well.
#[tokio::test]
async fn an_agent_is_given_only_so_many_tokens() {
    use tollgate::host::Door;
    use tollgate::identity::{Authenticated, MintRequest};
    use tollgate::reason::Reason;

    let (served, alice, bob) = served().await;
    let who = Authenticated::of(AgentId::local("alice").unwrap());
    for _ in 0..600 {
        let ask = MintRequest {
            to: Some(who.agent.clone()),
            ..MintRequest::default()
        };
        let refusal = served
            .host
            .mint(&who, ask, Door::Command)
            .await
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::HandoffLoop);
    }
    let (status, body) = served.exchange(&alice, None, ECHO).await;
    assert_eq!(status, 429, "{body}");
    let says = body["error_description"].as_str().unwrap();
    assert!(says.starts_with("limit.tokens: "), "{says}");
    assert_eq!(served.exchange(&bob, None, ECHO).await.0, 200);
    assert_eq!(served.echo(&alice).await, "ok");
}
