//! A process that dies, or a power that goes, at every byte.

use super::super::OpenError;
use super::super::record::Recovered;
use super::super::storage::Name;
use super::memory::Memory;
use super::*;

/// The start of the last two lines of the last segment, which must have them.
fn last_two(bytes: &[u8]) -> usize {
    let mut newlines = bytes.iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
    newlines.nth(2).map_or(0, |(at, _)| at + 1)
}

/// The same log after a loss of power that took the checkpoints, which are never synced, and the end of
/// the lines.
fn unsigned(memory: &Memory, lines: &[u8]) -> Memory {
    memory
        .with(Name::Lines(1), Some(lines.to_vec()))
        .with(Name::Checkpoints(1), Some(Vec::new()))
}

#[test]
fn d02_a_log_cut_anywhere_is_recovered_to_its_last_whole_record() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    let (ended, open_call) = (call_id(1), call_id(2));
    for event in [
        intent(ended),
        outcome(ended),
        intent(open_call),
        intent(call_id(3)),
    ] {
        journal.append(&event).unwrap();
    }
    drop(journal);
    let signed = memory;
    let whole = signed.segments().remove(&1).unwrap();
    for cut in last_two(&whole)..=whole.len() {
        let left = &whole[..cut];
        let lines = left.iter().filter(|b| **b == b'\n').count();
        let torn = left.len() - left.iter().rposition(|b| *b == b'\n').unwrap() - 1;
        let memory = unsigned(&signed, left);
        let (journal, recovery) = open(&memory, options(1 << 20));
        assert_eq!(recovery.seq, lines as u64);
        assert_eq!(recovery.cut_bytes, torn as u64);
        let unknown = [vec![], vec![open_call], vec![open_call, call_id(3)]];
        assert_eq!(recovery.unknown, unknown[lines - 3]);
        drop(journal);

        let report = verify(&memory);
        assert_eq!((report.first_bad, report.torn_tail), (None, 0));
        let says_so = torn > 0 || lines > 3;
        assert_eq!(report.records, lines as u64 + u64::from(says_so));
        assert_eq!(report.signed, report.records);
        let after = memory.segments().remove(&1).unwrap();
        assert_eq!(after[..left.len() - torn], left[..left.len() - torn]);

        // What was recovered once is not recovered again.
        let (_journal, again) = open(&memory, options(1 << 20));
        assert_eq!((again.cut_bytes, again.unknown), (0, vec![]));
    }
}

#[test]
fn l03_a_log_that_ends_before_its_last_checkpoint_is_refused() {
    let memory = good_log(9);
    let (last, bytes) = memory.segments().pop_last().unwrap();
    let whole = verify(&memory).records;
    for cut in 0..bytes.len() {
        let mut segments = memory.segments();
        segments.get_mut(&last).unwrap().truncate(cut);
        let cut = memory.with_segments(segments);
        let before = cut.files();
        let error = Journal::open_in(Arc::new(cut.clone()), options(2048)).unwrap_err();
        match error {
            OpenError::Cut { signed, records } => {
                assert_eq!(signed, whole);
                assert!(records < whole);
            }
            // Half a line, and a checkpoint that speaks of it.
            OpenError::Bad { file, .. } => assert_eq!(file, Name::Lines(last).to_string()),
            other => panic!("{other:?}"),
        }
        assert_eq!(cut.files(), before, "nothing is changed");
        let bad = verify(&cut).first_bad.unwrap();
        assert!(bad.file.ends_with(".checkpoints"), "{bad}");
        assert!(bad.why.contains("the end was cut off"), "{bad}");
    }
}

#[test]
fn l04_a_log_without_its_segments_does_not_verify() {
    let good = good_log(9);
    let firsts: Vec<u64> = good.segments().into_keys().collect();
    let last = *firsts.last().unwrap();
    let without = |wanted: &dyn Fn(Name) -> bool| {
        let files = good.files().into_iter();
        Memory::of(files.filter(|(name, _)| wanted(*name)).collect())
    };
    let opens = |memory: &Memory| Journal::open_in(Arc::new(memory.clone()), options(2048));
    // All lines; everything but the keys; the lines of the last. No host goes on from there.
    for gone in [
        without(&|name| !matches!(name, Name::Lines(_))),
        without(&|name| name.segment().is_none()),
        without(&|name| name != Name::Lines(last)),
    ] {
        assert!(verify(&gone).first_bad.is_some());
        let opened = opens(&gone);
        assert!(matches!(opened, Err(OpenError::Key(_))), "{opened:?}");
    }
    // One of the others, alone or with everything of it. A start looks at the last alone.
    for first in &firsts[..firsts.len() - 1] {
        assert!(
            verify(&without(&|name| name != Name::Lines(*first)))
                .first_bad
                .is_some()
        );
        assert!(
            verify(&without(&|name| name.segment() != Some(*first)))
                .first_bad
                .is_some()
        );
    }
    // The last with everything of it: that is an end cut off, which a checkpoint elsewhere shows.
    let cut = verify(&without(&|name| name.segment() != Some(last)));
    assert_eq!((cut.first_bad, cut.signed), (None, last - 1));
}

#[test]
fn d02_zeroes_at_the_end_are_torn_and_a_hole_in_the_middle_is_not() {
    let signed = good_log(1);
    let (journal, _) = open(&signed, options(1 << 20));
    for number in 1..4 {
        journal.append(&outcome(call_id(number))).unwrap();
    }
    drop(journal);
    let whole = signed.segments().remove(&1).unwrap();
    let ends: Vec<_> = whole
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(i, _)| i)
        .collect();
    let last = ends.len() - 1;

    let mut end = whole.clone();
    end[ends[last - 1] + 100..ends[last]].fill(0);
    let memory = unsigned(&signed, &end);
    let (journal, recovery) = open(&memory, options(1 << 20));
    assert_eq!(recovery.seq, last as u64);
    assert_eq!(recovery.cut_bytes, (ends[last] - ends[last - 1]) as u64);
    drop(journal);
    assert_eq!(verify(&memory).first_bad, None);

    // More zeroes than a line may have.
    let mut long = whole[..=ends[last]].to_vec();
    long.resize(long.len() + 3 * super::super::MAX_LINE, 0);
    let memory = unsigned(&signed, &long);
    let (_journal, recovery) = open(&memory, options(1 << 20));
    assert_eq!(recovery.seq, last as u64 + 1);
    assert_eq!(recovery.cut_bytes, 3 * super::super::MAX_LINE as u64);

    let mut middle = whole;
    middle[ends[1] + 100..ends[2]].fill(0);
    assert_bad(&unsigned(&signed, &middle), 1, 3);
}

#[test]
fn d02_a_block_of_another_place_at_the_end_is_cut() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    for number in 1..20 {
        journal.append(&intent(call_id(number))).unwrap();
        journal.append(&outcome(call_id(number))).unwrap();
    }
    drop(journal);
    let whole = memory.segments().remove(&1).unwrap();
    // The last block has the bytes of an earlier one.
    for (block, from) in [(4096, 4096), (4096, 8192), (512, 1024)] {
        let keep = whole.len() - whole.len() % block;
        let mut torn = whole[..keep].to_vec();
        torn.extend_from_slice(&whole[from..from + block]);
        let torn = unsigned(&memory, &torn);
        let (journal, recovery) = open(&torn, options(1 << 20));
        assert!(recovery.cut_bytes > 0);
        let kept = whole[..keep].iter().filter(|b| **b == b'\n').count() as u64;
        assert_eq!(recovery.seq, kept);
        drop(journal);
        assert_eq!(verify(&torn).first_bad, None);
    }
}

#[test]
fn a_bad_line_is_named_and_nothing_is_changed() {
    let good = good_log(10);
    let segments = good.segments();
    assert!(segments.len() > 2);
    let (&last, bytes) = segments.iter().next_back().unwrap();
    let count = bytes.iter().filter(|b| **b == b'\n').count() as u64;

    // The last line, whole but not a record; and another record, which is not the one that was signed.
    for change in [" ", "1"] {
        let mut changed = segments.clone();
        let text = changed.get_mut(&last).unwrap();
        let line = String::from_utf8(text.clone()).unwrap();
        let at = line.rfind("4321").unwrap();
        text[at] = change.as_bytes()[0];
        assert_bad(&good.with_segments(changed), last, count);
    }

    // A line that is changed, with others behind it.
    let mut changed = segments.clone();
    let text = changed.get_mut(&last).unwrap();
    let at = text.iter().position(|b| *b == b'\n').unwrap() - 4;
    text[at] = if text[at] == b'7' { b'8' } else { b'7' };
    assert_bad(&good.with_segments(changed), last, 2);
}

#[test]
fn a_host_that_ended_in_order_leaves_nothing_to_say() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1 << 20));
    journal.append(&intent(call_id(1))).unwrap();
    journal.append(&Event::Stopped {}).unwrap();
    drop(journal);
    let (_journal, recovery) = open(&memory, options(1 << 20));
    assert_eq!(
        recovery,
        Recovery {
            seq: 3,
            ..Recovery::default()
        }
    );
}

#[test]
fn calls_under_way_are_found_over_segments_and_recorded() {
    let memory = Memory::default();
    let (journal, _) = open(&memory, options(1500));
    for number in 1..=10 {
        journal.append(&intent(call_id(number))).unwrap();
        if number != 2 && number != 9 {
            journal.append(&outcome(call_id(number))).unwrap();
        }
    }
    drop(journal);
    assert!(memory.segments().len() > 3);
    // The last segment alone says so: older ones may be gone.
    let (journal, recovery) = open(&memory, options(1500));
    assert_eq!(recovery.unknown, [call_id(2), call_id(9)]);
    drop(journal);
    let recorded = Event::Recovered(Recovered {
        cut_bytes: 0,
        unknown: recovery.unknown,
    });
    assert_eq!(told(&memory).pop().unwrap().1, recorded);
}

fn assert_bad(memory: &Memory, first: u64, line: u64) {
    let before = memory.files();
    match Journal::open_in(Arc::new(memory.clone()), options(1 << 20)) {
        Err(OpenError::Bad {
            file, line: found, ..
        }) => {
            assert_eq!((file, found), (format!("{first:020}.jsonl"), line));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(memory.files(), before);
}
