//! Closed segments: compressed, and removed, at any moment and with any fault.

use std::io::{Read as _, Write as _};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::super::keep::Tidy;
use super::super::storage::{Name, Storage as _};
use super::super::{Keep, Reader};
use super::memory::{Fault, Memory};
use super::*;
use crate::clock::Seconds;

const PACK: Keep = Keep {
    compress: true,
    bytes: None,
    age: None,
};

fn tidy(memory: &Memory, keep: Keep, now: u64) -> Tidy {
    Tidy {
        storage: Arc::new(memory.clone()),
        keep,
        clock: Arc::new(Seconds::at(now)),
        stop: Arc::new(AtomicBool::new(false)),
    }
}

/// Tidies up beside an open journal.
fn run(memory: &Memory, keep: Keep, now: u64) -> std::io::Result<()> {
    let (journal, _) = open(memory, options(2048));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let done = tidy(memory, keep, now).run(&|event| {
        let position = journal.append(event).map_err(std::io::Error::other)?;
        runtime
            .block_on(journal.durable(position))
            .map_err(std::io::Error::other)
    });
    drop(journal);
    done
}

fn lines(memory: &Memory, first: u64) -> Vec<u8> {
    let mut lines = Vec::new();
    memory
        .read(first, 0)
        .unwrap()
        .read_to_end(&mut lines)
        .unwrap();
    lines
}

#[test]
fn closed_segments_are_compressed_and_nothing_else_changes() {
    let memory = good_log(12);
    let before = verify(&memory);
    let segments = memory.segments();
    let (&last, _) = segments.iter().next_back().unwrap();
    tidy(&memory, PACK, 0)
        .run(&|_| panic!("nothing to record"))
        .unwrap();
    let files = memory.files();
    for (first, text) in &segments {
        let is_open = *first == last;
        assert_eq!(files.contains_key(&Name::Lines(*first)), is_open);
        assert_eq!(files.contains_key(&Name::Packed(*first)), !is_open);
        assert_eq!(files.contains_key(&Name::Hashes(*first)), !is_open);
        assert_eq!(lines(&memory, *first), *text);
        assert_eq!(memory.len(*first).unwrap(), text.len() as u64);
        let mut end = Vec::new();
        memory
            .read(*first, 100)
            .unwrap()
            .read_to_end(&mut end)
            .unwrap();
        assert_eq!(end, text[100..]);
    }
    assert_eq!(verify(&memory), before);
    // It is gone on with, and done once.
    drop(open(&memory, options(2048)));
    assert_eq!(verify(&memory).first_bad, None);
    let done = memory.files();
    tidy(&memory, PACK, 0).run(&|_| Ok(())).unwrap();
    assert_eq!(memory.files(), done);
}

#[test]
fn a_damaged_compressed_segment_is_named() {
    let memory = good_log(12);
    tidy(&memory, PACK, 0).run(&|_| Ok(())).unwrap();
    let text = |memory: &Memory| {
        let mut text = Vec::new();
        let read = memory.read(1, 0).unwrap().read_to_end(&mut text);
        read.map(|_| text).ok()
    };
    let packed = memory.files()[&Name::Packed(1)].clone();
    for at in 0..packed.len() {
        let mut bytes = packed.clone();
        bytes[at] ^= 0x10;
        let changed = memory.with(Name::Packed(1), Some(bytes));
        // The header says when and where it was made, and a few bits fill up a byte: nothing of the lines.
        let report = verify(&changed);
        let same = report.first_bad.is_none() && text(&changed) == text(&memory);
        assert!(same || report.first_bad.is_some(), "byte {at}");
        if let Some(bad) = report.first_bad {
            assert!(bad.file.starts_with("00000000000000000001.jsonl"), "{bad}");
        }
    }
    for rest in [b"x".as_slice(), b"\x1f\x8b\x08\0\0\0\0\0\0\x03junk"] {
        let longer = memory.with(Name::Packed(1), Some([&packed, rest].concat()));
        assert!(verify(&longer).first_bad.is_some());
    }
    for len in [0, 1, 3, 4, packed.len() - 1] {
        let cut = memory.with(Name::Packed(1), Some(packed[..len].to_vec()));
        let bad = verify(&cut).first_bad.unwrap();
        assert_eq!(bad.file, Name::Packed(1).to_string(), "{len}: {bad}");
    }
}

#[test]
fn leaves_that_are_not_those_of_the_lines_are_named() {
    let memory = good_log(12);
    tidy(&memory, PACK, 0).run(&|_| Ok(())).unwrap();
    let hashes = memory.files()[&Name::Hashes(1)].clone();
    let count = hashes.len() / 32;
    for (line, bytes) in [
        (2, [&hashes[..32], &[0; 32], &hashes[64..]].concat()),
        (count, hashes[..hashes.len() - 1].to_vec()),
        (count + 1, [&hashes[..], &[0]].concat()),
    ] {
        let bad = verify(&memory.with(Name::Hashes(1), Some(bytes))).first_bad;
        let bad = bad.unwrap();
        assert_eq!(
            (bad.file, bad.line),
            (Name::Hashes(1).to_string(), line as u64)
        );
    }
}

#[test]
fn l15_what_was_made_to_be_large_is_read_in_small_pieces() {
    let memory = good_log(3);
    let gzip = |piece: &[u8], times: usize| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..times {
            packed.write_all(piece).unwrap();
        }
        packed.finish().unwrap()
    };
    let mebibyte = |byte: u8| vec![byte; 1 << 20];
    let unpacked = memory.with(Name::Lines(1), None);
    for piece in [mebibyte(b'x'), mebibyte(b'\n'), mebibyte(0)] {
        // 256 MiB within some hundred KiB.
        let bomb = unpacked.with(Name::Packed(1), Some(gzip(&piece, 256)));
        let bad = verify(&bomb).first_bad.unwrap();
        assert_eq!(bad.line, 1, "{bad}");
    }
    for piece in [mebibyte(b'x'), b"x\n".repeat(1 << 19), mebibyte(b'\n')] {
        let notes = memory.with(Name::Checkpoints(1), Some(piece.repeat(16)));
        let bad = verify(&notes).first_bad.unwrap();
        assert!(bad.file.ends_with(".checkpoints"), "{bad}");
    }
}

#[test]
fn retention_removes_the_oldest_and_keeps_what_proofs_need() {
    let memory = good_log(30);
    let before = verify(&memory);
    let segments: Vec<u64> = memory.segments().into_keys().collect();
    let keep = Keep {
        compress: false,
        bytes: Some(9000),
        age: None,
    };
    run(&memory, keep, 0).unwrap();
    let left: Vec<u64> = memory.segments().into_keys().collect();
    assert!(
        left.len() < segments.len() - 3 && left.len() > 2,
        "{left:?}"
    );
    let report = verify(&memory);
    assert_eq!(report.first_bad, None);
    assert_eq!(report.removed, left[0] - 1);
    assert_eq!(
        (report.signed, report.key),
        (report.records, before.key.clone())
    );
    let files = memory.files();
    for first in segments.iter().filter(|first| **first < left[0]) {
        for name in [
            Name::Hashes(*first),
            Name::Ends(*first),
            Name::Checkpoints(*first),
        ] {
            assert!(files.contains_key(&name), "{name}");
            let gone = verify(&memory.with(name, None));
            assert!(gone.first_bad.is_some(), "{name}");
            let mut bytes = files[&name].clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            let changed = verify(&memory.with(name, Some(bytes)));
            assert!(changed.first_bad.is_some(), "{name}");
        }
    }
    // What someone else removes in the same way has no record.
    let next = left[0];
    let text = lines(&memory, next);
    let all: Vec<_> = text.split_inclusive(|b| *b == b'\n').collect();
    let leaves: Vec<u8> = all
        .iter()
        .flat_map(|line| *super::super::merkle::leaf(line.strip_suffix(b"\n").unwrap()).as_bytes())
        .collect();
    let ends = [*all.first().unwrap(), *all.last().unwrap()].concat();
    let forged = memory
        .with(Name::Lines(next), None)
        .with(Name::Hashes(next), Some(leaves))
        .with(Name::Ends(next), Some(ends));
    let bad = verify(&forged).first_bad.unwrap();
    assert!(bad.why.contains("no record says"), "{bad}");
    // A host goes on, and what is left is read.
    drop(open(&memory, options(2048)));
    assert_eq!(verify(&memory).first_bad, None);
}

#[test]
fn retention_by_age_goes_by_the_records() {
    let memory = Memory::default();
    let start = 1_795_305_600;
    let clock = Arc::new(Seconds::at(start));
    let aged = Options {
        clock: clock.clone(),
        segment_age: Duration::from_secs(100),
        ..options(1 << 20)
    };
    let (journal, _) = open(&memory, aged);
    for _ in 0..6 {
        journal.append(&changed("a")).unwrap();
        clock.pass(100);
    }
    drop(journal);
    let firsts: Vec<u64> = memory.segments().into_keys().collect();
    assert_eq!(firsts.len(), 6);
    let keep = Keep {
        compress: true,
        bytes: None,
        age: Some(Duration::from_secs(250)),
    };
    // The segments that ended at 100, 200 and 300 are older.
    run(&memory, keep, start + 551).unwrap();
    assert_eq!(memory.list().unwrap()[0], firsts[3]);
    assert_eq!(verify(&memory).first_bad, None);
}

#[test]
fn whatever_fails_while_it_tidies_up_the_log_is_whole() {
    const ENOSPC: i32 = 28;
    let keep = Keep {
        compress: true,
        bytes: Some(2000),
        age: None,
    };
    let good = good_log(6);
    for fault in [
        Fault::Error(ENOSPC),
        Fault::Torn(ENOSPC),
        Fault::Late(5),
        Fault::Short,
    ] {
        let mut at = 0;
        loop {
            let memory = good.after_kill();
            let records = verify(&memory).records;
            let recorded = std::cell::Cell::new(0);
            let before = memory.operations();
            memory.fail(before + at, fault);
            // Without a journal: what it would record is what `verify` then misses.
            let done = tidy(&memory, keep, 0).run(&|_| {
                recorded.set(recorded.get() + 1);
                Ok(())
            });
            let reached = memory.operations() > before + at;
            assert_eq!(
                done.is_err(),
                reached && fault != Fault::Short,
                "{fault:?} at {at}"
            );
            let mut left = vec![memory.after_kill()];
            for percent in [0, 50, 100] {
                left.extend([false, true].map(|names| memory.after_power_loss(percent, names)));
            }
            for left in left {
                let report = verify(&left);
                let is_removed = report.removed > 0 || recorded.get() > 0;
                match report.first_bad {
                    None => assert_eq!(report.records, records),
                    Some(bad) => assert!(is_removed && bad.why.contains("no record says"), "{bad}"),
                }
                drop(open(&left, options(2048)));
            }
            if !reached {
                break;
            }
            at += 1;
        }
        assert!(at > 60, "only {at} operations");
    }
}

#[test]
fn a_host_does_all_of_it_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let kept = Options {
        keep: Some(Keep::default()),
        ..options(1500)
    };
    let (journal, _) = Journal::open(&path, kept).unwrap();
    for number in 0..20 {
        journal.append(&intent(call_id(number))).unwrap();
    }
    let disk = super::super::storage::Disk::new(&path);
    let open_segments = || {
        let names = disk.names().unwrap();
        names
            .iter()
            .filter(|name| matches!(name, Name::Lines(_)))
            .count()
    };
    // It is woken by each rotation, and does what is left.
    let began = std::time::Instant::now();
    while open_segments() > 1 {
        assert!(
            began.elapsed() < Duration::from_secs(120),
            "nobody tidies up"
        );
        std::thread::yield_now();
    }
    drop(journal);
    let report = super::super::verify(&path, |_| ()).unwrap();
    assert_eq!((report.first_bad, report.torn_tail), (None, 0));
    assert!(report.segments > 10);
    let mut reader = Reader::new(&path);
    let mut records = 0;
    while let Some(record) = reader.next_record().unwrap() {
        records += 1;
        assert_eq!(record.seq, records);
    }
    assert_eq!(records, report.records);
}
