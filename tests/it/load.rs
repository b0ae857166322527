//! Many clients at once, and such as stall or vanish: nothing is lost, and nothing of them stays behind.
//!
//! The program in a process of its own, and clients over HTTP on loopback: some that call, in both eras; streams
//! that only wait to be told something; readers that take a byte now and then; clients that are cut off in the
//! middle of a request, a call, an answer or a stream. What must hold:
//!
//! - whoever stays is answered, rightly, however many stall or vanish beside it;
//! - each call that was answered stands in the journal once, as it was answered, and no other call of its agent
//!   does; each call that was cut off has its end there, or never began; all of it verifies;
//! - what reached the upstream was written down before, and was sent once;
//! - memory does not grow with calls, and descriptors and threads are as they were once the clients are gone.
//!
//! Every run has a few clients and so many calls of each; `cargo xtask load [seconds]` has 64 for so long, beside
//! 500 streams. Nothing else goes by the clock: who stalls or vanishes does by how many calls were answered.

mod client;
mod cut;
mod process;
mod report;
mod slow;
mod waiting;
mod wire;
mod written;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::binary::{Daemon, run};
use crate::harness::{Setup, assert_verifies, known};
use crate::upstream::Upstream;

use client::{Agent, Steady};
use cut::Cut;
use process::Process;
use report::Report;
use slow::Slow;
use waiting::Waiting;
use written::Written;

/// All may do all that the probe does, and what it sends goes out; but for one tool, that is refused to all.
const POLICY: &str = r#"
@id("load.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"probe");
@id("load.never")
forbid (principal, action == Action::"call:probe.loop", resource);
@id("load.requests")
permit (principal in Group::"everyone", action == Action::"http:probe.send", resource);
"#;

/// A rule that changes what there is to see, so that whoever waits is told.
const LATER: &str = r#"
@id("load.later")
forbid (principal, action == Action::"call:probe.recurse", resource);
"#;

/// Nothing is refused here for being too much, or one refusal too many: what is measured is whether it is served.
const SETTINGS: &str = r#"
[server]
connections = 2_000
streams_per_agent = 200
[rate]
per_second = 1_000_000
burst = 10_000_000
[concurrency]
plugin = 128
agent = 128
host = 128
wait = "1min"
[limits]
failures = 1_000_000
output = "16MiB"
host_call_bytes = "64MiB"
"#;

/// What memory may grow by from the end of the warm-up on, however long the load goes on.
///
/// What grows with calls is bounded: attempts that are remembered (10,000, some 2 MiB), the places of instances that
/// were used at once for the first time, what closing a segment of the journal takes, what the allocator keeps of
/// the largest moment that there was so far. All of it was 8 MiB in three minutes. A third of a kilobyte that stays
/// behind of each call is seen in one.
const GROWTH: u64 = 16 << 20;

/// Calls of each client, in a run that has no time of its own, before memory is looked at and after it.
const CALLS: usize = 24;

/// How many there are of each kind, and for how long.
struct Form {
    clients: usize,
    waiting: usize,
    slow: usize,
    cut: usize,
    /// So long; so many calls each where there is none.
    time: Option<Duration>,
}

impl Form {
    fn asked() -> Self {
        match std::env::var("TOLLGATE_LOAD") {
            Ok(seconds) => Self {
                clients: 64,
                waiting: 500,
                slow: 16,
                cut: 16,
                time: Some(Duration::from_secs(
                    seconds
                        .parse()
                        .expect("TOLLGATE_LOAD is a number of seconds"),
                )),
            },
            Err(_) => Self {
                clients: 16,
                waiting: 64,
                slow: 4,
                cut: 4,
                time: None,
            },
        }
    }

    fn names(&self) -> Vec<String> {
        // A session is held against its agent, and streams of older clients have one each.
        let listeners = self.waiting.div_ceil(100);
        [
            ("client", self.clients),
            ("listener", listeners),
            ("slow", self.slow),
            ("cut", self.cut),
        ]
        .into_iter()
        .flat_map(|(kind, count)| (0..count).map(move |number| format!("{kind}-{number}")))
        .collect()
    }
}

/// Runs these at once, to the end of each; in the order in which they were given.
async fn all<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let mut set = JoinSet::new();
    for (place, task) in tasks.into_iter().enumerate() {
        set.spawn(async move { (place, task.await) });
    }
    let mut ended: Vec<(usize, T)> = Vec::new();
    while let Some(done) = set.join_next().await {
        // What one of them found wrong ends the test with its own words.
        ended.push(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    ended.sort_by_key(|(place, _)| *place);
    ended.into_iter().map(|(_, result)| result).collect()
}

/// Waits until so many calls were answered.
async fn reached(answered: &mut watch::Receiver<u64>, count: u64) {
    let seen = answered.wait_for(|answered| *answered >= count).await;
    drop(seen.unwrap());
}

/// Has all of them call at once, for so long or so often.
async fn calls(clients: Vec<Steady>, time: Option<Duration>) -> Vec<Steady> {
    let end = time.map(|time| Instant::now() + time);
    all(clients.into_iter().map(|mut client| async move {
        match end {
            Some(end) => client.calls_until(end).await,
            None => client.calls(CALLS).await,
        }
        client
    }))
    .await
}

/// A host under load, from outside.
struct Load {
    form: Form,
    daemon: Daemon,
    process: Process,
    agents: Vec<Agent>,
    origin: Arc<str>,
    /// How many calls were answered so far.
    answered: watch::Sender<u64>,
}

impl Load {
    fn agents(&self, kind: &str) -> Vec<Agent> {
        let of = |agent: &&Agent| agent.name.starts_with(kind);
        self.agents.iter().filter(of).cloned().collect()
    }

    /// The first of the clients that stay; every other one speaks an older revision.
    async fn clients(&self, count: usize) -> Vec<Steady> {
        let starting = self
            .agents("client")
            .into_iter()
            .take(count)
            .enumerate()
            .map(|(number, agent)| {
                let (origin, answered) = (self.origin.clone(), self.answered.clone());
                Steady::start(agent, number % 2 == 1, origin, answered)
            });
        all(starting).await
    }

    async fn waiting(&self) -> Vec<Waiting> {
        let listeners = self.agents("listener");
        let opening = (0..self.form.waiting).map(|number| {
            let agent = listeners[number % listeners.len()].clone();
            // Not by the number alone: of each agent's streams, half are older ones.
            Waiting::open(agent, number / listeners.len() % 2 == 1)
        });
        all(opening).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_stall_and_vanish_and_nothing_is_lost() {
    let form = Form::asked();
    let upstream = Upstream::start().await;
    let names = form.names();
    let (_folder, home) = Setup::probe_at(&upstream.origin(), POLICY)
        .agents(names.clone())
        .toml(SETTINGS)
        .make()
        .await;
    let tokens = known(&home, &names);
    let daemon = Daemon::start(&home).await;
    let agents = names.into_iter().zip(tokens);
    let agents: Vec<Agent> = agents
        .map(|(name, token)| Agent::new(daemon.address, name, token))
        .collect();
    let mut load = Load {
        process: Process::of(daemon.id()),
        form,
        daemon,
        agents,
        origin: upstream.origin().into(),
        answered: watch::Sender::new(0),
    };

    // What a host opens for its first calls stays; what it has for a client does not.
    let fresh = load.process.look();
    let mut told = Vec::new();
    for mut client in load.clients(2).await {
        client.calls(8).await;
        told.append(&mut client.told);
        client.close().await;
    }
    let rest = load
        .process
        .once(|now| now.sockets <= fresh.sockets, "clients are gone")
        .await;

    // All at once: those that wait, those that stall, those that vanish, and the others.
    let mut waiting = load.waiting().await;
    let slow = all(load.agents("slow").into_iter().map(Slow::start)).await;
    let mut clients = load.clients(load.form.clients).await;
    let over = CancellationToken::new();
    let mut cutting = JoinSet::new();
    for (number, agent) in load.agents("cut").into_iter().enumerate() {
        let cut = Cut::start(agent, number, load.origin.clone()).await;
        cutting.spawn(cut.until(load.answered.subscribe(), over.clone()));
    }
    let mut reading = JoinSet::new();
    for slow in slow {
        reading.spawn(slow.until(load.answered.subscribe(), over.clone()));
    }
    clients = calls(clients, load.form.time.map(|time| time / 6)).await;
    let warm = load.process.look();
    for client in &mut clients {
        client.times.clear();
    }
    let began = Instant::now();
    clients = calls(clients, load.form.time).await;
    let took = began.elapsed();
    let full = load.process.look();

    // Those that vanish come to an end; those that stalled did so all the while, and are served yet.
    over.cancel();
    let mut sent = 0;
    while let Some(cut) = cutting.join_next().await {
        sent += cut.unwrap();
    }
    while let Some(read) = reading.join_next().await {
        told.push(read.unwrap());
    }
    let times: Vec<Duration> = clients
        .iter()
        .flat_map(|client| client.times.iter().copied())
        .collect();
    for client in &mut clients {
        assert!(!client.times.is_empty(), "{} was served", client.name());
        told.append(&mut client.told);
    }
    // Whoever waited is still there, and is told.
    let file = home.policies().join("probe.cedar");
    let policy = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{policy}{LATER}")).unwrap();
    let reloaded = run(&home, &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    waiting = all(waiting.into_iter().map(|mut stream| async move {
        stream.told().await;
        stream
    }))
    .await;

    all(waiting.into_iter().map(Waiting::close)).await;
    all(clients
        .into_iter()
        .map(|mut client| async move { client.close().await }))
    .await;
    let back = load
        .process
        .once(
            |now| {
                now.sockets <= rest.sockets
                    && now.files <= rest.files
                    && now.threads <= rest.threads
            },
            "all is as it was before",
        )
        .await;
    load.daemon.stop().await;

    let said = run(&home, &["audit", "verify"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert_verifies(&home.journal());
    let written = Written::read(&home.journal());
    written.has_an_end_for_each_call();
    written.is_what_was_told(&told);
    let recorded = written.calls_of("cut-");
    assert!(
        0 < recorded && recorded <= sent,
        "{recorded} calls of {sent} that were cut off"
    );
    let reached = written.holds_what_was_sent(&upstream.ledger().await, &told);

    let report = Report {
        form: load.form,
        took,
        times,
        answers: told.len(),
        refused: told.iter().filter(|told| told.is_refused()).count(),
        sent,
        recorded,
        reached,
        rest,
        warm,
        full,
        back,
    }
    .to_string();
    eprint!("{report}");
    std::fs::write(
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("load.txt"),
        &report,
    )
    .unwrap();
    assert!(
        full.resident <= warm.resident + GROWTH,
        "memory grew:\n{report}"
    );
}
