//! Nobody takes what is everybody's: processor, places, time.

use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate::reason::Reason;

use crate::harness::{Bench, Look as _, Setup, arrival};

/// Fuel and time that no test outlives.
const ENDLESS: &str = "[plugin.probe.limits]\nfuel = 10_000_000_000_000\ntime = \"1h\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_endless_loops_on_two_threads_leave_the_others_served() {
    let bench = Setup::probe().toml(ENDLESS).start().await;
    let loops = [
        bench.spawn("bob", "probe_loop", json!({})),
        bench.spawn("bob", "probe_loop", json!({})),
    ];
    bench.begun(2).await;
    for turn in 0..10 {
        let reply = bench
            .call("probe_echo", json!({"text": turn.to_string()}))
            .await;
        assert_eq!(reply.reason(), None);
    }
    for running in loops {
        assert!(!running.task.is_finished(), "it is still at it");
        running.cancel.cancel();
        assert_eq!(running.reply().await.reason(), Some(Reason::CallCancelled));
    }
    bench.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_burn_their_budget_and_end() {
    let bench = Setup::probe()
        .toml("[plugin.probe.tool.loop.limits]\nfuel = 100_000_000")
        .start()
        .await;
    let loops = [
        bench.spawn("bob", "probe_loop", json!({})),
        bench.spawn("bob", "probe_loop", json!({})),
    ];
    let reply = bench.call("probe_echo", json!({"text": "x"})).await;
    assert_eq!(reply.reason(), None);
    for running in loops {
        let reply = running.reply().await;
        assert_eq!(reply.reason(), Some(Reason::TrapFuel));
        assert!(
            reply.text().contains("100000000"),
            "it says how much: {}",
            reply.text()
        );
        assert_eq!(
            bench.outcome(reply.call).fuel,
            100_000_000,
            "the record has the fuel used"
        );
    }
    bench.verify();
}

fn held() -> serde_json::Value {
    json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"})
}

/// Starts calls that wait upstream, and waits for those that got no place.
async fn storm(
    bench: &Bench,
    agent: &str,
    calls: usize,
    places: usize,
) -> JoinSet<tollgate::call::Reply> {
    let mut all = JoinSet::new();
    for _ in 0..calls {
        let host = bench.host.clone();
        let arrival = arrival(agent, "probe_send", held().to_string());
        all.spawn(async move { host.call(arrival, CancellationToken::new()).await });
    }
    for _ in places..calls {
        let reply = all.join_next().await.unwrap().unwrap();
        assert_eq!(reply.reason(), Some(Reason::LimitConcurrency));
    }
    bench.upstream.arrived(places).await;
    all
}

/// Lets those that wait upstream end.
async fn finish(bench: &Bench, mut all: JoinSet<tollgate::call::Reply>) {
    for _ in 0..all.len() {
        bench.upstream.release();
    }
    while let Some(reply) = all.join_next().await {
        assert_eq!(*reply.unwrap().at("/status"), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
pub(crate) async fn a_thousand_calls_of_one_agent_leave_places_for_others() {
    let _row = crate::attacks::stands_for("R15");
    let bench = Setup::probe()
        .toml("[concurrency]\nagent = 4\nhost = 8\nwait = \"1ms\"\n[limits.http]\nfirst_byte = \"60s\"\ntotal = \"60s\"\n[limits]\ntime = \"60s\"")
        .start()
        .await;
    let all = storm(&bench, "bob", 1_000, 4).await;
    // All that bob may have is taken, and none of it is alice's.
    for _ in 0..8 {
        assert_eq!(bench.echo().await, None);
    }
    finish(&bench, all).await;
    assert_eq!(bench.upstream.ledger().await.len(), 4);
    bench.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_of_plugin_agent_and_host_are_each_bounded() {
    let slow = "[limits.http]\nfirst_byte = \"60s\"\ntotal = \"60s\"\n[limits]\ntime = \"60s\"";
    for (toml, whose) in [
        (
            "[plugin.probe]\nconcurrency = 2\n[concurrency]\nwait = \"1ms\"",
            "plugin's 2",
        ),
        ("[concurrency]\nagent = 2\nwait = \"1ms\"", "agent's 2"),
        (
            "[concurrency]\nagent = 2\nhost = 2\nwait = \"1ms\"",
            "host's 2",
        ),
    ] {
        let bench = Setup::probe().toml(toml).toml(slow).start().await;
        let all = storm(&bench, "alice", 2, 2).await;
        // Whoever else comes meets the bound, where it is not alice's own.
        let other = if whose.starts_with("agent") {
            "alice"
        } else {
            "bob"
        };
        let reply = bench.call_as(other, "probe_echo", r#"{"text":"x"}"#).await;
        assert_eq!(reply.reason(), Some(Reason::LimitConcurrency), "{whose}");
        assert!(reply.text().contains(whose), "{}", reply.text());
        finish(&bench, all).await;
        let reply = bench.call_as(other, "probe_echo", r#"{"text":"x"}"#).await;
        assert_eq!(reply.reason(), None, "the places are free again");
        bench.verify();
    }
}
