//! How long a host takes to start with its plugins compiled before, beside only loading their code;
//! and how much memory the daemon has when it does nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate::home::Home;

use support::bare::{self, Bare};
use support::{home, measuring, start};

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
        let folder = home(&plugins, "");
        // Compiles, and pins.
        runtime.block_on(async { start(folder.path()).await.stop().await });
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
        }
    }
    group.finish();
}

/// Starts the daemon itself and reads what it holds once it serves.
#[expect(clippy::print_stderr, reason = "a note beside criterion's own report")]
fn idle(label: &str, root: &Path) {
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["serve", "--quiet", "--listen", "127.0.0.1:0", "--home"])
        .arg(root)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The socket comes last: whoever connects finds a host that serves.
    let socket = Home::at(root).unwrap().socket();
    let until = Instant::now() + Duration::from_secs(30);
    let mut serves = false;
    while !serves && Instant::now() < until && daemon.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(50));
        serves = std::os::unix::net::UnixStream::connect(&socket).is_ok();
    }
    // What starting took is given back by then, or never.
    std::thread::sleep(Duration::from_secs(1));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id()));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let status = status.unwrap_or_default();
    let line = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map_or("?", str::trim)
    };
    if serves {
        eprintln!(
            "start/idle/{label}: resident {}, of it anonymous {}, of files {}",
            line("VmRSS:"),
            line("RssAnon:"),
            line("RssFile:")
        );
    } else {
        eprintln!("start/idle/{label}: the daemon did not serve");
    }
}

criterion_group!(benches, starting);
criterion_main!(benches);
