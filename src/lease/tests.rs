//! The queue and the book, over a source that a test holds in its hands.

use async_trait::async_trait;

use super::*;
use crate::clock::Steady;
use crate::config::{LeaseTerms, Leases as Settings};
use crate::entropy::{SeededEntropy, SystemEntropy};
use crate::home::Home;
use crate::journal::record::Record;
use crate::journal::{Options, Reader};
use crate::name::PluginName;
use crate::reason::Reason;
use crate::secret::{Ask, Issued, Nature, SecretValue, Source, SourceError};

#[derive(Debug)]
struct FixedClock(std::sync::atomic::AtomicU64);

impl crate::clock::Clock for FixedClock {
    fn now(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A source and its server in one: it knows what is alive.
#[derive(Debug, Default)]
struct Server {
    alive: Mutex<BTreeSet<String>>,
    made: std::sync::atomic::AtomicU32,
    asked_to_revoke: std::sync::atomic::AtomicU32,
    is_down: AtomicBool,
    /// The answer to a wish is lost on the way.
    loses_answers: AtomicBool,
    bonds: bool,
    standing: bool,
}

impl Server {
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
        self.0.make("lease").map(issued)
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
    server: Arc<Server>,
    clock: Arc<FixedClock>,
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
        let clock = Arc::new(FixedClock(1_795_305_600.into()));
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
        let journal = leases.0.journal.clone();
        let old = Arc::downgrade(&leases.0);
        drop(leases);
        // Two hosts never share a disk; what the old one has under way ends first.
        while old.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        journal.close().await.unwrap();
        Self::open(folder, home, server, terms, 128)
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
        self.leases
            .lend(Asked {
                call: id(call),
                task,
                agent: AgentId::local("alice").unwrap(),
                plugin: "github".parse().unwrap(),
                name: "token".into(),
                origin: "https://api.example".into(),
                scheme: scheme.into(),
            })
            .await
    }

    /// Until nothing waits to be taken back.
    async fn settled(&self) {
        let is_done = |lease: &Lease| lease.is_pending() || lease.is_over();
        self.until(|_| !self.leases.book().leases.values().any(is_done))
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
        let journal = &self.leases.0.journal;
        let position = journal.append(&Event::Stopped {}).unwrap();
        journal.durable(position).await.unwrap();
        let mut reader = Reader::new(&self.home.journal());
        let mut events = Vec::new();
        while let Some(Record { event, .. }) = reader.next_record().unwrap() {
            events.push(event);
        }
        events
    }

    /// Where each lease came to stand, in order.
    async fn stages(&self) -> Vec<String> {
        let events = self.events().await.into_iter();
        let changes = events.filter_map(|event| match event {
            Event::Lease(change) => Some(change.stage),
            _ => None,
        });
        changes.collect()
    }
}

fn id(call: u128) -> CallId {
    CallId(uuid::Uuid::from_u128(call))
}

fn lent() -> Server {
    Server::default()
}

#[tokio::test]
async fn a_call_has_one_for_each_binding_and_its_end_takes_them_back() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    let one = bench.lend(1, None).await.unwrap();
    let again = bench.lend(1, None).await.unwrap();
    assert_eq!(one.value.expose(), again.value.expose());
    let elsewhere = bench.lend_as(1, None, "header:x-api-key").await.unwrap();
    assert_ne!(one.value.expose(), elsewhere.value.expose());
    let other = bench.lend(2, None).await.unwrap();
    assert_ne!(one.value.expose(), other.value.expose());
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (3, 3));
    let _ended = bench.leases.end_call(id(1));
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (1, 1));
    assert_eq!(bench.leases.list()[0].uses, 1);
    let _ended = bench.leases.end_call(id(2));
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    let stages = bench.stages().await;
    for stage in ["wanted", "live", "pending", "revoked"] {
        assert_eq!(
            stages.iter().filter(|s| *s == stage).count(),
            3,
            "{stages:?}"
        );
    }
    assert_eq!(bench.leases.0.state.open_leases().unwrap().len(), 0);
}

#[tokio::test]
async fn j10_a_backend_that_is_down_is_tried_again_and_too_many_stop_lending() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 2);
    for call in 1..=2 {
        bench.lend(call, None).await.unwrap();
    }
    bench.server.is_down.store(true, Ordering::SeqCst);
    let _ended = bench.leases.end_call(id(1));
    let _ended = bench.leases.end_call(id(2));
    let tried = |pending: &[LeaseReport]| {
        pending.len() == 2 && pending.iter().all(|lease| lease.attempts >= 5)
    };
    bench.until(tried).await;
    let pending = bench.leases.pending();
    assert_eq!(pending[0].fault.as_deref(), Some("status 503"));
    let refusal = bench.lend(3, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseBacklog);
    assert_eq!(bench.server.alive(), 2, "none was made");
    bench.server.is_down.store(false, Ordering::SeqCst);
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    bench.lend(3, None).await.unwrap();
}

#[tokio::test]
async fn j09_a_host_that_dies_takes_back_at_its_next_start() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.server.is_down.store(true, Ordering::SeqCst);
    bench.lend(2, None).await.unwrap();
    let _ended = bench.leases.end_call(id(2));
    bench
        .until(|pending| pending.len() == 1 && pending[0].attempts > 1)
        .await;
    let bench = bench.restart().await;
    assert_eq!(bench.leases.pending().len(), 2);
    bench
        .until(|pending| pending.iter().all(|lease| lease.attempts > 0))
        .await;
    assert_eq!(bench.server.alive(), 2);
    bench.server.is_down.store(false, Ordering::SeqCst);
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn what_hangs_on_a_bond_goes_with_it_also_where_nobody_knows_of_it() {
    let server = Server {
        bonds: true,
        ..Server::default()
    };
    let bench = Bench::new(server, LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.server.loses_answers.store(true, Ordering::SeqCst);
    let refusal = bench.lend_as(1, None, "header:a").await.unwrap_err();
    assert_eq!(refusal.reason, Reason::SecretUnavailable);
    assert_eq!(bench.server.alive(), 3, "the bond, and two under it");
    let _ended = bench.leases.end_call(id(1));
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn a_restart_takes_back_by_the_bond_what_was_only_asked_for() {
    let server = Server {
        bonds: true,
        ..Server::default()
    };
    let bench = Bench::new(server, LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    // As if the host died between the server's answer and writing it.
    let state = bench.leases.0.state.clone();
    let mut row = state
        .open_leases()
        .unwrap()
        .into_iter()
        .find(|row| row.lease.bond.is_some())
        .unwrap();
    row.lease.stage = Stage::Wanted { ended: false };
    row.handle = None;
    state.keep_lease(&row).unwrap();
    let bench = bench.restart().await;
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
}

#[tokio::test]
async fn a_task_keeps_its_lease_from_call_to_call_and_its_end_takes_it_back() {
    let terms = LeaseTerms {
        per_task: true,
        ..LeaseTerms::default()
    };
    let server = Server {
        bonds: true,
        ..Server::default()
    };
    let bench = Bench::new(server, terms, 128);
    let task = TaskId::generate(&SeededEntropy::default()).unwrap();
    let one = bench.lend(1, Some(task)).await.unwrap();
    let _ended = bench.leases.end_call(id(1));
    let two = bench.lend(2, Some(task)).await.unwrap();
    assert_eq!(one.value.expose(), two.value.expose());
    let _ended = bench.leases.end_call(id(2));
    assert_eq!(bench.server.alive(), 2);
    let _ended = bench.leases.end_task(task);
    bench.settled().await;
    assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
    let refusal = bench.lend(3, Some(task)).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::TaskEnded);
}

#[tokio::test]
async fn uses_and_time_are_bounds_and_a_clock_set_back_revives_nothing() {
    let terms = LeaseTerms {
        uses: Some(1),
        ..LeaseTerms::default()
    };
    let bench = Bench::new(lent(), terms, 128);
    bench.lend(1, None).await.unwrap();
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver);

    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    bench.clock.0.fetch_add(301, Ordering::SeqCst);
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver);
    bench.clock.0.fetch_sub(3_600, Ordering::SeqCst);
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LeaseOver, "J13");
}

#[tokio::test]
async fn revoking_one_makes_it_worthless_to_its_running_call() {
    let bench = Bench::new(lent(), LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    let lease = bench.leases.list()[0].lease;
    assert_eq!(bench.leases.revoke(lease), [lease]);
    assert!(bench.leases.revoke(lease).is_empty());
    let refusal = bench.lend(1, None).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RevokedLease);
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
    bench.lend(2, None).await.unwrap();
    let _ended = bench.leases.end_agent(&AgentId::local("alice").unwrap());
    bench.settled().await;
    assert_eq!(bench.server.alive(), 0);
}

#[tokio::test]
async fn j11_a_static_value_is_said_to_stay_alive() {
    let server = Server {
        standing: true,
        ..Server::default()
    };
    let bench = Bench::new(server, LeaseTerms::default(), 128);
    bench.lend(1, None).await.unwrap();
    assert!(!bench.leases.list()[0].revocable);
    let _ended = bench.leases.end_call(id(1));
    assert!(bench.leases.list().is_empty());
    assert_eq!(bench.server.asked_to_revoke.load(Ordering::SeqCst), 0);
    let stages = bench.stages().await;
    assert_eq!(stages, ["live", "left"]);
}

#[derive(Debug, Clone, Copy)]
enum Deed {
    Lend(u128, bool),
    EndCall(u128),
    EndTask,
    Down(bool),
    Lose(bool),
    /// The host dies here, and starts again.
    Die,
}

fn deed() -> impl proptest::strategy::Strategy<Value = Deed> {
    use proptest::prelude::*;
    prop_oneof![
        4 => (1_u128..4, any::<bool>()).prop_map(|(call, task)| Deed::Lend(call, task)),
        2 => (1_u128..4).prop_map(Deed::EndCall),
        1 => Just(Deed::EndTask),
        1 => any::<bool>().prop_map(Deed::Down),
        1 => any::<bool>().prop_map(Deed::Lose),
        2 => Just(Deed::Die),
    ]
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(6))]
    /// Whatever happens, and whenever the host dies: once its server answers, nothing is alive.
    #[test]
    fn nothing_outlives_its_holder(
        bonds: bool,
        deeds in proptest::collection::vec(deed(), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let terms = LeaseTerms { per_task: true, ..LeaseTerms::default() };
            let server = Server { bonds, ..Server::default() };
            let mut bench = Bench::new(server, terms, 128);
            let task = TaskId::generate(&SystemEntropy).unwrap();
            for deed in deeds {
                match deed {
                    Deed::Lend(call, on_task) => {
                        drop(bench.lend(call, on_task.then_some(task)).await);
                    }
                    Deed::EndCall(call) => drop(bench.leases.end_call(id(call))),
                    Deed::EndTask => drop(bench.leases.end_task(task)),
                    Deed::Down(is_down) => bench.server.is_down.store(is_down, Ordering::SeqCst),
                    // Only what hangs on something can be found again by it; the rest has to lapse.
                    Deed::Lose(loses) if bonds => bench.server.loses_answers.store(loses, Ordering::SeqCst),
                    Deed::Lose(_) => {}
                    Deed::Die => bench = bench.restart().await,
                }
            }
            bench.server.is_down.store(false, Ordering::SeqCst);
            let _ended = bench.leases.end_all();
            bench.settled().await;
            assert_eq!((bench.server.alive(), bench.leases.list().len()), (0, 0));
            assert!(bench.leases.0.state.open_leases().unwrap().is_empty());
        });
    }
}
