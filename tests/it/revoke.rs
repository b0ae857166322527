//! Revocation through the whole host: what runs is stopped, what comes is refused, and a restart forgets
//! none of it.

use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tollgate::home::Home;
use tollgate::host::PluginStatus;
use tollgate::id::{LeaseId, TaskId};
use tollgate::journal::record::{Event, Revocation};
use tollgate::reason::{Reason, Refusal};
use tollgate::revocation::{Follower, RevokeError, Scope, Taken, lift, revoke};

use crate::harness::{
    Bench, Look as _, Running, Setup, agent, arrival, assert_verifies, binary, change, known,
    records,
};
use crate::tasks::{started, task, tools};
use crate::upstream::Upstream;

/// Calls that would go on for an hour.
const LONG: &str = "[limits]\nfuel = 10_000_000_000_000\ntime = \"1h\"\n[limits.http]\nfirst_byte = \"1h\"\ntotal = \"1h\"";

fn silent() -> serde_json::Value {
    json!({"requirement": "api", "method": "GET", "url": "https://granted.example/silent"})
}

async fn held(bench: &Bench, count: usize) -> Running {
    let running = bench.spawn("alice", "probe_send", silent());
    bench.upstream.arrived(count).await;
    running
}

/// A task of bob, and one of alice within it.
async fn nested(bench: &Bench) -> (TaskId, TaskId) {
    let outer = task("bob", &["probe.*"]);
    let outer = bench.host.start_task(outer).await.unwrap().id;
    let mut inner = task("alice", &["probe.send"]);
    inner.parent = Some(outer);
    let inner = bench.host.start_task(inner).await.unwrap().id;
    (outer, inner)
}

fn revocations(home: &Home) -> Vec<Revocation> {
    records(&home.journal())
        .into_iter()
        .filter_map(|record| match record.event {
            Event::Revocation(revocation) => Some(revocation),
            _ => None,
        })
        .collect()
}

/// P11, J08: the call dies, its socket closes, the record says what was under way; a job that waits for a
/// person ends as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn a_revoked_agents_running_call_dies() {
    let _row = crate::attacks::stands_for("P11");
    let bench = Setup::probe().toml(LONG).start().await;
    bench.host.identities().issue("alice", None).unwrap();
    let task = bench
        .host
        .start_task(task("alice", &["probe.*"]))
        .await
        .unwrap();
    let waiting = held(&bench, 1).await;
    // One in a computation, one of another agent.
    let looping = bench.spawn("alice", "probe_loop", json!({}));
    let of_bob = bench.spawn("bob", "probe_send", silent());
    bench.upstream.arrived(2).await;
    bench.begun(3).await;

    let scope = Scope::Agent(agent("alice"));
    let revoked = revoke(&bench.host, scope.clone(), "test").await.unwrap();
    assert_eq!(revoked.calls.len(), 2, "{revoked:?}");
    assert_eq!(revoked.tasks, [task.id]);
    for (running, tool) in [(waiting, "probe.send"), (looping, "probe.loop")] {
        let reply = running.reply().await;
        assert_eq!(reply.reason(), Some(Reason::RevokedAgent), "{tool}");
        assert_eq!(
            bench.outcome(reply.call).reason,
            Some(Reason::RevokedAgent),
            "{tool}"
        );
        let under = revoked.calls.iter().find(|under| under.call == reply.call);
        assert_eq!(under.unwrap().tool.to_string(), tool);
        assert_eq!(under.unwrap().task, Some(task.id));
    }
    // Nothing new, also where the agent itself names no token; and nobody else is concerned.
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), Some(Reason::RevokedAgent));
    let over_http = tollgate::mcp::Backend::call(
        Arc::clone(&bench.host),
        arrival("alice", "probe_echo", r#"{"text":"x"}"#),
        CancellationToken::new(),
    )
    .await;
    assert_eq!(over_http.reason(), Some(Reason::RevokedAgent));
    assert!(tools(&bench, "alice", None).is_empty());
    assert!(!of_bob.task.is_finished());
    of_bob.cancel.cancel();
    assert_eq!(of_bob.reply().await.reason(), Some(Reason::CallCancelled));
    bench.upstream.closed().await;

    let records = revocations(bench.host.home());
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].calls, revoked.calls);
    assert_eq!(
        (records[0].scope.as_str(), records[0].by.as_str()),
        ("agent", "test")
    );
    // A new token gives the agent back, and the task stays ended.
    bench.host.identities().issue("alice", None).unwrap();
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    assert!(bench.host.tasks().get(task.id).unwrap().ended.is_some());
    bench.verify();
    crate::jobs::waits::a_stop_ends_what_is_held().await;
}

#[tokio::test]
pub(crate) async fn a_revoked_task_takes_its_calls_and_the_tasks_within_it() {
    let _row = crate::attacks::stands_for("J08");
    let bench = Setup::probe().toml(LONG).start().await;
    let (outer, inner) = nested(&bench).await;
    let running = held(&bench, 1).await;
    let revoked = revoke(&bench.host, Scope::Task(outer), "test")
        .await
        .unwrap();
    let mut both = vec![outer, inner];
    both.sort_unstable();
    assert_eq!(revoked.tasks, both);
    assert_eq!(revoked.calls.len(), 1, "{revoked:?}");
    let reply = running.reply().await;
    assert_eq!(reply.reason(), Some(Reason::RevokedTask));
    bench.upstream.closed().await;
    let written = revocations(bench.host.home());
    assert_eq!(written.len(), 1);
    assert_eq!(written[0].calls, revoked.calls);
    let mut again = arrival("alice", "probe_send", silent().to_string());
    again.caller.task = Some(inner);
    let reply = bench.host.call(again, CancellationToken::new()).await;
    bench.assert_refused(&reply, Reason::RevokedTask);
    bench.verify();
}

/// A task of one agent may lie within a task of another: with the outer agent its tasks end, and all that
/// lies within them.
#[tokio::test]
async fn a_revoked_agent_takes_the_calls_of_others_within_its_tasks() {
    let bench = Setup::probe().toml(LONG).start().await;
    bench.host.identities().issue("bob", None).unwrap();
    let (outer, inner) = nested(&bench).await;
    let running = held(&bench, 1).await;
    let lender = Arc::new(Lender {
        lease: "lease_aaaaaaaaaaaaaaaa".parse().unwrap(),
        asked: Mutex::default(),
    });
    bench.host.follow(lender.clone());
    let revoked = revoke(&bench.host, Scope::Agent(agent("bob")), "test")
        .await
        .unwrap();
    let mut both = vec![outer, inner];
    both.sort_unstable();
    assert_eq!(revoked.tasks, both);
    assert_eq!(revoked.calls.len(), 1, "{revoked:?}");
    assert_eq!(running.reply().await.reason(), Some(Reason::RevokedTask));
    bench.upstream.closed().await;
    let mut asked = lender.asked.lock().unwrap().clone();
    assert_eq!(
        asked.remove(0),
        (Scope::Agent(agent("bob")), Reason::RevokedAgent)
    );
    let tasks: Vec<_> = both
        .iter()
        .map(|id| (Scope::Task(*id), Reason::RevokedTask))
        .collect();
    assert_eq!(asked, tasks);
    // And so it stays.
    let bench = bench.restart().await;
    for id in both {
        let ended = bench.host.tasks().get(id).unwrap().ended.clone();
        assert_eq!(ended.unwrap().how, tollgate::task::End::Revoked);
    }
    bench.verify();
}

/// The operator's stop must not keep an agent waiting once it may go on.
#[tokio::test]
async fn a_stop_is_no_failure_of_who_called() {
    let one = LONG.replace("[limits]\n", "[limits]\nfailures = 1\n");
    let bench = Setup::probe().toml(&one).start().await;
    let running = held(&bench, 1).await;
    revoke(&bench.host, Scope::All, "test").await.unwrap();
    assert_eq!(running.reply().await.reason(), Some(Reason::RevokedAll));
    lift(&bench.host, Scope::All, "test").await.unwrap();
    let send = json!({"requirement": "api", "method": "GET", "url": "https://granted.example/"});
    let reply = bench.call("probe_send", send).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    bench.verify();
}

#[tokio::test]
async fn a_revoked_plugin_serves_again_once_it_is_accepted() {
    let bench = Setup::probe().toml(LONG).start().await;
    let running = held(&bench, 1).await;
    let probe = "probe".parse().unwrap();
    revoke(&bench.host, Scope::Plugin("probe".parse().unwrap()), "test")
        .await
        .unwrap();
    assert_eq!(running.reply().await.reason(), Some(Reason::RevokedPlugin));
    bench.upstream.closed().await;
    assert!(tools(&bench, "alice", None).is_empty());
    assert_eq!(bench.host.plugins()[0].status, PluginStatus::Revoked);
    let echo = json!({"text": "x"});
    // Looking at the folder again, or at another file of that name, changes nothing.
    bench.refresh().await;
    let reply = bench.call("probe_echo", echo.clone()).await;
    assert_eq!(reply.reason(), Some(Reason::RevokedPlugin));
    bench.host.accept(&probe, None, None).await.unwrap();
    let lifted = bench.changes_since(0);
    let lifted = change(&lifted, "plugin.lifted");
    assert_eq!(lifted.subject.as_deref(), Some("probe"));
    let reply = bench.call("probe_echo", echo).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    assert!(matches!(
        revoke(&bench.host, Scope::Plugin("none".parse().unwrap()), "test").await,
        Err(RevokeError::Unknown(_))
    ));
    bench.verify();
}

#[tokio::test]
async fn the_kill_switch_stops_everything_until_it_is_lifted_also_over_a_restart() {
    let bench = Setup::probe().toml(LONG).start().await;
    let running = held(&bench, 1).await;
    let revoked = revoke(&bench.host, Scope::All, "test").await.unwrap();
    assert_eq!(revoked.calls.len(), 1);
    assert_eq!(running.reply().await.reason(), Some(Reason::RevokedAll));
    bench.upstream.closed().await;
    let echo = json!({"text": "x"});
    for name in ["alice", "bob"] {
        let reply = bench.call_as(name, "probe_echo", echo.to_string()).await;
        assert_eq!(reply.reason(), Some(Reason::RevokedAll));
    }
    bench.host.stop().await;
    let Bench { host, folder, .. } = bench;
    let home = host.home().clone();
    drop(host);
    let bench = Bench::start_in(folder, home).await;
    let reply = bench.call("probe_echo", echo.clone()).await;
    assert_eq!(reply.reason(), Some(Reason::RevokedAll));
    lift(&bench.host, Scope::All, "test").await.unwrap();
    let reply = bench.call("probe_echo", echo).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    assert!(matches!(
        lift(&bench.host, Scope::All, "test").await,
        Err(RevokeError::NotLifted(_))
    ));
    bench.verify();
}

/// Takes back one lease of every agent, and knows no other.
#[derive(Debug)]
struct Lender {
    lease: LeaseId,
    asked: Mutex<Vec<(Scope, Reason)>>,
}

#[async_trait::async_trait]
impl Follower for Lender {
    async fn take_back(&self, scope: &Scope, why: &Refusal) -> Result<Taken, Refusal> {
        self.asked.lock().unwrap().push((scope.clone(), why.reason));
        let mut taken = Taken::default();
        if matches!(scope, Scope::Agent(_) | Scope::Task(_)) || *scope == Scope::Lease(self.lease) {
            taken.leases.push(self.lease);
        }
        Ok(taken)
    }
}

#[tokio::test]
async fn whoever_keeps_leases_is_told_of_every_end() {
    let bench = Setup::probe().start().await;
    let lease: LeaseId = "lease_aaaaaaaaaaaaaaaa".parse().unwrap();
    let lender = Arc::new(Lender {
        lease,
        asked: Mutex::default(),
    });
    bench.host.follow(lender.clone());
    let id = bench
        .host
        .start_task(task("alice", &["probe.*"]))
        .await
        .unwrap()
        .id;
    bench
        .host
        .end_task(id, tollgate::task::End::Ended, "done")
        .await
        .unwrap();
    let revoked = revoke(&bench.host, Scope::Lease(lease), "test")
        .await
        .unwrap();
    assert_eq!(revoked.leases, [lease]);
    let other = Scope::Lease("lease_bbbbbbbbbbbbbbbb".parse().unwrap());
    assert!(matches!(
        revoke(&bench.host, other.clone(), "test").await,
        Err(RevokeError::Unknown(_))
    ));
    assert_eq!(
        *lender.asked.lock().unwrap(),
        [
            (Scope::Task(id), Reason::TaskEnded),
            (Scope::Lease(lease), Reason::RevokedLease),
            (other, Reason::RevokedLease),
        ]
    );
    bench.verify();
}

/// Who types the token in the place of its id has it written nowhere.
#[tokio::test]
async fn a_token_is_not_its_own_name_in_the_journal() {
    let bench = Setup::probe().start().await;
    let token = "tgs_notAnIdButTheTokenItself";
    let refused = revoke(&bench.host, Scope::Token(token.into()), "test").await;
    assert!(matches!(refused, Err(RevokeError::Unknown(_))));
    let written = format!("{:?}", bench.records());
    assert!(!written.contains(token), "{written}");
    bench.verify();
}

#[tokio::test]
async fn the_command_revokes_and_lifts() {
    let (_folder, home) = Setup::probe().make().await;
    known(&home, &["alice"]);
    let daemon = binary::Daemon::start(&home).await;
    let echo = ["call", "probe.echo", r#"{"text":"x"}"#, "--agent", "alice"];
    assert_eq!(binary::run(&home, &echo).await.code, 0);
    let said = binary::run(&home, &["revoke", "all"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let said = binary::run(&home, &echo).await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("revoked.all"), "{}", said.err);
    let said = binary::run(&home, &["revoke", "--lift"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(binary::run(&home, &echo).await.code, 0);
    let said = binary::run(&home, &["revoke", "agent", "nobody"]).await;
    assert_eq!(said.code, 3, "{}", said.err);
    let said = binary::run(&home, &["revoke", "agent", "alice", "--format", "json"]).await;
    assert_eq!(said.lines()[0]["kind"], "agent");
    assert_ne!(binary::run(&home, &echo).await.code, 0);
    drop(daemon);
}

/// A host that ends finishes what is under way, and what is under way can be stopped.
#[tokio::test]
async fn power_is_taken_back_from_a_host_that_is_ending() {
    let upstream = Upstream::start().await;
    let (_folder, home) = crate::journal::local(&upstream).make().await;
    let mut daemon = binary::Daemon::start(&home).await;
    let alice = daemon.agent("alice").await;
    let url = format!("http://{}/hold", upstream.plain);
    let held = json!({"requirement": "api", "method": "GET", "url": url});
    let client = daemon.client(&alice);
    let under_way = tokio::spawn(async move { client.try_call("probe_send", &held).await });
    upstream.arrived(1).await;
    let stopping = tokio::spawn({
        let home = home.clone();
        async move { binary::run(&home, &["stop"]).await }
    });
    // To every other command there is no daemon any more.
    while binary::run(&home, &["status"]).await.code != 4 {}
    let said = binary::run(&home, &["revoke", "all"]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    let answer = under_way.await.unwrap().unwrap();
    let code = &answer["_meta"]["dev.tollgate/refusal"]["code"];
    assert_eq!(code, "revoked.all", "{answer}");
    assert_eq!(stopping.await.unwrap().code, 0);
    daemon.ended().await;
    let written = revocations(&home);
    assert_eq!((written.len(), written[0].calls.len()), (1, 1));
    assert_verifies(&home.journal());
}

/// Each is given while a call is under way, and answered; then the daemon is killed.
#[tokio::test]
async fn a_revocation_given_just_before_a_kill_is_in_force_after_it() {
    let upstream = Upstream::start().await;
    let (_folder, home) = crate::journal::local(&upstream).make().await;
    let mut daemon = binary::Daemon::start(&home).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let task = started(&home, &["--tool", "probe.*"]).await;
    let url = format!("http://{}/hold", upstream.plain);
    let arguments = json!({"requirement": "api", "method": "GET", "url": url});
    let mut given = 0;
    for (token, named, what, code) in [
        (&alice, task.as_str(), vec!["task", &task], "revoked.task"),
        (&alice, "", vec!["agent", "alice"], ""),
        (&bob, "", vec!["all"], "revoked.all"),
        (&bob, "", vec!["plugin", "probe"], "revoked.plugin"),
    ] {
        let (client, held) = (daemon.client(token), arguments.clone());
        let under_way = tokio::spawn(async move { client.try_call("probe_send", &held).await });
        given += 1;
        upstream.arrived(given).await;
        let said = binary::run(&home, &[vec!["revoke"], what.clone()].concat()).await;
        assert_eq!(said.code, 0, "{what:?}: {}", said.err);
        daemon.kill().await;
        let answer = under_way.await.unwrap();
        assert!(
            answer
                .as_ref()
                .is_none_or(|answer| answer["isError"] == true),
            "{answer:?}"
        );
        let written = revocations(&home);
        assert_eq!(written.len(), given);
        assert_eq!(written[given - 1].calls.len(), 1, "{what:?}");

        daemon = binary::Daemon::start(&home).await;
        let echo = json!({"name": "probe_echo", "arguments": {"text": "x"}});
        let on = [("tollgate-task", named)];
        let answer = daemon
            .client(token)
            .request_with(&on, "tools/call", echo)
            .await
            .unwrap();
        if code.is_empty() {
            assert_eq!(answer.status, 401, "{}", answer.body);
            continue;
        }
        let told = &answer.messages()[0]["result"]["_meta"]["dev.tollgate/refusal"]["code"];
        assert_eq!(*told, code, "{}", answer.body);
        if code == "revoked.all" {
            let said = binary::run(&home, &["revoke", "--lift"]).await;
            assert_eq!(said.code, 0, "{}", said.err);
        }
    }
    daemon.stop().await;
    assert_verifies(&home.journal());
    assert_eq!(upstream.ledger().await.len(), given, "nothing is run again");
}
