//! How tasks end, and that they stay so.

use proptest::prelude::*;

use super::super::keep::{Later, expire};
use super::*;

#[tokio::test]
async fn a_task_within_another_is_bound_by_both_and_ends_with_it() {
    let bench = bench();
    let outer = bench
        .start("alice", |new| {
            new.budgets.all.calls = Some(1);
            new.lifetime = Duration::from_secs(50);
        })
        .await;
    let inner = bench
        .start("alice", |new| {
            new.parent = Some(outer);
            new.lifetime = Duration::from_secs(500);
        })
        .await;
    let on_inner = caller("alice", Some(inner));
    assert_eq!(
        bench.tasks.get(inner).unwrap().expires,
        bench.tasks.get(outer).unwrap().expires
    );
    let line = bench.tasks.of(&on_inner, false).unwrap().unwrap();
    assert!(line.ids().eq([inner, outer]));
    let on = bench.enter(&on_inner).unwrap().unwrap();
    on.begin().await.unwrap();
    assert_eq!(reason(bench.enter(&on_inner)), Reason::BudgetTask);
    let mut ended = bench.tasks.end(outer, End::Ended, "done").await.unwrap();
    ended.sort_unstable();
    let mut both = [outer, inner];
    both.sort_unstable();
    assert_eq!(ended, both);
    assert_eq!(reason(bench.enter(&on_inner)), Reason::TaskEnded);
    // Also for a call that had found its task before that ended.
    let entered = line.enter(&"p.t".parse().unwrap(), &Arguments::empty(), FUEL);
    assert_eq!(entered.unwrap_err().reason, Reason::TaskEnded);
    assert!(matches!(
        bench.tasks.end(inner, End::Ended, "again").await,
        Err(TaskError::Over(..))
    ));
}

#[tokio::test]
async fn a_task_expires_by_the_clock() {
    let bench = bench();
    let id = bench.start("alice", |_| {}).await;
    let named = caller("alice", Some(id));
    bench.clock.set(1_099);
    assert!(bench.enter(&named).is_ok());
    assert_eq!(bench.tasks.expired(), []);
    bench.clock.set(1_100);
    assert_eq!(reason(bench.enter(&named)), Reason::TaskExpired);
    assert_eq!(bench.tasks.expired(), [id]);
    let shown = bench.tasks.get(id).unwrap();
    assert_eq!(shown.ended.as_ref().unwrap().how, End::Expired);
    assert!(bench.tasks.list(&TaskFilter::default()).is_empty());
}

#[tokio::test]
async fn a_task_that_expires_takes_those_within_it_and_nothing_is_left_for_later() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Seconds::at(1_000));
    let home = crate::home::Home::at(folder.path()).unwrap();
    let host = crate::host::Host::open(crate::host::Options {
        clock: Arc::clone(&clock) as SharedClock,
        ..crate::host::Options::new(home).unwrap()
    })
    .await
    .unwrap();
    // The keeper is this test's own.
    host.drain();
    let start = async |parent| {
        let mut new = new_task("alice");
        new.parent = parent;
        host.start_task(new).await.unwrap().id
    };
    let outer = start(None).await;
    let inner = start(Some(outer)).await;
    clock.set(1_100);
    let mut later = Later::new();
    expire(&host, &mut later).await;
    assert!(later.is_empty(), "{later:?}");
    for id in [outer, inner] {
        let ended = host.tasks().get(id).unwrap().ended.clone();
        assert_eq!(ended.unwrap().how, End::Expired);
    }
    assert_eq!(host.tasks().expired(), []);
}

/// What can happen to a task.
#[derive(Debug, Clone, Copy)]
enum Act {
    Start,
    Enter(usize),
    End(usize),
    Revoke,
    Pass(u64),
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => Just(Act::Start),
        5 => (0_usize..6).prop_map(Act::Enter),
        2 => (0_usize..6).prop_map(Act::End),
        1 => Just(Act::Revoke),
        3 => (0_u64..60).prop_map(Act::Pass),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Against a model of a line for each task: what is over stays over, with its first reason, across
    /// restarts; and calls are counted, never given back.
    #[test]
    fn what_is_over_stays_over(acts in proptest::collection::vec(act(), 1..25)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut bench = bench();
            // The task, its end by the clock, how it ended, and the calls that began.
            let mut model: Vec<(TaskId, u64, Option<Reason>, u64)> = Vec::new();
            let mut now = 1_000;
            for act in acts {
                match act {
                    Act::Start => {
                        let id = bench.start("alice", |new| new.budgets.all.calls = Some(3)).await;
                        model.push((id, now + 100, None, 0));
                    }
                    Act::Enter(n) => {
                        let Some((id, end, over, calls)) = model.get_mut(n) else { continue };
                        let expected = over.or((now >= *end).then_some(Reason::TaskExpired))
                            .or((*calls >= 3).then_some(Reason::BudgetTask));
                        let entered = bench.enter(&caller("alice", Some(*id)));
                        match expected {
                            Some(expected) => prop_assert_eq!(reason(entered), expected),
                            None => {
                                entered.unwrap().unwrap().begin().await.unwrap();
                                *calls += 1;
                            }
                        }
                    }
                    Act::End(n) => {
                        let Some((id, _, over, _)) = model.get_mut(n) else { continue };
                        let ended = bench.tasks.end(*id, End::Ended, "test").await;
                        prop_assert_eq!(ended.is_ok(), over.is_none());
                        *over = over.or(Some(Reason::TaskEnded));
                    }
                    Act::Revoke => {
                        let scope = crate::revocation::Scope::Agent("alice".parse().unwrap());
                        let state = State::open(&bench.folder.path().join("db")).unwrap();
                        state.revoke(&scope, "test", Duration::from_secs(now)).unwrap();
                        bench.tasks.forget(&scope, "test");
                        for (_, _, over, _) in &mut model {
                            *over = over.or(Some(Reason::RevokedTask));
                        }
                    }
                    Act::Pass(seconds) => {
                        now += seconds;
                        bench.clock.set(now);
                    }
                    Act::Restart => bench.restart(),
                }
            }
            Ok(())
        })?;
    }
}
