//! Lending: to whom, how often, for how long.

use super::*;

#[tokio::test]
async fn a_call_has_one_for_each_binding_and_its_end_takes_them_back() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    let one = bench.lend(1, None).await.unwrap();
    let again = bench.lend(1, None).await.unwrap();
    assert_eq!(one.value.expose(), again.value.expose());
    let elsewhere = bench.lend_as(1, None, "header:x-api-key").await.unwrap();
    assert_ne!(one.value.expose(), elsewhere.value.expose());
    let other = bench.lend(2, None).await.unwrap();
    assert_ne!(one.value.expose(), other.value.expose());
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (3, 3));
    let _ended = bench.leases.end_call(id(1));
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (1, 1));
    assert_eq!(bench.leases.list()[0].uses, 1);
    let _ended = bench.leases.end_call(id(2));
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    let stages = bench.stages().await;
    for stage in ["wanted", "live", "pending", "revoked"] {
        assert_eq!(
            stages.iter().filter(|s| *s == stage).count(),
            3,
            "{stages:?}"
        );
    }
    assert_eq!(bench.leases.0.parts.state.open_leases().unwrap().len(), 0);
}

#[tokio::test]
async fn a_task_keeps_its_lease_from_call_to_call_and_its_end_takes_it_back() {
    let bench = Bench::new(Server::with_bonds(), per_task(), 128);
    let task = a_task();
    let one = bench.lend(1, Some(task)).await.unwrap();
    let _ended = bench.leases.end_call(id(1));
    let two = bench.lend(2, Some(task)).await.unwrap();
    assert_eq!(one.value.expose(), two.value.expose());
    let _ended = bench.leases.end_call(id(2));
    assert_eq!(bench.server.alive(), 2);
    let _ended = bench.leases.end_task(task);
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn a_call_that_was_stopped_gets_nothing_more() {
    let bench = Bench::new(Server::with_bonds(), per_task(), 128);
    let task = a_task();
    let call = bench.enter(1, Some(task));
    bench.lend_to(&call, 1, Some(task), "bearer").await.unwrap();
    // As the end of a task goes: first its calls are stopped, then what was lent is taken back.
    let over = Refusal::new(Reason::TaskEnded, "the task has ended");
    bench.running.stop(&Scope::Task(task), &over);
    let _ended = bench.leases.end_task(task);
    for (holder, scheme) in [
        (Some(task), "bearer"),
        (Some(task), "basic"),
        (None, "basic"),
    ] {
        let refusal = bench.lend_to(&call, 1, holder, scheme).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::TaskEnded);
    }
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
    assert_eq!(
        bench.server.made.load(Ordering::SeqCst),
        2,
        "the bond and one"
    );
}

#[tokio::test]
async fn a_lease_stops_the_calls_that_rest_on_it_from_before_its_first_use() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    let call = bench.enter(1, None);
    bench.lend_to(&call, 1, None, "bearer").await.unwrap();
    let lease = bench.leases.list()[0].lease;
    let scope = Scope::Lease(lease);
    assert_eq!(bench.running.stop(&scope, &scope.refusal()).len(), 1);
}

#[tokio::test]
async fn what_was_asked_for_when_its_call_was_dropped_is_taken_back() {
    for server in [lent(), Server::with_bonds()] {
        let bench = Bench::new(server, LeaseTerms::default(), 128);
        bench.dropped(1, None).await;
        let asked_for = |lease: &LeaseReport| lease.secret == "token" && lease.stage == "wanted";
        assert!(bench.leases.list().iter().any(asked_for));
        bench.server.go_on.notify_one();
        bench.until_empty().await;
        assert_eq!(bench.server.alive(), 0);
        let stages = bench.stages().await;
        assert_eq!(stages.last().unwrap(), "revoked", "{stages:?}");
    }
}

#[tokio::test]
async fn what_was_asked_for_on_a_task_is_there_for_its_next_call() {
    let bench = Bench::new(Server::with_bonds(), per_task(), 128);
    let task = a_task();
    bench.dropped(1, Some(task)).await;
    bench.server.go_on.notify_one();
    bench.lend(2, Some(task)).await.unwrap();
    assert_eq!(
        bench.server.made.load(Ordering::SeqCst),
        2,
        "the bond and one"
    );
    let _ended = bench.leases.end_task(task);
    bench.until_empty().await;
    assert_eq!(bench.server.alive(), 0);
}

#[tokio::test]
async fn a_task_gets_another_once_its_source_answers_again() {
    let bench = Bench::new(lent(), per_task(), 128);
    let task = a_task();
    bench.lend(1, Some(task)).await.unwrap();
    bench.clock.pass(301);
    bench.server.refuses.store(true, Ordering::SeqCst);
    let refusal = bench.lend(2, Some(task)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SecretUnavailable);
    bench.server.refuses.store(false, Ordering::SeqCst);
    bench.lend(3, Some(task)).await.unwrap();
}

#[tokio::test]
async fn uses_and_time_are_bounds_and_a_clock_set_back_revives_nothing() {
    let terms = LeaseTerms {
        uses: Some(1),
        ..LeaseTerms::default()
    };
    let bench = Bench::new(lent(), terms, 128);
    bench.lend(1, None).await.unwrap();
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver);

    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.clock.pass(301);
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver);
    bench.clock.back(3_600);
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver, "J13");
}

#[tokio::test]
async fn revoking_one_makes_it_worthless_to_its_running_call() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    let lease = bench.leases.list()[0].lease;
    assert_eq!(bench.leases.revoke(lease), [lease]);
    assert!(bench.leases.revoke(lease).is_empty());
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RevokedLease);
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    bench.lend(2, None).await.unwrap();
    let _ended = bench.leases.end_agent(&AgentId::local("alice").unwrap());
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
}

#[tokio::test]
async fn j11_a_static_value_is_said_to_stay_alive() {
    let server = Server {
        standing: true,
        ..Server::default()
    };
    let bench = Bench::new(server, LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    assert!(!bench.leases.list()[0].revocable);
    let _ended = bench.leases.end_call(id(1));
    assert!(bench.leases.list().is_empty());
    assert_eq!(bench.server.asked_to_revoke.load(Ordering::SeqCst), 0);
    let stages = bench.stages().await;
    assert_eq!(stages, ["live", "left"]);
}
