//! Tasks through the whole host: what they allow, charge, see and end.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate::call::Reply;
use tollgate::home::Home;
use tollgate::id::TaskId;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;
use tollgate::task::{Allowed, Budgets, End, Kind, NewTask};

use crate::harness::{
    Bench, Look as _, NOW, PROBE_POLICY, Setup, agent, arrival, assert_verifies, binary,
};
use crate::upstream::Upstream;

/// A task of `name` for these tools.
pub(crate) fn task(name: &str, tools: &[&str]) -> NewTask {
    NewTask {
        agent: agent(name),
        user: None,
        intent: "to try it".into(),
        tools: tools
            .iter()
            .map(|tool| Allowed {
                tool: tool.parse().unwrap(),
                arguments: Vec::new(),
            })
            .collect(),
        budgets: Budgets::default(),
        lifetime: Duration::from_secs(3_600),
        parent: None,
        by: "test".into(),
    }
}

/// What an agent is shown. (Not by importing the trait: its `call` is another one.)
pub(crate) fn tools(bench: &Bench, name: &str, task: Option<TaskId>) -> Vec<String> {
    let who = tollgate::identity::Authenticated::of(agent(name));
    tollgate::mcp::Backend::tools(&*bench.host, &who, task)
        .iter()
        .map(|tool| tool.name.clone())
        .collect()
}

/// Starts a task of `alice` by the command, and gives its identifier.
pub(crate) async fn started(home: &Home, more: &[&str]) -> String {
    let words: [&[&str]; 2] = [
        &["task", "start", "--agent", "alice", "--intent", "x"],
        more,
    ];
    let said = binary::run(home, &words.concat()).await;
    assert_eq!(said.code, 0, "{}", said.err);
    said.out.trim().to_owned()
}

/// A task as the command shows it.
async fn shown(home: &Home, id: &str) -> serde_json::Value {
    let said = binary::run(home, &["task", "show", id, "--format", "json"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    said.lines().remove(0)
}

async fn start(bench: &Bench, new: NewTask) -> TaskId {
    bench.host.start_task(new).await.unwrap().id
}

async fn call_on(bench: &Bench, task: TaskId, tool: &str, arguments: serde_json::Value) -> Reply {
    let mut arrival = arrival("alice", tool, arguments.to_string());
    arrival.caller.task = Some(task);
    bench.host.call(arrival, CancellationToken::new()).await
}

#[tokio::test]
async fn an_agent_on_no_task_is_refused_where_tasks_are_required() {
    let bench = Setup::probe()
        .toml("[tasks]\nrequired = true")
        .start()
        .await;
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::TaskRequired));
    assert!(tools(&bench, "alice", None).is_empty());

    let id = start(&bench, task("alice", &["probe.echo"])).await;
    assert_eq!(tools(&bench, "alice", None), ["probe_echo"]);
    assert!(tools(&bench, "bob", Some(id)).is_empty());
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    // Every record of the call names the task, though the client did not.
    let events = bench.records_of(reply.call);
    assert_eq!(events[0].caller().unwrap().task, Some(id));
    let reply = bench.call("probe_context", json!({})).await;
    assert_eq!(reply.reason(), Some(Reason::NameUnknown));
    let reply = bench
        .call(
            "probe_send",
            json!({"requirement": "api", "method": "GET", "url": "https://granted.example/"}),
        )
        .await;
    assert_eq!(reply.reason(), Some(Reason::TaskTool));
    assert!(bench.upstream.ledger().await.is_empty());
    // Another agent's task is none.
    let mut of_bob = arrival("bob", "probe_echo", r#"{"text":"x"}"#);
    of_bob.caller.task = Some(id);
    let reply = bench.host.call(of_bob, CancellationToken::new()).await;
    assert_eq!(reply.reason(), Some(Reason::TaskUnknown));
    let [Event::Refusal(refused)] = &bench.records_of(reply.call)[..] else {
        panic!("one refusal");
    };
    assert_eq!(refused.caller.as_ref().unwrap().task, None);

    bench.host.end_task(id, End::Ended, "done").await.unwrap();
    let reply = call_on(&bench, id, "probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::TaskEnded));
    bench.verify();
}

#[tokio::test]
async fn budgets_end_calls_and_host_calls() {
    let bench = Setup::probe().start().await;
    let mut new = task("alice", &["probe.*"]);
    new.budgets.all.set(Kind::HostCalls, 10);
    new.budgets
        .tools
        .entry("probe.echo".parse().unwrap())
        .or_default()
        .set(Kind::Calls, 2);
    let id = start(&bench, new).await;
    for _ in 0..2 {
        let reply = bench.call("probe_echo", json!({"text": "x"})).await;
        assert_eq!(reply.reason(), None);
    }
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::BudgetTask));
    assert_eq!(*reply.at("/kind"), "limit");
    // Which task refused it stands in the record, though the client named none.
    let [Event::Refusal(refused)] = &bench.records_of(reply.call)[..] else {
        panic!("one refusal");
    };
    assert_eq!(refused.caller.as_ref().unwrap().task, Some(id));
    // In the middle of a call.
    let storm = json!({"capability": "clock", "n": 1_000});
    let reply = bench.call("probe_storm", storm).await;
    assert_eq!(reply.reason(), Some(Reason::BudgetTask), "{}", reply.text());
    assert!(reply.text().contains("host_calls"), "{}", reply.text());
    let outcome = bench.outcome(reply.call);
    assert_eq!(outcome.reason, Some(Reason::BudgetTask));
    let used = bench.host.tasks().get(id).unwrap().used.all;
    assert_eq!((used.calls, used.host_calls), (3, 10));
    // Fuel: what is left is all that a call gets.
    bench.host.end_task(id, End::Ended, "done").await.unwrap();
    let mut new = task("alice", &["probe.*"]);
    new.budgets.all.set(Kind::Fuel, 20_000_000);
    let id = start(&bench, new).await;
    let reply = bench.call("probe_loop", json!({})).await;
    assert_eq!(reply.reason(), Some(Reason::BudgetTask), "{}", reply.text());
    assert_eq!(
        bench.host.tasks().get(id).unwrap().used.all.fuel,
        20_000_000
    );
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::BudgetTask));
    bench.verify();
}

/// I03: once the task has seen something private, nothing goes out of it.
#[tokio::test]
pub(crate) async fn what_a_task_has_seen_decides_what_it_may_send() {
    let _row = crate::attacks::stands_for("I03");
    let policy = format!(
        "{PROBE_POLICY}\n@id(\"probe.taint\")\nforbid (principal, action in Action::\"http\", resource)\nwhen {{ context has task && context.task.labels.contains(\"private\") }};"
    );
    let bench = Setup::probe_under(&policy)
        .toml("[plugin.probe.tool.echo]\nlabels = [\"private\"]")
        .start()
        .await;
    let id = start(&bench, task("alice", &["probe.*"])).await;
    let send = json!({"requirement": "api", "method": "GET", "url": "https://granted.example/"});
    let reply = bench.call("probe_send", send.clone()).await;
    assert_eq!(reply.refused("policy.forbidden"), 0, "{}", reply.text());
    let sent = bench.upstream.ledger().await.len();
    assert_eq!(sent, 1);
    let reply = bench.call("probe_echo", json!({"text": "private"})).await;
    assert_eq!(reply.reason(), None);
    assert!(
        bench
            .host
            .tasks()
            .get(id)
            .unwrap()
            .labels
            .contains("private")
    );
    let reply = bench.call("probe_send", send.clone()).await;
    assert_eq!(reply.refused("policy.forbidden"), 1, "{}", reply.text());
    assert_eq!(bench.upstream.ledger().await.len(), sent);
    // Another task has seen nothing.
    let other = start(&bench, task("alice", &["probe.*"])).await;
    let reply = call_on(&bench, other, "probe_send", send).await;
    assert_eq!(reply.refused("policy.forbidden"), 0);
    assert_eq!(bench.upstream.ledger().await.len(), sent + 1);
    bench.verify();
}

/// J13: a clock that is set back revives nothing, and that it was is written down.
#[tokio::test]
pub(crate) async fn a_clock_that_is_set_back_revives_nothing() {
    let _row = crate::attacks::stands_for("J13");
    let bench = Setup::probe().start().await;
    let id = start(&bench, task("alice", &["probe.*"])).await;
    let issued = bench
        .host
        .identities()
        .issue("short", Some(Duration::from_secs(60)))
        .unwrap();
    bench.clock.set(NOW + Duration::from_secs(3_601));
    let reply = call_on(&bench, id, "probe_echo", json!({"text": "x"})).await;
    bench.assert_refused(&reply, Reason::TaskExpired);
    let token = issued.token.expose().to_owned();
    assert!(bench.host.identities().holder(&token).is_none());
    bench.clock.set(NOW);
    let reply = call_on(&bench, id, "probe_echo", json!({"text": "x"})).await;
    bench.assert_refused(&reply, Reason::TaskExpired);
    assert!(bench.host.identities().holder(&token).is_none());
    let stepped = bench
        .changes_since(0)
        .into_iter()
        .filter(|changed| changed.change == "clock.stepped")
        .count();
    assert_eq!(stepped, 1);
    bench.verify();
}

#[tokio::test]
async fn a_task_that_expires_stops_its_call() {
    let bench = Setup::probe()
        .toml("[limits]\ntime = \"1h\"\n[limits.http]\nfirst_byte = \"1h\"\ntotal = \"1h\"")
        .start()
        .await;
    let id = start(&bench, task("alice", &["probe.*"])).await;
    let send =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/silent"});
    let running = bench.spawn("alice", "probe_send", send);
    bench.upstream.arrived(1).await;
    bench.clock.set(NOW + Duration::from_secs(3_600));
    let reply = running.reply().await;
    assert_eq!(reply.reason(), Some(Reason::TaskExpired));
    assert_eq!(bench.outcome(reply.call).reason, Some(Reason::TaskExpired));
    bench.upstream.closed().await;
    assert_eq!(
        bench
            .host
            .tasks()
            .get(id)
            .unwrap()
            .ended
            .as_ref()
            .unwrap()
            .how,
        End::Expired
    );
    bench.verify();
}

#[tokio::test]
async fn the_commands_start_show_list_and_end_tasks() {
    let (folder, home) = Setup::probe().make().await;
    crate::harness::known(&home, &["alice"]);
    let daemon = binary::Daemon::start(&home).await;
    let more = "--tool probe.echo --arg probe.echo:/text=x --budget calls=2 --for 30m";
    let id = started(&home, &more.split(' ').collect::<Vec<_>>()).await;
    let call = async |arguments: &'static str| {
        let words = [
            "call",
            "probe.echo",
            arguments,
            "--agent",
            "alice",
            "--task",
        ];
        binary::run(&home, &[&words[..], &[id.as_str()]].concat()).await
    };
    let said = call(r#"{"text":"x"}"#).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = call(r#"{"text":"y"}"#).await;
    assert_eq!(said.code, 2, "{}", said.err);
    assert!(said.err.contains("task.arguments"), "{}", said.err);
    let shown = shown(&home, &id).await;
    assert_eq!(shown["status"], "live");
    assert_eq!(shown["used"]["all"]["calls"], 1);
    let said = binary::run(&home, &["task", "list"]).await;
    assert!(
        said.out.contains(&id) && said.out.contains("1 of 2"),
        "{}",
        said.out
    );
    let said = binary::run(&home, &["task", "end", &id, "--why", "done"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = call(r#"{"text":"x"}"#).await;
    assert!(said.err.contains("task.ended"), "{}", said.err);
    let words = "task start --agent alice --intent x --tool probe.nothing";
    let said = binary::run(&home, &words.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(said.code, 3, "{}", said.err);
    drop(daemon);
    drop(folder);
}

/// A task is named in `_meta`, in a header, or by the session; only the agent's own, and only one.
#[tokio::test]
async fn a_client_names_its_task() {
    let (_folder, home) = Setup::probe().make().await;
    let daemon = binary::Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let client = daemon.client(&token);
    let mut ids = Vec::new();
    for tool in ["probe.echo", "probe.remember"] {
        ids.push(started(&home, &["--tool", tool]).await);
    }
    let post = async |method: &str, header: &str, meta: &str| {
        let mut params = json!({"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        }});
        if !meta.is_empty() {
            params["_meta"]["dev.tollgate/task"] = json!(meta);
        }
        let mut headers = vec![
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
            ("tollgate-task", header),
        ];
        if method == "tools/call" {
            params["name"] = json!("probe_echo");
            params["arguments"] = json!({"text": "x"});
            headers.push(("mcp-name", "probe_echo"));
        }
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        client.post(&headers, message.to_string()).await.unwrap()
    };
    let code = |answer: &crate::harness::mcp::Answer| {
        let last = answer.messages().pop().unwrap();
        last["result"]["_meta"]["dev.tollgate/refusal"]["code"].clone()
    };
    let (echo, remember) = (ids[0].as_str(), ids[1].as_str());
    assert_eq!(code(&post("tools/call", "", "").await), "task.required");
    for (header, meta) in [(echo, ""), ("", echo), (echo, echo)] {
        let answer = post("tools/call", header, meta).await;
        assert_eq!(code(&answer), json!(null), "{header} {meta}: {answer:?}");
    }
    assert_eq!(code(&post("tools/call", "", remember).await), "task.tool");
    let none = "task_aaaaaaaaaaaaaaaa";
    assert_eq!(code(&post("tools/call", none, "").await), "task.unknown");
    let both = post("tools/call", echo, remember).await;
    assert_eq!(both.messages()[0]["error"]["code"], -32602, "{both:?}");
    let garbage = post("tools/call", "", "7").await;
    assert_eq!(
        garbage.messages()[0]["error"]["code"],
        -32602,
        "{garbage:?}"
    );
    assert_eq!(post("tools/call", "7", "").await.status, 400);
    for (header, shown) in [
        (echo, vec!["probe_echo"]),
        (remember, vec!["probe_remember"]),
        ("", vec!["probe_echo", "probe_remember"]),
        (none, vec![]),
    ] {
        let answer = post("tools/list", header, "").await;
        let mut names = crate::harness::mcp::names(&answer.messages()[0]);
        names.sort_unstable();
        assert_eq!(names, shown, "{header}");
    }
    drop(daemon);
}

/// The daemon dies while a call of a task is under way: the call counts, and what had ended stays so.
#[tokio::test]
async fn a_kill_gives_no_task_anything_back_and_revives_none() {
    let upstream = Upstream::start().await;
    let (_folder, home) = crate::journal::local(&upstream).make().await;
    let mut daemon = binary::Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let budgets =
        "--tool probe.* --budget calls=3 --budget host_calls=1000 --budget fuel=10_000_000_000";
    let task = started(&home, &budgets.split(' ').collect::<Vec<_>>()).await;
    let over = started(&home, &["--tool", "probe.*"]).await;
    let call = async |daemon: &binary::Daemon, task: &str| {
        let params = json!({"name": "probe_echo", "arguments": {"text": "x"}});
        let client = daemon.client(&token);
        let on = [("tollgate-task", task)];
        let answer = client.request_with(&on, "tools/call", params).await;
        let mut last = answer.unwrap().messages().pop().unwrap();
        last["result"]["_meta"]["dev.tollgate/refusal"]["code"].take()
    };

    let client = daemon.client(&token);
    let held = json!({"requirement": "api", "method": "GET", "url": format!("http://{}/hold", upstream.plain)});
    let params = json!({"name": "probe_send", "arguments": held});
    let on = task.clone();
    let under_way = tokio::spawn(async move {
        let on = [("tollgate-task", on.as_str())];
        client.request_with(&on, "tools/call", params).await.ok()
    });
    upstream.arrived(1).await;
    let before = shown(&home, &task).await["used"]["all"].take();
    assert_eq!(before["calls"], 1, "{before}");
    assert!(before["host_calls"].as_u64() > Some(0), "{before}");
    let said = binary::run(&home, &["task", "end", &over]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    daemon.kill().await;
    assert!(under_way.await.unwrap().is_none(), "there was no answer");

    let mut daemon = binary::Daemon::start(&home).await;
    let after = shown(&home, &task).await;
    assert_eq!(after["status"], "live");
    for kind in ["calls", "host_calls", "fuel"] {
        let (before, after) = (&before[kind], &after["used"]["all"][kind]);
        assert!(
            after.as_u64() >= before.as_u64(),
            "{kind}: {before}, {after}"
        );
    }
    assert_eq!(shown(&home, &over).await["status"], "ended");
    assert_eq!(call(&daemon, &over).await, "task.ended");
    // Of the three calls the first is gone.
    for _ in 0..2 {
        assert_eq!(call(&daemon, &task).await, json!(null));
    }
    assert_eq!(call(&daemon, &task).await, "budget.task");
    daemon.stop().await;
    assert_verifies(&home.journal());
    assert_eq!(upstream.ledger().await.len(), 1, "nothing is run again");
}

/// J14: what stands by itself is listed, and a pipeline fails on it.
#[tokio::test]
pub(crate) async fn standing_rights_are_listed() {
    let _row = crate::attacks::stands_for("J14");
    let (_folder, home) = Setup::probe().make().await;
    crate::harness::known(&home, &["alice"]);
    let said = binary::run(&home, &["check", "--zero-standing", "--format", "json"]).await;
    assert_eq!(said.code, 3, "{}", said.err);
    let messages: Vec<String> = said
        .lines()
        .iter()
        .filter_map(|line| line["message"].as_str().map(str::to_owned))
        .collect();
    for part in [
        "`alice` never expires",
        "`probe.calls` permits calls",
        "without an end",
    ] {
        assert!(
            messages.iter().any(|m| m.contains(part)),
            "{part}: {messages:?}"
        );
    }
    let toml = std::fs::read_to_string(home.config()).unwrap();
    std::fs::write(home.config(), format!("{toml}\n[tasks]\nrequired = true\n")).unwrap();
    let said = binary::run(&home, &["check", "--zero-standing", "--format", "json"]).await;
    assert!(!said.out.contains("permits calls"), "{}", said.out);
}
