//! The second verifier, in Python, beside the host's own: on thousands of random logs, good and bad, they
//! say the same.

mod forge;
mod harm;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tollgate::journal::verify;

use self::forge::{Files, Forge, Keep, Step, save, step};
use self::harm::harm;
use crate::harness::repository;

/// Logs in all, and how many bad ones are made of each good one.
const LOGS: usize = 10_000;
const BAD: usize = 39;

/// One process of the second verifier for all logs.
struct Second {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub(crate) fn script() -> PathBuf {
    repository().join("tests/verifier/verify.py")
}

impl Second {
    fn start() -> Self {
        let mut child = Command::new("python3")
            .arg("-B")
            .arg(script())
            .arg("batch")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is needed to run the second verifier");
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn verify(&mut self, folder: &Path) -> Value {
        writeln!(self.input, "{}", folder.display()).unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What both say of the files; where they differ, that is the failure. What fields each kind of record has is
/// known to the host alone: where nothing but that tells a line of the tail apart, which no checkpoint
/// speaks of, the second has no say.
fn compare(second: &mut Second, files: &Files, folder: &Path, what: &str) -> bool {
    let _ = std::fs::remove_dir_all(folder);
    save(files, folder);
    let first = verify(folder, |_| ());
    let other = second.verify(folder);
    let show = || {
        let names: Vec<_> = files
            .iter()
            .map(|(name, bytes)| (name, String::from_utf8_lossy(bytes)))
            .collect();
        format!("{what}\n{first:?}\n{other}\n{names:#?}")
    };
    // A file that can't be read to its end is as bad as one that can.
    let Ok(report) = &first else {
        assert_eq!(other["good"], false, "{}", show());
        return false;
    };
    if let Some(bad) = &report.first_bad
        && other["good"] == true
    {
        let segment = bad.file.strip_suffix(".jsonl");
        let segment: Option<u64> = segment.and_then(|first| first.parse().ok());
        let record = segment.map(|first| first - 1 + bad.line);
        let signed = other["signed"].as_u64().unwrap();
        assert!(record.is_some_and(|record| record > signed), "{}", show());
        return false;
    }
    assert_eq!(other["good"], report.is_good(), "{}", show());
    if report.is_good() {
        assert_eq!(other["records"], report.records, "{}", show());
        assert_eq!(other["signed"], report.signed, "{}", show());
        assert_eq!(other["torn_tail"], report.torn_tail, "{}", show());
        let root = report.root.map(|root| root.hex());
        let same = other["root"].as_str() == root.as_deref();
        assert!(report.records == 0 || same, "{}", show());
    }
    report.is_good()
}

/// L16: ten thousand logs, most of them tampered with.
#[test]
pub(crate) fn two_verifiers_that_share_no_code_agree_on_thousands_of_logs() {
    let _row = crate::attacks::stands_for("L16");
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[16; 32]),
    );
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("journal");
    let mut second = Second::start();
    let steps = prop::collection::vec(step(), 0..24);
    let kept = prop::collection::vec(0..4_u8, 24);
    let (mut logs, mut good, mut bad) = (0, 0, 0);
    let mut before = Files::new();
    while logs < LOGS {
        let seed = u8::try_from(logs % 256).unwrap();
        let steps = steps.new_tree(&mut runner).unwrap().current();
        let kept = kept.new_tree(&mut runner).unwrap().current();
        let whole = made(seed, &steps, &kept);
        assert!(
            compare(&mut second, &whole, &folder, "a good log"),
            "{steps:?}"
        );
        logs += 1;
        good += 1;
        for _ in 0..BAD {
            let harms = prop::collection::vec(harm(), 1..3)
                .new_tree(&mut runner)
                .unwrap()
                .current();
            let mut files = whole.clone();
            for harm in &harms {
                harm.apply(&mut files, &before);
            }
            if files == whole {
                continue;
            }
            if compare(&mut second, &files, &folder, &format!("{harms:?}")) {
                good += 1;
            } else {
                bad += 1;
            }
            logs += 1;
        }
        before = whole;
    }
    // Some harm shows only against what is kept elsewhere: a cut end, a torn line, a missing `log.pub`.
    assert!(bad > LOGS / 2 && good > LOGS / 20, "{bad} bad, {good} good");
}

/// A log with some of its closed segments compressed, and the oldest removed where that is recorded.
fn made(seed: u8, steps: &[Step], kept: &[u8]) -> Files {
    let mut forge = Forge::made(seed, steps);
    let whole = forge.files(|_| Keep::Plain);
    let mut closed: Vec<u64> = whole
        .keys()
        .filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok())
        .collect();
    closed.pop();
    let removed = closed
        .iter()
        .zip(kept)
        .take_while(|(_, kept)| **kept == 3)
        .count();
    for first in &closed[..removed] {
        forge.change("journal.pruned", Some(&first.to_string()));
    }
    let become_of: BTreeMap<u64, Keep> = closed
        .iter()
        .zip(kept)
        .enumerate()
        .map(|(i, (first, kept))| {
            let keep = match kept {
                _ if i < removed => Keep::Removed,
                1 => Keep::Hashed,
                2 => Keep::Packed,
                _ => Keep::Plain,
            };
            (*first, keep)
        })
        .collect();
    forge.files(|first| become_of[&first])
}

/// With every key at hand, what is signed anew is still told apart where it must be.
#[test]
fn two_verifiers_agree_on_what_is_forged_with_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("journal");
    let mut second = Second::start();
    let base = || {
        let mut forge = Forge::new(1);
        forge.change("a", None);
        forge
    };
    let line = |seq: u64, prev: &str, rest: &str| {
        format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"2026-11-22T00:00:00.000Z\",\"prev\":\"{prev}\",{rest}"
        )
    };
    // Lines that are no records, well linked and signed for.
    let heartbeat = "\"kind\":\"heartbeat\"}";
    let prev = base().last().to_string();
    for (raw, is_good) in [
        (line(3, &prev, heartbeat), true),
        (line(4, &prev, heartbeat), false),
        (
            line(3, &prev.replace("sha256:", "sha256:0"), heartbeat),
            false,
        ),
        (line(3, &prev.to_uppercase(), heartbeat), false),
        (
            line(3, &prev, "\"kind\":\"heartbeat\",\"kind\":\"heartbeat\"}"),
            false,
        ),
        (line(3, &prev, "\"kind\": \"heartbeat\"}"), false),
        (line(3, &prev, "\"kind\":\"\\u0068eartbeat\"}"), false),
        (line(3, &prev, "\"kind\":\"heartbeat\"} "), false),
        (line(3, &prev, "\"kind\":\"heartbeat\"}}"), false),
        (
            line(
                3,
                &prev,
                "\"kind\":\"recovered\",\"cut_bytes\":0,\"cut_bytes\":0,\"unknown\":[]}",
            ),
            false,
        ),
        (
            line(
                3,
                &prev,
                "\"kind\":\"recovered\",\"cut_bytes\":00,\"unknown\":[]}",
            ),
            false,
        ),
        (
            line(
                3,
                &prev,
                "\"kind\":\"recovered\",\"cut_bytes\":0,\"unknown\":[]}",
            ),
            true,
        ),
        (String::from("{}"), false),
        (String::new(), false),
    ] {
        let mut forge = base();
        forge.raw(&raw);
        forge.checkpoint();
        let files = forge.files(|_| Keep::Plain);
        assert_eq!(
            compare(&mut second, &files, &folder, &raw),
            is_good,
            "{raw}"
        );
    }
    // A segment within a segment, one that is gone on with after its end, a key that nobody named.
    let mut within = base();
    within.open_again();
    let mut after = base();
    after.close_only();
    after.change("b", None);
    let mut stranger = base();
    stranger.rotate_to_a_stranger();
    for mut forge in [within, after, stranger] {
        forge.checkpoint();
        let files = forge.files(|_| Keep::Plain);
        assert!(!compare(&mut second, &files, &folder, "forged"));
    }
}

/// L10: checkpoints of another origin, by another key, by a known key's name, and too many of them.
#[test]
pub(crate) fn signatures_are_not_taken_one_for_another() {
    let _row = crate::attacks::stands_for("L10");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("journal");
    let mut second = Second::start();
    let mut forge = Forge::new(1);
    forge.change("a", None);
    let good = forge.note();
    let (text, line) = good.rsplit_once("\n\n").unwrap();
    // What another key of the same name signs, and what it signs under this one's id.
    let other = forge.note_by(2);
    let other = other.rsplit_once("\n\n").unwrap().1;
    let (name, signature) = line.trim_end().rsplit_once(' ').unwrap();
    let (_, theirs) = other.trim_end().rsplit_once(' ').unwrap();
    let decoded = |text: &str| STANDARD.decode(text).unwrap();
    let posed = [&decoded(signature)[..4], &decoded(theirs)[4..]].concat();
    let posed = format!("{name} {}\n", STANDARD.encode(posed));
    let elsewhere = forge.note_of("host.example/tollgate/elsewhere");
    let wrong_origin = elsewhere.rsplit_once("\n\n").unwrap().1;
    for (what, note, is_good) in [
        ("as it should be", good.clone(), true),
        (
            "one more, by a key that is not known",
            format!("{text}\n\n{other}{line}"),
            true,
        ),
        (
            "by a key that is not known alone",
            format!("{text}\n\n{other}"),
            false,
        ),
        (
            "one more, by a key that only poses",
            format!("{text}\n\n{line}{posed}"),
            false,
        ),
        ("of another origin", elsewhere.clone(), false),
        (
            "by the key's other name",
            format!("{text}\n\n{wrong_origin}"),
            false,
        ),
        (
            "sixteen",
            format!("{text}\n\n{}{line}", other.repeat(15)),
            true,
        ),
        (
            "a thousand",
            format!("{text}\n\n{}", line.repeat(1000)),
            false,
        ),
        ("none", format!("{text}\n\n"), false),
        ("another size", good.replacen("\n2\n", "\n1\n", 1), false),
    ] {
        let mut files = forge.files(|_| Keep::Plain);
        files.insert(
            "00000000000000000001.checkpoints".into(),
            format!("{note}\n").into(),
        );
        assert_eq!(
            compare(&mut second, &files, &folder, what),
            is_good,
            "{what}"
        );
    }
}
