//! The state machine under random moves, and the service over the end of its process.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use proptest::prelude::*;

use super::binding::key;
use super::machine::End;
use super::service::Ask;
use super::*;
use crate::clock::Clock;
use crate::digest::Digest;
use crate::entropy::SeededEntropy;
use crate::id::ApprovalId;
use crate::identity::{AgentId, Approver, PersonId};
use crate::journal::record::{CallId, Event};
use crate::journal::{self, Journal, Reader};
use crate::policy::{Ground, PluginFacts, PolicySet};
use crate::reason::{Reason, Refusal};
use crate::state::State;
use crate::task::Tasks;

const TTL: Duration = Duration::from_secs(900);

fn call(number: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(number))
}

fn binding() -> Binding {
    Binding {
        agent: AgentId::local("alice").unwrap(),
        user: Some("olga".to_owned()),
        task: None,
        chain: Vec::new(),
        tool: "p.t".parse().unwrap(),
        plugin: Digest::of(b"component"),
        arguments: Digest::of(b"{}"),
        deciding: Digest::of(b"policies"),
    }
}

fn summary() -> Summary {
    Summary {
        agent: AgentId::local("alice").unwrap(),
        user: Some("olga".to_owned()),
        chain: Vec::new(),
        effect: "call p.t".to_owned(),
        tier: "hold".to_owned(),
        arguments: "{}".to_owned(),
        arguments_digest: Digest::of(b"{}"),
        arguments_bytes: 2,
        body: None,
        policies: Vec::new(),
    }
}

fn request() -> Subject {
    Subject::HostCall {
        action: "http".to_owned(),
        method: "POST".to_owned(),
        url: "https://a.example/".to_owned(),
        body: Digest::of(b"body"),
        secret: None,
    }
}

fn pending(subject: Subject, needed: u32, enough: &[&[&str]]) -> Approval {
    Approval {
        id: ApprovalId::generate(&SeededEntropy::default()).unwrap(),
        status: Status::Pending,
        call: call(1),
        subject,
        binding: binding(),
        summary: summary(),
        tier: "hold".to_owned(),
        needed,
        enough: enough
            .iter()
            .map(|set| set.iter().map(|p| p.parse().unwrap()).collect())
            .collect(),
        answers: Vec::new(),
        asks: 1,
        created: Duration::ZERO,
        expires: TTL,
        standing: None,
        uses: 0,
        used_by: None,
        changed: Duration::ZERO,
        why: None,
    }
}

fn given(person: &str, approve: bool, standing: Option<u64>) -> Given {
    Given {
        person: person.parse().unwrap(),
        approve,
        at: Duration::ZERO,
        standing: standing.map(Duration::from_secs),
        why: None,
    }
}

#[derive(Debug, Clone)]
enum Move {
    Answer(usize, bool, Option<u64>),
    Take(u128),
    End(usize),
    Pass(u64),
}

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (0..3usize, prop::bool::weighted(0.8), prop::option::weighted(0.3, 1..2_000u64))
            .prop_map(|(person, approve, standing)| Move::Answer(person, approve, standing)),
        3 => (1..4u128).prop_map(Move::Take),
        1 => (0..4usize).prop_map(Move::End),
        2 => (0..600u64).prop_map(Move::Pass),
    ];
    prop::collection::vec(one, 1..30)
}

const ENDS: [End; 4] = [End::Expired, End::Withdrawn, End::Revoked, End::Void];

proptest! {
    /// Whatever is done to it, in whatever order: nobody gets what was not given, and nothing twice.
    #[test]
    fn nothing_is_given_that_people_did_not_give(
        moves in moves(),
        needed in 1..4u32,
        named in prop::option::of(0..3usize),
        host_call: bool,
    ) {
        let subject = if host_call { request() } else { Subject::Call {} };
        let named = named.map(|i| PEOPLE[i]);
        let one = named.map(|name| [name]);
        let enough: Vec<&[&str]> = one.iter().map(|set| set.as_slice()).collect();
        let mut now = Duration::ZERO;
        let mut approval = pending(subject, needed, &enough);
        let mut yes: BTreeSet<&str> = BTreeSet::new();
        let mut takes = 0_u32;
        for step in moves {
            let before = approval.clone();
            let after = match step {
                Move::Pass(seconds) => {
                    now += Duration::from_secs(seconds);
                    continue;
                }
                Move::Answer(person, approve, standing) => {
                    let after = approval.answered(given(PEOPLE[person], approve, standing), TTL, now);
                    if after.is_ok() && approve {
                        yes.insert(PEOPLE[person]);
                    }
                    after
                }
                Move::Take(by) => {
                    let after = approval.taken(call(by), now);
                    if after.is_ok() {
                        takes += 1;
                        prop_assert!(yes.len() >= needed as usize);
                        prop_assert!(named.is_none_or(|name| yes.contains(name)));
                        prop_assert!(now < before.expires);
                        prop_assert_eq!(before.status, Status::Approved);
                        prop_assert!(takes == 1 || before.standing.is_some());
                        prop_assert!(!host_call || by == 1 || before.standing.is_some());
                    }
                    after
                }
                Move::End(end) => approval.ended(ENDS[end], None, now),
            };
            match after {
                Ok(after) => {
                    prop_assert!(before.status.is_live(), "{:?} is final", before.status);
                    prop_assert_eq!(&after.binding, &before.binding);
                    prop_assert_eq!(&after.subject, &before.subject);
                    prop_assert_eq!(after.id, before.id);
                    // What stands for long was asked for by each of those who agreed.
                    if after.standing.is_some() {
                        prop_assert!(after.answers.iter().all(|g| !g.approve || g.standing.is_some()));
                    }
                    approval = after;
                }
                Err(refusal) => prop_assert_ne!(refusal.reason, Reason::HostInternal),
            }
            prop_assert_eq!(approval.uses, takes);
            let kept: Approval = serde_json::from_str(&serde_json::to_string(&approval).unwrap()).unwrap();
            prop_assert_eq!(&kept, &approval);
        }
    }
}

#[test]
fn two_must_be_two() {
    let one = pending(Subject::Call {}, 2, &[])
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!((one.status, one.missing()), (Status::Pending, 1));
    let again = one
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(again.status, Status::Pending, "one person is one");
    let two = again
        .answered(given("bob", true, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(two.status, Status::Approved);
    let no = one
        .answered(given("ada", false, None), TTL, Duration::ZERO)
        .unwrap();
    assert_eq!(no.status, Status::Denied, "a no outweighs an own yes");
}

#[test]
fn asks_for_host_calls_are_their_calls_own() {
    let (binding, subject) = (binding(), request());
    assert_ne!(
        key(&binding, &subject, Some(call(1))),
        key(&binding, &subject, Some(call(2)))
    );
    let approved = pending(request(), 1, &[])
        .answered(given("ada", true, None), TTL, Duration::ZERO)
        .unwrap();
    let refusal = approved.taken(call(2), Duration::ZERO).unwrap_err();
    assert_eq!(refusal.reason, Reason::ApprovalBinding);
    assert!(approved.taken(call(1), Duration::ZERO).is_ok());
}

/// Policies under which `ada` and `bob` may approve, and nobody for themselves.
const POLICY: &str = r#"
@id("people")
permit (principal in Group::"approvers", action in Action::"approve", resource);
@id("four-eyes")
forbid (principal, action in Action::"approve", resource) when { context has user && context.user == principal };
"#;
const ENTITIES: &str = r#"[
  {"uid": {"type": "Group", "id": "approvers"}, "attrs": {}, "parents": []},
  {"uid": {"type": "User", "id": "ada"}, "attrs": {}, "parents": [{"type": "Group", "id": "approvers"}]},
  {"uid": {"type": "User", "id": "bob"}, "attrs": {}, "parents": [{"type": "Group", "id": "approvers"}]},
  {"uid": {"type": "User", "id": "olga"}, "attrs": {}, "parents": [{"type": "Group", "id": "approvers"}]}
]"#;

#[derive(Debug)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

struct Desk {
    approvals: Approvals,
    clock: Arc<Hand>,
    entropy: Arc<SeededEntropy>,
    folder: tempfile::TempDir,
}

fn policies(folder: &std::path::Path) -> PolicySet {
    std::fs::write(folder.join("shared.cedar"), POLICY).unwrap();
    std::fs::write(folder.join("entities.json"), ENTITIES).unwrap();
    let description = serde_json::from_value(serde_json::json!({
        "plugin": "p", "version": "1", "summary": "s", "requirements": [],
        "tools": [{ "name": "p.t", "title": null, "description": "d", "output_schema": null, "uses": [],
            "hints": { "read_only": false, "destructive": false, "idempotent": false, "open_world": true },
            "input_schema": { "type": "object", "properties": {} } }],
    }))
    .unwrap();
    let facts = PluginFacts {
        description: &description,
        digest: Digest::of(b"component"),
        origins: std::collections::BTreeMap::new(),
        tiers: std::collections::BTreeMap::new(),
        labels: BTreeSet::new(),
    };
    let loaded = PolicySet::load(folder, &[facts], None);
    assert!(loaded.findings.is_empty(), "{:#?}", loaded.findings);
    loaded.set
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(Hand(AtomicU64::new(1_000_000)));
        let entropy = Arc::new(SeededEntropy::default());
        Self::open(folder, clock, entropy)
    }

    fn open(folder: tempfile::TempDir, clock: Arc<Hand>, entropy: Arc<SeededEntropy>) -> Self {
        let state = State::open(&folder.path().join("tollgate.db")).unwrap();
        let (journal, _) = Journal::open(
            folder.path().join("journal"),
            journal::Options::new(clock.clone()),
        )
        .unwrap();
        let tasks = Tasks::load(
            state.clone(),
            journal.clone(),
            clock.clone(),
            entropy.clone(),
        )
        .unwrap();
        let approvals = Approvals::open(
            state,
            journal,
            Arc::new(ArcSwap::from_pointee(policies(folder.path()))),
            tasks,
            clock.clone(),
            entropy.clone(),
            Settings::default(),
        )
        .unwrap();
        Self {
            approvals,
            clock,
            entropy,
            folder,
        }
    }

    /// As after `kill -9`: nothing is written on the way out.
    async fn killed(self) -> Self {
        let journal = self.approvals.journal_for_tests();
        let Self {
            approvals,
            clock,
            entropy,
            folder,
        } = self;
        drop(approvals);
        journal.close().await.unwrap();
        Self::open(folder, clock, entropy)
    }

    fn later(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn ask(&self, number: u128) -> Result<Arc<Approval>, Refusal> {
        self.put(ask(number, Subject::Call {})).await
    }

    /// Asks, and does not take it back.
    async fn put(&self, ask: Ask) -> Result<Arc<Approval>, Refusal> {
        let (approval, gone) = self.approvals.ask(ask).await?;
        gone.keep();
        Ok(approval)
    }

    async fn say(&self, id: ApprovalId, person: &str, answer: Answer) -> Result<Status, Reason> {
        let by = Approver::for_tests(person.parse::<PersonId>().unwrap());
        let answered = self.approvals.answer(id, &by, answer).await;
        answered.map(|a| a.status).map_err(|r| r.reason)
    }

    async fn yes(&self, id: ApprovalId) -> Result<Status, Reason> {
        self.say(id, "ada", Answer::Approve { standing: None })
            .await
    }

    async fn take(&self, id: ApprovalId, number: u128) -> Result<Approved, Reason> {
        let taken = self
            .approvals
            .take(id, call(number), binding(), Subject::Call {})
            .await;
        taken.map_err(|refusal| refusal.reason)
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut reader = Reader::new(&self.folder.path().join("journal"));
        let mut kinds = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            if !matches!(record.event, Event::Recovered(_)) {
                kinds.push(record.event.kind());
            }
        }
        kinds
    }
}

fn ask(number: u128, subject: Subject) -> Ask {
    Ask {
        call: call(number),
        subject,
        binding: binding(),
        summary: summary(),
        needed: 1,
        enough: Vec::new(),
        host_call: None,
        ground: Ground {
            policies: Vec::new(),
            set: Digest::of(b"set"),
            errors: Vec::new(),
        },
    }
}

#[tokio::test]
async fn asked_answered_and_used_once_in_the_order_of_the_records() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    assert_eq!(
        desk.ask(2).await.unwrap().id,
        asked.id,
        "identical asks merge"
    );
    assert_eq!(desk.approvals.get(asked.id).unwrap().asks, 2);
    assert_eq!(
        desk.take(asked.id, 2).await.unwrap_err(),
        Reason::ApprovalRequired
    );
    assert_eq!(desk.yes(asked.id).await, Ok(Status::Approved));
    let approved = desk.take(asked.id, 2).await.unwrap();
    assert_eq!(approved.approvers().len(), 1);
    assert_eq!(
        desk.take(asked.id, 2).await.unwrap_err(),
        Reason::ApprovalUsed
    );
    assert_ne!(
        desk.ask(3).await.unwrap().id,
        asked.id,
        "used up: a new ask"
    );
    assert_eq!(
        desk.kinds(),
        [
            "approval-asked",
            "approval-asked",
            "approval-answered",
            "approval-used",
            "approval-asked"
        ]
    );
}

#[tokio::test]
async fn only_whom_policy_lets_may_answer_and_never_the_agents_own_user() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    let yes = || Answer::Approve { standing: None };
    assert_eq!(
        desk.say(asked.id, "mallory", yes()).await,
        Err(Reason::PolicyDefault)
    );
    assert_eq!(
        desk.say(asked.id, "olga", yes()).await,
        Err(Reason::ApprovalSelf)
    );
    assert_eq!(
        desk.approvals.get(asked.id).unwrap().status,
        Status::Pending
    );
    let no = Answer::Deny {
        why: Some("not today\n".to_owned()),
    };
    assert_eq!(desk.say(asked.id, "ada", no).await, Ok(Status::Denied));
    let refusal = desk.ask(2).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::ApprovalDenied);
    assert_eq!(refusal.message, "a person said no: not today\\u000a");
    desk.later(16 * 60);
    assert!(desk.ask(3).await.is_ok(), "a no is not for ever");
    assert_eq!(
        desk.kinds(),
        [
            "approval-asked",
            "approval-answered",
            "approval-answered",
            "approval-answered",
            "approval-asked"
        ],
        "answers that do not count are written down as well"
    );
}

#[tokio::test]
async fn what_was_approved_is_usable_once_after_a_kill_at_any_point() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let desk = desk.killed().await;
    assert_eq!(desk.ask(2).await.unwrap().id, id, "asked before the kill");
    desk.yes(id).await.unwrap();
    let desk = desk.killed().await;
    let approved = desk.take(id, 2).await.unwrap();
    assert_eq!(approved.id(), id);
    let desk = desk.killed().await;
    assert_eq!(desk.take(id, 2).await.unwrap_err(), Reason::ApprovalUsed);
    let id = desk.ask(3).await.unwrap().id;
    desk.yes(id).await.unwrap();
    desk.later(16 * 60);
    let desk = desk.killed().await;
    assert_eq!(desk.take(id, 3).await.unwrap_err(), Reason::ApprovalExpired);
}

#[tokio::test]
async fn memory_that_is_behind_the_disk_gives_nothing() {
    let desk = Desk::new();
    let asked = desk.ask(1).await.unwrap();
    desk.yes(asked.id).await.unwrap();
    let approved = desk.approvals.get(asked.id).unwrap();
    // As if another process had used it: the row moved on, memory did not.
    let used = approved.taken(call(9), approved.changed).unwrap();
    let state = State::open(&desk.folder.path().join("tollgate.db")).unwrap();
    assert!(state.move_approval((Status::Approved, 0), &used).unwrap());
    assert!(!state.move_approval((Status::Approved, 0), &used).unwrap());
    assert_eq!(
        desk.take(asked.id, 1).await.unwrap_err(),
        Reason::ApprovalUsed
    );
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    desk.yes(id).await.unwrap();
    desk.later(16 * 60);
    assert_eq!(desk.approvals.get(id).unwrap().status, Status::Expired);
    desk.clock.0.store(1_000_000, Ordering::SeqCst);
    assert_eq!(desk.take(id, 1).await.unwrap_err(), Reason::ApprovalExpired);
    desk.approvals.sweep().await.unwrap();
    let desk = desk.killed().await;
    assert_eq!(desk.approvals.get(id).unwrap().status, Status::Expired);
    assert_eq!(desk.yes(id).await, Err(Reason::ApprovalExpired));
}

#[tokio::test]
async fn asks_are_capped_and_what_is_refused_asks_nobody() {
    let desk = Desk::new();
    let mut events = desk.approvals.events();
    let other = |number: u128| {
        let mut ask = ask(number, Subject::Call {});
        ask.binding.arguments = Digest::of(&number.to_be_bytes());
        ask
    };
    let mut refused = 0;
    for number in 0..200 {
        match desk.put(other(number)).await {
            Ok(_) => {}
            Err(refusal) => {
                assert_eq!(refusal.reason, Reason::ApprovalRate);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 180);
    assert_eq!(desk.approvals.list(&Filter::default()).len(), 20);
    let mut told = 0;
    while events.try_recv().is_ok() {
        told += 1;
    }
    assert_eq!(told, 20);
    desk.later(61);
    assert!(desk.put(other(500)).await.is_ok());
}

#[tokio::test]
async fn a_revocation_goes_first() {
    let desk = Desk::new();
    for _ in 0..20 {
        let id = desk.ask(1).await.unwrap().id;
        let by = Approver::for_tests("ada".parse().unwrap());
        let answer = desk
            .approvals
            .answer(id, &by, Answer::Approve { standing: None });
        let (revoked, answered) = tokio::join!(desk.approvals.revoke(id, "the operator"), answer);
        revoked.unwrap();
        drop(answered);
        assert_eq!(desk.approvals.get(id).unwrap().status, Status::Revoked);
        assert_eq!(desk.take(id, 1).await.unwrap_err(), Reason::RevokedApproval);
        desk.later(61);
    }
}

#[tokio::test]
async fn a_standing_approval_is_for_one_target_and_ends() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let answer = Answer::Approve {
        standing: Some(Duration::from_secs(3_600)),
    };
    desk.say(id, "ada", answer).await.unwrap();
    for number in 1..4 {
        assert_eq!(desk.ask(number).await.unwrap().id, id);
        drop(desk.take(id, number).await.unwrap());
    }
    let mut other = binding();
    other.arguments = Digest::of(b"other");
    let taken = desk
        .approvals
        .take(id, call(1), other, Subject::Call {})
        .await;
    assert_eq!(taken.unwrap_err().reason, Reason::ApprovalArguments);
    let desk = desk.killed().await;
    drop(desk.take(id, 5).await.unwrap());
    desk.later(3_601);
    assert_eq!(desk.take(id, 6).await.unwrap_err(), Reason::ApprovalExpired);
}

#[tokio::test]
async fn a_host_calls_approval_dies_with_the_host() {
    let desk = Desk::new();
    let asked = desk.put(ask(1, request())).await.unwrap();
    let other = desk.put(ask(2, request())).await.unwrap();
    assert_ne!(asked.id, other.id, "each call its own");
    desk.yes(other.id).await.unwrap();
    let desk = desk.killed().await;
    for id in [asked.id, other.id] {
        assert_eq!(desk.approvals.get(id).unwrap().status, Status::Void);
    }
    assert!(
        desk.kinds()
            .ends_with(&["approval-ended", "approval-ended"])
    );
    // At most as long as a call is parked.
    let again = desk.put(ask(3, request())).await.unwrap();
    assert_eq!((again.expires - again.created).as_secs(), 300);
}

#[tokio::test]
async fn what_is_presented_must_be_for_exactly_this() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id.to_string();
    let presented = async |change: &dyn Fn(&mut Binding)| {
        let mut ask = ask(1, Subject::Call {});
        change(&mut ask.binding);
        let found = desk.approvals.presented(&id, &ask).await;
        found.map_err(|r| r.reason).map(drop)
    };
    assert_eq!(presented(&|_| {}).await, Ok(()));
    let arguments = presented(&|b| b.arguments = Digest::of(b"x")).await;
    assert_eq!(arguments, Err(Reason::ApprovalArguments));
    let others: [&dyn Fn(&mut Binding); 6] = [
        &|b| b.agent = AgentId::local("bob").unwrap(),
        &|b| b.user = None,
        &|b| b.tool = "p.u".parse().unwrap(),
        &|b| b.plugin = Digest::of(b"x"),
        &|b| b.deciding = Digest::of(b"x"),
        &|b| b.chain = vec![AgentId::local("c").unwrap()],
    ];
    for change in others {
        assert_eq!(presented(change).await, Err(Reason::ApprovalBinding));
    }
    let ask = ask(1, Subject::Call {});
    for wrong in ["", "approval_aaaaaaaaaaaaaaaa", "task_aaaaaaaaaaaaaaaa"] {
        let refusal = desk.approvals.presented(wrong, &ask).await.unwrap_err();
        assert_eq!(refusal.reason, Reason::ApprovalBinding);
    }
}

#[tokio::test]
async fn who_waits_hears_the_answer_and_who_goes_away_takes_the_ask_along() {
    let desk = Desk::new();
    let id = desk.ask(1).await.unwrap().id;
    let approvals = desk.approvals.clone();
    let waiting = tokio::spawn(async move { approvals.wait(id, TTL).await });
    desk.yes(id).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap().status, Status::Approved);
    drop(desk.take(id, 1).await.unwrap());

    let mut events = desk.approvals.events();
    let (asked, gone) = desk.approvals.ask(ask(1, Subject::Call {})).await.unwrap();
    let id = asked.id;
    drop(gone);
    loop {
        if let ApprovalEvent::Ended(ended) = events.recv().await.unwrap() {
            assert_eq!((ended.id, ended.status), (id, Status::Withdrawn));
            break;
        }
    }
    // Others asked for the same: it is no longer one call's to take back.
    let (asked, gone) = desk.approvals.ask(ask(1, Subject::Call {})).await.unwrap();
    assert_eq!(desk.ask(2).await.unwrap().id, asked.id);
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(desk.yes(asked.id).await, Ok(Status::Approved));
}
