//! Renewing: what a task holds lives on, and what nobody can tell of is taken back.

use super::*;

/// When the one lease that is no bond ends, as it is on the disk.
fn ends(bench: &Bench) -> Duration {
    let rows = bench.rows().into_iter();
    let mut ends = rows.filter(|lease| lease.secret == "token");
    ends.next().unwrap().expires.unwrap()
}

/// A task with a lease of which less than a third of its time is left.
async fn nearly_over(server: Server) -> (Bench, TaskId, Duration) {
    let bench = Bench::new(server, per_task(), 128);
    let task = a_task();
    bench.lend(1, Some(task)).await.unwrap();
    let before = ends(&bench);
    bench.clock.pass(250);
    (bench, task, before)
}

#[tokio::test]
async fn a_task_renews_what_it_uses_and_the_bond_with_it() {
    let (bench, task, before) = nearly_over(Server::with_bonds()).await;
    bench.lend(2, Some(task)).await.unwrap();
    assert_eq!(bench.server.renewed.load(Ordering::SeqCst), 1);
    assert_eq!(
        bench.server.made.load(Ordering::SeqCst),
        2,
        "the same lease"
    );
    // Half of the 15 minutes that were asked for, as the server has it.
    let until = before + Duration::from_secs(250 + 450 - 300);
    let listed = |is_so: fn(&LeaseReport) -> bool| {
        let mut all = bench.leases.list().into_iter();
        all.find(&is_so).unwrap().expires.unwrap()
    };
    assert_eq!(
        listed(|lease| lease.secret == "token"),
        crate::clock::rfc3339(until)
    );
    assert!(listed(|lease| lease.secret == "(bond)") > listed(|lease| lease.secret == "token"));
}

#[tokio::test]
async fn how_long_it_may_live_is_on_the_disk_before_it_is_asked_for() {
    let (bench, task, before) = nearly_over(Server::with_bonds()).await;
    bench.dropped(2, Some(task)).await;
    // A host that dies now must not believe that it is over before it can be.
    assert!(
        bench
            .rows()
            .iter()
            .all(|lease| lease.expires.unwrap() > before)
    );
    assert!(
        bench
            .details()
            .await
            .contains(&String::from("about to be renewed"))
    );
    bench.server.go_on.notify_one();
    // The call that is gone has renewed it for the next one.
    bench.lend(3, Some(task)).await.unwrap();
    assert_eq!(bench.server.renewed.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_was_not_renewed_ends_when_it_would_have() {
    let (bench, task, before) = nearly_over(Server::with_bonds()).await;
    bench.server.refuses.store(true, Ordering::SeqCst);
    bench.lend(2, Some(task)).await.unwrap();
    assert_eq!(
        bench.server.made.load(Ordering::SeqCst),
        2,
        "the same lease"
    );
    let ends = bench.leases.list().into_iter().map(|lease| lease.expires);
    let before = crate::clock::rfc3339(before);
    assert!(ends.flatten().all(|end| end == before));
}

#[tokio::test]
async fn what_was_perhaps_renewed_is_taken_back_and_the_task_gets_another() {
    let (bench, task, _) = nearly_over(lent()).await;
    bench.server.loses_answers.store(true, Ordering::SeqCst);
    bench.dropped(2, Some(task)).await;
    bench.server.go_on.notify_one();
    bench.until_taken_back(1).await;
    assert_eq!(bench.server.alive(), 0);
    bench.server.loses_answers.store(false, Ordering::SeqCst);
    bench.lend(3, Some(task)).await.unwrap();
    assert_eq!(bench.server.alive(), 1);
}
