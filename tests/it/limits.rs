//! Every bound is a typed outcome that says which it was; none is a hang, and none harms the next call.

mod every;

use serde_json::json;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::{Look as _, Setup};

#[tokio::test]
async fn memory_that_is_not_given_is_no_trap_for_a_guest_that_bears_it() {
    let bench = Setup::probe()
        .toml("[plugin.probe.limits]\nmemory = \"16MiB\"")
        .start()
        .await;
    let reply = bench.call("probe_grow_memory", json!({"mib": 64})).await;
    assert_eq!(*reply.at("/refused"), true);
    assert!(reply.at("/grown").as_u64().unwrap() < 16);
}

#[tokio::test]
async fn bytes_are_counted_over_all_host_calls_of_a_call() {
    let bench = Setup::probe()
        .toml("[plugin.probe.limits]\nhost_bytes = \"1MiB\"")
        .start()
        .await;
    let send = json!({"requirement": "api", "method": "GET", "url": "https://granted.example/big/200000", "repeat": 20});
    let reply = bench.call("probe_send", send).await;
    assert_eq!(reply.reason(), Some(Reason::BudgetHostBytes));
    assert!(
        reply.text().contains(" of 1048576 bytes"),
        "{}",
        reply.text()
    );
    assert_eq!(
        bench.upstream.ledger().await.len(),
        6,
        "five fit, the sixth was too much"
    );
    bench.verify();
}

#[tokio::test]
async fn what_a_plugin_may_use_to_describe_itself_can_be_set() {
    let bench = Setup::probe()
        .bytes("guest", crate::harness::misfit("describe-loops"))
        .toml("[plugin.guest.describe]\nfuel = 1_000_000")
        .start()
        .await;
    let plugins = bench.host.plugins();
    let guest = plugins.iter().find(|plugin| plugin.file == "guest.wasm");
    let said = guest.and_then(|guest| guest.message.clone()).unwrap();
    assert!(
        said.contains("limit `fuel` reached: 1000000 of 1000000"),
        "{said}"
    );
}

#[tokio::test]
async fn a_tools_limit_goes_before_its_plugins_and_that_before_the_hosts() {
    let bench = Setup::probe()
        .toml("[limits]\noutput = \"4KiB\"\n[plugin.probe.limits]\noutput = \"2KiB\"\n[plugin.probe.tool.big_output.limits]\noutput = \"1KiB\"")
        .start()
        .await;
    let reply = bench
        .call("probe_big_output", json!({"bytes": 1_500, "shape": "text"}))
        .await;
    assert_eq!(reply.reason(), Some(Reason::ResultTooLarge));
    let reply = bench
        .call("probe_echo", json!({"text": "a".repeat(600)}))
        .await;
    assert_eq!(reply.reason(), None);
    let reply = bench
        .call("probe_echo", json!({"text": "a".repeat(1_500)}))
        .await;
    assert_eq!(reply.reason(), Some(Reason::ResultTooLarge));
}

#[tokio::test]
async fn fuel_is_counted_in_every_outcome_and_costs_the_same_twice() {
    let bench = Setup::probe().start().await;
    let mut used = Vec::new();
    for units in [1, 1, 1_000] {
        let reply = bench
            .call("probe_spin_then_answer", json!({"units": units}))
            .await;
        assert_eq!(reply.reason(), None);
        used.push(bench.outcome(reply.call).fuel);
    }
    assert!(used[0] > 0);
    assert!(
        used[2] > used[0] + 1_000_000,
        "a thousand times the work: {used:?}"
    );
}

#[tokio::test]
pub(crate) async fn an_instance_that_was_cut_short_is_never_seen_again() {
    let _row = crate::attacks::stands_for("R03");
    let bench = Setup::probe()
        .toml("[plugin.probe.tool.sleep.limits]\ntime = \"200ms\"\n[plugin.probe.tool.loop.limits]\nfuel = 1_000_000")
        .start()
        .await;
    for (tool, arguments, reason) in [
        (
            "probe_sleep",
            json!({"ms": 3_600_000}),
            Reason::TrapDeadline,
        ),
        ("probe_loop", json!({}), Reason::TrapFuel),
        ("probe_panic", json!({"message": "x"}), Reason::TrapGuest),
        ("probe_recurse", json!({}), Reason::TrapStack),
    ] {
        // The one before leaves something behind, the next is cut short, and none sees any of it.
        bench.call("probe_dirty", json!({"mib": 16})).await;
        assert_eq!(bench.call(tool, arguments).await.reason(), Some(reason));
        let reply = bench.call("probe_remember", json!({"text": tool})).await;
        assert_eq!(reply.completion.structured, Some(json!({})), "after {tool}");
        let reply = bench.call("probe_scan", json!({"mib": 16})).await;
        assert_eq!(
            (reply.at("/grown"), reply.at("/dirty")),
            (&json!(16), &json!(0)),
            "after {tool}"
        );
    }
    // Cancelled in the middle of a host call, and of a computation.
    for (tool, arguments) in [
        (
            "probe_send",
            json!({"requirement": "api", "method": "GET", "url": "https://granted.example/silent"}),
        ),
        ("probe_sleep", json!({"ms": 3_600_000})),
    ] {
        let before = bench.records().len();
        let running = bench.spawn("alice", tool, arguments);
        while bench.records().len() == before {
            tokio::task::yield_now().await;
        }
        running.cancel.cancel();
        let reason = running.reply().await.reason();
        assert!(
            matches!(reason, Some(Reason::CallCancelled | Reason::TrapDeadline)),
            "{reason:?}"
        );
        let reply = bench.call("probe_remember", json!({"text": tool})).await;
        assert_eq!(reply.completion.structured, Some(json!({})), "after {tool}");
    }
    bench.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_call_stops_and_its_end_is_written_down() {
    let bench = Setup::probe()
        .toml("[plugin.probe.limits]\nfuel = 10_000_000_000_000\ntime = \"1h\"\n[limits.http]\nfirst_byte = \"1h\"\ntotal = \"1h\"")
        .start()
        .await;
    // A computation.
    let running = bench.spawn("alice", "probe_loop", json!({}));
    bench.begun(1).await;
    running.cancel.cancel();
    let reply = running.reply().await;
    assert_eq!(reply.reason(), Some(Reason::CallCancelled));
    assert_eq!(
        bench.outcome(reply.call).reason,
        Some(Reason::CallCancelled)
    );
    // A request: the connection goes with the call.
    let send =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/silent"});
    let running = bench.spawn("alice", "probe_send", send.clone());
    bench.upstream.arrived(1).await;
    running.cancel.cancel();
    let reply = running.reply().await;
    assert_eq!(
        bench.outcome(reply.call).reason,
        Some(Reason::CallCancelled)
    );
    bench.upstream.closed().await;
    // One whose caller is gone: nobody reads a reply, and the journal has its end all the same.
    let running = bench.spawn("alice", "probe_send", send);
    bench.upstream.arrived(2).await;
    running.task.abort();
    assert!(running.task.await.is_err());
    bench.upstream.closed().await;
    let calls: std::collections::BTreeSet<_> = bench
        .records()
        .iter()
        .filter_map(|record| record.event.call())
        .collect();
    assert_eq!(calls.len(), 3);
    for call in calls {
        assert_eq!(bench.outcome(call).reason, Some(Reason::CallCancelled));
    }
    bench.verify();
}

/// As many failures in a row as the host bears.
const BREAKER: u32 = 20;

#[tokio::test]
pub(crate) async fn traps_in_a_row_open_the_breaker_and_others_go_on() {
    let _row = crate::attacks::stands_for("R20");
    let bench = Setup::probe().start().await;
    for _ in 0..BREAKER {
        let reply = bench
            .call_as("bob", "probe_panic", r#"{"message":"x"}"#)
            .await;
        assert_eq!(reply.reason(), Some(Reason::TrapGuest));
    }
    let reply = bench
        .call_as("bob", "probe_panic", r#"{"message":"x"}"#)
        .await;
    assert_eq!(reply.reason(), Some(Reason::LimitBreaker));
    assert!(matches!(
        bench.records_of(reply.call).as_slice(),
        [Event::Refusal(_)]
    ));
    // Bob's other tools, and the same tool of others.
    assert_eq!(
        bench
            .call_as("bob", "probe_echo", r#"{"text":"x"}"#)
            .await
            .reason(),
        None
    );
    let reply = bench
        .call_as("alice", "probe_panic", r#"{"message":"x"}"#)
        .await;
    assert_eq!(reply.reason(), Some(Reason::TrapGuest));
    bench.verify();
}

#[tokio::test]
pub(crate) async fn a_retry_is_counted_and_a_storm_of_them_is_stopped() {
    let _row = crate::attacks::stands_for("R21");
    let bench = Setup::probe_under("forbid (principal, action, resource);")
        .start()
        .await;
    for attempt in 1..=BREAKER {
        let reply = bench.call("probe_echo", json!({"text": "again"})).await;
        assert_eq!(reply.reason(), Some(Reason::PolicyForbidden));
        let events = bench.records_of(reply.call);
        let [Event::Refusal(refused)] = events.as_slice() else {
            panic!("one refusal: {events:?}");
        };
        assert_eq!(refused.attempt, Some(attempt));
    }
    let reply = bench.call("probe_echo", json!({"text": "again"})).await;
    assert_eq!(reply.reason(), Some(Reason::LimitBreaker));
    assert_eq!(
        bench.records_of(reply.call).len(),
        1,
        "each retry is a record"
    );
    // Other arguments are not another tool.
    let reply = bench.call("probe_echo", json!({"text": "otherwise"})).await;
    assert_eq!(reply.reason(), Some(Reason::LimitBreaker));
    bench.verify();
}
