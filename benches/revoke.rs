//! How long it takes from a revocation until the calls that were under way have ended, with their records:
//! one call, and as many as an agent may have, each of them waiting for a far side that never answers.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tollgate::call::Arrival;
use tollgate::journal::record::Caller;
use tollgate::reason::Reason;
use tollgate::revocation::{Scope, lift, revoke};

use support::{Loopback, home, measuring, options, start_with};

fn arrival() -> Arrival {
    Arrival {
        caller: Caller {
            agent: "bench".parse().unwrap(),
            user: None,
            transport: "http".to_owned(),
            client: None,
            task: None,
            chain: Vec::new(),
        },
        tool: "probe.send".to_owned(),
        arguments: bytes::Bytes::from_static(
            br#"{"requirement":"api","method":"GET","url":"http://bench.example/"}"#,
        ),
        approval: None,
        credential: None,
        progress: None,
    }
}

#[expect(clippy::print_stderr, reason = "a note beside criterion's own report")]
fn revocation(c: &mut Criterion) {
    let runtime = support::runtime();
    let config = "[plugin.probe.settings]\norigin = \"http://bench.example\"\n";
    let folder = home(&[("probe", guests::PROBE)], config);
    let (arrived, mut held) = mpsc::unbounded_channel();
    let host = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // Kept open until the host closes it.
                let arrived = arrived.clone();
                tokio::spawn(async move {
                    stream.readable().await.unwrap();
                    arrived.send(()).unwrap();
                    let mut all = Vec::new();
                    let mut stream = stream;
                    tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all)
                        .await
                        .ok();
                });
            }
        });
        let mut options = options(folder.path());
        options.resolver = Arc::new(Loopback(far));
        options.connector = Arc::new(Loopback(far));
        start_with(options).await
    });
    let mut once = |calls: usize| -> Duration {
        runtime.block_on(async {
            let mut running = tokio::task::JoinSet::new();
            for _ in 0..calls {
                let host = Arc::clone(&host);
                running.spawn(async move { host.call(arrival(), CancellationToken::new()).await });
            }
            for _ in 0..calls {
                held.recv().await.unwrap();
            }
            let began = Instant::now();
            revoke(&host, Scope::All, "bench").await.unwrap();
            while let Some(reply) = running.join_next().await {
                let refusal = reply.unwrap().refusal.unwrap();
                assert_eq!(refusal.reason, Reason::RevokedAll);
            }
            let took = began.elapsed();
            lift(&host, Scope::All, "bench").await.unwrap();
            took
        })
    };
    let mut group = c.benchmark_group("revoke");
    group.sample_size(20);
    for calls in [1, 64] {
        group.bench_function(BenchmarkId::new("all", calls), |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| once(calls)).sum());
        });
        if measuring() {
            let slowest = (0..100).map(|_| once(calls)).max().unwrap_or_default();
            eprintln!("revoke/all/{calls}: the slowest of 100 took {slowest:.1?}");
        }
    }
    group.finish();
    runtime.block_on(host.stop());
}

criterion_group!(benches, revocation);
criterion_main!(benches);
