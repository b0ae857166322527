//! A process that dies, or a power that goes, at every byte.

use super::super::OpenError;
use super::super::record::Recovered;
use super::memory::Memory;
use super::*;

/// The start of the last two lines of the last segment, which must have them.
fn last_two(bytes: &[u8]) -> usize {
    let mut newlines = bytes.iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
    newlines.nth(2).map_or(0, |(at, _)| at + 1)
}

#[test]
fn a_log_cut_anywhere_is_recovered_to_its_last_whole_record() {
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
    let whole = memory.segments().remove(&1).unwrap();
    for cut in last_two(&whole)..=whole.len() {
        let left = &whole[..cut];
        let lines = left.iter().filter(|b| **b == b'\n').count();
        let torn = left.len() - left.iter().rposition(|b| *b == b'\n').unwrap() - 1;
        let memory = Memory::of([(1, left.to_vec())].into());
        let (journal, recovery) = open(&memory, options(1 << 20));
        assert_eq!(recovery.seq, lines as u64);
        assert_eq!(recovery.cut_bytes, torn as u64);
        let unknown = [vec![], vec![open_call], vec![open_call, call_id(3)]];
        assert_eq!(recovery.unknown, unknown[lines - 2]);
        drop(journal);

        let report = verify(&memory);
        assert_eq!((report.first_bad, report.torn_tail), (None, 0));
        let says_so = torn > 0 || lines > 2;
        assert_eq!(report.records, lines as u64 + u64::from(says_so));
        let after = memory.segments().remove(&1).unwrap();
        assert_eq!(after[..left.len() - torn], left[..left.len() - torn]);

        // What was recovered once is not recovered again.
        let (_journal, again) = open(&memory, options(1 << 20));
        assert_eq!((again.cut_bytes, again.unknown), (0, vec![]));
    }
}

#[test]
fn zeroes_at_the_end_are_torn_and_a_hole_in_the_middle_is_not() {
    let whole = good_log(3).segments().remove(&1).unwrap();
    let ends: Vec<_> = whole
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'\n')
        .map(|(i, _)| i)
        .collect();

    let mut end = whole.clone();
    end[ends[1] + 100..ends[2]].fill(0);
    let memory = Memory::of([(1, end)].into());
    let (_journal, recovery) = open(&memory, options(1 << 20));
    assert_eq!(recovery.seq, 2);
    assert_eq!(recovery.cut_bytes, (ends[2] - ends[1]) as u64);

    let mut middle = whole;
    middle[ends[0] + 100..ends[1]].fill(0);
    assert_bad(&Memory::of([(1, middle)].into()), 1, 2);
}

#[test]
fn a_bad_line_is_named_and_nothing_is_changed() {
    let good = good_log(9);
    let segments = good.segments();
    assert!(segments.len() > 2);
    let (&last, bytes) = segments.iter().next_back().unwrap();
    let count = bytes.iter().filter(|b| **b == b'\n').count() as u64;

    // The last line, whole but not a record.
    let mut changed = segments.clone();
    let text = changed.get_mut(&last).unwrap();
    let at = text.len() - 2;
    text[at] = b' ';
    assert_bad(&Memory::of(changed), last, count);

    // A segment that is gone.
    let mut missing = segments.clone();
    let second = *missing.keys().nth(1).unwrap();
    let third = *missing.keys().nth(2).unwrap();
    missing.remove(&second);
    assert_bad(&Memory::of(missing), third, 1);

    // A torn line in a segment that is not the last.
    let mut torn = segments;
    let lines = torn[&1].iter().filter(|b| **b == b'\n').count() as u64;
    torn.get_mut(&1).unwrap().pop();
    assert_bad(&Memory::of(torn), 1, lines);
}

fn assert_bad(memory: &Memory, first: u64, line: u64) {
    let before = memory.segments();
    match Journal::open_in(Arc::new(memory.clone()), options(1 << 20)) {
        Err(OpenError::Bad {
            file, line: found, ..
        }) => {
            assert_eq!((file, found), (format!("{first:020}.jsonl"), line));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(memory.segments(), before);
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
            seq: 2,
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
    let (_journal, recovery) = open(&memory, options(1500));
    assert_eq!(recovery.unknown, [call_id(2), call_id(9)]);
    let segments = memory.segments();
    let text = String::from_utf8(segments.into_values().next_back().unwrap()).unwrap();
    let recorded = Event::Recovered(Recovered {
        cut_bytes: 0,
        unknown: recovery.unknown,
    });
    let mut line = Vec::new();
    super::super::line::write_event(&recorded, &mut line).unwrap();
    let line = String::from_utf8(line).unwrap();
    let members = line.strip_prefix('{').unwrap();
    assert!(text.trim_end().ends_with(members), "{text}");
}
