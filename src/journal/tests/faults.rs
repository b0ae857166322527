//! Every operation of the disk fails in turn, in every way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::storage::Name;
use super::super::{OpenError, Position, Unwritable};
use super::memory::{Fault, Memory};
use super::*;
use crate::clock::Clock;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// What a run was promised.
#[derive(Debug, Default)]
struct Promised {
    /// The last record that `append` took.
    appended: u64,
    /// The last record that is on the disk, as `durable` said.
    durable: u64,
    failed: bool,
}

/// Opens, appends over several segments, waits for some, closes.
async fn run(memory: &Memory) -> Promised {
    let mut promised = Promised::default();
    let opened = Journal::open_in(Arc::new(memory.clone()), options(1500));
    let journal = match opened {
        Ok((journal, recovery)) => {
            (promised.appended, promised.durable) = (recovery.seq, recovery.seq);
            journal
        }
        Err(OpenError::Storage { .. } | OpenError::Unwritable(_)) => {
            promised.failed = true;
            return promised;
        }
        Err(other) => panic!("{other}"),
    };
    for number in 0..8 {
        let call = call_id(number + 1);
        let result = step(&journal, &intent(call), number % 3 == 0, &mut promised).await;
        if result.is_err() {
            promised.failed = true;
            break;
        }
    }
    if promised.failed {
        // The disk works again, and still nothing is promised any more.
        assert!(!journal.is_healthy());
        assert!(journal.failure().borrow().is_some());
        for _ in 0..3 {
            assert!(journal.append(&changed("after")).is_err());
            assert!(journal.durable(Position(u64::MAX)).await.is_err());
        }
        let refusal = crate::reason::Refusal::from(journal.append(&changed("x")).unwrap_err());
        assert_eq!(refusal.reason, crate::reason::Reason::JournalUnavailable);
        assert!(journal.close().await.is_err());
    } else if journal.close().await.is_ok() {
        promised.durable = promised.appended;
    } else {
        promised.failed = true;
    }
    promised
}

async fn step(
    journal: &Journal,
    event: &Event,
    waits: bool,
    promised: &mut Promised,
) -> Result<(), Unwritable> {
    let position = journal.append(event)?;
    promised.appended = position.seq();
    if waits {
        journal.durable(position).await?;
        promised.durable = position.seq();
    }
    Ok(())
}

/// The log is whole, and has what was promised.
#[track_caller]
fn recovers(memory: &Memory, at_least: u64) {
    let names: Vec<_> = memory.files().into_keys().collect();
    let before = memory.segments();
    let (journal, recovery) = open(memory, options(1500));
    assert!(recovery.seq >= at_least, "{} < {at_least}", recovery.seq);
    drop(journal);
    let report = verify(memory);
    assert_eq!((report.unsigned(), report.torn_tail), (0, 0));
    assert_eq!(report.first_bad, None);
    assert!(
        !memory.files().contains_key(&Name::NextKey),
        "it was left with {names:?}"
    );
    // Whole lines that were there are there as they were.
    for (first, bytes) in before {
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        assert_eq!(memory.segments()[&first][..whole], bytes[..whole]);
    }
}

#[tokio::test]
async fn whatever_fails_nothing_promised_is_lost() {
    let faults = [
        Fault::Error(ENOSPC),
        Fault::Error(EIO),
        Fault::Torn(ENOSPC),
        Fault::Late(EIO),
        Fault::Short,
    ];
    for fault in faults {
        for existing in [Memory::default(), torn_log()] {
            let mut at = 0;
            loop {
                let memory = existing.after_kill();
                memory.fail(at, fault);
                let promised = run(&memory).await;
                let reached = memory.operations() > at;
                assert_eq!(
                    promised.failed,
                    reached && fault != Fault::Short,
                    "{fault:?} at {at}"
                );
                recovers(&memory.after_kill(), promised.appended);
                for percent in [0, 37, 100] {
                    for names in [false, true] {
                        recovers(&memory.after_power_loss(percent, names), promised.durable);
                    }
                }
                if !reached {
                    break;
                }
                at += 1;
            }
            assert!(at > 10, "only {at} operations");
        }
    }
}

/// A log with a call under way and half a line.
fn torn_log() -> Memory {
    let memory = good_log(5);
    let mut segments = memory.segments();
    let last = segments.values_mut().next_back().unwrap();
    last.extend_from_slice(b"{\"v\":1,\"seq\":");
    memory.with_segments(segments)
}

#[tokio::test]
async fn the_first_failure_is_told_to_who_watches() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    let mut failure = journal.failure();
    memory.fail(memory.operations(), Fault::Error(ENOSPC));
    assert!(journal.append(&changed("a")).is_err());
    let told = failure.wait_for(Option::is_some).await.unwrap().clone();
    let told = told.unwrap().to_string();
    assert!(
        told.starts_with("the journal can't be written: a write failed: "),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_on_the_disk_stays_promised_after_a_failure() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    let position = journal.append(&changed("a")).unwrap();
    journal.durable(position).await.unwrap();
    // It is signed after those who wait have gone on.
    let mut sealed = journal.checkpoint();
    sealed.wait_for(Option::is_some).await.unwrap();
    memory.fail(memory.operations(), Fault::Error(EIO));
    assert!(journal.append(&changed("b")).is_err());
    journal.durable(position).await.unwrap();
}

/// What it wrote is not known, and nobody waits for ever to hear so.
#[tokio::test]
async fn a_thread_that_ends_while_it_writes_is_a_failure_like_any_other() {
    #[derive(Debug, Default)]
    struct Broken(AtomicBool);
    impl Clock for Broken {
        fn now(&self) -> Duration {
            assert!(!self.0.load(Ordering::SeqCst), "the clock is broken");
            Duration::ZERO
        }
    }
    let clock = Arc::new(Broken::default());
    let memory = Memory::default();
    let broken = Options {
        clock: clock.clone(),
        ..options(1 << 20)
    };
    let (journal, _) = open(&memory, broken);
    clock.0.store(true, Ordering::SeqCst);
    let other = journal.clone();
    let thread = std::thread::spawn(move || other.append(&changed("a")));
    assert!(thread.join().is_err());
    clock.0.store(false, Ordering::SeqCst);
    assert!(journal.append(&changed("b")).is_err());
    assert!(journal.failure().borrow().is_some());
    assert!(journal.close().await.is_err());
}
