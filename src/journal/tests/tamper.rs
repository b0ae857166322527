//! Someone edits the log: `verify` names the first line that is not what was written.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::merkle;
use super::super::storage::Name;
use super::memory::Memory;
use super::*;

const RECORDS: u64 = 9;

/// The lines of each segment, with their newlines.
type Lines = Vec<(u64, Vec<Vec<u8>>)>;

fn lines() -> Lines {
    good()
        .segments()
        .into_iter()
        .map(|(first, text)| {
            let lines = text.split_inclusive(|b| *b == b'\n');
            (first, lines.map(<[u8]>::to_vec).collect())
        })
        .collect()
}

fn good() -> Memory {
    thread_local! {
        static LOG: Memory = good_log(RECORDS);
    }
    LOG.with(Clone::clone)
}

/// The index of the last line.
fn last() -> usize {
    lines().iter().map(|(_, lines)| lines.len()).sum::<usize>() - 1
}

/// The segment and the place in it of the line with this index.
fn place(lines: &Lines, index: usize) -> (usize, usize) {
    let mut left = index;
    for (i, (_, segment)) in lines.iter().enumerate() {
        if left < segment.len() {
            return (i, left);
        }
        left -= segment.len();
    }
    panic!("no line {index}");
}

fn named(lines: &Lines, index: usize) -> (String, u64) {
    let (segment, at) = place(lines, index);
    (format!("{:020}.jsonl", lines[segment].0), at as u64 + 1)
}

/// What `verify` names.
fn first_bad(lines: Lines) -> Option<(String, u64)> {
    let segments: BTreeMap<_, _> = lines
        .into_iter()
        .map(|(first, lines)| (first, lines.concat()))
        .collect();
    let bad = verify(&good().with_segments(segments)).first_bad;
    bad.map(|bad| (bad.file, bad.line))
}

fn at(lines: &mut Lines, index: usize) -> &mut Vec<u8> {
    let (segment, at) = place(lines, index);
    &mut lines[segment].1[at]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn l01_a_changed_byte(index in any::<prop::sample::Index>(), byte in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let index = index.index(last() + 1);
        let good = lines();
        let mut bad = good.clone();
        let line = at(&mut bad, index);
        let byte = byte.index(line.len());
        line[byte] ^= flip;
        let found = first_bad(bad);
        // The line before the last is vouched for by the last alone: where the two do not agree, either
        // may be the changed one. Without its newline the last is one that is being written, and what
        // speaks of it is left.
        let is_other = |(file, line): &(String, u64)| match last() - index {
            0 => file.ends_with(".checkpoints"),
            1 => named(&good, last()) == (file.clone(), *line),
            _ => false,
        };
        let first = Some(named(&good, index));
        prop_assert!(found == first || found.as_ref().is_some_and(is_other), "{:?}", found);
    }

    #[test]
    fn l02_a_removed_line(index in any::<prop::sample::Index>()) {
        let index = index.index(last());
        let good = lines();
        let mut bad = good.clone();
        let (segment, at) = place(&good, index);
        bad[segment].1.remove(at);
        prop_assert_eq!(first_bad(bad), Some(named(&good, index)));
    }

    #[test]
    fn l02_an_added_line(index in any::<prop::sample::Index>(), copied in any::<prop::sample::Index>()) {
        let (index, copied) = (index.index(last() + 1), copied.index(last() + 1));
        let good = lines();
        let mut bad = good.clone();
        let copy = at(&mut bad, copied).clone();
        let (segment, at) = place(&good, index);
        bad[segment].1.insert(at, copy);
        // A copy put before its original is taken for it, and the original is one too many.
        let (file, line) = named(&good, index);
        let expected = if copied == index { (file, line + 1) } else { (file, line) };
        prop_assert_eq!(first_bad(bad), Some(expected));
    }

    #[test]
    fn l02_two_lines_in_each_others_place(one in any::<prop::sample::Index>(), other in any::<prop::sample::Index>()) {
        let (one, other) = (one.index(last()), other.index(last() + 1));
        prop_assume!(one < other);
        let good = lines();
        let mut bad = good.clone();
        let moved = at(&mut bad, one).clone();
        let moved = std::mem::replace(at(&mut bad, other), moved);
        *at(&mut bad, one) = moved;
        prop_assert_eq!(first_bad(bad), Some(named(&good, one)));
    }
}

#[test]
fn a_segment_that_is_gone_is_named_by_the_next() {
    let good = lines();
    let mut bad = good.clone();
    bad.remove(1);
    assert_eq!(
        first_bad(bad),
        Some((format!("{:020}.jsonl", good[2].0), 1))
    );
}

#[test]
fn a_changed_record_is_named_although_only_the_next_one_shows_it() {
    let good = lines();
    let mut bad = good.clone();
    let index = (2..last()).find(|at| {
        let (segment, line) = place(&good, *at);
        String::from_utf8_lossy(&good[segment].1[line]).contains("claude")
    });
    let index = index.unwrap();
    let line = at(&mut bad, index);
    let text = String::from_utf8(line.clone())
        .unwrap()
        .replace("claude", "claudf");
    *line = text.into_bytes();
    assert_eq!(first_bad(bad.clone()), Some(named(&good, index)));
    // What is told of the last good line is not told of the changed one.
    let segments = bad
        .into_iter()
        .map(|(first, lines)| (first, lines.concat()));
    let report = verify(&self::good().with_segments(segments.collect()));
    assert_eq!((report.records, report.last), (index as u64, None));
}

#[test]
fn a_line_that_was_signed_for_is_not_to_blame() {
    let good = lines();
    let after = |line: &[u8], prev: Digest| {
        let mut text = String::from_utf8(line.to_vec()).unwrap();
        let start = text.find("sha256:").unwrap();
        text.replace_range(start..start + 71, &prev.to_string());
        text.into_bytes()
    };
    // The first line behind a checkpoint goes on from another one, and the next vouches for it.
    let mut bad = good.clone();
    let segment = &mut bad[1].1;
    segment[0] = after(&segment[0], Digest::of(b"another"));
    let leaf = merkle::leaf(segment[0].strip_suffix(b"\n").unwrap());
    segment[1] = after(&segment[1], leaf);
    assert_eq!(first_bad(bad), Some(named(&good, good[0].1.len())));
}

/// L15: who makes a log up chooses its numbers, and none makes a reader count past the largest.
#[test]
fn the_largest_numbers_are_refused_like_any_others() {
    let opens = |memory: &Memory| Journal::open_in(Arc::new(memory.clone()), options(2048));
    for (from, to) in [("\"seq\":1,", "\"seq\":"), ("\"size\":0,", "\"size\":")] {
        let to = format!("{to}{},", u64::MAX);
        let good = lines();
        let mut bad = good.clone();
        let line = at(&mut bad, 0);
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.contains(from), "{text}");
        *line = text.replacen(from, &to, 1).into_bytes();
        assert_eq!(first_bad(bad), Some(named(&good, 0)), "{from}");

        // A start reads the last segment alone.
        let one = good_log(1);
        let text = one.segments().remove(&1).unwrap();
        let text = String::from_utf8(text).unwrap();
        let text = text.replacen(from, &to, 1).into_bytes();
        assert!(opens(&one.with(Name::Lines(1), Some(text))).is_err());
    }
    // Nor the smallest: there is no record before the first.
    let text = good_log(1).segments().remove(&1);
    let zero = Memory::of([(Name::Lines(0), text.unwrap())].into());
    assert!(opens(&zero).is_err());
}
