//! What is appended is one valid chain, whoever appends it; and one sync serves all who wait.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use futures_util::FutureExt as _;

use super::super::{OpenError, Sync};
use super::memory::Memory;
use super::*;

#[tokio::test]
async fn two_hosts_can_not_write_one_journal() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let (journal, recovery) = Journal::open(&path, options(1 << 20)).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert!(matches!(
        Journal::open(&path, options(1 << 20)),
        Err(OpenError::Locked)
    ));
    let position = journal.append(&changed("a")).unwrap();
    assert_eq!(position.seq(), 2, "the first opens the segment");
    journal.close().await.unwrap();
    assert!(journal.append(&changed("b")).is_err());
    journal.durable(position).await.unwrap();

    // Given back with `close`, although the handle is still there.
    let (next, recovery) = Journal::open(&path, options(1 << 20)).unwrap();
    assert_eq!(recovery.seq, 2);
    assert_eq!(next.append(&changed("c")).unwrap().seq(), 3);
}

#[test]
fn the_journal_is_its_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("deep").join("journal");
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    drop(Journal::open(&path, options(1 << 20)).unwrap());
    assert_eq!(mode(&path), 0o700);
    for file in std::fs::read_dir(&path).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    drop(Journal::open(&path, options(1 << 20)).unwrap());
    assert_eq!(mode(&path), 0o700);
}

#[test]
fn a_link_in_place_of_a_segment_is_not_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    drop(Journal::open(&path, options(1 << 20)).unwrap());
    let segment = path.join("00000000000000000001.jsonl");
    std::fs::rename(&segment, directory.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("elsewhere"), &segment).unwrap();
    let opened = Journal::open(&path, options(1 << 20));
    assert!(
        matches!(opened, Err(OpenError::Storage { .. })),
        "{opened:?}"
    );
}

#[test]
fn sixty_four_threads_write_one_chain() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(64 << 10));
    let mut positions: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64u128)
            .map(|thread| {
                let journal = journal.clone();
                scope.spawn(move || -> Vec<u64> {
                    let event = |n| intent(call_id(thread << 32 | n));
                    (0..20)
                        .map(|n| journal.append(&event(n)).unwrap().seq())
                        .collect()
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    positions.sort_unstable();
    drop(journal);
    let written: Vec<u64> = told(&memory).into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(written.len(), 64 * 20);
    assert_eq!(positions, written);
    let report = verify(&memory);
    assert_eq!(report.first_bad, None);
    assert!(report.segments > 5);
    let own = 2 * report.segments as u64 - 1;
    assert_eq!((report.records, report.unsigned()), (64 * 20 + own, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_wait_for_the_disk_write_one_chain() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(16 << 10));
    let tasks: Vec<_> = (0..64u128)
        .map(|task| {
            let (journal, memory) = (journal.clone(), memory.clone());
            tokio::spawn(async move {
                for _ in 0..5 {
                    let position = journal.append(&intent(call_id(task))).unwrap();
                    journal.durable(position).await.unwrap();
                    let safe = verify(&memory.after_power_loss(0, false));
                    assert_eq!(safe.first_bad, None);
                    assert!(safe.records >= position.seq());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    journal.close().await.unwrap();
    assert_eq!(told(&memory).len(), 64 * 5);
    assert_eq!(verify(&memory).unsigned(), 0);
}

/// The next sync has begun. A journal that never syncs fails the test instead of hanging it.
fn began(syncs: &Receiver<()>) {
    syncs.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[tokio::test]
async fn one_sync_serves_all_who_wait() {
    let (memory, syncs, go_on) = Memory::gated();
    let (journal, _) = open(&memory, options(1 << 20));
    let (syncs_before, writes_before) = (memory.syncs(), memory.writes());
    memory.shut();
    let first = journal.append(&changed("first")).unwrap();
    let first = journal.durable(first);
    began(&syncs);
    // While the disk is busy with the first, 64 others come.
    let waiting: Vec<_> = (0..64)
        .map(|_| journal.append(&changed("other")).unwrap())
        .map(|position| journal.durable(position))
        .collect();
    go_on.send(()).unwrap();
    first.await.unwrap();
    began(&syncs);
    go_on.send(()).unwrap();
    for durable in waiting {
        durable.await.unwrap();
    }
    assert_eq!(memory.syncs() - syncs_before, 2);
    assert_eq!(memory.writes() - writes_before, 65);
    drop(go_on);
}

#[tokio::test]
async fn a_record_is_not_durable_before_its_sync_ends() {
    let (memory, syncs, go_on) = Memory::gated();
    let (journal, _) = open(&memory, options(1 << 20));
    memory.shut();
    let position = journal.append(&changed("a")).unwrap();
    let mut durable = Box::pin(journal.durable(position));
    began(&syncs);
    assert_eq!(durable.as_mut().now_or_never(), None);
    // One that came after the sync began is not part of it.
    let later = journal.append(&changed("b")).unwrap();
    let mut later = Box::pin(journal.durable(later));
    go_on.send(()).unwrap();
    durable.await.unwrap();
    began(&syncs);
    assert_eq!(later.as_mut().now_or_never(), None);
    drop(go_on);
    later.await.unwrap();
}

#[test]
fn what_nobody_waits_for_is_synced_as_well() {
    for sync in [
        Sync::Gated,
        Sync::Always,
        Sync::Interval(Duration::from_millis(5)),
    ] {
        let (memory, syncs, go_on) = Memory::gated();
        let (journal, _) = open(
            &memory,
            Options {
                sync,
                ..options(1 << 20)
            },
        );
        memory.shut();
        // Twice: also after a rest.
        for _ in 0..2 {
            journal.append(&changed("a")).unwrap();
            began(&syncs);
            go_on.send(()).unwrap();
        }
        drop(go_on);
    }
}

#[tokio::test]
async fn the_mode_says_what_waits() {
    for (sync, durable_waits, settled_waits) in [
        (Sync::Gated, true, false),
        (Sync::Always, true, true),
        (Sync::Interval(Duration::from_secs(3600)), false, false),
    ] {
        let (memory, _syncs, go_on) = Memory::gated();
        let (journal, _) = open(
            &memory,
            Options {
                sync,
                ..options(1 << 20)
            },
        );
        memory.shut();
        let position = journal.append(&changed("a")).unwrap();
        let waits = |done: Option<_>| done.is_none();
        assert_eq!(
            waits(journal.durable(position).now_or_never()),
            durable_waits
        );
        assert_eq!(
            waits(journal.settled(position).now_or_never()),
            settled_waits
        );
        drop(go_on);
        journal.close().await.unwrap();
    }
}

#[test]
fn a_clock_out_of_range_breaks_no_line() {
    #[derive(Debug)]
    struct Far;
    impl crate::clock::Clock for Far {
        fn now(&self) -> Duration {
            Duration::MAX
        }
    }
    let memory = Memory::default();
    let far = Options {
        clock: Arc::new(Far),
        ..options(1 << 20)
    };
    let (journal, _) = open(&memory, far);
    journal.append(&changed("a")).unwrap();
    drop(journal);
    assert!(verify(&memory).is_good());
    assert_eq!(verify(&memory).records, 2);
}

#[test]
fn dropping_the_last_handle_syncs() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    let other = journal.clone();
    drop(journal);
    other.append(&changed("a")).unwrap();
    drop(other);
    let report = verify(&memory.after_power_loss(0, false));
    assert_eq!((report.records, report.unsigned()), (2, 0));
}
