//! Tasks over a real database and journal, with a clock of the tests' own.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::clock::{Seconds, SharedClock};
use crate::entropy::SeededEntropy;
use crate::journal::record::Caller;
use crate::journal::{Journal, Options};
use crate::json::{Arguments, Limits};
use crate::name::ToolName;
use crate::state::State;

mod ends;
mod used;

struct Bench {
    folder: tempfile::TempDir,
    clock: Arc<Seconds>,
    journal: Journal,
    entropy: Arc<SeededEntropy>,
    tasks: Tasks,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(Seconds::at(1_000));
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
        let mut new = new_task(agent);
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
        enter(&self.tasks, caller, (&tool, &arguments), false)
    }
}

fn new_task(agent: &str) -> NewTask {
    NewTask {
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
    }
}

fn enter(
    tasks: &Tasks,
    caller: &Caller,
    (tool, arguments): (&ToolName, &Arguments),
    required: bool,
) -> Result<Option<OnTask>, Refusal> {
    let line = tasks.of(caller, required)?;
    line.map(|line| line.enter(tool, arguments, FUEL))
        .transpose()
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
    let call = (&"p.t".parse().unwrap(), &Arguments::empty());
    let required = enter(&bench.tasks, &alice, call, true);
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
    let line = bench.tasks.of(&caller("alice", Some(id)), false);
    assert_eq!(line.unwrap().unwrap().user(), Some("ada"));
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
        let mut new = new_task("alice");
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
