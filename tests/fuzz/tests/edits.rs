//! The edits that targets make of good bytes: whatever the fuzzer gives, they end.

#[path = "../src/edit.rs"]
mod edit;

use edit::Edits;

#[test]
fn every_edit_ends_and_uses_up_some_of_the_fuzzers_bytes() {
    let good = b"one\ntwo\nthree\n".to_vec();
    let mut seen = std::collections::BTreeSet::new();
    for first in 0..=255 {
        for rest in 0..64_u8 {
            let given: Vec<u8> = (0..24).map(|at| rest.wrapping_mul(at ^ first)).collect();
            let given = [&[first][..], &given].concat();
            let mut bytes = good.clone();
            let mut edits = Edits(&given);
            let mut left = edits.0.len();
            while edits.apply(&mut bytes).is_some() {
                assert!(edits.0.len() < left);
                left = edits.0.len();
            }
            seen.insert(bytes);
        }
    }
    assert!(seen.len() > 1_000, "{}", seen.len());
}

#[test]
fn lines_are_exchanged_by_a_byte_of_each() {
    let mut bytes = b"one\ntwo\nthree\n".to_vec();
    let kind = [6];
    let (first, unused, second) = ([0, 0, 0], [0, 0, 0], [0, 0, 5]);
    let given = [&kind[..], &first, &unused, &second].concat();
    assert!(Edits(&given).apply(&mut bytes).is_some());
    assert_eq!(bytes, b"two\none\nthree\n");
}
