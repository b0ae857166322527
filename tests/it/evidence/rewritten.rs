//! Somebody who has the machine: cuts the end, and rewrites with the key of today.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use tollgate::clock::SystemClock;
use tollgate::digest::Digest;
use tollgate::home::Home;
use tollgate::journal::merkle::{Tree, leaf};
use tollgate::journal::note::{Checkpoint, Note, Signer};
use tollgate::journal::record::{Changed, Event};
use tollgate::journal::{Journal, Options};

use super::{audit, second, text, written};

/// Segments by their first record: lines and checkpoints.
type Segments = BTreeMap<u64, (Vec<String>, Vec<String>)>;

fn options() -> Options {
    Options {
        segment_bytes: 4096,
        keep: None,
        ..Options::new(Arc::new(SystemClock))
    }
}

/// A home with a journal of some segments, and a checkpoint that was kept elsewhere.
async fn home() -> (TempDir, Home, String) {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path()).unwrap();
    home.create().unwrap();
    let (journal, _) = Journal::open(home.journal(), options()).unwrap();
    for number in 0.. {
        // Some closed segments, and an open one with some records to cut.
        let made = if number < 20 {
            Segments::new()
        } else {
            read(&home.journal())
        };
        if made.len() >= 3 && made.values().next_back().unwrap().0.len() >= 6 {
            break;
        }
        let event = Event::Changed(Changed {
            change: format!("change.{number}"),
            detail: Some("x".repeat(60)),
            ..Changed::default()
        });
        let position = journal.append(&event).unwrap();
        journal.durable(position).await.unwrap();
    }
    journal.close().await.unwrap();
    let kept = audit(&home, &["anchor"]).await;
    assert_eq!(kept.code, 0, "{kept:?}");
    let kept = kept.lines()[0]["note"].as_str().unwrap().to_owned();
    (folder, home, kept)
}

fn read(journal: &Path) -> Segments {
    let mut segments = Segments::new();
    for entry in std::fs::read_dir(journal).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(first) = name.strip_suffix(".jsonl") else {
            continue;
        };
        let lines = std::fs::read_to_string(journal.join(&name)).unwrap();
        let notes = std::fs::read_to_string(journal.join(format!("{first}.checkpoints"))).unwrap();
        let lines = lines.lines().map(str::to_owned).collect();
        // Text up to an empty line, and signatures up to the next.
        let parts: Vec<&str> = notes.split_inclusive("\n\n").collect();
        let notes = parts.chunks(2).map(<[&str]>::concat).collect();
        segments.insert(first.parse().unwrap(), (lines, notes));
    }
    segments
}

fn write(journal: &Path, segments: &Segments) {
    for (first, (lines, notes)) in segments {
        let lines: String = lines
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect();
        std::fs::write(journal.join(format!("{first:020}.jsonl")), lines).unwrap();
        std::fs::write(
            journal.join(format!("{first:020}.checkpoints")),
            notes.concat(),
        )
        .unwrap();
    }
}

fn size_of(note: &str) -> u64 {
    note.lines().nth(1).unwrap().parse().unwrap()
}

/// The key that signs now, from its file.
fn stolen(journal: &Path) -> Signer {
    let text = std::fs::read_to_string(journal.join("key")).unwrap();
    let text = text.trim_end().strip_prefix("PRIVATE+KEY+").unwrap();
    // Base64 has a plus of its own, a name has none.
    let (name, rest) = text.split_once('+').unwrap();
    let (_, encoded) = rest.split_once('+').unwrap();
    let key: [u8; 32] = STANDARD.decode(encoded).unwrap()[1..].try_into().unwrap();
    Signer::from_bytes(name, &key).unwrap()
}

/// L03: the last lines are cut off.
#[tokio::test]
pub(crate) async fn a_cut_tail_shows_against_what_is_kept_elsewhere_and_is_told_of_without() {
    let _row = crate::attacks::stands_for("L03");
    let (folder, home, kept) = home().await;
    let kept = written(&folder, "kept", &kept);
    let journal = home.journal();
    let whole = read(&journal);
    let since = audit(&home, &["since", text(&kept)]).await;
    assert_eq!(since.code, 0, "{since:?}");
    for cut in 1..=3 {
        // By somebody who knows no better than to cut the lines: the checkpoints tell.
        let mut segments = whole.clone();
        let (lines, _) = segments.values_mut().next_back().unwrap();
        lines.truncate(lines.len() - cut);
        write(&journal, &segments);
        assert_eq!(audit(&home, &["verify"]).await.code, 6);
        assert!(!second(&["log", text(&journal)]));
        assert!(
            Journal::open(&journal, options()).is_err(),
            "it is not gone on with"
        );

        // By somebody who knows: what is left is good in itself, and only what is elsewhere tells.
        let (lines, notes) = segments.values_mut().next_back().unwrap();
        let size = whole.keys().next_back().unwrap() - 1 + lines.len() as u64;
        notes.retain(|note| size_of(note) <= size);
        write(&journal, &segments);
        let local = audit(&home, &["verify"]).await;
        assert_eq!(local.code, 0, "{local:?}");
        assert!(second(&["log", text(&journal)]));
        let since = audit(&home, &["since", text(&kept)]).await;
        assert_eq!(since.code, 6, "{since:?}");
        let why = since.lines()[0]["why"].as_str().unwrap().to_owned();
        assert!(
            why.contains(&format!("the journal has {size}: its end was cut off")),
            "{why}"
        );

        // With checkpoints cut further: the tail that nothing signs is counted.
        notes_of_last(&mut segments).pop();
        let signed = notes_of_last(&mut segments)
            .last()
            .map_or(0, |note| size_of(note));
        write(&journal, &segments);
        let local = audit(&home, &["verify"]).await;
        let told = local.lines().remove(0);
        assert_eq!(told["unsigned"], size - told["signed"].as_u64().unwrap());
        assert!(signed == 0 || told["signed"] == signed, "{told}");
    }
}

fn notes_of_last(segments: &mut Segments) -> &mut Vec<String> {
    &mut segments.values_mut().next_back().unwrap().1
}

/// Changes record `from` and everything that follows from it, and signs all of it anew.
fn rewrite(segments: &mut Segments, from: u64, key: &Signer) {
    let mut tree = Tree::default();
    let mut prev = Digest::from_bytes([0; 32]);
    let mut seq = 0;
    for (first, (lines, notes)) in segments {
        let mut roots = BTreeMap::new();
        for line in lines.iter_mut() {
            seq += 1;
            if seq == from {
                *line = line.replace("xxx", "xyx");
            }
            if seq > from {
                let at = line.find("\"prev\":\"sha256:").unwrap() + 8;
                line.replace_range(at..at + 71, &prev.to_string());
            }
            if seq == *first && seq > from {
                let peaks: Vec<String> = tree
                    .peaks()
                    .iter()
                    .map(|peak| format!("\"{peak}\""))
                    .collect();
                let (start, rest) = line.split_once("\"peaks\":[").unwrap();
                let (_, end) = rest.split_once(']').unwrap();
                *line = format!("{start}\"peaks\":[{}]{end}", peaks.join(","));
            }
            prev = leaf(line.as_bytes());
            tree.push(prev);
            roots.insert(seq, tree.root());
        }
        for note in notes.iter_mut().filter(|note| size_of(note) >= from) {
            let size = size_of(note);
            let root = roots[&size];
            let origin = key.verifier().name().to_owned();
            *note = key.sign(&Checkpoint { origin, size, root }) + "\n";
        }
    }
}

/// L05: the key of today is stolen.
#[tokio::test]
pub(crate) async fn a_stolen_key_rewrites_nothing_of_older_segments_nor_what_is_anchored() {
    let _row = crate::attacks::stands_for("L05");
    let (folder, home, kept) = home().await;
    let kept_file = written(&folder, "kept", &kept);
    let journal = home.journal();
    let whole = read(&journal);
    assert!(whole.len() >= 3, "{}", whole.len());
    let key = stolen(&journal);
    let last = *whole.keys().next_back().unwrap();

    // A record of an older segment: its key is gone, and the one of today does not do.
    for first in whole.keys().copied().filter(|first| *first < last) {
        let mut segments = whole.clone();
        rewrite(&mut segments, first + 1, &key);
        assert_ne!(segments, whole);
        write(&journal, &segments);
        let bad = audit(&home, &["verify"]).await;
        assert_eq!(bad.code, 6, "{bad:?}");
        assert!(!second(&["log", text(&journal)]));
    }

    // One of the open segment: good in itself, but not what was anchored.
    let mut segments = whole.clone();
    rewrite(&mut segments, last + 1, &key);
    assert_ne!(segments, whole);
    write(&journal, &segments);
    let local = audit(&home, &["verify"]).await;
    assert_eq!(local.code, 0, "{local:?}");
    assert!(second(&["log", text(&journal)]));
    let since = audit(&home, &["since", text(&kept_file)]).await;
    assert_eq!(since.code, 6, "{since:?}");
    assert!(since.out.contains("rewritten"), "{since:?}");
    // And a proof of the true record, which somebody has, does not go with it.
    let true_line = &whole[&last].0[1];
    let note = Note::parse(kept.as_bytes()).unwrap();
    assert!(note.verify(std::slice::from_ref(key.verifier())).is_ok());
    assert!(!segments[&last].0.contains(true_line));

    // The whole of it is as good as ever once it is back.
    write(&journal, &whole);
    assert_eq!(audit(&home, &["verify"]).await.code, 0);
    assert_eq!(audit(&home, &["since", text(&kept_file)]).await.code, 0);
}
