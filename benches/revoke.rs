//! How long it takes from a revocation until nothing of it is left: the calls that were under way have
//! ended with their records, their instances are gone, and the far side has seen each socket close. Beside
//! it, what stopping costs by itself: bare tasks that hold a socket each, aborted.
//!
//! Each call waits for a far side that never answers; one computes without end. The target is a second.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate::call::Reply;
use tollgate::host::Host;
use tollgate::id::TaskId;
use tollgate::journal::Reader;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, lift, revoke};
use tollgate::task::{Allowed, Budgets, End, NewTask};

use support::{Loopback, home, measuring, options, spread, start_with};

/// As many calls at once as an agent may have.
const MANY: usize = 64;

/// Calls that would go on for an hour.
const CONFIG: &str = "
[plugin.probe.settings]
origin = \"http://bench.example\"
[limits]
fuel = 10_000_000_000_000
time = \"1h\"
[limits.http]
first_byte = \"1h\"
total = \"1h\"
";

const WAITS: (&str, &str) = (
    "probe.send",
    r#"{"requirement":"api","method":"GET","url":"http://bench.example/"}"#,
);
const COMPUTES: (&str, &str) = ("probe.loop", "{}");

/// What the far side sees of a connection.
enum Seen {
    Request,
    Close,
}

/// Reads what comes and never answers.
async fn far_side() -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4_096];
                let mut head = Vec::new();
                let mut asked = false;
                // A reset is the end as well.
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    head.extend_from_slice(buffer.get(..read).unwrap_or_default());
                    if !asked && head.ends_with(b"\r\n\r\n") {
                        asked = true;
                        drop(sender.send(Seen::Request));
                    }
                }
                drop(sender.send(Seen::Close));
            });
        }
    });
    (address, seen)
}

/// Waits for so many of them.
async fn all(seen: &mut mpsc::UnboundedReceiver<Seen>, wanted: usize, what: fn(&Seen) -> bool) {
    let mut count = 0;
    while count < wanted {
        count += usize::from(what(&seen.recv().await.unwrap()));
    }
}

const REQUEST: fn(&Seen) -> bool = |seen| matches!(seen, Seen::Request);
const CLOSE: fn(&Seen) -> bool = |seen| matches!(seen, Seen::Close);

/// What is revoked.
#[derive(Clone, Copy)]
enum What {
    Agent,
    Task,
    All,
}

struct Rig {
    host: Arc<Host>,
    seen: mpsc::UnboundedReceiver<Seen>,
    far: SocketAddr,
    /// Goes on where it ended.
    journal: Reader,
}

impl Rig {
    async fn start(root: &Path) -> Self {
        let (far, seen) = far_side().await;
        let mut options = options(root);
        options.resolver = Arc::new(Loopback(far));
        options.connector = Arc::new(Loopback(far));
        let host = start_with(options).await;
        let rig = Self {
            journal: Reader::new(&host.home().journal()),
            host,
            seen,
            far,
        };
        rig.issue().await;
        rig
    }

    /// Gives the agent a token: without one there is nothing to revoke.
    async fn issue(&self) {
        let identities = self.host.identities().clone();
        let issue = move || identities.issue("bench", None).map(drop);
        tokio::task::spawn_blocking(issue).await.unwrap().unwrap();
    }

    async fn task(&self) -> TaskId {
        let new = NewTask {
            agent: "bench".parse().unwrap(),
            user: None,
            intent: "to be revoked".to_owned(),
            tools: vec![Allowed {
                tool: "probe.*".parse().unwrap(),
                arguments: Vec::new(),
            }],
            budgets: Budgets::default(),
            lifetime: Duration::from_secs(3_600),
            parent: None,
            by: "bench".to_owned(),
        };
        self.host.start_task(new).await.unwrap().id
    }

    fn spawn(
        &self,
        running: &mut JoinSet<Reply>,
        call: (&'static str, &'static str),
        task: TaskId,
    ) {
        let mut arrival = support::arrival(call.0, call.1);
        arrival.caller.task = Some(task);
        let host = Arc::clone(&self.host);
        running.spawn(async move { host.call(arrival, CancellationToken::new()).await });
    }

    /// The intents that were written since this was last asked.
    fn intents(&mut self) -> usize {
        let mut count = 0;
        while let Some(record) = self.journal.next_record().unwrap() {
            count += usize::from(matches!(record.event, Event::Intent(_)));
        }
        count
    }

    /// Waits until so many calls compute, which shows nowhere but in the journal.
    async fn begun(&mut self, calls: usize) {
        let mut begun = 0;
        while begun < calls {
            tokio::task::yield_now().await;
            begun += self.intents();
        }
        // From the intent to the instance.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    /// From the revocation to the end of `calls` calls on one task of one agent.
    async fn revoked(
        &mut self,
        what: What,
        call: (&'static str, &'static str),
        calls: usize,
    ) -> Duration {
        let task = self.task().await;
        let waits = call == WAITS;
        self.intents();
        let mut running = JoinSet::new();
        for _ in 0..calls {
            self.spawn(&mut running, call, task);
        }
        if waits {
            all(&mut self.seen, calls, REQUEST).await;
        } else {
            self.begun(calls).await;
        }
        let (scope, reason) = match what {
            What::Agent => {
                let agent = "bench".parse().unwrap();
                (Scope::Agent(agent), Reason::RevokedAgent)
            }
            What::Task => (Scope::Task(task), Reason::RevokedTask),
            What::All => (Scope::All, Reason::RevokedAll),
        };
        let began = Instant::now();
        let told = revoke(&self.host, scope.clone(), "bench").await.unwrap();
        while let Some(reply) = running.join_next().await {
            let refusal = reply.unwrap().refusal.unwrap();
            assert_eq!(refusal.reason, reason);
        }
        if waits {
            all(&mut self.seen, calls, CLOSE).await;
        }
        let took = began.elapsed();
        assert_eq!(told.calls.len(), calls);
        match what {
            What::Agent => self.issue().await,
            What::Task => {}
            What::All => {
                lift(&self.host, scope, "bench").await.unwrap();
                self.host.end_task(task, End::Ended, "done").await.unwrap();
            }
        }
        took
    }

    /// The same of bare tasks, each with a socket on which it has asked.
    async fn aborted(&mut self, calls: usize) -> Duration {
        let mut running = JoinSet::new();
        for _ in 0..calls {
            let far = self.far;
            running.spawn(async move {
                let mut stream = TcpStream::connect(far).await.unwrap();
                let request = b"GET / HTTP/1.1\r\nhost: bench.example\r\n\r\n";
                stream.write_all(request).await.unwrap();
                stream.read_u8().await.unwrap();
            });
        }
        all(&mut self.seen, calls, REQUEST).await;
        let began = Instant::now();
        running.abort_all();
        while running.join_next().await.is_some() {}
        all(&mut self.seen, calls, CLOSE).await;
        began.elapsed()
    }
}

fn revocation(c: &mut Criterion) {
    let runtime = support::runtime();
    let folder = home(&[("probe", guests::PROBE)], CONFIG);
    let mut rig = runtime.block_on(Rig::start(folder.path()));
    let mut group = c.benchmark_group("revoke");
    // Each measured moment needs calls that were made before it, which takes longer.
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    for calls in [1, MANY] {
        let mut once = || runtime.block_on(rig.aborted(calls));
        group.bench_function(BenchmarkId::new("bare", calls), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| once()).sum());
        });
        told(&format!("revoke/bare/{calls}"), calls, &mut once);
    }
    for (name, what, call, calls) in [
        ("task", What::Task, WAITS, 1),
        ("task", What::Task, WAITS, MANY),
        ("agent", What::Agent, WAITS, 1),
        ("agent", What::Agent, WAITS, MANY),
        ("all", What::All, WAITS, MANY),
        ("task/computing", What::Task, COMPUTES, 1),
    ] {
        let mut once = || runtime.block_on(rig.revoked(what, call, calls));
        group.bench_function(BenchmarkId::new(name, calls), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| once()).sum());
        });
        told(&format!("revoke/{name}/{calls}"), calls, &mut once);
    }
    group.finish();
    runtime.block_on(rig.host.stop());
}

/// What criterion does not tell.
fn told(label: &str, calls: usize, once: &mut dyn FnMut() -> Duration) {
    if measuring() {
        let times = if calls == 1 { 500 } else { 100 };
        spread(label, (0..times).map(|_| once()).collect());
    }
}

criterion_group!(benches, revocation);
criterion_main!(benches);
