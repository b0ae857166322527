//! Two ends of one job, ends that can't be kept, and what is counted after each.

use super::*;

/// Who ends a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Result,
    Client,
    Time,
    Stop,
}

impl By {
    const ALL: [Self; 4] = [Self::Result, Self::Client, Self::Time, Self::Stop];

    async fn ends(self, desk: &Desk, job: &Job) {
        match self {
            Self::Result => job.end(result()).await,
            Self::Client => desk.jobs.cancel(job.id(), &who("alice")),
            Self::Time => {
                job.stop(Stop::late());
            }
            Self::Stop => desk.jobs.stop(&Scope::All, &all()),
        }
    }

    fn expected(self) -> (Status, Option<Reason>) {
        match self {
            Self::Result => (Status::Completed, None),
            Self::Client => (Status::Cancelled, None),
            Self::Time => (Status::Failed, Some(Reason::JobLost)),
            Self::Stop => (Status::Failed, Some(Reason::RevokedAll)),
        }
    }
}

fn result() -> End {
    End::Completed(r#"{"content":[]}"#.into())
}

fn all() -> Refusal {
    Refusal::new(Reason::RevokedAll, "stopped")
}

fn alice() -> AgentId {
    AgentId::local("alice").unwrap()
}

impl Desk {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("tollgate.db")
    }

    /// The database refuses to move a job on, as where the disk is full.
    fn stuck(&self, is_stuck: bool) {
        let database = rusqlite::Connection::open(self.path()).unwrap();
        let change = match is_stuck {
            true => {
                "CREATE TRIGGER stuck BEFORE UPDATE ON jobs BEGIN SELECT RAISE(ABORT, 'stuck'); END"
            }
            false => "DROP TRIGGER stuck",
        };
        database.execute_batch(change).unwrap();
    }

    async fn words(&self) -> Vec<String> {
        let changes = self.changes().await;
        changes.into_iter().map(|(what, _)| what).collect()
    }
}

#[tokio::test]
async fn the_first_of_two_ends_is_the_one() {
    for first in By::ALL {
        for second in By::ALL {
            let desk = Desk::new();
            let seat = desk.draft("alice").unwrap();
            let job = Arc::clone(&seat.0);
            job.begins(call(1)).await.unwrap();
            first.ends(&desk, &job).await;
            second.ends(&desk, &job).await;
            // Its call comes to its end whatever happened.
            job.end(result()).await;
            drop(seat);
            let (status, reason) = first.expected();
            let shown = desk.get(job.id(), &who("alice")).await.unwrap();
            assert_eq!(shown.status, status, "{first:?}, {second:?}");
            assert_eq!(shown.body.is_some(), status != Status::Cancelled);
            if let Some(reason) = reason {
                assert_eq!(error_code(&shown), reason.code(), "{first:?}, {second:?}");
            }
            let mut expected = vec![("job.started".to_owned(), None)];
            if first == By::Client {
                expected.push(("job.cancelled".to_owned(), None));
            }
            expected.push(("job.ended".to_owned(), reason));
            assert_eq!(desk.changes().await, expected, "{first:?}, {second:?}");
            // One of each is counted, and nothing begins any more.
            assert_eq!(desk.jobs.count(), 0);
            let bytes = shown.body.map_or(0, |body| body.len());
            let used = desk.jobs.used_by(&alice());
            assert_eq!(used, 1_024 + u64::try_from(bytes).unwrap());
            assert!(job.begins(call(2)).await.is_err());
            assert!(job.asks(vec![form("a")]).await.is_err());
            assert!(job.held(call(2), "m".into(), None).await.is_err());
            assert_eq!(job.rounds(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ends_that_come_at_once_leave_one() {
    let desk = Arc::new(Desk::new());
    for _ in 0..20 {
        let seat = desk.draft("alice").unwrap();
        let job = Arc::clone(&seat.0);
        job.begins(call(1)).await.unwrap();
        let before = desk.changes().await.len();
        let ends: Vec<_> = By::ALL
            .into_iter()
            .map(|by| {
                let (desk, job) = (Arc::clone(&desk), Arc::clone(&job));
                tokio::spawn(async move { by.ends(&desk, &job).await })
            })
            .collect();
        for end in ends {
            end.await.unwrap();
        }
        job.end(result()).await;
        drop(seat);
        let shown = desk.get(job.id(), &who("alice")).await.unwrap();
        let new = desk.changes().await.split_off(before);
        let (ended, others) = new.split_last().unwrap();
        assert_eq!(ended.0, "job.ended", "{new:?}");
        let found = (shown.status, ended.1);
        let by = By::ALL.into_iter().find(|by| by.expected() == found);
        let by = by.unwrap_or_else(|| panic!("{found:?}"));
        let others: Vec<_> = others.iter().map(|(what, _)| what.as_str()).collect();
        match by {
            By::Client => assert_eq!(others, ["job.cancelled"]),
            _ => assert!(others.is_empty(), "{new:?}"),
        }
        assert_eq!(desk.jobs.count(), 0);
    }
}

#[tokio::test]
async fn a_token_that_is_cancelled_before_there_is_a_handle_cancels_the_job() {
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    seat.0.begins(call(1)).await.unwrap();
    seat.0.cancel().cancel();
    seat.0.end(result()).await;
    let shown = desk.get(seat.0.id(), &who("alice")).await.unwrap();
    assert_eq!((shown.status, shown.body), (Status::Cancelled, None));
    assert_eq!(desk.words().await, ["job.started", "job.ended"]);
}

#[tokio::test]
async fn an_end_that_can_not_be_kept_counts_for_no_limit_and_is_kept_later() {
    let desk = Desk::new();
    let one = Settings {
        agent: 1,
        host: 1,
        ..Settings::default()
    };
    let seat = desk.jobs.draft(&one, &who("alice"), "p_t").unwrap();
    let id = seat.0.id();
    seat.0.begins(call(1)).await.unwrap();
    assert!(desk.jobs.draft(&one, &who("alice"), "p_t").is_err());
    desk.stuck(true);
    seat.0.end(result()).await;
    drop(seat);
    // Its owner sees it, its place is free, and its space is taken.
    let shown = desk.get(id, &who("alice")).await.unwrap();
    assert_eq!(shown.status, Status::Completed);
    assert_eq!(shown.body.as_deref(), Some(r#"{"content":[]}"#));
    assert_eq!(desk.get(id, &who("bob")).await, None);
    assert_eq!(desk.jobs.count(), 0);
    let used = desk.jobs.used_by(&alice());
    assert!(used > 1_024);
    assert!(desk.jobs.draft(&one, &who("alice"), "p_t").is_ok());
    // Nobody ends it a second time.
    desk.jobs.cancel(id, &who("alice"));
    desk.jobs.stop(&Scope::All, &all());
    desk.jobs.sweep().await;
    assert_eq!(desk.get(id, &who("alice")).await.unwrap(), shown);

    desk.stuck(false);
    desk.jobs.sweep().await;
    assert_eq!(desk.jobs.used_by(&alice()), used);
    let desk = desk.killed().await;
    let kept = desk.get(id, &who("alice")).await.unwrap();
    assert_eq!((kept.status, kept.body), (shown.status, shown.body));
    assert_eq!(desk.jobs.used_by(&alice()), used);
    assert_eq!(desk.words().await, ["job.started", "job.ended"]);
}

#[tokio::test]
async fn an_end_that_is_never_kept_is_forgotten_with_its_space() {
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    let id = seat.0.id();
    seat.0.begins(call(1)).await.unwrap();
    desk.stuck(true);
    seat.0.end(result()).await;
    drop(seat);
    desk.clock.pass(Settings::default().ttl.as_secs());
    desk.jobs.sweep().await;
    assert_eq!(desk.get(id, &who("alice")).await, None);
    assert_eq!(desk.jobs.used_by(&alice()), 0);
    desk.stuck(false);
    let desk = desk.killed().await;
    assert_eq!(desk.words().await, ["job.started", "job.ended"]);
}

#[tokio::test]
async fn what_is_over_frees_its_own_space_and_no_other() {
    let desk = Desk::new();
    let ttl = Settings::default().ttl.as_secs();
    for (number, bytes) in [(1, 100), (2, 2_000)] {
        let seat = desk.draft("alice").unwrap();
        seat.0.begins(call(number)).await.unwrap();
        seat.0.end(End::Completed("x".repeat(bytes))).await;
        desk.clock.pass(ttl / 2);
    }
    assert_eq!(desk.jobs.used_by(&alice()), 2 * 1_024 + 2_100);
    desk.jobs.sweep().await;
    assert_eq!(desk.jobs.used_by(&alice()), 1_024 + 2_000);
    // One whose time is over while it runs takes space until the next look.
    let seat = desk.draft("alice").unwrap();
    seat.0.begins(call(3)).await.unwrap();
    desk.clock.pass(ttl);
    desk.jobs.sweep().await;
    assert_eq!(desk.jobs.used_by(&alice()), 0);
    seat.0.end(result()).await;
    drop(seat);
    assert!(desk.jobs.used_by(&alice()) > 0);
    desk.jobs.sweep().await;
    assert_eq!(desk.jobs.used_by(&alice()), 0);
    assert_eq!(desk.jobs.count(), 0);
    let ended = desk.changes().await.pop().unwrap();
    assert_eq!(ended, ("job.ended".to_owned(), Some(Reason::JobLost)));
}

#[tokio::test]
async fn a_runner_that_breaks_down_leaves_an_end() {
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    let id = seat.0.id();
    seat.0.begins(call(1)).await.unwrap();
    drop(seat);
    while desk.jobs.count() > 0 {
        tokio::task::yield_now().await;
    }
    let shown = desk.get(id, &who("alice")).await.unwrap();
    assert_eq!(error_code(&shown), "host.internal");
    let ended = desk.changes().await.pop().unwrap();
    assert_eq!(ended, ("job.ended".to_owned(), Some(Reason::HostInternal)));
}

#[tokio::test]
async fn what_can_not_be_written_down_never_was() {
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    let id = seat.0.id();
    desk.journal.close().await.unwrap();
    let refusal = seat.0.begins(call(1)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::JournalUnavailable);
    assert_eq!(desk.get(id, &who("alice")).await, None);
    drop(seat);
    assert_eq!(desk.jobs.count(), 0);
    let Desk {
        jobs,
        clock,
        entropy,
        folder,
        ..
    } = desk;
    drop(jobs);
    let desk = Desk::open(folder, clock, entropy);
    assert_eq!(desk.get(id, &who("alice")).await, None);
    assert_eq!(desk.words().await, Vec::<String>::new());
}

/// The host dies between the disk and the record.
#[tokio::test]
async fn after_a_kill_what_came_of_a_job_is_there_and_it_does_not_end_again() {
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    let id = seat.0.id();
    seat.0.begins(call(1)).await.unwrap();
    let now = Duration::from_secs(1_000_001);
    let state = State::open(&desk.path()).unwrap();
    state
        .end_job(id, Status::Completed, Some(call(1)), now, Some("{}"))
        .unwrap();
    drop(state);
    std::mem::forget(seat);
    let desk = desk.killed().await;
    let shown = desk.get(id, &who("alice")).await.unwrap();
    assert_eq!(
        (shown.status, shown.body.as_deref()),
        (Status::Completed, Some("{}"))
    );
    assert_eq!(desk.words().await, ["job.started"]);
}

#[tokio::test]
async fn a_job_goes_on_on_the_task_that_it_began_on() {
    let entropy = SeededEntropy::default();
    let (inner, outer) = (
        TaskId::generate(&entropy).unwrap(),
        TaskId::generate(&entropy).unwrap(),
    );
    let desk = Desk::new();
    let seat = desk.draft("alice").unwrap();
    assert_eq!(seat.0.task(), None);
    seat.0.rests_on(Scope::Plugin("p".parse().unwrap()));
    seat.0.rests_on(Scope::Task(inner));
    seat.0.rests_on(Scope::Task(outer));
    assert_eq!(seat.0.task(), Some(inner));
}
