//! Someone edits the log: `verify` names the first line that is not what was written.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::memory::Memory;
use super::*;

const RECORDS: usize = 9;

/// The lines of each segment, with their newlines.
type Lines = Vec<(u64, Vec<Vec<u8>>)>;

fn lines() -> Lines {
    thread_local! {
        static LOG: Lines = good_log(RECORDS as u64)
            .segments()
            .into_iter()
            .map(|(first, text)| (first, text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()))
            .collect();
    }
    LOG.with(Clone::clone)
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
    let bad = verify(&Memory::of(segments)).first_bad;
    bad.map(|bad| (bad.file, bad.line))
}

fn at(lines: &mut Lines, index: usize) -> &mut Vec<u8> {
    let (segment, at) = place(lines, index);
    &mut lines[segment].1[at]
}

const LAST: usize = RECORDS - 1;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_changed_byte(index in 0..LAST, byte in any::<prop::sample::Index>(), flip in 1..=255u8) {
        let good = lines();
        let mut bad = good.clone();
        let line = at(&mut bad, index);
        let byte = byte.index(line.len());
        line[byte] ^= flip;
        let found = first_bad(bad);
        // The line before the last is vouched for by the last alone, and that by none: where the
        // two do not agree, either may be the changed one.
        let or_next = (index + 1 == LAST).then(|| named(&good, LAST));
        let first = Some(named(&good, index));
        prop_assert!(found == first || (or_next.is_some() && found == or_next), "{:?}", found);
    }

    #[test]
    fn a_removed_line(index in 0..LAST) {
        let good = lines();
        let mut bad = good.clone();
        let (segment, at) = place(&good, index);
        bad[segment].1.remove(at);
        // The line that now stands in its place; in the next segment where it was the last of its own.
        let expected = if at == bad[segment].1.len() {
            named(&good, index + 1)
        } else {
            named(&good, index)
        };
        prop_assert_eq!(first_bad(bad), Some(expected));
    }

    #[test]
    fn an_added_line(index in 0..=LAST, copied in 0..=LAST) {
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
    fn two_lines_in_each_others_place(one in 0..LAST, other in 0..=LAST) {
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
    let line = at(&mut bad, 2);
    let text = String::from_utf8(line.clone())
        .unwrap()
        .replace("claude", "claudf");
    *line = text.into_bytes();
    assert_eq!(first_bad(bad), Some(named(&good, 2)));
}
