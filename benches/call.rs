//! What a call costs in process: policy, a fresh instance, limits and the journal, beside Wasmtime
//! alone; what each capability adds; the first call of a plugin, and loading one from disk.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tollgate::host::Host;
use tollgate::secret::SecretValue;

use support::bare::{self, Bare};
use support::{Loopback, call, home, options, percentiles, start, start_with};

/// Pure calls: plugin, component, tool, arguments. `plain` answers one word and reads nothing.
const PURE: [(&str, &str, &str, &str); 4] = [
    ("plain", guests::MISFIT_PLAIN, "act", "{}"),
    (
        "probe",
        guests::PROBE,
        "echo",
        r#"{"value":{"repository":"rust-lang/rust","number":1},"text":"Thank you."}"#,
    ),
    (
        "time",
        guests::TIME,
        "convert",
        r#"{"time":"2026-11-22T14:30:00+01:00","to":"Asia/Tokyo"}"#,
    ),
    (
        "jq",
        guests::JQ,
        "filter",
        r#"{"filter":"map(.a) | add","input":[{"a":1},{"a":2}]}"#,
    ),
];

/// A warm pure call; the ratio is to `bare`.
fn pure(c: &mut Criterion) {
    let runtime = support::runtime();
    let folder = home(&PURE.map(|(name, component, ..)| (name, component)), "");
    let host = runtime.block_on(start(folder.path()));
    let engine = bare::engine();
    let mut group = c.benchmark_group("call");
    for (name, component, tool, arguments) in PURE {
        let full = format!("{name}.{tool}");
        let artifact = bare::artifact(folder.path(), &std::fs::read(component).unwrap());
        let bare = Bare::load(&engine, &artifact);
        group.bench_function(BenchmarkId::new("bare", name), |b| {
            b.to_async(&runtime).iter(|| bare.call(tool, arguments));
        });
        group.bench_function(BenchmarkId::new("tollgate", name), |b| {
            b.to_async(&runtime).iter(|| call(&host, &full, arguments));
        });
        runtime.block_on(async {
            percentiles(&format!("call/bare/{name}"), async || {
                bare.call(tool, arguments).await
            })
            .await;
            percentiles(&format!("call/tollgate/{name}"), async || {
                call(&host, &full, arguments).await
            })
            .await;
        });
    }
    runtime.block_on(host.stop());
    // The same with a tape of each: encrypted, and written to a file of its own.
    let components = PURE.map(|(name, component, ..)| (name, component));
    let folder = home(&components, "[tools]\ntape = true\n");
    let host = runtime.block_on(start(folder.path()));
    for (name, _, tool, arguments) in PURE {
        let full = format!("{name}.{tool}");
        group.bench_function(BenchmarkId::new("taped", name), |b| {
            b.to_async(&runtime).iter(|| call(&host, &full, arguments));
        });
    }
    group.finish();
    runtime.block_on(host.stop());
}

/// Host calls in one call, so that one of them is a hundredth of the difference to `none`.
const HOST_CALLS: u64 = 100;

/// A host whose network ends at `far`, with a secret and an origin for the probe.
async fn reaching(root: &Path, far: SocketAddr) -> Arc<Host> {
    let mut options = options(root);
    options.resolver = Arc::new(Loopback(far));
    options.connector = Arc::new(Loopback(far));
    let host = start_with(options).await;
    let value = SecretValue::new(b"a value that is nobody's".to_vec());
    let probe = "probe".parse().unwrap();
    host.secrets().store().set(&probe, "token", &value).unwrap();
    host
}

/// Says `ok` to everything.
async fn far_side() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let answer = service_fn(|_| async {
                Ok::<_, std::convert::Infallible>(hyper::Response::new(Full::new(
                    Bytes::from_static(b"ok"),
                )))
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    address
}

/// One request on its own connection, as the host makes it.
async fn request(address: SocketAddr) -> Bytes {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let request = hyper::Request::get("/")
        .header("host", "bench.example")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    };
    tokio::select! {
        biased;
        body = exchange => body,
        ended = connection => panic!("{ended:?}"),
    }
}

/// What each capability adds to a call.
fn capability(c: &mut Criterion) {
    const STORMS: [(&str, &str); 5] = [
        ("clock", r#"{"capability":"clock","n":100}"#),
        ("settings", r#"{"capability":"settings","n":100}"#),
        ("random", r#"{"capability":"random","n":100}"#),
        ("log", r#"{"capability":"log","n":100}"#),
        ("progress", r#"{"capability":"progress","n":100}"#),
    ];
    let config = "[plugin.probe.settings]\norigin = \"http://bench.example\"\n";
    let runtime = support::runtime();
    let far = runtime.block_on(far_side());
    let folder = home(&[("probe", guests::PROBE)], config);
    let host = runtime.block_on(reaching(folder.path(), far));
    let did = async |tool: &str, arguments: &'static str| {
        let reply = call(&host, tool, arguments).await;
        let structured = reply.completion.structured.as_ref().unwrap();
        assert_eq!(structured["ok"], true, "{tool} {arguments}: {structured}");
        reply
    };

    let mut group = c.benchmark_group("capability");
    group.bench_function("none", |b| {
        b.to_async(&runtime)
            .iter(|| did("probe.storm", r#"{"capability":"clock","n":0}"#));
    });
    group.throughput(Throughput::Elements(HOST_CALLS));
    for (name, arguments) in STORMS {
        group.bench_function(BenchmarkId::new(name, HOST_CALLS), |b| {
            b.to_async(&runtime).iter(|| did("probe.storm", arguments));
        });
    }
    group.throughput(Throughput::Elements(1));
    group.bench_function("secret_open", |b| {
        b.to_async(&runtime)
            .iter(|| did("probe.secret", r#"{"name":"token","act":"open"}"#));
    });
    // With the disk: the intent is on it before the request leaves.
    let send = r#"{"url":"http://bench.example/","n":0}"#;
    group.bench_function("http/bare", |b| {
        b.to_async(&runtime).iter(|| request(far));
    });
    group.bench_function("http/gated", |b| {
        b.to_async(&runtime)
            .iter(|| did("probe.many_headers", send));
    });
    runtime.block_on(host.stop());

    let config = format!("{config}[journal]\nsync = \"interval\"\n");
    let folder = home(&[("probe", guests::PROBE)], &config);
    let host = runtime.block_on(reaching(folder.path(), far));
    group.bench_function("http/interval", |b| {
        b.to_async(&runtime)
            .iter(|| call(&host, "probe.many_headers", send));
    });
    runtime.block_on(host.stop());
    group.finish();
}

/// The first call after the host started; and taking in a plugin whose file was touched: reading,
/// digesting, verifying, describing and checking it, and all policies, beside only loading its code.
fn cold(c: &mut Criterion) {
    let runtime = support::runtime();
    let engine = bare::engine();
    let mut group = c.benchmark_group("cold");
    group.sample_size(20);
    for (name, component, tool, arguments) in PURE {
        let full = format!("{name}.{tool}");
        let folder = home(&[(name, component)], "");
        runtime.block_on(async { start(folder.path()).await.stop().await });
        let bytes = std::fs::read(component).unwrap();
        let artifact = bare::artifact(folder.path(), &bytes);
        group.bench_function(BenchmarkId::new("first_call/bare", name), |b| {
            b.to_async(&runtime).iter_custom(async |iterations| {
                let mut time = Duration::ZERO;
                for _ in 0..iterations {
                    let bare = Bare::load(&engine, &artifact);
                    let began = Instant::now();
                    drop(bare.call(tool, arguments).await);
                    time += began.elapsed();
                }
                time
            });
        });
        group.bench_function(BenchmarkId::new("first_call/tollgate", name), |b| {
            b.to_async(&runtime).iter_custom(async |iterations| {
                let mut time = Duration::ZERO;
                for _ in 0..iterations {
                    let host = start(folder.path()).await;
                    let began = Instant::now();
                    drop(call(&host, &full, arguments).await);
                    time += began.elapsed();
                    host.stop().await;
                }
                time
            });
        });

        group.bench_function(BenchmarkId::new("load/bare", name), |b| {
            b.iter(|| Bare::load(&engine, &artifact));
        });
        let host = runtime.block_on(start(folder.path()));
        let file = folder.path().join(format!("plugins/{name}.wasm"));
        group.bench_function(BenchmarkId::new("load/tollgate", name), |b| {
            b.to_async(&runtime).iter_custom(async |iterations| {
                let mut time = Duration::ZERO;
                for _ in 0..iterations {
                    std::fs::write(&file, &bytes).unwrap();
                    let began = Instant::now();
                    assert_eq!(host.refresh().await.serving, 1);
                    time += began.elapsed();
                }
                time
            });
        });
        group.bench_function(BenchmarkId::new("load/unchanged", name), |b| {
            b.to_async(&runtime).iter(|| host.refresh());
        });
        runtime.block_on(host.stop());
    }
    group.finish();
}

criterion_group!(benches, pure, capability, cold);
criterion_main!(benches);
