//! The state machine under random moves, and the service over the end of its process.

mod machine;
mod service;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::*;
use crate::clock::{Seconds, Steady};
use crate::digest::Digest;
use crate::entropy::SeededEntropy;
use crate::id::ApprovalId;
use crate::identity::{AgentId, Approver, PersonId};
use crate::journal::record::{CallId, Event};
use crate::journal::{self, Journal, Reader};
use crate::policy::{Ground, PluginFacts, PolicySet};
use crate::reason::{Reason, Refusal};
use crate::state::{PersonRecord, State};
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
        round: None,
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
        input: None,
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

struct Desk {
    approvals: Approvals,
    state: State,
    clock: Arc<Seconds>,
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
        let clock = Arc::new(Seconds::at(1_000_000));
        let entropy = Arc::new(SeededEntropy::default());
        Self::open(folder, clock, entropy)
    }

    fn open(folder: tempfile::TempDir, clock: Arc<Seconds>, entropy: Arc<SeededEntropy>) -> Self {
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
        let steady = Arc::new(Steady::new(clock.clone(), state.latest_time().unwrap()));
        let approvals = Approvals::open(
            state.clone(),
            journal,
            Arc::new(ArcSwap::from_pointee(policies(folder.path()))),
            tasks,
            steady,
            entropy.clone(),
            Settings::default(),
        )
        .unwrap();
        Self {
            approvals,
            state,
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
            state,
            clock,
            entropy,
            folder,
        } = self;
        drop((approvals, state));
        journal.close().await.unwrap();
        Self::open(folder, clock, entropy)
    }

    fn later(&self, seconds: u64) {
        self.clock.pass(seconds);
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

    /// Makes a person known, for whom it matters that there is a record.
    fn person(&self, name: &str) -> PersonId {
        let id: PersonId = name.parse().unwrap();
        let person = PersonRecord {
            id: id.clone(),
            credential: Digest::of(name.as_bytes()),
            admin: false,
            created: Duration::ZERO,
            issued: Duration::ZERO,
            expires: Duration::MAX,
            removed: None,
        };
        self.state.add_person(&person).unwrap();
        id
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
            // The journal's own records are no part of the story.
            if !matches!(record.event, Event::Recovered(_) | Event::SegmentOpened(_)) {
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
