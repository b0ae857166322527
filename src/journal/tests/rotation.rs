//! Segments, their keys and checkpoints: handed over, thinned, and gone on with from every point at which a host can die.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::note::{Note, Signer, VerifierKey};
use super::super::record::{SegmentClosed, SegmentOpened};
use super::super::storage::Name;
use super::super::{Sync, keys, seal};
use super::memory::Memory;
use super::*;
use crate::clock::Seconds;

/// 2026-11-22T00:00:00Z.
const START: u64 = 1_795_305_600;

/// What each segment says of itself.
fn own(memory: &Memory) -> BTreeMap<u64, (SegmentOpened, Option<SegmentClosed>)> {
    let mut own = BTreeMap::new();
    for (first, lines) in memory.segments() {
        let mut closed = None;
        let mut opened = None;
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let head = super::super::line::Head::read(line).unwrap();
            match head.record().unwrap().event {
                Event::SegmentOpened(event) => opened = Some(event),
                Event::SegmentClosed(event) => closed = Some(event),
                _ => {}
            }
        }
        own.insert(first, (opened.unwrap(), closed));
    }
    own
}

fn notes(memory: &Memory, first: u64) -> Vec<Vec<u8>> {
    let mut notes = seal::Notes::default();
    memory.files()[&Name::Checkpoints(first)]
        .split_inclusive(|b| *b == b'\n')
        .filter_map(|line| notes.take(line).map(|(_, note)| note))
        .collect()
}

#[test]
fn each_segment_has_a_key_that_the_one_before_names() {
    let memory = good_log(12);
    let own = own(&memory);
    assert!(own.len() > 3);
    let keys: Vec<&String> = own.values().map(|(opened, _)| &opened.key).collect();
    let named: Vec<&String> = own
        .values()
        .filter_map(|(_, closed)| closed.as_ref().map(|closed| &closed.next))
        .collect();
    assert_eq!(named, keys[1..]);
    let origins: std::collections::BTreeSet<_> =
        own.values().map(|(opened, _)| &opened.origin).collect();
    assert_eq!(origins.len(), 1);
    assert_eq!(
        own.values().filter(|(_, closed)| closed.is_none()).count(),
        1
    );

    // The key of today is there, and none of those before it.
    let kept = keys::load(&memory, Name::Key).unwrap().unwrap();
    assert_eq!(kept.verifier().to_string(), **keys.last().unwrap());
    let files = memory.files();
    assert!(!files.contains_key(&Name::NextKey));
    assert_eq!(files[&Name::Public], format!("{}\n", keys[0]).into_bytes());

    let report = verify(&memory);
    assert_eq!(report.key.as_ref(), Some(keys[0]));
    assert_eq!(report.signed, report.records);
    assert!(report.checkpoints >= own.len() as u64);

    // Trust begins where it is said to.
    let first: VerifierKey = keys[0].parse().unwrap();
    let other: VerifierKey = keys[1].parse().unwrap();
    let with = |key: &VerifierKey| {
        super::super::verify_in(&memory, std::slice::from_ref(key), |_| ()).unwrap()
    };
    assert!(with(&first).is_good() && with(&first).is_key_given);
    assert_eq!(with(&other).first_bad.unwrap().line, 1);
}

#[test]
fn a_segment_ends_by_its_age_and_a_clock_that_was_set_back_is_named() {
    let memory = Memory::default();
    let clock = Arc::new(Seconds::at(START));
    let aged = Options {
        clock: clock.clone(),
        segment_age: Duration::from_secs(100),
        ..options(1 << 20)
    };
    let (journal, _) = open(&memory, aged.clone());
    for (at, segments) in [(0, 1), (99, 1), (100, 2), (150, 2), (199, 2), (200, 3)] {
        clock.set(START + at);
        journal.append(&changed("a")).unwrap();
        assert_eq!(memory.segments().len(), segments, "{at}");
    }
    // L13: the order is that of the numbers.
    clock.set(START + 7);
    let back = journal.append(&changed("b")).unwrap().seq();
    drop(journal);
    // Also after a start, which reads when the segment began.
    clock.set(START + 250);
    let (journal, _) = open(&memory, aged.clone());
    journal.append(&changed("c")).unwrap();
    assert_eq!(memory.segments().len(), 3);
    clock.set(START + 301);
    journal.append(&changed("d")).unwrap();
    assert_eq!(memory.segments().len(), 4);
    drop(journal);
    let report = verify(&memory);
    assert_eq!(report.first_bad, None);
    assert_eq!((report.set_back, report.first_set_back), (1, Some(back)));
}

#[tokio::test]
async fn a_long_silence_has_its_records() {
    let memory = Memory::default();
    let beating = Options {
        heartbeat: Duration::from_millis(5),
        ..options(1 << 20)
    };
    let (journal, _) = open(&memory, beating);
    let mut checkpoint = journal.checkpoint();
    let beats = || {
        told(&memory)
            .iter()
            .filter(|(_, event)| *event == Event::Heartbeat {})
            .count()
    };
    while beats() < 3 {
        checkpoint.changed().await.unwrap();
    }
    journal.close().await.unwrap();
    assert_eq!(verify(&memory).first_bad, None);
}

#[tokio::test]
async fn each_sync_is_signed_and_the_signed_are_thinned() {
    let memory = Memory::default();
    let clock = Arc::new(Seconds::at(START));
    let minutes = Options {
        clock: clock.clone(),
        ..options(64 << 20)
    };
    let (journal, _) = open(&memory, minutes.clone());
    let mut most = 0;
    let mut last = 0;
    for number in 0..5000 {
        if number % 1000 == 0 {
            clock.pass(60);
        }
        let position = journal.append(&changed("a")).unwrap();
        journal.durable(position).await.unwrap();
        last = position.seq();
        if number % 500 == 0 {
            most = most.max(notes(&memory, 1).len());
        }
    }
    // The one of the last sync, as it is published and as it stands in the file.
    let mut published = journal.checkpoint();
    let of = |note: &str| Note::parse(note.as_bytes()).unwrap().unverified().unwrap();
    let published = published
        .wait_for(|note| note.as_deref().is_some_and(|note| of(note).size == last))
        .await
        .unwrap()
        .clone()
        .unwrap();
    assert!(notes(&memory, 1).contains(&published.as_bytes().to_vec()));
    assert!(most > 1000, "{most} at most");
    journal.close().await.unwrap();
    let left = notes(&memory, 1);
    assert!(left.len() < 4200, "{}", left.len());
    assert_eq!(verify(&memory).checkpoints, left.len() as u64);
    assert_eq!(verify(&memory).unsigned(), 0);

    // A host that goes on, and closes the segment, leaves the last of each minute.
    let aged = Options {
        segment_age: Duration::from_secs(1),
        ..minutes
    };
    let (journal, _) = open(&memory, aged);
    journal.append(&changed("b")).unwrap();
    drop(journal);
    let left = notes(&memory, 1);
    assert!((5..8).contains(&left.len()), "{}", left.len());
    assert_eq!(verify(&memory).first_bad, None);
}

#[test]
fn what_the_old_key_signs_after_it_handed_over_is_nothing() {
    let memory = good_log(12);
    let own = own(&memory);
    let (first, second) = (*own.keys().next().unwrap(), *own.keys().nth(1).unwrap());
    let origin = own[&first].0.origin.clone();
    // Whoever has some key, and not the one that was handed to.
    let stolen = Signer::from_bytes(&origin, &[7; 32]).unwrap();
    let claimed = Note::parse(&notes(&memory, second)[0])
        .unwrap()
        .unverified()
        .unwrap();
    let forged = stolen.sign(&claimed);
    let forged = memory.with(
        Name::Checkpoints(second),
        Some(format!("{forged}\n").into_bytes()),
    );
    let bad = verify(&forged).first_bad.unwrap();
    assert_eq!(bad.file, Name::Checkpoints(second).to_string());
    // Checkpoints of another segment, each good where it stood.
    let moved = memory.files()[&Name::Checkpoints(first)].clone();
    let moved = memory.with(Name::Checkpoints(second), Some(moved));
    assert!(
        verify(&moved)
            .first_bad
            .unwrap()
            .file
            .ends_with(".checkpoints")
    );
    // A closed segment whose end nothing speaks of.
    for left in [None, Some(Vec::new())] {
        let bad = verify(&memory.with(Name::Checkpoints(first), left))
            .first_bad
            .unwrap();
        assert!(bad.why.contains("was to be signed"), "{bad}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_changed_checkpoint_shows(segment in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1..=255u8) {
        thread_local! {
            static LOG: Memory = good_log(9);
        }
        let memory = LOG.with(Clone::clone);
        let whole = verify(&memory);
        let firsts: Vec<u64> = memory.segments().into_keys().collect();
        let first = firsts[segment.index(firsts.len())];
        let name = Name::Checkpoints(first);
        let mut bytes = memory.files()[&name].clone();
        let at = byte.index(bytes.len());
        bytes[at] ^= flip;
        let report = verify(&memory.with(name, Some(bytes)));
        // Of the open segment half a checkpoint is one that is being written: what it spoke of is then
        // said to be protected by nothing.
        let is_open = Some(&first) == firsts.last();
        let shows = match &report.first_bad {
            Some(bad) => bad.file == name.to_string(),
            None => is_open && report.signed < whole.signed,
        };
        prop_assert!(shows, "{} of {}: {:?}", at, name, report);
    }
}

/// A host that dies at any operation of a rotation, with a loss of power or without.
#[test]
fn d04_every_point_of_a_rotation_is_gone_on_from() {
    use super::memory::Fault;
    const EIO: i32 = 5;
    // Nothing is synced on the side, so that operations are those of the rotation.
    let small = || Options {
        sync: Sync::Interval(Duration::from_secs(3600)),
        ..options(900)
    };
    for fault in [Fault::Error(EIO), Fault::Torn(EIO), Fault::Late(EIO)] {
        let mut at = 0;
        loop {
            let memory = Memory::default();
            let (journal, _) = open(&memory, small());
            journal.append(&intent(call_id(1))).unwrap();
            memory.fail(memory.operations() + at, fault);
            if journal.append(&outcome(call_id(1))).is_ok() {
                break;
            }
            drop(journal);
            let mut left = vec![memory.after_kill()];
            for percent in [0, 50, 100] {
                left.extend([false, true].map(|names| memory.after_power_loss(percent, names)));
            }
            for left in left {
                assert_eq!(verify(&left).first_bad, None, "as it was left at {at}");
                goes_on(&left, small());
            }
            at += 1;
        }
        assert!(at > 12, "only {at} points");
    }
}

fn goes_on(left: &Memory, small: Options) {
    let (journal, recovery) = open(left, small);
    assert!(recovery.unknown.len() < 2);
    let later = journal.append(&changed("later")).unwrap();
    drop(journal);
    let report = verify(left);
    assert_eq!((report.signed, report.first_bad), (report.records, None));
    assert!(report.records >= later.seq());
    assert!(!left.files().contains_key(&Name::NextKey));
    let key = keys::load(left, Name::Key).unwrap().unwrap();
    let own = own(left);
    let (_, (opened, _)) = own.last_key_value().unwrap();
    assert_eq!(opened.key, key.verifier().to_string());
}
