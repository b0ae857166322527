use super::*;
use crate::journal::forge::{Forge, save};
use crate::journal::line;
use crate::journal::receipt;
use crate::journal::tests::{call_id, intent, outcome};

fn opened(forge: &Forge) -> (tempfile::TempDir, Archive) {
    let folder = tempfile::tempdir().unwrap();
    save(&forge.files(), folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    (folder, archive)
}

/// A log of some segments with some records in each.
fn forge(segments: &[u64]) -> Forge {
    let mut forge = Forge::new(5);
    for (i, records) in segments.iter().enumerate() {
        if i > 0 {
            forge.rotate();
        }
        for record in 0..*records {
            forge.change(&format!("{i}.{record}"));
        }
    }
    forge.checkpoint();
    forge
}

#[test]
fn every_record_of_every_segment_is_proved_by_its_own_segments_key() {
    let forge = forge(&[0, 5, 1, 0, 13, 2]);
    let (_folder, mut archive) = opened(&forge);
    assert_eq!(archive.size().unwrap(), forge.size());
    assert_eq!(archive.root(forge.size()).unwrap(), forge.root());
    let keys: Vec<VerifierKey> = archive.keys().cloned().collect();
    assert_eq!(keys.len(), 6);
    for seq in 1..=forge.size() {
        let line = archive.line(seq).unwrap();
        assert_eq!(String::from_utf8(line.clone()).unwrap(), forge.line(seq));
        let proof = archive.prove(seq, &line).unwrap();
        let leaf = merkle::leaf(&line);
        let place = forge
            .segments
            .keys()
            .rposition(|first| *first <= seq)
            .unwrap();
        for (i, key) in keys.iter().enumerate() {
            let shows = proof.shows(&leaf, std::slice::from_ref(key));
            assert_eq!(shows.is_ok(), i == place, "record {seq}, key {i}");
        }
    }
    for old in 1..=forge.size() {
        let root = archive.root(old).unwrap();
        let proof = merkle::consistency(old, forge.size(), &mut archive).unwrap();
        assert!(merkle::extends(
            old,
            &root,
            forge.size(),
            &forge.root(),
            &proof
        ));
    }
    let size = forge.size();
    for missing in [0, size + 1, u64::MAX] {
        assert!(
            matches!(archive.line(missing), Err(ArchiveError::NoRecord(..))),
            "{missing}"
        );
        assert!(archive.prove(missing, b"").is_err());
    }
    assert!(matches!(
        archive.root(size + 1),
        Err(ArchiveError::NoRecord(..))
    ));
}

/// What was hashed once is kept: it must be what is hashed anew.
#[test]
fn long_segments_are_proved_from_parts_that_were_hashed_before() {
    let forge = forge(&[700, 3, 600]);
    let (_folder, mut archive) = opened(&forge);
    let keys: Vec<VerifierKey> = archive.keys().cloned().collect();
    let mut tree = merkle::Tree::default();
    for seq in 1..=forge.size() {
        let leaf = merkle::leaf(forge.line(seq).as_bytes());
        tree.push(leaf);
        // Around each power of two, and some between.
        let near = [seq - 1, seq, seq + 1]
            .iter()
            .any(|near| near.is_power_of_two());
        if !near && seq % 101 != 0 && seq != forge.size() {
            continue;
        }
        assert_eq!(archive.root(seq).unwrap(), tree.root(), "{seq} records");
        let line = archive.line(seq).unwrap();
        let proof = archive.prove(seq, &line).unwrap();
        assert!(proof.shows(&leaf, &keys).is_ok(), "record {seq}");
        let root = archive.root(seq).unwrap();
        let way = merkle::consistency(seq, forge.size(), &mut archive).unwrap();
        assert!(
            merkle::extends(seq, &root, forge.size(), &forge.root(), &way),
            "{seq}"
        );
    }
    assert!(archive.known.keys().any(|(from, to)| to - from == 512));
}

#[test]
fn what_no_checkpoint_speaks_of_yet_is_said_to_be_so() {
    let mut forge = forge(&[3]);
    let late = forge.change("late");
    let (_folder, mut archive) = opened(&forge);
    let line = archive.line(late).unwrap();
    assert!(matches!(
        archive.prove(late, &line),
        Err(ArchiveError::Unsigned(seq)) if seq == late
    ));
    assert_eq!(archive.newest().unwrap().1.size, late - 1);
}

#[test]
fn a_host_may_go_on_while_its_records_are_proved() {
    let mut forge = forge(&[3]);
    let (folder, mut archive) = opened(&forge);
    for seq in 1..=forge.size() {
        let line = archive.line(seq).unwrap();
        archive.prove(seq, &line).unwrap();
        forge.change("meanwhile");
        forge.checkpoint();
        save(&forge.files(), folder.path());
    }
    let late = forge.size();
    let line = archive.line(late).unwrap();
    archive.prove(late, &line).unwrap();
}

#[test]
fn a_line_that_is_not_the_one_that_was_signed_is_not_proved() {
    let forge = forge(&[3, 4]);
    let (_folder, mut archive) = opened(&forge);
    assert!(matches!(
        archive.prove(2, b"another"),
        Err(ArchiveError::Proof(ProofError::Elsewhere(2)))
    ));
    let mut files = forge.files();
    let lines = files.get_mut("00000000000000000001.jsonl").unwrap();
    let at = lines.len() / 2;
    lines[at] ^= 1;
    let folder = tempfile::tempdir().unwrap();
    save(&files, folder.path());
    let proved = Archive::open(folder.path()).and_then(|mut archive| {
        let line = archive.line(2)?;
        archive.prove(2, &line)
    });
    assert!(proved.is_err());
}

#[test]
fn a_segment_beyond_all_numbers_is_refused() {
    let forge = forge(&[1]);
    let Event::SegmentOpened(mut opened) = forge.record(1).event else {
        panic!("a segment begins otherwise");
    };
    opened.size = u64::MAX - 1;
    opened.peaks = vec![Digest::of(b"peak"); 63];
    let (mut event, mut text) = (Vec::new(), Vec::new());
    line::write_event(&Event::SegmentOpened(opened), &mut event).unwrap();
    let (time, prev) = ("2026-11-22T13:22:08.123Z", Digest::of(b"before"));
    line::assemble(u64::MAX, time, &line::hex(&prev), &event, &mut text);
    let mut files = forge.files();
    files.insert(Name::Lines(u64::MAX).to_string(), text);
    let folder = tempfile::tempdir().unwrap();
    save(&files, folder.path());
    let opened = Archive::open(folder.path());
    assert!(matches!(opened, Err(ArchiveError::Bad { .. })));
}

#[test]
fn a_receipt_is_issued_over_segments_and_checks() {
    let call = call_id(0x0123_4567_89ab);
    let mut forge = forge(&[2, 3]);
    forge.write(&intent(call));
    forge.rotate();
    forge.change("between");
    forge.write(&outcome(call));
    forge.checkpoint();
    let folder = tempfile::tempdir().unwrap();
    save(&forge.files(), folder.path());
    let made = receipt::receipt(folder.path(), &call.to_string()).unwrap();
    let first = Archive::open(folder.path())
        .unwrap()
        .keys()
        .next()
        .unwrap()
        .clone();
    let checked = made.check(&[first]).unwrap();
    assert_eq!(checked.call, call);
    assert_eq!(checked.summary.status, "ok");
    assert_eq!(checked.records.len(), 2);
    assert!(receipt::receipt(folder.path(), "ffffffff").is_err());
}
