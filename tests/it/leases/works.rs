//! What the tests of leases work with: a probe that may reach this machine, real servers beside it, and
//! looks into what was written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tollgate::call::Arrival;
use tollgate::clock::{Clock, SharedClock, SystemClock};
use tollgate::home::Home;
use tollgate::host::Host;
use tollgate::id::TaskId;
use tollgate::journal::record::{Event, LeaseChange};

use crate::harness::binary::{Daemon, run};
use crate::harness::{PROBE_POLICY, Setup, arrival, host, records};
use crate::servers::{Gate, OpenBao, Queue, until};

/// The probe, which may reach `origin` on this machine.
pub(crate) fn local(origin: &str) -> Setup {
    Setup::probe_at(origin, PROBE_POLICY)
}

/// A queue, OpenBao that makes its users, and the probe, which works there with them.
pub(crate) struct Works {
    pub(crate) queue: Queue,
    pub(crate) bao: OpenBao,
    pub(crate) setup: Setup,
}

impl Works {
    /// With more in the table of the secret, and after it.
    pub(crate) async fn start(more: &str) -> Self {
        let queue = Queue::start().await;
        let bao = OpenBao::start(&queue).await;
        let setup = local(&queue.origin());
        let mut works = Self { queue, bao, setup };
        let vault = works.bao.table(&works.bao.address).await;
        works.setup = works.worker().toml(more).toml(&vault);
        works
    }

    /// The same, over a way to OpenBao that can be cut.
    pub(crate) async fn behind_a_gate() -> (Self, Gate) {
        let mut works = Self::start("").await;
        let gate = Gate::to(&works.bao.address).await;
        let vault = works.bao.table(&gate.origin).await;
        works.setup = works.worker().toml(&vault);
        (works, gate)
    }

    /// The probe with the credential of a worker, which ends with the table of that.
    pub(crate) fn worker(&self) -> Setup {
        local(&self.queue.origin()).toml(
            "[secret.probe.token]\nsource = \"vault\"\npath = \"rabbitmq/creds/worker\"\n\
             field = \"password\"\nuser_field = \"username\"",
        )
    }

    /// What the probe is told: to do one piece of work.
    pub(crate) fn arguments(&self) -> Value {
        json!({
            "requirement": "api", "method": "GET", "url": format!("{}/work", self.queue.origin()),
            "credentials": [{"secret": "token", "scheme": "basic", "name": "whoever"}],
        })
    }

    /// That call by alice, on a task of hers if one is named.
    pub(crate) fn arrival(&self, task: Option<TaskId>) -> Arrival {
        let mut arrival = arrival("alice", "probe_send", self.arguments().to_string());
        arrival.caller.task = task;
        arrival
    }

    /// A host within this process.
    pub(crate) async fn host(&self, clock: SharedClock) -> (TempDir, Arc<Host>) {
        let (folder, home) = self.setup.make().await;
        (folder, host(home, clock).await)
    }

    /// The program, with what `alice` proves herself by.
    pub(crate) async fn daemon(&self) -> (TempDir, Home, Daemon, String) {
        let (folder, home) = self.setup.make().await;
        let daemon = Daemon::start(&home).await;
        let token = daemon.agent("alice").await;
        (folder, home, daemon, token)
    }

    /// A call of the program that is at work, for as long as the queue holds it; what it is answered.
    pub(crate) async fn begin(&self, daemon: &Daemon, token: &str) -> JoinHandle<Option<Value>> {
        self.queue.hold();
        let before = self.queue.worked().len();
        let (client, arguments) = (daemon.client(token), self.arguments());
        let call = async move { client.try_call("probe_send", &arguments).await };
        let call = tokio::spawn(call);
        self.queue.at_work(before + 1).await;
        call
    }

    /// Waits until all that was made is gone: at the queue, and at OpenBao.
    pub(crate) async fn empty(&self) {
        self.queue.empty().await;
        self.bao.childless().await;
    }
}

/// Every lease that `tollgate leases` shows.
pub(crate) async fn listed(home: &Home) -> Vec<Value> {
    let said = run(home, &["leases", "--format", "json"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    said.lines()
}

/// Waits until it shows none.
pub(crate) async fn none_listed(home: &Home) {
    until("no lease is left", || async {
        listed(home).await.is_empty()
    })
    .await;
}

pub(crate) fn changes(home: &Home) -> Vec<LeaseChange> {
    let all = records(&home.journal()).into_iter();
    all.filter_map(|record| match record.event {
        Event::Lease(change) => Some(change),
        _ => None,
    })
    .collect()
}

pub(crate) fn stages(home: &Home, secret: &str) -> Vec<String> {
    let changes = changes(home).into_iter();
    changes
        .filter(|change| change.secret == secret)
        .map(|change| change.stage)
        .collect()
}

/// Asserts that no file of the home holds `text`, the log and the database included.
#[track_caller]
pub(crate) fn nowhere(home: &Home, text: &str) {
    let mut folders = vec![home.root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                let found = bytes
                    .windows(text.len())
                    .any(|window| window == text.as_bytes());
                assert!(!found, "`{}` holds a secret", path.display());
            }
        }
    }
}

/// The machine's clock, so many seconds ahead.
#[derive(Debug, Default)]
pub(crate) struct Ahead(pub(super) AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Duration {
        SystemClock.now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A task of `alice` for the probe.
pub(crate) async fn started(host: &Host) -> TaskId {
    let new = crate::tasks::task("alice", &["probe.*"]);
    host.start_task(new).await.unwrap().id
}
