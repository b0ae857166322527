//! What does writing it down cost: an append, and a wait for the disk beside a bare `fdatasync`; and
//! what does it cost to hold all of it against its signatures again.

#![expect(
    clippy::expect_used,
    reason = "a bench that fails has nothing to measure"
)]

#[path = "support/records.rs"]
mod records;

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tollgate::clock::SystemClock;
use tollgate::journal::record::{CallId, Event};
use tollgate::journal::storage::{Disk, Name, Storage as _};
use tollgate::journal::{Journal, Keep, Options, verify};

fn intent() -> Event {
    let view = r#"{"query":"repo:tollgate is:open","page":1,"per_page":30}"#;
    let call = CallId(uuid::Uuid::from_u128(7));
    Event::Intent(records::intent(call, "claude", None, view.to_owned()))
}

/// Closed segments stay as they are: compressing them is no part of an append, and at this rate there
/// would be one to compress every third of a second.
fn open() -> (tempfile::TempDir, Journal) {
    open_with(None)
}

fn open_with(keep: Option<Keep>) -> (tempfile::TempDir, Journal) {
    // Beside the build, not in a memory file system: the disk is what is measured.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let options = Options {
        keep,
        ..Options::new(Arc::new(SystemClock))
    };
    let (journal, _) = Journal::open(directory.path().join("journal"), options).expect("a journal");
    (directory, journal)
}

fn append(criterion: &mut Criterion) {
    let (_directory, journal) = open();
    let event = intent();
    criterion.bench_function("append", |b| {
        b.iter(|| journal.append(&event).expect("appends"));
    });
}

/// `count` tasks append and wait at once; the time of one round.
fn durable(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let mut group = criterion.benchmark_group("durable");
    group.measurement_time(Duration::from_secs(4));
    for count in [1, 8, 64] {
        group.throughput(Throughput::Elements(count));
        let (_directory, journal) = open();
        let event = Arc::new(intent());
        group.bench_function(BenchmarkId::new("journal", count), |b| {
            b.to_async(&runtime).iter_custom(|rounds| {
                let (journal, event) = (journal.clone(), Arc::clone(&event));
                at_once(rounds, count, move || {
                    let (journal, event) = (journal.clone(), Arc::clone(&event));
                    async move {
                        let position = journal.append(&event).expect("appends");
                        journal.durable(position).await.expect("is durable");
                    }
                })
            });
        });
        let bare = Arc::new(Bare::start());
        group.bench_function(BenchmarkId::new("bare", count), |b| {
            b.to_async(&runtime).iter_custom(|rounds| {
                let bare = Arc::clone(&bare);
                at_once(rounds, count, move || {
                    let bare = Arc::clone(&bare);
                    async move { bare.write_and_sync().await }
                })
            });
        });
    }
    group.finish();
}

/// Each of `count` tasks does it `rounds` times in a row; how long all of that took.
async fn at_once<F: Future<Output = ()> + Send + 'static>(
    rounds: u64,
    count: u64,
    what: impl Fn() -> F + Clone + Send + 'static,
) -> Duration {
    let began = Instant::now();
    let tasks: Vec<_> = (0..count)
        .map(|_| {
            let what = what.clone();
            tokio::spawn(async move {
                for _ in 0..rounds {
                    what().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task ends");
    }
    began.elapsed()
}

/// The least that a group commit can be: lines of the same size, one thread that syncs for all who wait.
struct Bare {
    _directory: tempfile::TempDir,
    file: Mutex<File>,
    waiting: Sender<oneshot::Sender<()>>,
    line: Vec<u8>,
}

impl Bare {
    fn start() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let path = directory.path().join("log");
        let open = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .expect("a file")
        };
        let (waiting, waits): (_, Receiver<oneshot::Sender<()>>) = channel();
        let synced = open();
        std::thread::spawn(move || {
            while let Ok(first) = waits.recv() {
                let all: Vec<_> = std::iter::once(first).chain(waits.try_iter()).collect();
                synced.sync_data().expect("syncs");
                for one in all {
                    let _ = one.send(());
                }
            }
        });
        Self {
            file: Mutex::new(open()),
            _directory: directory,
            waiting,
            line: vec![b'x'; 900],
        }
    }

    async fn write_and_sync(&self) {
        self.file
            .lock()
            .expect("a lock")
            .write_all(&self.line)
            .expect("writes");
        let (done, wait) = oneshot::channel();
        self.waiting.send(done).expect("a thread");
        wait.await.expect("an answer");
    }
}

/// 200 MB in four segments, as they are and compressed.
fn verifying(criterion: &mut Criterion) {
    let event = intent();
    let mut group = criterion.benchmark_group("verify");
    group.sample_size(10);
    for (name, keep) in [("lines", None), ("compressed", Some(Keep::default()))] {
        let (directory, journal) = open_with(keep);
        for _ in 0..220_000 {
            journal.append(&event).expect("appends");
        }
        let path = directory.path().join("journal");
        if keep.is_some() {
            tidied(&path);
        }
        drop(journal);
        let bytes = verify(&path, |_| ()).expect("reads").bytes;
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function(name, |b| {
            b.iter(|| assert!(verify(&path, |_| ()).expect("reads").is_good()));
        });
    }
    group.finish();
}

/// Returns once the closed segments are compressed.
fn tidied(path: &Path) {
    let disk = Disk::new(path);
    let is_left = |name: &Name| matches!(name, Name::Lines(_));
    while disk
        .names()
        .expect("names")
        .iter()
        .filter(|name| is_left(name))
        .count()
        > 1
    {
        std::thread::sleep(Duration::from_millis(50));
    }
}

criterion_group!(benches, append, durable, verifying);
criterion_main!(benches);
