//! What the benches share: homes to start hosts in, and a network that ends on loopback.

#![allow(
    clippy::allow_attributes,
    dead_code,
    reason = "each bench uses its part of this"
)]

pub(crate) mod bare;
pub(crate) mod client;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tollgate::call::{Arrival, Reply};
use tollgate::egress::{BoxedStream, Connector, Resolver, TcpConnector};
use tollgate::home::Home;
use tollgate::host::{Host, Options, PluginStatus};
use tollgate::journal::record::Caller;

/// As the daemon has it.
pub(crate) fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// A home with these plugins, by the names given, each under the widest policy there is. It lies
/// beside the build, not in a memory file system, so that the journal's disk is a disk.
pub(crate) fn home<N: Display>(plugins: &[(N, &str)], config: &str) -> TempDir {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = folder.path();
    std::fs::create_dir(root.join("plugins")).unwrap();
    std::fs::create_dir(root.join("policies")).unwrap();
    std::fs::write(root.join("tollgate.toml"), config).unwrap();
    for (name, component) in plugins {
        std::fs::copy(component, root.join(format!("plugins/{name}.wasm"))).unwrap();
        let policy = "permit(principal, action, resource);";
        std::fs::write(root.join(format!("policies/{name}.cedar")), policy).unwrap();
    }
    folder
}

/// The options of a host in that home, whose compiler is this build's program.
pub(crate) fn options(root: &Path) -> Options {
    let mut options = Options::new(Home::at(root).unwrap()).unwrap();
    options.compiler = env!("CARGO_BIN_EXE_tollgate").into();
    options
}

/// A host in that home. All of its plugins serve.
pub(crate) async fn start(root: &Path) -> Arc<Host> {
    start_with(options(root)).await
}

pub(crate) async fn start_with(options: Options) -> Arc<Host> {
    let host = Host::start(options).await.unwrap();
    for plugin in host.plugins() {
        assert_eq!(plugin.status, PluginStatus::Serving, "{plugin:?}");
    }
    host
}

/// A call of the benches' own agent, on no task.
pub(crate) fn arrival(tool: &str, arguments: &'static str) -> Arrival {
    Arrival {
        caller: Caller {
            agent: "bench".parse().unwrap(),
            user: None,
            transport: "http".to_owned(),
            client: None,
            task: None,
            chain: Vec::new(),
        },
        tool: tool.to_owned(),
        arguments: bytes::Bytes::from_static(arguments.as_bytes()),
        credential: None,
        approval: None,
        progress: None,
        client: Default::default(),
        round: None,
        job: None,
        kind: Default::default(),
        trace: None,
    }
}

/// Calls a tool and gives the reply, which is no refusal.
pub(crate) async fn call(host: &Host, tool: &str, arguments: &'static str) -> Reply {
    let arrival = arrival(tool, arguments);
    let reply = host.call(arrival, CancellationToken::new()).await;
    assert!(reply.refusal.is_none(), "{tool}: {reply:?}");
    assert!(!reply.completion.is_error, "{tool}: {reply:?}");
    reply
}

/// Every name has one public address, and every connection ends at the loopback one that is given.
#[derive(Debug)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

#[async_trait::async_trait]
impl Resolver for Loopback {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec![IpAddr::from([93, 184, 216, 34])])
    }
}

#[async_trait::async_trait]
impl Connector for Loopback {
    async fn dial(&self, _: SocketAddr) -> std::io::Result<BoxedStream> {
        TcpConnector.dial(self.0).await
    }
}

/// Whether this run measures; `cargo test --benches` only tries each bench once, and what is asked for by
/// `--profile-time` is looked at by a profiler, which is to see nothing else.
pub(crate) fn measuring() -> bool {
    let asked = |flag: &str| std::env::args().any(|argument| argument == flag);
    asked("--bench") && !asked("--profile-time")
}

/// What criterion does not tell: the spread of single calls.
pub(crate) async fn percentiles<T>(label: &str, mut once: impl AsyncFnMut() -> T) {
    const CALLS: usize = 20_000;
    const TIME: Duration = Duration::from_secs(3);
    if !measuring() {
        return;
    }
    let mut times = Vec::with_capacity(CALLS);
    let first = Instant::now();
    while times.len() < CALLS && first.elapsed() < TIME {
        let began = Instant::now();
        drop(once().await);
        times.push(began.elapsed());
    }
    spread(label, times);
}

/// The one in the middle.
pub(crate) fn median(times: &[u64]) -> u64 {
    let mut sorted = times.to_vec();
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        Some(_) => *sorted.select_nth_unstable(middle).1,
        None => 0,
    }
}

/// Prints the spread of the times of single calls.
#[expect(clippy::print_stderr, reason = "a note beside criterion's own report")]
pub(crate) fn spread(label: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| -> Duration {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in a list of thousands"
        )]
        let place = (times.len() as f64 * share) as usize;
        times.get(place).copied().unwrap_or_default()
    };
    eprintln!(
        "{label}: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, slowest {:.1?} of {}",
        at(0.5),
        at(0.9),
        at(0.99),
        times.last().copied().unwrap_or_default(),
        times.len()
    );
}
