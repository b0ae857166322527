//! A running host with a clock, a resolver and an upstream of the test's own.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tollgate::call::Reply;
use tollgate::clock::Clock;
use tollgate::digest::Digest;
use tollgate::entropy::SystemEntropy;
use tollgate::home::Home;
use tollgate::host::{Host, Options, Refreshed};
use tollgate::journal::record::{CallId, Changed, Event, Outcome, Record};
use tollgate::reason::Reason;

use super::network::{Detour, Names};
use super::{Look as _, NOW, arrival, assert_verifies, place, program, reason_of, records};
use crate::upstream::Upstream;

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub(crate) struct TestClock(pub(crate) AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    pub(crate) fn set(&self, to: Duration) {
        self.0
            .store(u64::try_from(to.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

/// A running host and all that is around it.
pub(crate) struct Bench {
    pub(crate) host: Arc<Host>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) resolver: Arc<Names>,
    pub(crate) connector: Arc<Detour>,
    pub(crate) upstream: Upstream,
    pub(crate) folder: TempDir,
}

impl Bench {
    /// Starts a host in a home that was made, with a fixture upstream.
    pub(crate) async fn start_in(folder: TempDir, home: Home) -> Self {
        Self::start_at(folder, home, NOW).await
    }

    /// The same, at another time.
    pub(crate) async fn start_at(folder: TempDir, home: Home, now: Duration) -> Self {
        let upstream = Upstream::start().await;
        let clock = Arc::new(TestClock(AtomicU64::new(0)));
        clock.set(now);
        let resolver = Arc::new(Names::default());
        let connector = Arc::new(Detour::to(&upstream));
        let host = Host::start(Options {
            home,
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            resolver: resolver.clone(),
            connector: connector.clone(),
            compiler: program(),
        })
        .await
        .unwrap();
        Self {
            host,
            clock,
            resolver,
            connector,
            upstream,
            folder,
        }
    }

    /// Ends the host in order and starts another in the same home.
    pub(crate) async fn restart(self) -> Self {
        self.host.stop().await;
        let (home, folder) = (self.host.home().clone(), self.folder);
        drop(self.host);
        Self::start_in(folder, home).await
    }

    /// A call as `alice`.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.call_as("alice", tool, arguments.to_string()).await
    }

    /// A call with arguments as they are.
    pub(crate) async fn call_as(
        &self,
        name: &str,
        tool: &str,
        arguments: impl Into<Vec<u8>>,
    ) -> Reply {
        self.host
            .call(arrival(name, tool, arguments), CancellationToken::new())
            .await
    }

    /// A call that goes on by itself. The token cancels it.
    pub(crate) fn spawn(&self, name: &str, tool: &str, arguments: Value) -> Running {
        let host = self.host.clone();
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let arrival = arrival(name, tool, arguments.to_string());
        let task = tokio::spawn(async move { host.call(arrival, token).await });
        Running { task, cancel }
    }

    /// Takes in what changed on disk.
    pub(crate) async fn refresh(&self) -> Refreshed {
        self.host.refresh().await
    }

    /// Drops a file into `plugins/` and takes it in; gives what was written about it.
    pub(crate) async fn drop_plugin(&self, name: &str, bytes: &[u8]) -> Vec<Changed> {
        let before = self.records().len();
        place(&self.plugin_file(name), bytes);
        self.refresh().await;
        self.changes_since(before)
    }

    pub(crate) fn plugin_file(&self, name: &str) -> PathBuf {
        self.host.home().plugins().join(format!("{name}.wasm"))
    }

    pub(crate) fn policy_file(&self, name: &str) -> PathBuf {
        self.host.home().policies().join(format!("{name}.cedar"))
    }

    /// Every `changed` record after the first `before` records.
    pub(crate) fn changes_since(&self, before: usize) -> Vec<Changed> {
        self.records()
            .into_iter()
            .skip(before)
            .filter_map(|record| match record.event {
                Event::Changed(changed) => Some(changed),
                _ => None,
            })
            .collect()
    }

    /// Every record of the journal.
    pub(crate) fn records(&self) -> Vec<Record> {
        records(&self.host.home().journal())
    }

    /// The records of one call.
    pub(crate) fn records_of(&self, call: CallId) -> Vec<Event> {
        self.records()
            .into_iter()
            .map(|record| record.event)
            .filter(|event| event.call() == Some(call))
            .collect()
    }

    /// Asserts that the journal is whole.
    #[track_caller]
    pub(crate) fn verify(&self) {
        assert_verifies(&self.host.home().journal());
    }

    /// The last outcome of `call`; there is exactly one.
    #[track_caller]
    pub(crate) fn outcome(&self, call: CallId) -> Outcome {
        let mut outcomes: Vec<_> = self
            .records_of(call)
            .into_iter()
            .filter_map(|event| match event {
                Event::Outcome(outcome) => Some(outcome),
                _ => None,
            })
            .collect();
        assert_eq!(outcomes.len(), 1, "a call has exactly one outcome");
        outcomes.remove(0)
    }

    /// Asserts that a call was refused: in its reply, in exactly one record, and before anything ran.
    #[track_caller]
    pub(crate) fn assert_refused(&self, reply: &Reply, reason: Reason) {
        assert_eq!(reply.reason(), Some(reason), "{}", reply.text());
        let events = self.records_of(reply.call);
        let said: Vec<_> = events.iter().filter_map(reason_of).collect();
        assert_eq!(said, [reason], "{events:?}");
        assert!(
            !events.iter().any(|event| matches!(event, Event::Intent(_))),
            "it ran: {events:?}"
        );
    }

    /// The component that ran, by the record of the intent.
    pub(crate) fn ran(&self, call: CallId) -> Option<Digest> {
        self.records_of(call)
            .into_iter()
            .find_map(|event| match event {
                Event::Intent(intent) => Some(intent.plugin),
                _ => None,
            })
    }

    /// Why a harmless call gets no result, if it gets none: a test asks whether everything else goes on.
    pub(crate) async fn echo(&self) -> Option<Reason> {
        self.call("probe_echo", json!({"text": "x"})).await.reason()
    }

    /// Waits until so many calls have begun to run.
    pub(crate) async fn begun(&self, calls: usize) {
        loop {
            let begun = self
                .records()
                .iter()
                .filter(|record| matches!(record.event, Event::Intent(_)))
                .count();
            if begun >= calls {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// A call that goes on by itself.
pub(crate) struct Running {
    pub(crate) task: tokio::task::JoinHandle<Reply>,
    pub(crate) cancel: CancellationToken,
}

impl Running {
    pub(crate) async fn reply(self) -> Reply {
        self.task.await.unwrap()
    }
}
