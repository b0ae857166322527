//! How jobs end that do not end by themselves.

use std::time::Duration;

use serde_json::json;
use tollgate::journal::record::{CallId, Event};
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, revoke};
use tollgate::task::End;

use super::{Asks, Desk, FIXTURES, LONG, assert_unknown, changes, request, words};
use crate::crash::BOB_IS_HELD;
use crate::harness::binary::{Daemon, run, run_as};
use crate::harness::{PROBE_POLICY, Setup, agent, assert_verifies, intents, records};
use crate::tasks::task;
use crate::upstream::Upstream;

#[tokio::test]
async fn a_cancelled_job_stops_its_call() {
    let desk = Desk::start(PROBE_POLICY, LONG).await;
    let id = desk.alice.begin("probe_send", desk.get("/silent")).await;
    desk.upstream.arrived(1).await;
    desk.alice.cancel(&id).await;
    desk.upstream.closed().await;
    let over = desk.alice.over(&id).await;
    assert_eq!(over["status"], "cancelled");
    assert_eq!((over.get("result"), over.get("error")), (None, None));
    desk.alice.cancel(&id).await;
    let intents = desk.intents();
    assert_eq!(intents.len(), 1);
    assert_eq!(
        desk.outcome(&intents[0]),
        ("failed".to_owned(), Some(Reason::CallCancelled))
    );
    assert_eq!(
        words(&desk.changes()),
        ["job.started", "job.cancelled", "job.ended"]
    );
    assert_eq!(desk.upstream.ledger().await.len(), 1);
    desk.verify();
}

/// The sweep comes every two seconds of the machine's own time, whatever the test's clock says.
#[tokio::test]
async fn a_job_is_there_until_its_time_is_over_and_then_it_is_not() {
    let desk = Desk::start(PROBE_POLICY, &format!("[jobs]\nttl = \"10min\"\n{LONG}")).await;
    let done = desk.alice.begin("probe_send", desk.get("/echo")).await;
    assert_eq!(desk.alice.over(&done).await["ttlMs"], 600_000);
    let running = desk.alice.begin("probe_send", desk.get("/silent")).await;
    desk.upstream.arrived(2).await;
    desk.served.at(599);
    assert_eq!(desk.alice.over(&done).await["status"], "completed");
    assert_eq!(
        desk.alice.get(&running).await["result"]["status"],
        "working"
    );
    desk.served.at(600);
    assert_unknown(&desk.alice, &done).await;
    assert_unknown(&desk.alice, &running).await;
    // The call that was under way is stopped, and what was kept is gone.
    desk.upstream.closed().await;
    while desk.served.host.jobs().count() > 0 {
        tokio::task::yield_now().await;
    }
    let last = desk.intents().pop().unwrap();
    assert_eq!(
        desk.outcome(&last),
        ("failed".to_owned(), Some(Reason::CallCancelled))
    );
    let ended = desk.changes().pop().unwrap();
    assert_eq!(ended.change, "job.ended");
    assert_eq!(ended.reason, Some(Reason::JobLost));
    desk.verify();
}

#[tokio::test]
async fn a_revoked_agents_jobs_end_those_that_wait_as_well() {
    let desk = Desk::start(PROBE_POLICY, LONG).await;
    let running = desk.alice.begin("probe_send", desk.get("/silent")).await;
    let waiting = desk
        .alice
        .begin("confirm_delete", json!({"filename": "a"}))
        .await;
    desk.alice.until(&waiting, &["input_required"]).await;
    let of_bob = desk.bob.begin("probe_send", desk.get("/silent")).await;
    desk.upstream.arrived(2).await;

    let host = &desk.served.host;
    let revoked = revoke(host, Scope::Agent(agent("alice")), "test")
        .await
        .unwrap();
    assert_eq!(revoked.calls.len(), 1, "{revoked:?}");
    // Its own token is no more; with a new one it sees what became of its jobs.
    let gone = desk
        .alice
        .client
        .request("tasks/get", json!({"taskId": running}));
    assert_eq!(gone.await.unwrap().status, 401);
    let alice = Asks::of(desk.served.client(&desk.served.agent("alice")));
    for id in [&running, &waiting] {
        let over = alice.over(id).await;
        assert_eq!(over["status"], "failed", "{over}");
        assert_eq!(over["error"]["data"]["code"], "revoked.agent", "{over}");
    }
    let intents = desk.intents();
    assert_eq!(desk.outcome(&intents[0]).1, Some(Reason::RevokedAgent));
    let ended: Vec<_> = desk
        .changes()
        .into_iter()
        .filter(|change| change.change == "job.ended")
        .map(|change| change.reason)
        .collect();
    assert_eq!(ended, [Some(Reason::RevokedAgent); 2]);
    // The answers of a client go nowhere any more.
    let late = json!({"1-confirm": {"action": "accept", "content": {"confirm": true}}});
    let ack = alice.update(&waiting, late).await;
    assert_eq!(ack["result"]["resultType"], "complete", "{ack}");
    assert_eq!(desk.intents().len(), 3);

    // The kill switch stops the rest.
    revoke(host, Scope::All, "test").await.unwrap();
    desk.upstream.closed().await;
    let refused = desk.bob.get(&of_bob).await;
    assert_eq!(refused["error"]["data"]["code"], "revoked.all", "{refused}");
    tollgate::revocation::lift(host, Scope::All, "test")
        .await
        .unwrap();
    let over = desk.bob.over(&of_bob).await;
    assert_eq!(over["error"]["data"]["code"], "revoked.all", "{over}");
    assert_eq!(desk.upstream.ledger().await.len(), 2);
    desk.verify();
}

#[tokio::test]
async fn the_end_of_a_task_ends_its_jobs() {
    let desk = Desk::start(PROBE_POLICY, LONG).await;
    let host = &desk.served.host;
    let on = host
        .start_task(task("alice", &["probe.*", "conformance.*"]))
        .await
        .unwrap();
    let running = desk.alice.begin("probe_send", desk.get("/silent")).await;
    let waiting = desk
        .alice
        .begin("confirm_delete", json!({"filename": "a"}))
        .await;
    desk.alice.until(&waiting, &["input_required"]).await;
    desk.upstream.arrived(1).await;
    assert!(
        desk.intents()
            .iter()
            .all(|intent| intent.caller.task == Some(on.id))
    );
    host.end_task(on.id, End::Ended, "test").await.unwrap();
    desk.upstream.closed().await;
    for id in [&running, &waiting] {
        let over = desk.alice.over(id).await;
        assert_eq!(over["status"], "failed", "{over}");
        assert_eq!(over["error"]["data"]["code"], "task.ended", "{over}");
    }
    let intents = desk.intents();
    assert_eq!(desk.outcome(&intents[0]).1, Some(Reason::TaskEnded));
    assert_eq!(desk.upstream.ledger().await.len(), 1);
    desk.verify();
}

fn unknown_after(records: &[tollgate::journal::record::Record]) -> Vec<CallId> {
    let recovered = records.iter().rev().find_map(|record| match &record.event {
        Event::Recovered(recovered) => Some(recovered.unknown.clone()),
        _ => None,
    });
    recovered.unwrap_or_default()
}

#[tokio::test]
async fn after_a_kill_a_job_has_failed_and_nothing_of_it_runs_again() {
    let upstream = Upstream::start().await;
    let (_folder, home) = Setup::probe_at(&upstream.origin(), BOB_IS_HELD)
        .component("conformance", guests::CONFORMANCE)
        .policy("conformance", FIXTURES)
        .shared_rules()
        .toml("[plugin.conformance]\nprefix = \"\"")
        .toml(LONG)
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    let (alice, bob) = (daemon.agent("alice").await, daemon.agent("bob").await);
    let ada = run(&home, &["person", "add", "ada"]).await;
    let asks = |daemon: &Daemon, token: &str| Asks::of(daemon.client(token));
    let client = asks(&daemon, &alice);
    let done = client
        .begin("probe_send", request(upstream.plain, "/echo"))
        .await;
    let before = client.over(&done).await;
    assert_eq!(before["status"], "completed");
    let running = client
        .begin("probe_send", request(upstream.plain, "/silent"))
        .await;
    upstream.arrived(2).await;
    let waiting = client
        .begin("confirm_delete", json!({"filename": "a"}))
        .await;
    client.until(&waiting, &["input_required"]).await;
    let url = request(upstream.plain, "/echo?held");
    let held = asks(&daemon, &bob).begin("probe_send", url.clone()).await;
    let asked = asks(&daemon, &bob).until(&held, &["working"]).await;
    let message = asked["statusMessage"].as_str().unwrap();
    let approval = message
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .find(|word| word.starts_with("approval_") && word.len() == 25)
        .unwrap_or_else(|| panic!("{message}"))
        .to_owned();
    daemon.kill().await;

    let mut daemon = Daemon::start(&home).await;
    let client = asks(&daemon, &alice);
    assert_eq!(client.over(&done).await, before);
    for (id, told) in [
        (&running, "not run again"),
        (&waiting, "waited for its client"),
    ] {
        let over = client.over(id).await;
        assert_eq!(over["status"], "failed", "{over}");
        assert_eq!(over["error"]["data"]["code"], "job.lost", "{over}");
        let said = over["error"]["message"].as_str().unwrap();
        assert!(said.contains(told), "{said}");
    }
    // What a person agrees to is not lost with the job: the same call finds it.
    let bob = asks(&daemon, &bob);
    let over = bob.over(&held).await;
    assert!(
        over["error"]["message"]
            .as_str()
            .unwrap()
            .contains("call again")
    );
    let said = run_as(&home, ada.out.trim(), &["approvals", "approve", &approval]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let again = bob.begin("probe_send", url).await;
    assert_eq!(bob.over(&again).await["status"], "completed");
    assert_eq!(upstream.ledger().await.len(), 3);
    daemon.stop().await;

    let all = records(&home.journal());
    let calls = intents(all.clone());
    assert_eq!(calls.len(), 4);
    assert_eq!(unknown_after(&all), [calls[1].call]);
    let lost = changes(all);
    let lost = lost
        .iter()
        .filter(|change| change.reason == Some(Reason::JobLost));
    assert_eq!(lost.count(), 3);
    assert_verifies(&home.journal());
}

#[tokio::test]
async fn the_end_of_the_host_ends_jobs_in_order() {
    let upstream = Upstream::start().await;
    let (_folder, home) = Setup::probe_at(&upstream.origin(), PROBE_POLICY)
        .toml(LONG)
        .make()
        .await;
    let mut daemon = Daemon::start(&home).await;
    let token = daemon.agent("alice").await;
    let client = Asks::of(daemon.client(&token));
    let id = client
        .begin("probe_send", request(upstream.plain, "/silent"))
        .await;
    upstream.arrived(1).await;
    let stopped = tokio::time::timeout(Duration::from_secs(60), daemon.stop()).await;
    assert!(
        stopped.is_ok(),
        "the host waits for a job that goes on for an hour"
    );
    let daemon = Daemon::start(&home).await;
    let over = Asks::of(daemon.client(&token)).over(&id).await;
    assert_eq!(over["status"], "failed", "{over}");
    assert_eq!(over["error"]["data"]["code"], "host.draining", "{over}");
    let all = records(&home.journal());
    assert!(unknown_after(&all).is_empty());
    let ended = changes(all).pop().unwrap();
    assert_eq!(
        (ended.change.as_str(), ended.reason),
        ("job.ended", Some(Reason::HostDraining))
    );
}
