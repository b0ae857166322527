//! Jobs over the end of the process, the clock and other principals.

mod ends;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clock::Seconds;
use crate::entropy::SeededEntropy;
use crate::id::TaskId;
use crate::journal::record::Event;
use crate::journal::{self, Journal, Reader};
use crate::reason::Reason;
use crate::revocation::{Follower as _, Scope};
use crate::state::State;

fn who(name: &str) -> Arc<Authenticated> {
    Arc::new(Authenticated::of(AgentId::local(name).unwrap()))
}

fn call(number: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(number))
}

fn form(key: &str) -> (String, QuestionKind, Value) {
    (key.to_owned(), QuestionKind::Form, json!({}))
}

struct Desk {
    jobs: Jobs,
    journal: Journal,
    clock: Arc<Seconds>,
    entropy: Arc<SeededEntropy>,
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::open(
            tempfile::tempdir().unwrap(),
            Arc::new(Seconds::at(1_000_000)),
            Arc::default(),
        )
    }

    fn open(folder: tempfile::TempDir, clock: Arc<Seconds>, entropy: Arc<SeededEntropy>) -> Self {
        let state = State::open(&folder.path().join("tollgate.db")).unwrap();
        let options = journal::Options::new(clock.clone());
        let (journal, _) = Journal::open(folder.path().join("journal"), options).unwrap();
        let jobs = Jobs::open(state, journal.clone(), clock.clone(), entropy.clone()).unwrap();
        Self {
            jobs,
            journal,
            clock,
            entropy,
            folder,
        }
    }

    /// As after `kill -9`: nothing is written on the way out.
    async fn killed(self) -> Self {
        self.journal.close().await.unwrap();
        drop(self.jobs);
        Self::open(self.folder, self.clock, self.entropy)
    }

    fn draft(&self, name: &str) -> Result<Seat, Refusal> {
        self.jobs.draft(&Settings::default(), &who(name), "p_t")
    }

    async fn get(&self, id: JobId, who: &Authenticated) -> Option<Shown> {
        self.jobs.get(id, who).await.unwrap()
    }

    async fn changes(&self) -> Vec<(String, Option<Reason>)> {
        let position = self.journal.append(&Event::Heartbeat {}).unwrap();
        self.journal.durable(position).await.unwrap();
        let mut reader = Reader::new(&self.folder.path().join("journal"));
        let mut found = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            if let Event::Changed(changed) = record.event {
                found.push((changed.change, changed.reason));
            }
        }
        found
    }
}

fn error_code(shown: &Shown) -> String {
    let body: Value = serde_json::from_str(shown.body.as_deref().unwrap()).unwrap();
    body["data"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_job_is_known_once_its_call_begins_and_is_read_until_its_time_is_over() {
    let desk = Desk::new();
    let alice = who("alice");
    let seat = desk.draft("alice").unwrap();
    let job = Arc::clone(&seat.0);
    assert_eq!(
        desk.get(job.id(), &alice).await,
        None,
        "nobody knows of it yet"
    );
    job.begins(call(1)).await.unwrap();
    assert_eq!(
        desk.get(job.id(), &alice).await.unwrap().status,
        Status::Working
    );
    job.end(End::Completed(r#"{"content":[]}"#.into())).await;
    drop(seat);
    assert_eq!(desk.jobs.count(), 0);
    let desk = desk.killed().await;
    let ttl = Settings::default().ttl;
    desk.clock.pass(ttl.as_secs() - 1);
    let shown = desk.get(job.id(), &alice).await.unwrap();
    assert_eq!(shown.status, Status::Completed);
    assert_eq!(shown.body.as_deref(), Some(r#"{"content":[]}"#));
    assert_eq!(shown.expires - shown.created, ttl);
    assert_eq!(shown.call, Some(call(1)));
    desk.clock.pass(1);
    assert_eq!(desk.get(job.id(), &alice).await, None);
    desk.jobs.sweep().await;
    // Gone, whatever the clock says.
    desk.clock.back(1_000);
    assert_eq!(desk.get(job.id(), &alice).await, None);
    let words: Vec<_> = desk
        .changes()
        .await
        .into_iter()
        .map(|(what, _)| what)
        .collect();
    assert_eq!(words, ["job.started", "job.ended"]);
}

#[tokio::test]
async fn a_job_is_nobody_elses() {
    let desk = Desk::new();
    let alice = who("alice");
    let seat = desk.draft("alice").unwrap();
    let id = seat.0.id();
    seat.0.begins(call(1)).await.unwrap();
    seat.0.asks(vec![form("a")]).await.unwrap();
    let mut for_eve = Authenticated::clone(&alice);
    for_eve.user = Some("eve".into());
    let mut handed_on = Authenticated::clone(&alice);
    handed_on.chain = vec![AgentId::local("first").unwrap()];
    for other in [Authenticated::clone(&who("bob")), for_eve, handed_on] {
        let other = Arc::new(other);
        assert_eq!(desk.get(id, &other).await, None);
        desk.jobs.answer(id, &other, vec![("1-a".into(), json!(1))]);
        desk.jobs.cancel(id, &other);
    }
    let shown = desk.get(id, &alice).await.unwrap();
    assert_eq!((shown.status, shown.asked.len()), (Status::Asking, 1));
    assert!(seat.0.stopped().is_none());
    // The same over the disk.
    seat.0.end(End::Cancelled).await;
    assert_eq!(desk.get(id, &who("bob")).await, None);
    assert_eq!(
        desk.get(id, &alice).await.unwrap().status,
        Status::Cancelled
    );
}

#[tokio::test]
async fn what_was_not_over_has_failed_after_a_restart() {
    let desk = Desk::new();
    let mut seats = Vec::new();
    for name in ["working", "asking", "held", "drafted"] {
        let seat = desk.draft(name).unwrap();
        let job = &seat.0;
        match name {
            "working" => job.begins(call(1)).await.unwrap(),
            "asking" => {
                job.begins(call(2)).await.unwrap();
                job.asks(vec![form("a")]).await.unwrap();
            }
            "held" => job.held(call(3), "wait".into(), None).await.unwrap(),
            _ => {}
        }
        seats.push((name, job.id()));
        // Its runner is gone with the process.
        std::mem::forget(seat);
    }
    let desk = desk.killed().await;
    for (name, id) in seats {
        let shown = desk.get(id, &who(name)).await;
        if name == "drafted" {
            assert_eq!(shown, None);
            continue;
        }
        let shown = shown.unwrap();
        assert_eq!(shown.status, Status::Failed, "{name}");
        assert_eq!(error_code(&shown), "job.lost", "{name}");
        let body = shown.body.unwrap();
        assert_eq!(body.contains("not run again"), name == "working", "{body}");
        assert_eq!(body.contains("agreed to"), name == "held", "{body}");
    }
    let lost = desk.changes().await;
    let lost = lost
        .iter()
        .filter(|(_, reason)| *reason == Some(Reason::JobLost));
    assert_eq!(lost.count(), 3);
    // Once.
    let desk = desk.killed().await;
    assert_eq!(desk.changes().await.len(), 6);
}

#[tokio::test]
async fn there_are_few_at_a_time_and_little_is_kept() {
    let desk = Desk::new();
    let settings = Settings {
        agent: 2,
        host: 3,
        space: 3_000,
        ..Settings::default()
    };
    let draft = |name: &str| desk.jobs.draft(&settings, &who(name), "p_t");
    let limit = |refused: Result<Seat, Refusal>| {
        let refusal = refused.map(|seat| seat.0.id()).unwrap_err();
        assert_eq!(refusal.reason, Reason::LimitJobs);
        let named = refusal.message.split('`').nth(1).unwrap();
        named.to_owned()
    };
    let first = draft("alice").unwrap();
    let second = draft("alice").unwrap();
    assert_eq!(limit(draft("alice")), "jobs.agent");
    let third = draft("bob").unwrap();
    assert_eq!(limit(draft("carol")), "jobs.host");
    drop(third);
    first.0.begins(call(1)).await.unwrap();
    first.0.end(End::Completed("x".repeat(2_000))).await;
    assert_eq!(limit(draft("alice")), "jobs.space");
    assert!(draft("bob").is_ok());
    drop((first, second));
    // What is kept counts after a restart as well, until its time is over.
    let desk = desk.killed().await;
    let draft = |name: &str| desk.jobs.draft(&settings, &who(name), "p_t");
    assert_eq!(limit(draft("alice")), "jobs.space");
    desk.clock.pass(settings.ttl.as_secs());
    desk.jobs.sweep().await;
    assert!(draft("alice").is_ok());
}

#[tokio::test]
async fn answers_wake_it_once_all_are_there() {
    let desk = Desk::new();
    let alice = who("alice");
    let seat = desk.draft("alice").unwrap();
    let job = Arc::clone(&seat.0);
    job.begins(call(1)).await.unwrap();
    job.asks(vec![form("a"), form("b")]).await.unwrap();
    let waiting = tokio::spawn({
        let job = Arc::clone(&job);
        async move { job.answered().await }
    });
    desk.jobs
        .answer(job.id(), &alice, vec![("1-b".into(), json!(2))]);
    let shown = desk.get(job.id(), &alice).await.unwrap();
    assert_eq!(shown.asked.len(), 1);
    assert_eq!(shown.asked[0].key, "1-a");
    // What answers nothing that is asked changes nothing of what the job rests on.
    let stranger = Arc::new(Authenticated {
        tokens: vec!["strange".into()],
        ..Authenticated::clone(&alice)
    });
    for key in ["1-b", "no-such"] {
        let nothing = vec![(key.into(), json!(3))];
        desk.jobs.answer(job.id(), &stranger, nothing);
    }
    assert_eq!(job.who().tokens, alice.tokens);
    let renewed = Arc::new(Authenticated {
        tokens: vec!["new".into()],
        ..Authenticated::clone(&alice)
    });
    desk.jobs
        .answer(job.id(), &renewed, vec![("1-a".into(), json!(1))]);
    let answers = waiting.await.unwrap();
    assert_eq!(answers, [("b".into(), json!(2)), ("a".into(), json!(1))]);
    // The next round is made with what was presented last, and ends with it.
    assert_eq!(job.who().tokens, ["new"]);
    job.asks(vec![form("a")]).await.unwrap();
    let why = Refusal::new(Reason::TokenRevoked, "the token was revoked");
    let other = Scope::Token("other".into());
    desk.jobs.take_back(&other, &why).await.unwrap();
    assert!(job.stopped().is_none());
    let strange = Scope::Token("strange".into());
    desk.jobs.take_back(&strange, &why).await.unwrap();
    assert!(job.stopped().is_none());
    let token = Scope::Token("new".into());
    desk.jobs.take_back(&token, &why).await.unwrap();
    assert!(
        matches!(job.stopped(), Some(Stop::For(refusal)) if refusal.reason == Reason::TokenRevoked)
    );
    assert!(job.cancel().is_cancelled());
}

#[tokio::test]
async fn a_stop_finds_what_waits_and_the_first_is_the_reason() {
    let entropy = SeededEntropy::default();
    let task = TaskId::generate(&entropy).unwrap();
    for (scope, found) in [
        (Scope::All, true),
        (Scope::Agent(AgentId::local("alice").unwrap()), true),
        (Scope::Agent(AgentId::local("bob").unwrap()), false),
        (Scope::Task(task), true),
        (Scope::Task(TaskId::generate(&entropy).unwrap()), false),
        (Scope::Plugin("p".parse().unwrap()), true),
        (Scope::Plugin("q".parse().unwrap()), false),
    ] {
        let desk = Desk::new();
        let seat = desk.draft("alice").unwrap();
        seat.0.rests_on(Scope::Task(task));
        seat.0.rests_on(Scope::Plugin("p".parse().unwrap()));
        seat.0.held(call(1), "wait".into(), None).await.unwrap();
        let why = Refusal::new(Reason::RevokedAll, "stopped");
        desk.jobs.take_back(&scope, &why).await.unwrap();
        assert_eq!(seat.0.stopped().is_some(), found, "{scope}");
        desk.jobs.cancel(seat.0.id(), &who("alice"));
        let owner = matches!(seat.0.stopped(), Some(Stop::Owner));
        assert_eq!(owner, !found, "{scope}");
        let cancelled = desk.changes().await;
        let cancelled = cancelled.iter().any(|(what, _)| what == "job.cancelled");
        assert_eq!(cancelled, !found, "{scope}");
        // Its call does not run any more.
        assert!(seat.0.begins(call(2)).await.is_err());
    }
}

#[tokio::test]
async fn one_whose_time_is_over_is_stopped_and_the_end_of_the_host_stops_all() {
    let desk = Desk::new();
    let alice = who("alice");
    let seat = desk.draft("alice").unwrap();
    seat.0.begins(call(1)).await.unwrap();
    desk.clock.pass(Settings::default().ttl.as_secs());
    assert_eq!(desk.get(seat.0.id(), &alice).await, None);
    desk.jobs.sweep().await;
    assert!(
        matches!(seat.0.stopped(), Some(Stop::For(refusal)) if refusal.reason == Reason::JobLost)
    );

    let other = desk.draft("bob").unwrap();
    other.0.begins(call(2)).await.unwrap();
    drop(seat);
    let closing = tokio::spawn({
        let jobs = desk.jobs.clone();
        async move { jobs.close(Duration::from_secs(60)).await }
    });
    other.0.cancel().cancelled().await;
    let Some(Stop::For(refusal)) = other.0.stopped() else {
        panic!("not stopped by the host");
    };
    assert_eq!(refusal.reason, Reason::HostDraining);
    other.0.end(End::failed(&refusal, Some(call(2)))).await;
    closing.await.unwrap();
    let shown = desk.get(other.0.id(), &who("bob")).await.unwrap();
    assert_eq!(error_code(&shown), "host.draining");
}
