//! The host's own tokens and step tokens, over real HTTP and from the real program.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::identity::{AgentId, MintRequest, narrow};
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::binary::{Daemon, run, run_with};
use crate::harness::mcp::Answer;
use crate::harness::served::{HERE, Served, code};
use crate::harness::{Setup, intents};

/// Alice may call everything of the probe, Bob only `echo`; nobody else anything.
pub(crate) const POLICY: &str = r#"
@id("alice")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action in Action::"call", resource in Plugin::"probe");
@id("bob")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"probe.echo");
"#;

fn x() -> Value {
    json!({"text": "x"})
}

async fn served() -> (Served, String, String) {
    let served = Served::start(Setup::probe_under(POLICY)).await;
    let (alice, bob) = (served.agent("alice"), served.agent("bob"));
    (served, alice, bob)
}

/// The reason in the challenge of an answer.
fn described(answer: &Answer) -> &str {
    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
    let (_, said) = challenge.rsplit_once("error_description=").unwrap();
    said.trim_matches('"')
}

/// How many calls were refused for this reason, by their records.
fn refusals(served: &Served, reason: Reason) -> usize {
    let records = served.records();
    let refused = |event: &Event| matches!(event, Event::Refusal(r) if r.reason == reason);
    records.iter().filter(|r| refused(&r.event)).count()
}

const ECHO: &[(&str, &str)] = &[("scope", "call:probe.echo")];

#[tokio::test]
pub(crate) async fn a_step_token_gives_one_step_once() {
    let _row = crate::attacks::stands_for("J04");
    let (served, alice, _) = served().await;
    let step = served.token(&alice, None, ECHO).await;
    assert_eq!(served.client(&step).tools().await, ["probe_echo"]);
    assert!(served.client(&alice).tools().await.len() > 5);
    // Another tool does not use it up.
    assert_eq!(
        served.code(&step, None, "probe_log_line", &x()).await,
        "token.check_failed"
    );
    assert_eq!(served.code(&step, None, "probe_echo", &x()).await, "ok");
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "token.used"
    );
    // A narrowed copy is the same token.
    let copy = narrow(&step, &["check if tool(\"probe.echo\")".into()]).unwrap();
    assert_eq!(
        served.code(&copy, None, "probe_echo", &x()).await,
        "token.used"
    );
    let ran = intents(served.records());
    assert_eq!(ran.len(), 1, "{ran:?}");
    assert_eq!(refusals(&served, Reason::TokenUsed), 2);
}

#[tokio::test]
async fn a_step_token_that_was_used_is_used_after_a_restart() {
    let home = Setup::probe_under(POLICY);
    let (folder, home) = home
        .toml("[server]\nresource = \"http://127.0.0.1:1/mcp\"")
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let make = ["token", "step", "--agent", "alice", "--tool", "probe.echo"];
    let said = run(&home, &make).await;
    assert_eq!(said.code, 0, "{said:?}");
    let token = said.out.trim().to_owned();
    assert!(token.starts_with("tgs_"), "{token}");
    let again = run(&home, &make).await.out.trim().to_owned();
    let result = daemon.client(&token).call("probe_echo", &x()).await;
    assert_eq!(result["isError"], false, "{result}");
    daemon.kill().await;
    let mut daemon = Daemon::start(&home).await;
    let result = daemon.client(&token).call("probe_echo", &x()).await;
    assert_eq!(
        result["structuredContent"]["code"], "token.used",
        "{result}"
    );
    // The key is kept, and what was not used is good.
    let result = daemon.client(&again).call("probe_echo", &x()).await;
    assert_eq!(result["isError"], false, "{result}");
    daemon.stop().await;
    drop(folder);
}

#[tokio::test]
async fn of_many_calls_at_once_with_one_token_one_runs() {
    let (served, alice, _) = served().await;
    let step = served.token(&alice, None, ECHO).await;
    let value = x();
    let codes = futures_util::future::join_all(
        (0..8).map(|_| served.code(&step, None, "probe_echo", &value)),
    )
    .await;
    let ok = codes.iter().filter(|code| *code == "ok").count();
    assert_eq!(ok, 1, "{codes:?}");
    assert!(
        codes
            .iter()
            .all(|code| code == "ok" || code == "token.used"),
        "{codes:?}"
    );
}

#[tokio::test]
pub(crate) async fn what_a_step_is_bound_to_can_not_be_changed() {
    let _row = crate::attacks::stands_for("J02");
    let _row = crate::attacks::stands_for("J03");
    let (served, alice, _) = served().await;
    let arguments = json!({"text": "exactly"});
    let text = arguments.to_string();
    let exact = |more: &'static str| {
        let text = text.clone();
        let (served, alice) = (&served, &alice);
        async move {
            served
                .token(alice, None, &[("scope", "call:probe.echo"), (more, &text)])
                .await
        }
    };
    let step = exact("arguments").await;
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "token.check_failed"
    );
    // Another tool, with the same arguments.
    assert_eq!(
        served.code(&step, None, "probe_log_line", &arguments).await,
        "token.check_failed"
    );
    // Spelt otherwise, they are the same arguments.
    assert_eq!(
        served.code(&step, None, "probe_echo", &arguments).await,
        "ok"
    );
    let step = served
        .token(
            &alice,
            None,
            &[
                ("scope", "call:probe.echo"),
                ("constraints", r#"{"/text":"exactly"}"#),
            ],
        )
        .await;
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "token.check_failed"
    );
    assert_eq!(
        served.code(&step, None, "probe_echo", &arguments).await,
        "ok"
    );
    // Another task than it was made for: none at all, or one of the same agent.
    let task = crate::tasks::task("alice", &["probe.echo"]);
    let (this, other) = (
        served.host.start_task(task.clone()).await.unwrap().id,
        served.host.start_task(task).await.unwrap().id,
    );
    let named = this.to_string();
    let on = [("scope", "call:probe.echo"), ("task", named.as_str())];
    let step = served.token(&alice, None, &on).await;
    let elsewhere = other.to_string();
    let header = [("tollgate-task", elsewhere.as_str())];
    let answer = served.call(&step, &header, "probe_echo", &x()).await;
    assert_eq!(answer.status, 400);
    for task in [this, other] {
        let end = tollgate::task::End::Ended;
        served.host.end_task(task, end, "done").await.unwrap();
    }
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "task.ended"
    );
    // One that the same key signed for another server.
    let identities = served.host.identities();
    let who = identities.authenticate(&alice, HERE).await.unwrap();
    let ask = MintRequest {
        tool: Some("probe.echo".parse().unwrap()),
        ..MintRequest::default()
    };
    let minted = identities.mint(&who, ask, "https://other.example/mcp");
    let answer = served
        .call(&minted.unwrap().token, &[], "probe_echo", &x())
        .await;
    assert_eq!(answer.status, 401);
    assert_eq!(described(&answer), "token.audience");
    // J02: late is late.
    let step = served.token(&alice, None, ECHO).await;
    served.at(59);
    let narrowed = narrow(&step, &["check if argument(\"/text\", \"y\")".into()]).unwrap();
    assert_eq!(
        served.code(&narrowed, None, "probe_echo", &x()).await,
        "token.check_failed"
    );
    served.at(60);
    let answer = served.call(&step, &[], "probe_echo", &x()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(described(&answer), "token.expired");
    assert_eq!(intents(served.records()).len(), 2, "the two that fitted");
    assert_eq!(refusals(&served, Reason::TokenCheckFailed), 4);
}

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
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "http 401"
    );
    served.at(0);
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "http 401"
    );
    assert_eq!(
        served
            .code(short.token.expose(), None, "probe_echo", &x())
            .await,
        "http 401"
    );
    assert_eq!(served.code(&alice, None, "probe_echo", &x()).await, "ok");
    let stepped = served
        .records()
        .into_iter()
        .filter(|record| matches!(&record.event, Event::Changed(c) if c.change == "clock.stepped"))
        .count();
    assert_eq!(stepped, 1);
}

#[tokio::test]
async fn a_token_gives_no_more_than_its_agent_has() {
    let (served, _, bob) = served().await;
    let step = served
        .token(&bob, None, &[("scope", "call:probe.log_line")])
        .await;
    assert_eq!(served.client(&step).tools().await, Vec::<String>::new());
    assert_eq!(
        served.code(&step, None, "probe_log_line", &x()).await,
        "policy.default_deny"
    );
    // A refusal uses nothing up, so this says the same again.
    assert_eq!(
        served.code(&step, None, "probe_log_line", &x()).await,
        "policy.default_deny"
    );
    let (status, body) = served.exchange(&step, None, ECHO).await;
    assert_eq!(
        (status, &body["error"]),
        (400, &json!("invalid_scope")),
        "{body}"
    );
    // And what was made of a revoked agent's right is gone with it.
    let step = served.token(&bob, None, ECHO).await;
    served
        .host
        .identities()
        .revoke(&AgentId::local("bob").unwrap())
        .unwrap();
    assert_eq!(
        served.code(&step, None, "probe_echo", &x()).await,
        "http 401"
    );
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
    assert_eq!(result["structuredContent"]["code"], "token.check_failed");
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

/// J15. Whoever holds a token can add a block of any program to it; none of it is ever run.
#[tokio::test]
pub(crate) async fn a_token_that_is_a_program_is_refused() {
    let _row = crate::attacks::stands_for("J15");
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use tollgate::identity::STEP_PREFIX;

    let (served, alice, _) = served().await;
    let with = |token: &str, code: &str| {
        let bytes = URL_SAFE_NO_PAD
            .decode(token.strip_prefix(STEP_PREFIX).unwrap())
            .unwrap();
        let token = biscuit_auth::UnverifiedBiscuit::from(&bytes).unwrap();
        let block = biscuit_auth::BlockBuilder::new().code(code).unwrap();
        let bytes = token.append(block).unwrap().to_vec().unwrap();
        format!("{STEP_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let facts: String = (0..150).map(|n| format!("n({n});")).collect();
    for code in [
        format!("{facts} sum($x, $y) <- n($x), n($y);"),
        format!("{facts} check if n($a), n($b), n($c), n($d), $a + $b + $c + $d == 9999;"),
        "check if tool($t), $t.matches(\"(a*)*(b*)*c\");".to_owned(),
        "check if [1, 2, 3].any($a -> [1, 2, 3].any($b -> $a + $b == 9));".to_owned(),
        "tool(\"probe.echo\"); allow($t) <- tool($t);".to_owned(),
    ] {
        let step = served.token(&alice, None, ECHO).await;
        let code_of = served
            .code(&with(&step, &code), None, "probe_echo", &x())
            .await;
        assert_eq!(code_of, "http 401", "{code}");
        assert_eq!(served.code(&step, None, "probe_echo", &x()).await, "ok");
    }
    // Longer than any token, and never decoded.
    let long = format!("{STEP_PREFIX}{}", "A".repeat(8_192));
    assert_eq!(
        served.code(&long, None, "probe_echo", &x()).await,
        "http 401"
    );
    assert_eq!(intents(served.records()).len(), 5, "the whole ones alone");
}

/// J05, over HTTP: a first block of one's own, and the host's with its later blocks taken off.
#[tokio::test]
pub(crate) async fn a_token_whose_blocks_were_changed_is_refused() {
    let _row = crate::attacks::stands_for("J05");
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use biscuit_auth::format::SerializedBiscuit;
    use biscuit_auth::{KeyPair, UnverifiedBiscuit};
    use tollgate::identity::STEP_PREFIX;

    let (served, alice, _) = served().await;
    let step = served.token(&alice, None, ECHO).await;
    let narrowed = narrow(&step, &["check if false".into()]).unwrap();
    let bytes = |token: &str| {
        URL_SAFE_NO_PAD
            .decode(token.strip_prefix(STEP_PREFIX).unwrap())
            .unwrap()
    };
    let text = |bytes: Vec<u8>| format!("{STEP_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    assert!(UnverifiedBiscuit::from(bytes(&narrowed)).is_ok());
    // The block is cut out of the bytes where it begins and ends.
    let (whole, first) = (bytes(&narrowed), bytes(&step));
    let mut cut = whole.clone();
    cut.truncate(first.len());
    let mut mixed = whole.clone();
    for (at, byte) in first.iter().enumerate().take(40) {
        mixed[at] ^= byte;
    }
    let own = KeyPair::new();
    let forged = biscuit_auth::Biscuit::builder()
        .root_key_id(1)
        .code("tollgate(\"{}\"); tool(\"probe.echo\");")
        .unwrap()
        .build(&own)
        .unwrap()
        .to_vec()
        .unwrap();
    assert!(SerializedBiscuit::from_slice(&forged, own.public()).is_ok());
    for (what, token) in [("cut", cut), ("mixed", mixed), ("forged", forged)] {
        assert_eq!(
            served.code(&text(token), None, "probe_echo", &x()).await,
            "http 401",
            "{what}"
        );
    }
    // What was narrowed says no, and what it was made of still says yes.
    assert_eq!(
        served.code(&narrowed, None, "probe_echo", &x()).await,
        "token.check_failed"
    );
    assert_eq!(served.code(&step, None, "probe_echo", &x()).await, "ok");
    assert_eq!(intents(served.records()).len(), 1);
    assert_eq!(refusals(&served, Reason::TokenCheckFailed), 1);
}

/// J16. The library's own limit of 1 ms refused 3 of 2,000 on a busy machine.
#[tokio::test]
pub(crate) async fn no_allowed_step_is_refused_for_lack_of_time() {
    let _row = crate::attacks::stands_for("J16");
    use tollgate::identity::StepQuestion;

    let (served, alice, _) = served().await;
    let token = served.token(&alice, None, ECHO).await;
    let identities = served.host.identities();
    let who = identities.authenticate(&token, HERE).await.unwrap();
    let step = who.step.unwrap();
    let arguments =
        tollgate::json::Arguments::parse(br#"{"text":"x"}"#, &tollgate::json::Limits::default())
            .unwrap();
    let question = StepQuestion {
        tool: &"probe.echo".parse().unwrap(),
        arguments: &arguments,
        task: None,
        time: identities.now(),
    };
    let refused = (0..5_000)
        .filter(|_| step.admits(&question).is_err())
        .count();
    assert_eq!(refused, 0);
}
