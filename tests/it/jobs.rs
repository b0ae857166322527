//! Calls that run as jobs (the protocol's tasks): the same call in every other way, its owner's alone, and
//! with an end whatever happens.

mod desk;
mod ends;
pub(crate) mod waits;

use serde_json::json;
use tollgate::reason::Reason;

use self::desk::{Asks, Desk, FIXTURES, JOBS, LONG, changes, request, told, words};
use crate::harness::binary::Daemon;
use crate::harness::mcp::Pipe;
use crate::harness::{PROBE_POLICY, Setup, reason_of, records};
use crate::upstream::Upstream;

/// That there is none of this id, for this client, by every method.
async fn assert_unknown(asks: &Asks, id: &str) {
    for (method, more) in [
        ("tasks/get", json!({})),
        ("tasks/cancel", json!({})),
        (
            "tasks/update",
            json!({"inputResponses": {"1-confirm": {"action": "accept", "content": {"confirm": true}}}}),
        ),
    ] {
        let mut params = more;
        params["taskId"] = id.into();
        let mut answer = asks.ask(method, params).await;
        assert_eq!(
            answer["error"].take(),
            json!({"code": -32602, "message": "there is no such task", "data": {"code": "name.unknown"}}),
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_call_that_runs_as_a_job_is_the_same_call() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let discovered = desk.alice.ask("server/discover", json!({})).await;
    let capabilities = &discovered["result"]["capabilities"];
    assert_eq!(capabilities["extensions"][JOBS], json!({}), "{discovered}");
    assert_eq!(capabilities.get("tasks"), None);

    let answer = desk.alice.call("probe_send", desk.get("/echo")).await;
    let handle = &answer["result"];
    assert_eq!(handle["resultType"], "task", "{answer}");
    assert_eq!(handle["status"], "working");
    assert_eq!(handle["ttlMs"], 3_600_000);
    assert_eq!(handle["pollIntervalMs"], 1_000);
    for absent in ["task", "result", "error", "requestState", "ttl"] {
        assert_eq!(handle.get(absent), None, "{answer}");
    }
    let id = handle["taskId"].as_str().unwrap();
    assert_eq!(id.len(), 36, "128 bits: {id}");
    let over = desk.alice.over(id).await;
    assert_eq!(over["status"], "completed", "{over}");
    assert_eq!(over["resultType"], "complete");
    assert_eq!(over["result"]["isError"], false);
    assert_eq!(over["result"]["structuredContent"]["status"], 200, "{over}");

    // One call, decided and written down as any.
    let intents = desk.intents();
    assert_eq!(intents.len(), 1);
    assert_eq!(intents[0].job.unwrap().to_string(), id);
    assert_eq!(intents[0].decision.policies[0].id, "probe.calls");
    assert_eq!(
        over["result"]["_meta"]["dev.tollgate/call"],
        intents[0].call.to_string()
    );
    assert_eq!(desk.outcome(&intents[0]), ("ok".to_owned(), None));
    assert_eq!(desk.upstream.ledger().await.len(), 1);
    let changes = desk.changes();
    assert_eq!(words(&changes), ["job.started", "job.ended"]);
    let ended = changes[1].detail.as_deref().unwrap();
    assert_eq!(
        ended,
        format!("{id} of probe_send: completed, call {}", intents[0].call)
    );
    assert_eq!(
        changes[1].subject.as_deref(),
        Some("spiffe://tollgate.local/agent/alice")
    );
    // Cancelled after its end, it is as it was.
    desk.alice.cancel(id).await;
    assert_eq!(desk.alice.over(id).await, over);
    assert_eq!(desk.changes().len(), 2);

    // A tool that does no long work, and a client that has no jobs.
    let plain = desk.alice.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(plain["result"]["resultType"], "complete", "{plain}");
    let without = desk.alice.with(json!({}));
    let plain = without.call("probe_send", desk.get("/echo")).await;
    assert_eq!(
        plain["result"]["structuredContent"]["status"], 200,
        "{plain}"
    );
    assert!(
        desk.intents()[1..]
            .iter()
            .all(|intent| intent.job.is_none())
    );
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let params = json!({"taskId": id, "inputResponses": {}});
        let (answer, message) = without.said(method, params).await;
        assert_eq!(
            (answer.status, &message["error"]["code"]),
            (400, &json!(-32021))
        );
        let wanted = &message["error"]["data"]["requiredCapabilities"];
        assert_eq!(*wanted, json!({"extensions": {JOBS: {}}}));
    }
    for method in ["tasks/list", "tasks/result"] {
        let (_, message) = desk.alice.said(method, json!({"taskId": id})).await;
        assert_eq!(message["error"]["code"], -32601, "{method}");
    }
    desk.verify();
}

#[tokio::test]
async fn a_job_is_its_owners_alone() {
    others_find_none().await;
}

/// M06, of jobs.
pub(crate) async fn others_find_none() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let id = desk.alice.begin("probe_send", desk.get("/silent")).await;
    desk.upstream.arrived(1).await;
    assert_unknown(&desk.bob, &id).await;
    for none in ["nothing", "job_0", "job_00000000000000000000000000000000"] {
        assert_unknown(&desk.alice, none).await;
    }
    // An agent that was handed something by its owner is someone else, and so is the owner by another's hand.
    let token = desk.served.agent("carol");
    let handoff = desk
        .served
        .token(&desk.token, None, &[("handoff_to", "carol")])
        .await;
    let carol = Asks::of(desk.served.client(&token));
    let mut params = json!({"taskId": id});
    params["_meta"] = json!({"io.modelcontextprotocol/clientCapabilities": carol.capabilities});
    let answer = carol
        .client
        .request_with(&[("tollgate-handoff", &handoff)], "tasks/get", params)
        .await
        .unwrap();
    assert_eq!(answer.messages().pop().unwrap()["error"]["code"], -32602);
    // Nobody changed anything.
    assert_eq!(desk.alice.get(&id).await["result"]["status"], "working");
    assert_eq!(words(&desk.changes()), ["job.started"]);
    desk.alice.cancel(&id).await;
    assert_eq!(desk.alice.over(&id).await["status"], "cancelled");
    assert_unknown(&desk.bob, &id).await;
    desk.verify();
}

#[tokio::test]
async fn what_is_refused_at_once_is_no_job() {
    let desk = Desk::start("", "").await;
    let refused = desk.alice.call("probe_send", desk.get("/echo")).await;
    assert_eq!(refused["result"]["resultType"], "complete", "{refused}");
    assert_eq!(told(&refused)["code"], "policy.default_deny");
    let wrong = desk.alice.call("slow_compute", json!({"hours": 1})).await;
    assert_eq!(told(&wrong)["code"], "args.unknown_property");
    assert_eq!(
        desk.refusals(),
        [Reason::PolicyDefault, Reason::ArgsUnknownProperty]
    );
    assert_eq!(words(&desk.changes()), Vec::<&str>::new());
    assert_eq!(desk.served.host.jobs().count(), 0);
    assert_eq!(desk.upstream.ledger().await.len(), 0);
}

#[tokio::test]
async fn there_are_few_at_a_time() {
    let desk = Desk::start(PROBE_POLICY, "[jobs]\nagent = 1\nhost = 2").await;
    let id = desk.alice.begin("probe_send", desk.get("/silent")).await;
    let refused = desk.alice.call("probe_send", desk.get("/echo")).await;
    let said = told(&refused);
    assert_eq!(
        (&said["code"], &said["kind"]),
        (&json!("limit.jobs"), &json!("limit"))
    );
    assert!(
        said["message"]
            .as_str()
            .unwrap()
            .contains("`jobs.agent` reached: 1 of 1")
    );
    assert_eq!(desk.refusals(), [Reason::LimitJobs]);
    // It is this agent's limit; and a client that waits is not concerned.
    let of_bob = desk.bob.begin("probe_send", desk.get("/silent")).await;
    let plain = desk
        .alice
        .with(json!({}))
        .call("probe_send", desk.get("/echo"))
        .await;
    assert_eq!(plain["result"]["isError"], false, "{plain}");
    let carol = Asks::of(desk.served.client(&desk.served.agent("carol")));
    let refused = carol.call("slow_compute", json!({"seconds": 0})).await;
    let message = told(&refused)["message"].as_str().unwrap();
    assert!(message.contains("`jobs.host` reached: 2 of 2"), "{refused}");
    for (asks, id) in [(&desk.alice, id), (&desk.bob, of_bob)] {
        asks.cancel(&id).await;
        assert_eq!(asks.over(&id).await["status"], "cancelled");
    }
    let id = desk.alice.begin("probe_send", desk.get("/echo")).await;
    assert_eq!(desk.alice.over(&id).await["status"], "completed");
    desk.verify();
}

#[tokio::test]
async fn a_tool_that_does_nothing_else_needs_a_client_and_an_operator_that_have_jobs() {
    let desk = Desk::start(PROBE_POLICY, "").await;
    let without = desk.alice.with(json!({}));
    let params = json!({"name": "failing_job", "arguments": {}});
    let (answer, message) = without.said("tools/call", params).await;
    assert_eq!(
        (answer.status, &message["error"]["code"]),
        (400, &json!(-32021))
    );
    assert_eq!(
        message["error"]["data"]["requiredCapabilities"],
        json!({"extensions": {JOBS: {}}})
    );
    assert_eq!(desk.refusals(), [Reason::JobRequired]);
    // What the tool says of its failure is a result.
    let id = desk.alice.begin("failing_job", json!({})).await;
    let over = desk.alice.over(&id).await;
    assert_eq!(
        (&over["status"], &over["result"]["isError"]),
        (&json!("completed"), &json!(true))
    );
    // That it ended without one is the protocol's error.
    let id = desk.alice.begin("protocol_error_job", json!({})).await;
    let over = desk.alice.over(&id).await;
    assert_eq!(
        (&over["status"], &over["error"]["code"]),
        (&json!("failed"), &json!(-32603))
    );
    assert_eq!(over["error"]["data"]["code"], "trap.guest");
    let last = desk.intents().pop().unwrap();
    assert_eq!(
        desk.outcome(&last),
        ("failed".to_owned(), Some(Reason::TrapGuest))
    );

    let desk = Desk::start(
        PROBE_POLICY,
        "[tools]\njobs = false\n[plugin.conformance.tool.slow_compute]\njobs = true",
    )
    .await;
    let refused = desk.alice.call("failing_job", json!({})).await;
    assert_eq!(told(&refused)["code"], "job.forbidden");
    assert_eq!(desk.refusals(), [Reason::JobForbidden]);
    let plain = desk.alice.call("probe_send", desk.get("/echo")).await;
    assert_eq!(plain["result"]["resultType"], "complete", "{plain}");
    let id = desk
        .alice
        .begin("slow_compute", json!({"seconds": 0}))
        .await;
    assert_eq!(desk.alice.over(&id).await["status"], "completed");
}

#[tokio::test]
async fn an_older_session_is_told_in_a_result() {
    let upstream = Upstream::start().await;
    let (_folder, home) = Setup::probe_at(&upstream.origin(), PROBE_POLICY)
        .component("conformance", guests::CONFORMANCE)
        .policy("conformance", FIXTURES)
        .toml("[plugin.conformance]\nprefix = \"\"")
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    daemon.agent("alice").await;
    let mut client = Pipe::start(&home, "alice").await;
    let refused = client.call("failing_job", &json!({})).await;
    assert_eq!(
        refused["structuredContent"]["code"], "job.required",
        "{refused}"
    );
    // One that may run otherwise does.
    let plain = client.call("slow_compute", &json!({"seconds": 0})).await;
    assert_eq!(plain["isError"], false, "{plain}");
    let none = client
        .request("tasks/get", json!({"taskId": "job_0"}))
        .await;
    assert!(none["error"].is_object(), "{none}");
    daemon.stop().await;
    let all = records(&home.journal());
    assert_eq!(words(&changes(all.clone())), Vec::<&str>::new());
    assert!(
        all.iter()
            .any(|record| reason_of(&record.event) == Some(Reason::JobRequired))
    );
}

/// A job may take longer than a call, and has its own limit.
#[tokio::test]
async fn a_job_has_a_time_of_its_own() {
    let desk = Desk::start(PROBE_POLICY, "[limits]\ntime = \"50ms\"\njob_time = \"1h\"\n[plugin.conformance.limits]\njob_time = \"50ms\"").await;
    let slow = json!({"ms": 200});
    let plain = desk
        .alice
        .with(json!({}))
        .call("probe_sleep", slow.clone())
        .await;
    assert_eq!(told(&plain)["code"], "trap.deadline");
    let id = desk.alice.begin("probe_sleep", slow).await;
    assert_eq!(desk.alice.over(&id).await["status"], "completed");
    let id = desk
        .alice
        .begin("slow_compute", json!({"seconds": 600}))
        .await;
    let over = desk.alice.over(&id).await;
    assert_eq!(
        (&over["status"], &over["error"]["data"]["code"]),
        (&json!("failed"), &json!("trap.deadline"))
    );
    let message = over["error"]["message"].as_str().unwrap();
    assert!(message.contains("limit `job_time` reached"), "{message}");
    let last = desk.intents().pop().unwrap();
    assert_eq!(
        desk.outcome(&last),
        ("failed".to_owned(), Some(Reason::TrapDeadline))
    );
    let ended = desk.changes().pop().unwrap();
    assert_eq!(
        (ended.change.as_str(), ended.reason),
        ("job.ended", Some(Reason::TrapDeadline))
    );
}
