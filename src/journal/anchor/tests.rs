use std::fs::OpenOptions;
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::journal::forge::{Forge, save};
use crate::journal::merkle;
use crate::journal::note::Signer;

fn archive(forge: &Forge) -> (tempfile::TempDir, Archive) {
    let folder = tempfile::tempdir().unwrap();
    save(&forge.files(), folder.path());
    let archive = Archive::open(folder.path()).unwrap();
    (folder, archive)
}

fn note(text: &str) -> Note {
    Note::parse(text.as_bytes()).unwrap()
}

/// L03, L05, L06: what was kept elsewhere shows a cut, a rewrite and a fork, whoever signs them.
#[test]
fn a_cut_and_a_fork_show_against_a_checkpoint_from_elsewhere() {
    let mut forge = Forge::new(1);
    forge.change("a");
    forge.rotate();
    forge.change("b");
    let begin = forge.clone();
    let early = note(&forge.checkpoint());
    forge.change("c");
    forge.change("d");
    let late = note(&forge.checkpoint());

    let (_folder, mut whole) = archive(&forge);
    for kept in [&early, &late] {
        let (checkpoint, standing) = stands(&mut whole, kept).unwrap();
        assert_eq!(standing, Standing::Extends);
        assert_eq!(checkpoint, kept.unverified().ok());
    }

    // The end is cut, and the rest is as good as it ever was.
    let mut cut = begin.clone();
    cut.checkpoint();
    let (_folder, mut cut) = archive(&cut);
    assert_eq!(stands(&mut cut, &early).unwrap().1, Standing::Extends);
    let size = begin.size();
    assert_eq!(stands(&mut cut, &late).unwrap().1, Standing::Cut { size });

    // Another history from there on, signed with the true key.
    let mut fork = begin;
    for text in ["x", "y", "z"] {
        fork.change(text);
    }
    fork.checkpoint();
    let (_folder, mut fork) = archive(&fork);
    assert_eq!(stands(&mut fork, &early).unwrap().1, Standing::Extends);
    assert_eq!(stands(&mut fork, &late).unwrap().1, Standing::Forked);

    // Another log altogether.
    let (_folder, mut other) = archive(&Forge::new(2));
    assert!(matches!(
        stands(&mut other, &late).unwrap().1,
        Standing::Foreign(_)
    ));
}

#[test]
fn checkpoints_are_found_in_what_they_were_kept_in() {
    let mut forge = Forge::new(1);
    let one = forge.checkpoint();
    let changed = forge.change("a");
    let two = forge.checkpoint();
    let both = [note(&one), note(&two)];
    let proof = forge.proof(changed, &two).to_string();
    let journal = format!(
        "Nov 23 00:00:01 host tollgate[7]: {}\nsomething else\n  {} trailing\n",
        one_line(&one),
        one_line(&two)
    );
    for (text, found) in [
        (one.clone(), &both[..1]),
        (format!("{one}\n{two}\n"), &both[..]),
        (format!("{one}\n{two}"), &both[..]),
        (format!("\n\n{one}\n\n\n{two}\n\n"), &both[..]),
        (journal, &both[..]),
        (proof.clone(), &both[1..]),
        (
            serde_json::json!({"keys": [], "records": [{"proof": proof}, {"proof": proof}]})
                .to_string(),
            &both[1..],
        ),
        (String::new(), &both[..0]),
    ] {
        assert_eq!(read(&text).unwrap(), found, "{text}");
    }
    for text in [
        "no checkpoint",
        "{}",
        "c2sp.org/tlog-proof@v1\n",
        "tollgate-checkpoint nothing",
        "tollgate-checkpoint \"nothing\"",
        one.strip_suffix("=\n").unwrap(),
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_submission_has_the_form_of_the_specification() {
    let mut forge = Forge::new(1);
    forge.change("a");
    forge.change("b");
    let text = forge.signed(1);
    let submission = Submission {
        old: 1,
        proof: merkle::consistency(1, 3, &mut forge.leaves.as_slice()).unwrap(),
        note: note(&text),
    };
    let body = submission.body();
    let (head, rest) = body.split_once("\n\n").unwrap();
    assert_eq!(rest, text);
    let lines: Vec<_> = head.lines().collect();
    assert_eq!((lines[0], lines.len()), ("old 1", 3));
    assert!(lines[1..].iter().all(|line| line.len() == 44));
    let first = Submission {
        old: 0,
        proof: Vec::new(),
        note: note(&text),
    };
    assert_eq!(first.body(), format!("old 0\n\n{text}"));
}

#[test]
fn what_a_witness_answers_is_read_strictly() {
    let forge = Forge::new(1);
    let sent = note(&forge.signed(1));
    let witness = Signer::witness("w.example/1", &[7; 32]);
    let key = witness.verifier();
    let read =
        |status, media, body: &str| Answer::read((status, media), body.as_bytes(), &sent, key);
    let line = witness.cosign(sent.text(), 1_790_000_000);
    let Answer::Cosigned(note) = read(200, None, &line) else {
        panic!("it signed");
    };
    assert_eq!(
        note.cosignatures(std::slice::from_ref(key)).unwrap().len(),
        1
    );
    let size = Some("text/x.tlog.size");
    assert_eq!(read(409, size, "12\n"), Answer::Other(12));
    assert_eq!(read(422, None, ""), Answer::Fork);
    let stranger = Signer::witness("w.example/2", &[8; 32]).cosign(sent.text(), 1);
    let other = witness.cosign("another text\n", 1);
    for (status, media, body) in [
        (200, None, ""),
        (200, None, stranger.as_str()),
        (200, None, other.as_str()),
        (200, None, "nonsense"),
        (409, None, "12\n"),
        (409, size, "12"),
        (409, size, "012\n"),
        (403, None, ""),
        (404, None, ""),
        (500, None, ""),
        (302, None, ""),
    ] {
        let answer = read(status, media, body);
        assert!(
            matches!(answer, Answer::Refused(_)),
            "{status} {body}: {answer:?}"
        );
    }
}

#[test]
fn a_second_path_gets_lines_and_one_that_conflicts_gets_no_more() {
    let mut forge = Forge::new(1);
    forge.change("a");
    let first = note(&forge.checkpoint());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoints");
    let (_one, mut before) = archive(&forge);
    to_file(&path, &mut before, &first, "2026-11-23T00:00:00.000Z").unwrap();
    forge.change("b");
    let second = note(&forge.checkpoint());
    let (_two, mut after) = archive(&forge);
    // A line that was cut short, and one of another log, are no hindrance.
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str(&one_line(&Forge::new(2).signed(2)));
    text.push_str("\n2026 tollgate-checkpoint \"host.ex");
    std::fs::write(&path, text).unwrap();
    to_file(&path, &mut after, &second, "2026-11-23T00:01:00.000Z").unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.ends_with('\n'));
    let kept = read(&text).unwrap();
    assert_eq!((kept.first(), kept.last()), (Some(&first), Some(&second)));
    assert_eq!(kept.len(), 3);

    // An older copy of the journal takes its place: it is told apart, and the evidence stays as it is.
    let error = to_file(&path, &mut before, &first, "").unwrap_err();
    assert!(
        matches!(&error, LocalError::Conflict { why, .. } if why.contains("cut off")),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let nowhere = folder.path().join("missing/checkpoints");
    assert!(to_file(&nowhere, &mut after, &second, "").is_err());
    assert!(to_file(Path::new("/dev/null"), &mut after, &second, "").is_ok());
}

#[test]
fn a_pipe_takes_lines_and_one_that_nobody_reads_holds_nobody() {
    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
    let mut forge = Forge::new(1);
    let sent = note(&forge.checkpoint());
    let (_journal, mut archive) = archive(&forge);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    mknodat(CWD, path.as_path(), FileType::Fifo, Mode::RWXU, 0).unwrap();
    assert!(to_file(&path, &mut archive, &sent, "").is_err());
    let mut reader = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(&path)
        .unwrap();
    to_file(&path, &mut archive, &sent, "").unwrap();
    let mut line = String::new();
    reader.read_to_string(&mut line).unwrap();
    assert_eq!(read(&line).unwrap(), [sent]);
}

#[test]
fn the_systems_log_gets_one_message() {
    let forge = Forge::new(1);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let sent = note(&forge.signed(1));
    local::to_syslog_at(&path, &sent).unwrap();
    let mut message = [0; 4096];
    let len = log.recv(&mut message).unwrap();
    let message = str::from_utf8(&message[..len]).unwrap();
    assert!(message.starts_with("<85>tollgate["), "{message}");
    assert!(!message.contains('\n'), "{message}");
    assert_eq!(read(message).unwrap(), std::slice::from_ref(&sent));
    drop(log);
    assert!(local::to_syslog_at(&path, &sent).is_err());
}

proptest! {
    #[test]
    fn nothing_that_is_read_makes_it_fail_otherwise(text in "(tollgate-checkpoint |c2sp.org/tlog-proof@v1\n|\"|\\{|\n|\n\n|\u{2014} |\\PC){0,24}") {
        let _ = read(&text);
    }
}
