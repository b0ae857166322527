//! How fast is a gigabyte of journal searched.
//!
//! Three hundred thousand calls of four records each, of which some are rare: an agent with one call, an
//! origin that one in a thousand went to, an id.

#![expect(
    clippy::expect_used,
    reason = "a bench that fails has nothing to measure"
)]

#[path = "support/records.rs"]
mod records;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tollgate::clock::SystemClock;
use tollgate::digest::Digest;
use tollgate::journal::record::{CallId, Event, HostCall, HostCallOutcome, HostCallRef, Outcome};
use tollgate::journal::{Decision, Journal, Options, Query, call, each, search, story, tail};

use records::{ground, intent};

/// Bytes of journal.
const GIGABYTE: u64 = 1 << 30;

fn measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

fn events(number: u64) -> [Event; 4] {
    let call = id(number);
    // The last calls are of somebody else, so that a search for them has to pass over everything.
    let agent = match number {
        7 => String::from("rare"),
        number => format!("agent-{}", number % 50),
    };
    let host = if number % 1_000 == 3 {
        "api.rare.example"
    } else {
        "api.github.com"
    };
    let view = format!(r#"{{"query":"repo:tollgate is:open {number}","page":1,"per_page":30}}"#);
    let intent = intent(call, &agent, Some(format!("user-{}", number % 500)), view);
    let host_call = HostCall {
        call,
        host_call: HostCallRef {
            number: 1,
            capability: String::from("http"),
            target: format!("https://{host}/search/issues?q=repo%3Atollgate&page={number}"),
        },
        method: Some(String::from("GET")),
        bytes_out: 0,
        body: None,
        secrets: vec![String::from("token")],
        secret_uses: Vec::new(),
        decision: ground(),
    };
    let came_back = HostCallOutcome {
        call,
        number: 1,
        status: String::from("ok"),
        reason: None,
        detail: None,
        http_status: Some(200),
        address: Some(String::from("140.82.121.6:443")),
        bytes_in: 5_000,
        duration_us: 81_500,
    };
    let outcome = Outcome {
        call,
        status: String::from("ok"),
        reason: None,
        detail: None,
        refused: [].into(),
        fuel: 1_234_567,
        host_calls: [(String::from("http"), 1)].into(),
        numbered: 1,
        result: Some(Digest::of(b"result")),
        bytes_out: 4_321,
        redacted: 0,
        tape: None,
        untaped: None,
        duration_us: 90_000,
    };
    [
        Event::Intent(intent),
        Event::HostCall(host_call),
        Event::HostCallOutcome(came_back),
        Event::Outcome(outcome),
    ]
}

/// A call that arrived now, as far as its id tells; the rest of it is its number.
fn id(number: u64) -> CallId {
    let bits = uuid::Uuid::now_v7().as_u128() & !0x0fff_3fff_ffff_ffff_ffff;
    CallId(uuid::Uuid::from_u128(bits | u128::from(number)))
}

/// The end of a call's id, by which it is found.
fn end_of_id(number: u64) -> String {
    let id = id(number).to_string();
    id.rsplit('-').next().unwrap_or_default().to_owned()
}

/// A journal of about so many bytes; how many calls, and how many bytes it is.
fn journal(folder: &Path, bytes: u64) -> (PathBuf, u64, u64) {
    let path = folder.join("journal");
    let options = Options::new(Arc::new(SystemClock));
    let (journal, _) = Journal::open(&path, options).expect("a journal");
    let (mut calls, mut size) = (0, 0);
    while size < bytes {
        for _ in 0..1_000 {
            for event in &events(calls) {
                journal.append(event).expect("appends");
            }
            calls += 1;
        }
        size = std::fs::read_dir(&path)
            .expect("a directory")
            .map(|entry| entry.expect("a file").metadata().expect("a size").len())
            .sum();
    }
    (path, calls, size)
}

fn searching(criterion: &mut Criterion) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let wanted = if measuring() { GIGABYTE } else { 1 << 20 };
    let (path, calls, size) = journal(folder.path(), wanted);
    let mut group = criterion.benchmark_group("search");
    group.sample_size(10);
    group.throughput(Throughput::Bytes(size));
    let query = |agent: Option<&str>, origin: Option<&str>| Query {
        agent: agent.map(|agent| agent.parse().expect("a name")),
        origin: origin.map(str::to_owned),
        ..Query::default()
    };
    let found =
        |query: &Query, limit: usize| search(&path, query, limit).expect("reads").calls.len();
    let rare = query(Some("rare"), None);
    group.bench_function("an agent's one call", |b| {
        b.iter(|| assert_eq!(found(&rare, 50), 1));
    });
    let origin = query(None, Some("api.rare.example"));
    group.bench_function("all calls to an origin, one in a thousand", |b| {
        b.iter(|| assert!(found(&origin, usize::MAX) as u64 >= calls / 1_000));
    });
    let both = query(Some("agent-3"), Some("https://api.github.com"));
    group.bench_function("all calls of an agent to an origin that most go to", |b| {
        b.iter(|| assert!(found(&both, usize::MAX) as u64 >= calls / 100));
    });
    let refused = Query {
        decision: Some(Decision::Refuse),
        ..Query::default()
    };
    group.bench_function("refusals, of which there are none", |b| {
        b.iter(|| assert_eq!(found(&refused, 50), 0));
    });
    group.bench_function("one call, by the end of its id", |b| {
        let end = end_of_id(calls / 2);
        b.iter(|| assert_eq!(call(&path, &end).expect("reads").len(), 4));
    });
    group.bench_function("its story", |b| {
        let end = end_of_id(calls / 2);
        b.iter(|| assert_eq!(story(&path, &end).expect("reads").len(), 4));
    });
    group.bench_function("records of one in a thousand calls, each read", |b| {
        b.iter(|| {
            let found = search(&path, &origin, usize::MAX).expect("reads");
            let mut count = 0;
            each(&path, &found, |_| {
                count += 1;
                ControlFlow::Continue(())
            })
            .expect("reads");
            assert_eq!(count, found.calls.len() * 4);
        });
    });
    group.finish();
    let mut group = criterion.benchmark_group("newest");
    group.sample_size(10);
    group.bench_function("50 calls of an agent", |b| {
        let query = query(Some("agent-3"), None);
        b.iter(|| assert!(found(&query, 50) <= 50));
    });
    group.bench_function("the last 20 records", |b| {
        b.iter(|| tail(&path, 20, &Query::default()).expect("reads").0.len());
    });
    group.bench_function("the last 20 records of an agent", |b| {
        let query = query(Some("agent-3"), None);
        b.iter(|| tail(&path, 20, &query).expect("reads").0.len());
    });
    group.finish();
}

criterion_group!(benches, searching);
criterion_main!(benches);
