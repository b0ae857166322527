//! Tasks over a real database and journal, with a clock of the tests' own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::clock::{Clock, SharedClock};
use crate::entropy::SeededEntropy;
use crate::journal::record::Caller;
use crate::journal::{Journal, Options};
use crate::json::{Arguments, Limits};
use crate::name::ToolName;
use crate::state::State;

#[derive(Debug, Default)]
struct Seconds(AtomicU64);

impl Clock for Seconds {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<Seconds>,
    journal: Journal,
    entropy: Arc<SeededEntropy>,
    tasks: Tasks,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Seconds::default());
    clock.0.store(1_000, Ordering::SeqCst);
    let options = Options::new(Arc::clone(&clock) as SharedClock);
    let (journal, _) = Journal::open(folder.path().join("journal"), options).unwrap();
    let entropy = Arc::new(SeededEntropy::default());
    let tasks = load(&folder, &journal, &clock, &entropy);
    Bench {
        folder,
        clock,
        journal,
        entropy,
        tasks,
    }
}

fn load(
    folder: &tempfile::TempDir,
    journal: &Journal,
    clock: &Arc<Seconds>,
    entropy: &Arc<SeededEntropy>,
) -> Tasks {
    let state = State::open(&folder.path().join("db")).unwrap();
    Tasks::load(
        state,
        journal.clone(),
        Arc::clone(clock) as SharedClock,
        Arc::clone(entropy) as crate::entropy::SharedEntropy,
    )
    .unwrap()
}

impl Bench {
    /// As after the death of the process: nothing was written in order.
    fn restart(&mut self) {
        self.tasks = load(&self.folder, &self.journal, &self.clock, &self.entropy);
    }

    async fn start(&self, agent: &str, change: impl FnOnce(&mut NewTask)) -> TaskId {
        let mut new = NewTask {
            agent: agent.parse().unwrap(),
            user: None,
            intent: "to test".into(),
            tools: vec![Allowed {
                tool: "p.*".parse().unwrap(),
                arguments: Vec::new(),
            }],
            budgets: Budgets::default(),
            lifetime: Duration::from_secs(100),
            parent: None,
            by: "test".into(),
        };
        change(&mut new);
        self.tasks.start(new).await.unwrap().id
    }

    fn enter(&self, caller: &Caller) -> Result<Option<OnTask>, Refusal> {
        self.enter_with(caller, "p.t", "{}")
    }

    fn enter_with(
        &self,
        caller: &Caller,
        tool: &str,
        arguments: &str,
    ) -> Result<Option<OnTask>, Refusal> {
        let arguments = Arguments::parse(arguments.as_bytes(), &Limits::default()).unwrap();
        let tool: ToolName = tool.parse().unwrap();
        self.tasks.enter(caller, &tool, &arguments, FUEL, false)
    }
}

/// The most fuel of a call.
const FUEL: u64 = 1_000_000;

fn caller(agent: &str, task: Option<TaskId>) -> Caller {
    Caller {
        agent: agent.parse().unwrap(),
        user: None,
        transport: "http".into(),
        client: None,
        task,
        chain: Vec::new(),
    }
}

#[track_caller]
fn reason(entered: Result<Option<OnTask>, Refusal>) -> Reason {
    entered.map(drop).unwrap_err().reason
}

#[tokio::test]
async fn a_call_is_on_the_task_that_is_named_or_on_the_only_one() {
    let bench = bench();
    let alice = caller("alice", None);
    assert!(bench.enter(&alice).unwrap().is_none());
    let required = bench.tasks.enter(
        &alice,
        &"p.t".parse().unwrap(),
        &Arguments::empty(),
        FUEL,
        true,
    );
    assert_eq!(reason(required), Reason::TaskRequired);
    let first = bench.start("alice", |_| {}).await;
    assert_eq!(bench.enter(&alice).unwrap().unwrap().id(), Some(first));
    let second = bench.start("alice", |_| {}).await;
    assert_eq!(reason(bench.enter(&alice)), Reason::TaskRequired);
    let named = caller("alice", Some(second));
    assert_eq!(bench.enter(&named).unwrap().unwrap().id(), Some(second));
    // Another agent's task does not exist, and neither does one that never was.
    assert_eq!(
        reason(bench.enter(&caller("bob", Some(first)))),
        Reason::TaskUnknown
    );
    let never = TaskId::generate(&SeededEntropy(AtomicU64::new(999))).unwrap();
    assert_eq!(
        reason(bench.enter(&caller("alice", Some(never)))),
        Reason::TaskUnknown
    );
    // One that was handed the work by the task's agent is on it.
    let mut handed = caller("bob", Some(first));
    handed.chain = vec!["alice".parse().unwrap()];
    assert!(bench.enter(&handed).unwrap().is_some());
}

#[tokio::test]
async fn a_task_is_for_its_user_alone() {
    let bench = bench();
    let id = bench
        .start("alice", |new| new.user = Some("ada".parse().unwrap()))
        .await;
    let mut of_eve = caller("alice", Some(id));
    of_eve.user = Some("eve".into());
    assert_eq!(reason(bench.enter(&of_eve)), Reason::TaskUnknown);
    let on = bench.enter(&caller("alice", Some(id))).unwrap().unwrap();
    assert_eq!(on.user(), Some("ada"));
}

#[tokio::test]
async fn a_task_names_tools_and_binds_arguments() {
    let bench = bench();
    bench
        .start("alice", |new| {
            let allowed = |tool: &str, arguments| Allowed {
                tool: tool.parse().unwrap(),
                arguments,
            };
            let bound = Constraint::new("/to", vec![json!("a"), json!("b")]).unwrap();
            new.tools = vec![allowed("p.send", vec![bound]), allowed("q.*", Vec::new())];
        })
        .await;
    let alice = caller("alice", None);
    assert_eq!(
        reason(bench.enter_with(&alice, "p.other", "{}")),
        Reason::TaskTool
    );
    for (arguments, good) in [
        (r#"{"to":"a"}"#, true),
        (r#"{"to":"b","x":1}"#, true),
        (r#"{"to":"c"}"#, false),
        ("{}", false),
        (r#"{"to":["a"]}"#, false),
    ] {
        let entered = bench.enter_with(&alice, "p.send", arguments);
        assert_eq!(entered.is_ok(), good, "{arguments}");
        if !good {
            assert_eq!(reason(entered), Reason::TaskArguments);
        }
    }
    assert!(bench.enter_with(&alice, "q.any", "{}").is_ok());
}

#[tokio::test]
async fn what_can_be_no_task_is_not_started() {
    let bench = bench();
    let new = |change: &dyn Fn(&mut NewTask)| {
        let mut new = NewTask {
            agent: "alice".parse().unwrap(),
            user: None,
            intent: "x".into(),
            tools: vec![Allowed {
                tool: "p.*".parse().unwrap(),
                arguments: Vec::new(),
            }],
            budgets: Budgets::default(),
            lifetime: Duration::from_secs(1),
            parent: None,
            by: "test".into(),
        };
        change(&mut new);
        new
    };
    for (what, change) in [
        (
            "intent",
            (&|n: &mut NewTask| n.intent = "  ".into()) as &dyn Fn(&mut NewTask),
        ),
        ("control", &|n| n.intent = "a\u{1b}b".into()),
        ("long", &|n| n.intent = "a".repeat(501)),
        ("tools", &|n| n.tools.clear()),
        ("time", &|n| n.lifetime = Duration::ZERO),
        ("year", &|n| n.lifetime = Duration::from_secs(400 * 86_400)),
        ("budget", &|n| {
            n.budgets
                .tools
                .insert("q.t".parse().unwrap(), Budget::default());
        }),
    ] {
        let refused = bench.tasks.start(new(change)).await;
        assert!(matches!(refused, Err(TaskError::Invalid(_))), "{what}");
    }
    assert!(bench.tasks.list(&TaskFilter::default()).is_empty());
    // What the journal does not take is not started.
    bench.journal.clone().close().await.unwrap();
    let refused = bench.tasks.start(new(&|_| {})).await;
    assert!(matches!(refused, Err(TaskError::Unwritable(_))));
    assert!(bench.tasks.list(&TaskFilter::default()).is_empty());
}

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
    let on = bench.enter(&on_inner).unwrap().unwrap();
    assert_eq!(on.ids(), [inner, outer]);
    on.begin().await.unwrap();
    assert_eq!(reason(bench.enter(&on_inner)), Reason::BudgetTask);
    let mut ended = bench.tasks.end(outer, End::Ended, "done").await.unwrap();
    ended.sort_unstable();
    let mut both = [outer, inner];
    both.sort_unstable();
    assert_eq!(ended, both);
    assert_eq!(reason(bench.enter(&on_inner)), Reason::TaskEnded);
    assert_eq!(on.live().unwrap_err().reason, Reason::TaskEnded);
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
    bench.clock.0.store(1_099, Ordering::SeqCst);
    assert!(bench.enter(&named).is_ok());
    assert_eq!(bench.tasks.expired(), []);
    bench.clock.0.store(1_100, Ordering::SeqCst);
    assert_eq!(reason(bench.enter(&named)), Reason::TaskExpired);
    assert_eq!(bench.tasks.expired(), [id]);
    let shown = bench.tasks.get(id).unwrap();
    assert_eq!(shown.ended.as_ref().unwrap().how, End::Expired);
    assert!(bench.tasks.list(&TaskFilter::default()).is_empty());
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
                        bench.clock.0.store(now, Ordering::SeqCst);
                    }
                    Act::Restart => bench.restart(),
                }
            }
            Ok(())
        })?;
    }
}
