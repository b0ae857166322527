//! What tasks use, and what of that outlives the process.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_budget_is_exceeded_by_calls_at_once() {
    let bench = Arc::new(bench());
    let id = bench
        .start("alice", |new| {
            new.budgets.all.calls = Some(20);
            new.budgets.all.host_calls = Some(50);
            new.budgets.all.fuel = Some(FUEL * 3);
        })
        .await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let bench = Arc::clone(&bench);
        calls.spawn(async move {
            let entered = bench.enter(&caller("alice", None));
            let Ok(Some(on)) = entered else {
                assert_eq!(reason(entered), Reason::BudgetTask);
                return (0, 0);
            };
            on.begin().await.unwrap();
            let mut host_calls = 0;
            while host_calls < 5 && on.charge(1, 10).is_ok() {
                host_calls += 1;
                tokio::task::yield_now().await;
            }
            on.finish(1_000, &BTreeSet::new()).await.unwrap();
            (1, host_calls)
        });
    }
    let (mut ran, mut charged) = (0, 0);
    while let Some(ended) = calls.join_next().await {
        let (call, host_calls) = ended.unwrap();
        ran += call;
        charged += host_calls;
    }
    let used = bench.tasks.get(id).unwrap().used.all;
    assert!(ran > 0 && ran <= 20, "{ran}");
    assert!(charged <= 50, "{charged}");
    assert_eq!(
        (used.calls, used.host_calls, used.fuel, used.bytes),
        (ran, charged, ran * 1_000, charged * 10)
    );
}

#[tokio::test]
async fn what_does_not_run_costs_nothing_and_what_is_cut_off_costs_its_fuel() {
    let bench = bench();
    let id = bench
        .start("alice", |new| {
            new.budgets.all.calls = Some(2);
            new.budgets.all.fuel = Some(FUEL + 500_000);
        })
        .await;
    let used = || bench.tasks.get(id).unwrap().used.all;
    let alice = caller("alice", None);
    for _ in 0..5 {
        drop(bench.enter(&alice).unwrap());
        assert_eq!(used(), Amounts::default());
    }
    let first = bench.enter(&alice).unwrap().unwrap();
    assert_eq!(first.fuel(FUEL), (FUEL, false));
    // Half of what is left, so that a third would find something too.
    let second = bench.enter(&alice).unwrap().unwrap();
    assert_eq!(second.fuel(FUEL), (250_000, true));
    assert_eq!(reason(bench.enter(&alice)), Reason::BudgetTask);
    first.begin().await.unwrap();
    drop(first);
    assert_eq!((used().calls, used().fuel), (2, FUEL + 250_000));
    drop(second);
    assert_eq!((used().calls, used().fuel), (1, FUEL));
}

#[tokio::test]
async fn a_death_gives_nothing_back_and_an_orderly_end_is_exact() {
    let mut bench = bench();
    let id = bench
        .start("alice", |new| {
            new.budgets.all.calls = Some(3);
            new.budgets.all.fuel = Some(FUEL * 32);
        })
        .await;
    let alice = caller("alice", None);
    let on = bench.enter(&alice).unwrap().unwrap();
    on.begin().await.unwrap();
    // It dies now, with the call under way: the call is gone, and all the fuel that it could use.
    bench.restart();
    let used = bench.tasks.get(id).unwrap().used.all;
    assert_eq!(used.calls, 1);
    assert!((FUEL..=FUEL * 3).contains(&used.fuel), "{used:?}");
    let on = bench.enter(&alice).unwrap().unwrap();
    on.begin().await.unwrap();
    on.finish(10, &BTreeSet::new()).await.unwrap();
    let known = bench.tasks.get(id).unwrap().used.clone();
    bench.tasks.close().await;
    bench.restart();
    assert_eq!(bench.tasks.get(id).unwrap().used, known);
    assert!(bench.enter(&alice).is_ok(), "the third");
}

#[tokio::test]
async fn labels_stay_with_the_task_and_outlive_the_process() {
    let mut bench = bench();
    let outer = bench.start("alice", |_| {}).await;
    let inner = bench.start("alice", |new| new.parent = Some(outer)).await;
    let on = bench.enter(&caller("alice", Some(inner))).unwrap().unwrap();
    on.begin().await.unwrap();
    assert!(on.facts().labels.is_empty());
    on.finish(0, &BTreeSet::from(["private".to_owned()]))
        .await
        .unwrap();
    bench.restart();
    for id in [outer, inner] {
        assert!(bench.tasks.get(id).unwrap().labels.contains("private"));
    }
}

#[tokio::test]
async fn a_label_that_could_not_be_kept_is_kept_with_the_next_call() {
    let mut bench = bench();
    let id = bench.start("alice", |_| {}).await;
    let labels = BTreeSet::from(["private".to_owned()]);
    let database = rusqlite::Connection::open(bench.folder.path().join("db")).unwrap();
    let rename = |from: &str, to: &str| {
        let sql = format!("ALTER TABLE {from} RENAME TO {to}");
        database.execute(&sql, []).unwrap();
    };
    let on = bench.enter(&caller("alice", None)).unwrap().unwrap();
    on.begin().await.unwrap();
    rename("tasks", "gone");
    let refused = on.finish(0, &labels).await.unwrap_err();
    assert_eq!(refused.reason, Reason::HostInternal);
    // In force all the same; but what another call saw is handed out only once it is on the disk.
    let on = bench.enter(&caller("alice", None)).unwrap().unwrap();
    assert!(on.facts().labels.contains("private"));
    assert!(on.finish(0, &labels).await.is_err());
    rename("gone", "tasks");
    on.finish(0, &labels).await.unwrap();
    bench.restart();
    assert_eq!(bench.tasks.get(id).unwrap().labels, labels);
}

#[tokio::test]
async fn what_is_charged_after_the_end_is_written_all_the_same() {
    let mut bench = bench();
    let id = bench
        .start("alice", |new| new.budgets.all.host_calls = Some(160))
        .await;
    let on = bench.enter(&caller("alice", None)).unwrap().unwrap();
    on.begin().await.unwrap();
    on.charge(1, 0).unwrap();
    on.settle().await.unwrap();
    // The disk was ahead of it by a sixteenth, and an orderly end makes it exact.
    bench.tasks.close().await;
    on.charge(5, 0).unwrap();
    on.settle().await.unwrap();
    bench.restart();
    assert!(bench.tasks.get(id).unwrap().used.all.host_calls >= 6);
}
