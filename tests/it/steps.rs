//! Step tokens over real HTTP: one step of one agent, once, and nothing that their holders make of them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use biscuit_auth::format::SerializedBiscuit;
use biscuit_auth::{BlockBuilder, KeyPair, UnverifiedBiscuit};
use serde_json::json;
use tollgate::approval::{Answer, Status};
use tollgate::identity::{AgentId, MintRequest, STEP_PREFIX, StepQuestion, narrow};
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::binary::{Daemon, run};
use crate::harness::mcp;
use crate::harness::served::{HERE, Served, code};
use crate::harness::{Setup, intents};
use crate::tokens::{ECHO, POLICY, served, x};

/// The bytes of a token, to do things to.
fn bytes(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD
        .decode(token.strip_prefix(STEP_PREFIX).unwrap())
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    format!("{STEP_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// The reason in the challenge of an answer.
fn described(answer: &mcp::Answer) -> &str {
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
    assert_eq!(served.echo(&step).await, "ok");
    assert_eq!(served.echo(&step).await, "token.used");
    // A narrowed copy is the same token.
    let copy = narrow(&step, &["check if tool(\"probe.echo\")".into()]).unwrap();
    assert_eq!(served.echo(&copy).await, "token.used");
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
        result["_meta"]["dev.tollgate/refusal"]["code"], "token.used",
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
    let codes = futures_util::future::join_all((0..8).map(|_| served.echo(&step))).await;
    let ok = codes.iter().filter(|code| *code == "ok").count();
    assert_eq!(ok, 1, "{codes:?}");
    assert!(
        codes
            .iter()
            .all(|code| code == "ok" || code == "token.used"),
        "{codes:?}"
    );
}

/// Nobody is asked to agree to what a used token wants, and no approval is spent on it.
#[tokio::test]
async fn a_used_step_token_asks_nobody_and_uses_no_approval_up() {
    let policy = r#"
@id("asks")
permit (principal, action in Action::"call", resource in Plugin::"probe") when { context.approved };
"#;
    let served = Served::start(Setup::probe_under(policy).shared_rules()).await;
    let alice = served.agent("alice");
    let step = served.token(&alice, None, ECHO).await;
    let people = served.host.people();
    let issued = people.add(&"ada".parse().unwrap(), false, None).unwrap();
    let ada = people.authenticate(issued.token.expose()).unwrap();
    let with = |status| served.host.approvals().list(Some(status));
    let agree = async || {
        let asked = with(Status::Pending);
        assert_eq!(asked.len(), 1);
        let yes = Answer::Approve { standing: None };
        let approvals = served.host.approvals();
        approvals.answer(asked[0].id, &ada, yes).await.unwrap();
    };
    // A call that is held has used nothing.
    assert_eq!(served.echo(&step).await, "approval_required");
    agree().await;
    assert_eq!(served.echo(&step).await, "ok");
    assert_eq!(served.echo(&step).await, "token.used");
    assert!(with(Status::Pending).is_empty());
    // Nor does it take what a person agreed to for the agent itself.
    assert_eq!(served.echo(&alice).await, "approval_required");
    agree().await;
    assert_eq!(served.echo(&step).await, "token.used");
    assert_eq!(with(Status::Approved).len(), 1);
    assert_eq!(served.echo(&alice).await, "ok");
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
    assert_eq!(served.echo(&step).await, "token.check_failed");
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
    assert_eq!(served.echo(&step).await, "token.check_failed");
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
    assert_eq!(served.echo(&narrowed).await, "token.check_failed");
    served.at(60);
    let answer = served.call(&step, &[], "probe_echo", &x()).await;
    assert_eq!(answer.status, 401);
    assert_eq!(described(&answer), "token.expired");
    assert_eq!(intents(served.records()).len(), 2, "the two that fitted");
    assert_eq!(refusals(&served, Reason::TokenCheckFailed), 4);
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
    assert_eq!(served.echo(&step).await, "http 401");
}

/// J15. Whoever holds a token can add a block of any program to it; none of it is ever run.
#[tokio::test]
pub(crate) async fn a_token_that_is_a_program_is_refused() {
    let _row = crate::attacks::stands_for("J15");
    let (served, alice, _) = served().await;
    let with = |token: &str, code: &str| {
        let token = UnverifiedBiscuit::from(bytes(token)).unwrap();
        let block = BlockBuilder::new().code(code).unwrap();
        text(&token.append(block).unwrap().to_vec().unwrap())
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
        let code_of = served.echo(&with(&step, &code)).await;
        assert_eq!(code_of, "http 401", "{code}");
        assert_eq!(served.echo(&step).await, "ok");
    }
    // Longer than any token, and never decoded.
    let long = format!("{STEP_PREFIX}{}", "A".repeat(8_192));
    assert_eq!(served.echo(&long).await, "http 401");
    assert_eq!(intents(served.records()).len(), 5, "the whole ones alone");
}

/// J05, over HTTP: a first block of one's own, and the host's with its later blocks taken off.
#[tokio::test]
pub(crate) async fn a_token_whose_blocks_were_changed_is_refused() {
    let _row = crate::attacks::stands_for("J05");
    let (served, alice, _) = served().await;
    let step = served.token(&alice, None, ECHO).await;
    let narrowed = narrow(&step, &["check if false".into()]).unwrap();
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
        assert_eq!(served.echo(&text(&token)).await, "http 401", "{what}");
    }
    // What was narrowed says no, and what it was made of still says yes.
    assert_eq!(served.echo(&narrowed).await, "token.check_failed");
    assert_eq!(served.echo(&step).await, "ok");
    assert_eq!(intents(served.records()).len(), 1);
    assert_eq!(refusals(&served, Reason::TokenCheckFailed), 1);
}

/// J17. A token for a first round, and a state of its agent's with answers that it was not made for.
#[tokio::test]
pub(crate) async fn a_step_is_not_for_a_later_round() {
    let _row = crate::attacks::stands_for("J17");
    let policy = r#"
@id("calls")
permit (principal, action in [Action::"call", Action::"ask"], resource in Plugin::"conformance");
"#;
    let setup = Setup::empty()
        .component("conformance", guests::CONFORMANCE)
        .policy("conformance", policy)
        .toml("[plugin.conformance]\nprefix = \"\"");
    let served = Served::start(setup).await;
    let alice = served.agent("alice");
    let tool = "test_input_required_result_request_state";
    let scope = format!("call:conformance.{tool}");
    let ask = async |token: &str, state: &serde_json::Value, responses: &serde_json::Value| {
        let mut params = json!({
            "name": tool, "arguments": {},
            "_meta": {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}},
        });
        if !state.is_null() {
            params["requestState"] = state.clone();
            params["inputResponses"] = responses.clone();
        }
        let answer = served.client(token).request("tools/call", params).await;
        answer.unwrap()
    };
    let none = serde_json::Value::Null;
    let answers = json!({"confirm": {"action": "accept", "content": {"ok": true}}});
    let mut states = Vec::new();
    for _ in 0..2 {
        let first = ask(&alice, &none, &none).await.last();
        states.push(first["result"]["requestState"].clone());
    }
    let step = served
        .token(&alice, None, &[("scope", scope.as_str())])
        .await;
    let refused = ask(&step, &states[0], &answers).await;
    assert_eq!(code(&refused), "token.check_failed");
    assert_eq!(refusals(&served, Reason::TokenCheckFailed), 1);
    assert_eq!(intents(served.records()).len(), 2, "the first rounds alone");
    // One that was made for exactly these answers.
    let text = answers.to_string();
    let step = served
        .token(
            &alice,
            None,
            &[("scope", scope.as_str()), ("answers", text.as_str())],
        )
        .await;
    let done = ask(&step, &states[1], &answers).await;
    assert_eq!(code(&done), "ok", "{done:?}");
    assert_eq!(intents(served.records()).len(), 3);
}

/// J16. The library's own limit of 1 ms refused 3 of 2,000 on a busy machine.
#[tokio::test]
pub(crate) async fn no_allowed_step_is_refused_for_lack_of_time() {
    let _row = crate::attacks::stands_for("J16");
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
        round: None,
        task: None,
        time: identities.now(),
    };
    let refused = (0..5_000)
        .filter(|_| step.admits(&question).is_err())
        .count();
    assert_eq!(refused, 0);
}
