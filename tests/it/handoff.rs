//! Work that is handed on from agent to agent: never wider, never in a circle, gone with its giver.

use serde_json::{Value, json};
use tollgate::identity::{AgentId, narrow};
use tollgate::journal::record::Event;

use crate::harness::binary::run;
use crate::harness::served::Served;
use crate::harness::{Setup, intents};

/// Alice may echo and log, Bob may echo and list settings, the others echo; a forbid that sees the chain.
const POLICY: &str = r#"
@id("echo")
permit (principal, action in Action::"call", resource == Tool::"probe.echo");
@id("alice.log")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action in Action::"call", resource == Tool::"probe.log_line");
@id("bob.now")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"probe.now");
@id("held")
permit (principal == Agent::"spiffe://tollgate.local/agent/alice", action in Action::"call", resource == Tool::"probe.progress_reports") when { context.approved };
@id("bob.progress")
permit (principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"probe.progress_reports");
@id("loop")
permit (principal, action in Action::"call", resource == Tool::"probe.loop");
@id("not.from.mallory")
forbid (principal, action in Action::"call", resource) when { context.chain.contains(Agent::"spiffe://tollgate.local/agent/mallory") };
"#;

const NAMES: [&str; 7] = ["alice", "bob", "mallory", "c1", "c2", "c3", "c4"];

async fn served() -> (Served, Vec<String>) {
    let more = NAMES[2..].iter().map(|name| (*name).to_owned());
    // A loop goes on until it is stopped, however slowly the test looks whether it began.
    let endless = "[plugin.probe.tool.loop.limits]\nfuel = 1_000_000_000_000\ntime = \"10min\"";
    let served = Served::start(Setup::probe_under(POLICY).agents(more).toml(endless)).await;
    let tokens = NAMES.iter().map(|name| served.agent(name)).collect();
    (served, tokens)
}

fn x() -> Value {
    json!({"text": "x"})
}

fn to(name: &str) -> [(&'static str, &str); 1] {
    [("handoff_to", name)]
}

/// The id of the first hand-off that was made.
fn first_handoff(served: &Served) -> String {
    let detail = served
        .records()
        .into_iter()
        .find_map(|record| match record.event {
            Event::Changed(c) if c.change == "token.handed_on" => c.detail,
            _ => None,
        });
    let detail = detail.unwrap();
    detail.split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn the_result_is_what_both_may_do() {
    let (served, tokens) = served().await;
    let (alice, bob) = (&tokens[0], &tokens[1]);
    let handoff = served.token(alice, None, &to("bob")).await;
    for (tool, arguments, alone, handed) in [
        ("probe_echo", x(), "ok", "ok"),
        // Alice's own, and Bob's own: neither crosses.
        (
            "probe_log_line",
            x(),
            "policy.default_deny",
            "policy.default_deny",
        ),
        (
            "probe_now",
            json!({}),
            "policy.default_deny",
            "policy.default_deny",
        ),
        // Held for Alice, so held for whoever acts for her.
        (
            "probe_progress_reports",
            json!({"n": 1}),
            "ok",
            "approval_required",
        ),
    ] {
        let without = served.code(bob, None, tool, &arguments).await;
        if tool != "probe_now" {
            assert_eq!(without, alone, "{tool}");
        }
        let with = served.code(bob, Some(&handoff), tool, &arguments).await;
        assert_eq!(with, handed, "{tool}");
    }
    let answer = served
        .client(bob)
        .request_with(&[("tollgate-handoff", &handoff)], "tools/list", json!({}))
        .await
        .unwrap();
    let last = answer.messages().pop().unwrap();
    let mut names = crate::harness::mcp::names(&last);
    names.sort();
    assert_eq!(
        names,
        ["probe_echo", "probe_loop", "probe_progress_reports"]
    );
    let callers: Vec<_> = served
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Intent(intent) if !intent.caller.chain.is_empty() => Some(intent),
            _ => None,
        })
        .collect();
    assert_eq!(callers.len(), 1);
    assert_eq!(callers[0].caller.agent.name(), "bob");
    assert_eq!(callers[0].caller.chain, [AgentId::local("alice").unwrap()]);
    assert!(
        callers[0]
            .decision
            .policies
            .iter()
            .any(|policy| policy.id == "echo")
    );
}

/// J06.
#[tokio::test]
pub(crate) async fn a_hand_off_is_worth_nothing_in_other_hands() {
    let _row = crate::attacks::stands_for("J06");
    let (served, tokens) = served().await;
    let [alice, bob, mallory] = [&tokens[0], &tokens[1], &tokens[2]];
    let handoff = served.token(alice, None, &to("bob")).await;
    // As Alice herself, as someone else, without a credential, twice.
    assert_eq!(served.echo(&handoff).await, "http 401");
    assert_eq!(served.echo_with(mallory, &handoff).await, "http 401");
    assert_eq!(served.echo_with(alice, &handoff).await, "http 401");
    assert_eq!(served.echo_with(bob, "tgs_x").await, "http 401");
    let twice = [
        ("tollgate-handoff", handoff.as_str()),
        ("tollgate-handoff", &handoff),
    ];
    let answer = served.call(bob, &twice, "probe_echo", &x()).await;
    assert_eq!(answer.status, 401);
    // A step is no hand-off, and takes none.
    let step = served
        .token(alice, None, &[("scope", "call:probe.echo")])
        .await;
    assert_eq!(served.echo_with(bob, &step).await, "http 401");
    assert_eq!(served.echo_with(&step, &handoff).await, "http 401");
    assert_eq!(served.echo_with(bob, &handoff).await, "ok");
    // Nor is it wider than either: not by what Alice may, not by what Bob may, not by a token that Bob
    // makes of it, and not beyond the task that it is for.
    for (tool, arguments) in [("probe_log_line", x()), ("probe_now", json!({}))] {
        assert_eq!(
            served.code(bob, Some(&handoff), tool, &arguments).await,
            "policy.default_deny"
        );
    }
    let echo = [("handoff_to", "bob"), ("scope", "call:probe.echo")];
    let narrow = served.token(alice, None, &echo).await;
    let wider = [("handoff_to", "c1"), ("scope", "call:probe.loop")];
    let (status, body) = served.exchange(bob, Some(&narrow), &wider).await;
    assert_eq!(status, 400, "{body}");
    let task = crate::tasks::task("alice", &["probe.loop"]);
    let task = served.host.start_task(task).await.unwrap().id.to_string();
    let on = [("handoff_to", "bob"), ("task", task.as_str())];
    let within = served.token(alice, None, &on).await;
    assert_eq!(
        served.code(bob, Some(&within), "probe_echo", &x()).await,
        "task.tool"
    );
    // It is for a piece of work: used again while it is good, and no longer.
    assert_eq!(served.echo_with(bob, &handoff).await, "ok");
    served.at(600);
    assert_eq!(served.echo_with(bob, &handoff).await, "http 401");
    let callers: Vec<_> = intents(served.records())
        .into_iter()
        .map(|intent| (intent.caller.agent, intent.caller.chain))
        .collect();
    let agent = |name: &str| AgentId::local(name).unwrap();
    let bob_for_alice = (agent("bob"), vec![agent("alice")]);
    assert_eq!(callers, [bob_for_alice.clone(), bob_for_alice]);
}

#[tokio::test]
async fn what_was_narrowed_stays_narrow_through_every_hand() {
    let (served, tokens) = served().await;
    let [alice, bob, c1] = [&tokens[0], &tokens[1], &tokens[3]];
    let wide = served
        .token(
            alice,
            None,
            &[("handoff_to", "bob"), ("scope", "call:probe.echo")],
        )
        .await;
    let narrow = narrow(&wide, &["check if argument(\"/text\", \"a\")".into()]).unwrap();
    let (status, _) = served
        .exchange(
            bob,
            Some(&narrow),
            &[("handoff_to", "c1"), ("scope", "call:probe.now")],
        )
        .await;
    assert_eq!(status, 400, "another tool than was handed on");
    let on = served.token(bob, Some(&narrow), &to("c1")).await;
    assert_eq!(served.echo_with(c1, &on).await, "token.check_failed");
    assert_eq!(
        served
            .code(c1, Some(&on), "probe_echo", &json!({"text": "a"}))
            .await,
        "ok"
    );
    // A step that Bob makes of it is bound the same way.
    let step = served
        .token(bob, Some(&narrow), &[("scope", "call:probe.echo")])
        .await;
    assert_eq!(served.echo(&step).await, "token.check_failed");
    assert_eq!(
        served
            .code(&step, None, "probe_echo", &json!({"text": "a"}))
            .await,
        "ok"
    );
    let chain = served
        .records()
        .into_iter()
        .rev()
        .find_map(|record| match record.event {
            Event::Intent(intent) => Some((intent.caller.agent, intent.caller.chain)),
            _ => None,
        });
    let agent = |name: &str| AgentId::local(name).unwrap();
    assert_eq!(chain, Some((agent("bob"), vec![agent("alice")])));
}

/// J07.
#[tokio::test]
pub(crate) async fn a_chain_is_short_and_has_no_loop() {
    let _row = crate::attacks::stands_for("J07");
    let (served, tokens) = served().await;
    // alice -> bob -> c1 -> c2 -> c3 -> c4: five hand-offs.
    let order = [0, 1, 3, 4, 5, 6];
    let mut handoff: Option<String> = None;
    for pair in order.windows(2) {
        let next = NAMES[pair[1]];
        let given = served
            .token(&tokens[pair[0]], handoff.as_deref(), &to(next))
            .await;
        for earlier in order.iter().take_while(|at| **at != pair[1]) {
            let (status, body) = served
                .exchange(&tokens[pair[1]], Some(&given), &to(NAMES[*earlier]))
                .await;
            assert_eq!(status, 400, "{body}");
            assert!(
                body["error_description"]
                    .as_str()
                    .unwrap()
                    .starts_with("handoff."),
                "{body}"
            );
        }
        handoff = Some(given);
    }
    let handoff = handoff.unwrap();
    assert_eq!(served.echo_with(&tokens[6], &handoff).await, "ok");
    let (status, body) = served
        .exchange(&tokens[6], Some(&handoff), &to("mallory"))
        .await;
    assert_eq!(status, 400);
    assert!(
        body["error_description"]
            .as_str()
            .unwrap()
            .starts_with("handoff.depth"),
        "{body}"
    );
    let (status, body) = served.exchange(&tokens[0], None, &to("alice")).await;
    assert_eq!(status, 400);
    assert!(
        body["error_description"]
            .as_str()
            .unwrap()
            .starts_with("handoff.loop"),
        "{body}"
    );
    let handed_on = served.records().into_iter();
    let handed_on = handed_on.filter(
        |record| matches!(&record.event, Event::Changed(c) if c.change == "token.handed_on"),
    );
    assert_eq!(handed_on.count(), 5);
    let ran = intents(served.records());
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0].caller.chain.len(), 5, "all of them are written down");
}

/// J08. What was handed on ends with the one who handed it on, also in the middle of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn a_call_under_way_ends_with_what_it_was_handed_on_from() {
    use tollgate::revocation::{Scope, revoke};

    for (what, code) in [
        ("agent", "revoked.agent"),
        ("task", "revoked.task"),
        ("token", "token.revoked"),
    ] {
        let (served, tokens) = served().await;
        let [alice, bob] = [&tokens[0], &tokens[1]];
        let task = served
            .host
            .start_task(crate::tasks::task("alice", &["probe.loop"]))
            .await
            .unwrap()
            .id;
        let named = task.to_string();
        let handoff = served
            .token(alice, None, &[("handoff_to", "bob"), ("task", &named)])
            .await;
        let headers = [("tollgate-handoff", handoff.as_str())];
        let answer = served
            .client(bob)
            .request_with(&headers, "tools/list", json!({}))
            .await
            .unwrap();
        let listed = crate::harness::mcp::names(&answer.messages().pop().unwrap());
        assert_eq!(listed, ["probe_loop"], "the task's tools");
        assert_eq!(served.echo_with(bob, &handoff).await, "task.tool");
        let arguments = json!({});
        let call = served.code(bob, Some(&handoff), "probe_loop", &arguments);
        let end = async {
            loop {
                let begun = served.records().into_iter().any(|record| {
                    matches!(record.event, Event::Intent(intent) if intent.caller.task == Some(task))
                });
                if begun {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let scope = match what {
                "agent" => Scope::Agent(AgentId::local("alice").unwrap()),
                "task" => Scope::Task(task),
                _ => Scope::Token(first_handoff(&served)),
            };
            let revoked = revoke(&served.host, scope, "test").await.unwrap();
            assert_eq!(revoked.calls.len(), 1, "{what}");
        };
        let (ended, ()) = tokio::join!(call, end);
        assert_eq!(ended, code);
    }
}

/// And for what comes after.
#[tokio::test]
async fn what_a_revoked_agent_handed_on_is_gone() {
    for revoke in ["agent", "credential", "handoff"] {
        let (served, tokens) = served().await;
        let [alice, bob, c1] = [&tokens[0], &tokens[1], &tokens[3]];
        let first = served.token(alice, None, &to("bob")).await;
        let second = served.token(bob, Some(&first), &to("c1")).await;
        assert_eq!(served.echo_with(c1, &second).await, "ok");
        let identities = served.host.identities();
        match revoke {
            "agent" => identities
                .revoke(&AgentId::local("alice").unwrap())
                .unwrap(),
            "credential" => {
                let digest = tollgate::digest::Digest::of(alice.as_bytes());
                identities
                    .revoke_token(&format!("agent_{}", digest.short()))
                    .unwrap();
            }
            _ => identities.revoke_token(&first_handoff(&served)).unwrap(),
        }
        for (token, handoff) in [(bob, &first), (c1, &second)] {
            assert_eq!(
                served.echo_with(token, handoff).await,
                "http 401",
                "{revoke}"
            );
            assert_eq!(served.echo(token).await, "ok");
        }
    }
}

#[tokio::test]
async fn a_rule_sees_the_chain() {
    let (served, tokens) = served().await;
    let [bob, mallory] = [&tokens[1], &tokens[2]];
    let handoff = served.token(mallory, None, &to("bob")).await;
    assert_eq!(served.echo(mallory).await, "ok");
    assert_eq!(served.echo_with(bob, &handoff).await, "policy.forbidden");
}

/// What a hand-off would get can be asked beforehand, offline.
#[tokio::test]
async fn an_operator_can_ask_what_a_hand_off_would_get() {
    let (_folder, home) = Setup::probe_under(POLICY).make().await;
    let explain = async |tool: &str, arguments: &str, chain: &str| {
        let asked = [
            "policy", "explain", tool, arguments, "--agent", "bob", "--chain", chain,
        ];
        let said = run(&home, &asked).await;
        let first = said.out.lines().next().unwrap_or_default().to_owned();
        (said.code, first)
    };
    let of = |answer: &str, tool: &str| {
        format!("{answer}: spiffe://tollgate.local/agent/bob call:{tool} on {tool}")
    };
    assert_eq!(
        explain("probe_echo", r#"{"text":"x"}"#, "alice").await,
        (0, of("allow", "probe.echo"))
    );
    assert_eq!(
        explain("probe_progress_reports", r#"{"n":1}"#, "c1,alice").await,
        (
            2,
            of("refuse (policy.default_deny)", "probe.progress_reports")
        )
    );
    assert_eq!(
        explain("probe_progress_reports", r#"{"n":1}"#, "alice").await,
        (2, of("hold (approval.required)", "probe.progress_reports"))
    );
    assert_eq!(explain("probe_echo", "{}", "alice,bob").await.0, 3);
}
