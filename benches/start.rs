//! How long a host takes to start with its plugins compiled before, beside only loading their code; how long
//! a client waits that starts `tollgate serve --stdio`, from its start to the first answer, where a daemon runs
//! and where it has to be started first; and how much memory the daemon has when it does nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::home::Home;

use support::bare::{self, Bare};
use support::{home, measuring, spread, start};

const SHIPPED: [(&str, &str); 4] = [
    ("fetch", guests::FETCH),
    ("github", guests::GITHUB),
    ("jq", guests::JQ),
    ("time", guests::TIME),
];

/// Copies under their own names. The host treats each as a plugin of its own; only the file with the
/// compiled code is the same one.
fn copies(component: &'static str) -> Vec<(String, &'static str)> {
    (0..100).map(|i| (format!("copy{i}"), component)).collect()
}

fn starting(c: &mut Criterion) {
    let runtime = support::runtime();
    let engine = bare::engine();
    let shipped = SHIPPED.map(|(name, path)| (name.to_owned(), path));
    let mut group = c.benchmark_group("start");
    group.sample_size(10);
    for (label, plugins) in [
        ("4_shipped", shipped.to_vec()),
        ("100_small", copies(guests::MISFIT_PLAIN)),
        ("100_github", copies(guests::GITHUB)),
    ] {
        // A daemon that a client starts takes any free port.
        let folder = home(&plugins, "[server]\nlisten = \"127.0.0.1:0\"\n");
        // Compiles, and pins; and knows the agent of the clients.
        runtime.block_on(async {
            let host = start(folder.path()).await;
            host.identities().issue("bench", None).unwrap();
            host.stop().await;
        });
        let artifacts: Vec<_> = plugins
            .iter()
            .map(|(_, path)| bare::artifact(folder.path(), &std::fs::read(path).unwrap()))
            .collect();
        group.bench_function(BenchmarkId::new("bare_load", label), |b| {
            b.iter(|| -> Vec<_> {
                let load = |artifact| Bare::load(&engine, artifact);
                artifacts.iter().map(|artifact| load(artifact)).collect()
            });
        });
        group.bench_function(BenchmarkId::new("host", label), |b| {
            b.to_async(&runtime).iter_custom(async |iterations| {
                let mut time = Duration::ZERO;
                for _ in 0..iterations {
                    let began = Instant::now();
                    let host = start(folder.path()).await;
                    time += began.elapsed();
                    assert_eq!(host.plugins().len(), plugins.len());
                    host.stop().await;
                }
                time
            });
        });
        if measuring() {
            idle(label, folder.path());
            first_answers(label, folder.path());
        }
    }
    group.finish();
}

/// The program in a home.
fn program(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .arg("--home")
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// A daemon that serves; ended with this.
struct Serving(Child);

impl Serving {
    /// Starts it, and waits until it serves; none where it does not.
    fn start(root: &Path) -> Option<Self> {
        let mut daemon = program(root).args(["serve", "--quiet"]).spawn().unwrap();
        // The socket comes last: whoever connects finds a host that serves.
        let socket = Home::at(root).unwrap().socket();
        let until = Instant::now() + Duration::from_secs(30);
        let mut serves = false;
        while !serves && Instant::now() < until && daemon.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(50));
            serves = std::os::unix::net::UnixStream::connect(&socket).is_ok();
        }
        let serving = Self(daemon);
        serves.then_some(serving)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the daemon itself and reads what it holds once it serves.
#[expect(clippy::print_stderr, reason = "a note beside criterion's own report")]
fn idle(label: &str, root: &Path) {
    let Some(daemon) = Serving::start(root) else {
        eprintln!("start/idle/{label}: the daemon did not serve");
        return;
    };
    // What starting took is given back by then, or never.
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id()));
    let status = status.unwrap_or_default();
    let line = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map_or("?", str::trim)
    };
    eprintln!(
        "start/idle/{label}: resident {}, of it anonymous {}, of files {}",
        line("VmRSS:"),
        line("RssAnon:"),
        line("RssFile:")
    );
}

/// What clients of the two eras ask first.
const FIRST: [(&str, &str); 2] = [
    (
        "initialize",
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}}"#,
    ),
    (
        "server/discover",
        r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}"#,
    ),
];

/// From the start of a client's own `tollgate serve --stdio` to the first answer on it. Promised are 100 ms.
fn first_answers(label: &str, root: &Path) {
    for (method, message) in FIRST {
        let serving = Serving::start(root);
        assert!(serving.is_some(), "a daemon serves");
        let times = (0..30).map(|_| first_answer(root, message));
        spread(&format!("start/stdio/{label}/{method}"), times.collect());
        drop(serving);
        let times = (0..10).map(|_| {
            let time = first_answer(root, message);
            assert!(program(root).arg("stop").status().unwrap().success());
            time
        });
        spread(
            &format!("start/stdio_and_daemon/{label}/{method}"),
            times.collect(),
        );
    }
}

fn first_answer(root: &Path, message: &str) -> Duration {
    let began = Instant::now();
    let mut client = program(root)
        .args(["serve", "--stdio", "--agent", "bench"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    writeln!(input, "{message}").unwrap();
    let mut answer = String::new();
    BufReader::new(client.stdout.take().unwrap())
        .read_line(&mut answer)
        .unwrap();
    let time = began.elapsed();
    assert!(answer.contains("\"result\""), "{message}: {answer:?}");
    drop(input);
    client.wait().unwrap();
    time
}

criterion_group!(benches, starting);
criterion_main!(benches);
