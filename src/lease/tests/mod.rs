//! The queue and the book, over a source that a test holds in its hands.

mod deeds;
mod lending;
mod queue;
mod renew;

use std::collections::BTreeSet;
use std::sync::atomic::AtomicU32;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::{Seconds, Steady};
use crate::config::{LeaseTerms, Leases as Settings};
use crate::entropy::{SeededEntropy, SystemEntropy};
use crate::home::Home;
use crate::journal::record::{Caller, Event, LeaseChange, Record};
use crate::journal::{Options, Reader};
use crate::reason::Reason;
use crate::running::{Guard, Running};
use crate::secret::{Ask, Issued, Nature, Renewed, SecretValue, Source, SourceError};

/// A source and its server in one: it knows what is alive.
#[derive(Debug, Default)]
struct Server {
    alive: Mutex<BTreeSet<String>>,
    made: AtomicU32,
    asked_to_revoke: AtomicU32,
    renewed: AtomicU32,
    /// Nothing is taken back.
    is_down: AtomicBool,
    /// Whoever wants these back waits without end.
    stuck: Mutex<BTreeSet<String>>,
    /// Nothing is given, nor renewed.
    refuses: AtomicBool,
    /// Nothing is answered before `go_on`.
    waits: AtomicBool,
    arrived: Notify,
    go_on: Notify,
    /// The answer to a wish is lost on the way.
    loses_answers: AtomicBool,
    bonds: bool,
    standing: bool,
}

impl Server {
    fn with_bonds() -> Self {
        Self {
            bonds: true,
            ..Self::default()
        }
    }

    /// What it is asked comes here first.
    async fn answers(&self) -> Result<(), SourceError> {
        if self.waits.load(Ordering::SeqCst) {
            self.arrived.notify_one();
            self.go_on.notified().await;
        }
        if self.refuses.load(Ordering::SeqCst) {
            return Err(SourceError::Unavailable("status 403".into()));
        }
        Ok(())
    }

    fn make(&self, what: &str) -> Result<String, SourceError> {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let name = format!("{what}-{number}");
        self.alive.lock().unwrap().insert(name.clone());
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(SourceError::Uncertain("the connection broke".into()));
        }
        Ok(name)
    }

    fn alive(&self) -> usize {
        self.alive.lock().unwrap().len()
    }
}

/// The source, with the server behind it.
#[derive(Debug, Clone)]
struct Fake(Arc<Server>);

fn issued(name: String) -> Issued {
    Issued {
        value: SecretValue::new(format!("value of {name}").into_bytes()),
        user: None,
        ttl: Some(Duration::from_secs(300)),
        handle: Some(name.into()),
    }
}

#[async_trait]
impl Source for Fake {
    fn kind(&self) -> &'static str {
        "fake"
    }

    fn nature(&self) -> Nature {
        if self.0.standing {
            Nature::Standing
        } else {
            Nature::Lent
        }
    }

    fn is_local(&self) -> bool {
        self.0.standing
    }

    fn bond_key(&self) -> Option<&str> {
        self.0.bonds.then_some("server")
    }

    async fn bond(&self, _: &Ask) -> Result<Issued, SourceError> {
        let name = format!("bond-{}", self.0.made.fetch_add(1, Ordering::SeqCst));
        self.0.alive.lock().unwrap().insert(name.clone());
        Ok(issued(name))
    }

    async fn issue(&self, _: &Ask, bond: Option<&SecretValue>) -> Result<Issued, SourceError> {
        assert_eq!(bond.is_some(), self.0.bonds);
        if self.0.standing {
            return Ok(Issued::standing(SecretValue::new(b"static".to_vec())));
        }
        self.0.answers().await?;
        self.0.make("lease").map(issued)
    }

    fn renews(&self) -> bool {
        true
    }

    async fn renew(
        &self,
        _: &str,
        _: Option<&SecretValue>,
        ttl: Duration,
    ) -> Result<Renewed, SourceError> {
        self.0.answers().await?;
        self.0.renewed.fetch_add(1, Ordering::SeqCst);
        if self.0.loses_answers.load(Ordering::SeqCst) {
            return Err(SourceError::Uncertain("the connection broke".into()));
        }
        Ok(Renewed {
            ttl: ttl / 2,
            bond: Some(ttl),
        })
    }
}

struct TestDesk {
    server: Arc<Server>,
    terms: LeaseTerms,
    settings: Settings,
}

#[async_trait]
impl Desk for TestDesk {
    fn source(&self, _: &PluginName, _: &str) -> (Arc<dyn Source>, LeaseTerms) {
        (Arc::new(Fake(Arc::clone(&self.server))), self.terms)
    }

    fn settings(&self) -> Settings {
        self.settings
    }

    async fn revoke(&self, _: &str, handle: &str) -> Result<(), SourceError> {
        self.server.asked_to_revoke.fetch_add(1, Ordering::SeqCst);
        if self.server.stuck.lock().unwrap().contains(handle) {
            std::future::pending::<()>().await;
        }
        if self.server.is_down.load(Ordering::SeqCst) {
            return Err(SourceError::Unavailable("status 503".into()));
        }
        let mut alive = self.server.alive.lock().unwrap();
        if handle.starts_with("bond") {
            // All that hangs on it goes along.
            alive.clear();
        }
        alive.remove(handle);
        Ok(())
    }
}

struct Bench {
    leases: Leases,
    running: Running,
    server: Arc<Server>,
    clock: Arc<Seconds>,
    home: Home,
    terms: LeaseTerms,
    _folder: Arc<tempfile::TempDir>,
}

impl Bench {
    fn new(server: Server, terms: LeaseTerms, most_pending: usize) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let home = Home::at(folder.path()).unwrap();
        home.create().unwrap();
        Self::open(folder, home, Arc::new(server), terms, most_pending)
    }

    fn open(
        folder: Arc<tempfile::TempDir>,
        home: Home,
        server: Arc<Server>,
        terms: LeaseTerms,
        most_pending: usize,
    ) -> Self {
        let clock = Arc::new(Seconds::at(1_795_305_600));
        let (journal, _) = Journal::open(home.journal(), Options::new(clock.clone())).unwrap();
        let leases = Leases::open(Parts {
            desk: Arc::new(TestDesk {
                server: Arc::clone(&server),
                terms,
                settings: Settings {
                    most_pending,
                    ..Settings::default()
                },
            }),
            state: State::open(&home.database()).unwrap(),
            store: Store::new(&home, Arc::new(SystemEntropy)),
            journal,
            clock: Arc::new(Steady::new(clock.clone(), Duration::ZERO)),
            entropy: Arc::new(SystemEntropy),
            // Half a second in half a millisecond.
            haste: 1_000,
        })
        .unwrap();
        leases.resume();
        Self {
            leases,
            running: Running::default(),
            server,
            clock,
            home,
            terms,
            _folder: folder,
        }
    }

    /// The host dies and starts again, over the same disk and the same server.
    async fn restart(self) -> Self {
        let Self {
            leases,
            server,
            home,
            terms,
            _folder: folder,
            ..
        } = self;
        let journal = leases.0.parts.journal.clone();
        let old = Arc::downgrade(&leases.0);
        drop(leases);
        // Two hosts never share a disk; what the old one has under way ends first.
        while old.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        journal.close().await.unwrap();
        Self::open(folder, home, server, terms, 128)
    }

    /// A call of alice that is under way.
    fn enter(&self, call: u128, task: Option<TaskId>) -> Guard {
        let caller = Caller {
            agent: AgentId::local("alice").unwrap(),
            user: None,
            transport: "http".to_owned(),
            client: None,
            task,
            chain: Vec::new(),
        };
        let cancel = CancellationToken::new();
        let guard = self.running.enter(id(call), &caller, &cancel);
        guard.call().is_of(&"github.comment".parse().unwrap());
        if let Some(task) = task {
            guard.call().rests_on(Scope::Task(task));
        }
        guard
    }

    async fn lend(&self, call: u128, task: Option<TaskId>) -> Result<Loaned, Refusal> {
        self.lend_as(call, task, "bearer").await
    }

    async fn lend_as(
        &self,
        call: u128,
        task: Option<TaskId>,
        scheme: &str,
    ) -> Result<Loaned, Refusal> {
        let under_way = self.enter(call, task);
        self.lend_to(&under_way, call, task, scheme).await
    }

    async fn lend_to(
        &self,
        guard: &Guard,
        call: u128,
        task: Option<TaskId>,
        scheme: &str,
    ) -> Result<Loaned, Refusal> {
        self.leases
            .lend(Asked {
                call: id(call),
                under_way: Arc::clone(guard.call()),
                task,
                agent: AgentId::local("alice").unwrap(),
                plugin: "github".parse().unwrap(),
                name: "token".into(),
                origin: "https://api.example".into(),
                scheme: scheme.into(),
            })
            .await
    }

    /// A call that is dropped while the server has not answered what was asked for it.
    async fn dropped(&self, call: u128, task: Option<TaskId>) {
        self.server.waits.store(true, Ordering::SeqCst);
        tokio::select! {
            biased;
            _ = self.lend(call, task) => panic!("the server did not answer yet"),
            () = self.server.arrived.notified() => {}
        }
        self.server.waits.store(false, Ordering::SeqCst);
        let _ended = self.leases.end_call(id(call));
    }

    /// What is on the disk, by secret.
    fn rows(&self) -> Vec<Lease> {
        let rows = self.leases.0.parts.state.open_leases().unwrap();
        rows.into_iter().map(|row| row.lease).collect()
    }

    /// Until nothing waits to be taken back.
    async fn settled(&self) {
        let is_done = |lease: &Lease| lease.is_pending() || lease.is_over();
        self.until(|_| !self.leases.book().leases.values().any(is_done))
            .await;
    }

    /// Until nothing is left.
    async fn until_empty(&self) {
        self.until(|_| self.leases.book().leases.is_empty()).await;
    }

    /// Until so many were asked back, and what came of it is known.
    async fn until_taken_back(&self, count: u32) {
        self.until(|pending| {
            self.server.asked_to_revoke.load(Ordering::SeqCst) >= count && pending.is_empty()
        })
        .await;
    }

    /// Until what is pending is as it should be.
    async fn until(&self, is_so: impl Fn(&[LeaseReport]) -> bool) {
        let wait = async {
            while !is_so(&self.leases.pending()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .unwrap();
    }

    /// Every event that was written.
    async fn events(&self) -> Vec<Event> {
        let journal = &self.leases.0.parts.journal;
        let position = journal.append(&Event::Stopped {}).unwrap();
        journal.durable(position).await.unwrap();
        let mut reader = Reader::new(&self.home.journal());
        let mut events = Vec::new();
        while let Some(Record { event, .. }) = reader.next_record().unwrap() {
            events.push(event);
        }
        events
    }

    async fn changes(&self) -> Vec<LeaseChange> {
        let events = self.events().await.into_iter();
        let changes = events.filter_map(|event| match event {
            Event::Lease(change) => Some(change),
            _ => None,
        });
        changes.collect()
    }

    /// Where each lease came to stand, in order.
    async fn stages(&self) -> Vec<String> {
        let changes = self.changes().await.into_iter();
        changes.map(|change| change.stage).collect()
    }

    /// What is said of it.
    async fn details(&self) -> Vec<String> {
        let changes = self.changes().await.into_iter();
        changes.filter_map(|change| change.detail).collect()
    }
}

fn id(call: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(call))
}

fn lent() -> Server {
    Server::default()
}

fn per_task() -> LeaseTerms {
    LeaseTerms {
        per_task: true,
        ..LeaseTerms::default()
    }
}

fn a_task() -> TaskId {
    TaskId::generate(&SeededEntropy::default()).unwrap()
}
