//! The verifier, on a journal that was changed: it ends, in little memory, and whatever it still calls good
//! and signed is what was written.

#![no_main]

mod edit;
mod golden;
mod memory;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::sync::LazyLock;

use flate2::read::MultiGzDecoder;
use libfuzzer_sys::fuzz_target;
use tollgate::journal::note::VerifierKey;
use tollgate::journal::storage::Name;
use tollgate::journal::verify_in;

use self::edit::Edits;
use self::memory::Memory;

type Files = BTreeMap<Name, Vec<u8>>;

struct Good {
    key: VerifierKey,
    files: Files,
    lines: Vec<Vec<u8>>,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let folder = fs::read_dir(golden::path("state/journal")).expect("a folder");
    let files: Files = folder
        .map(|entry| entry.expect("an entry"))
        .filter_map(|entry| {
            let name = Name::parse(entry.file_name().to_str()?)?;
            Some((name, fs::read(entry.path()).expect("a file")))
        })
        .collect();
    let key = golden::key();
    let memory = Memory(files.clone());
    let report = verify_in(&memory, std::slice::from_ref(&key), |_| ()).expect("is read");
    assert!(report.is_good(), "{report:?}");
    let lines = lines(&files).expect("each segment is there once");
    assert_eq!(lines.len() as u64, report.records);
    Good { key, files, lines }
});

/// All lines, unless a segment is there in both forms.
fn lines(files: &Files) -> Option<Vec<Vec<u8>>> {
    let mut segments = BTreeMap::new();
    for (name, bytes) in files {
        let (first, text) = match *name {
            Name::Lines(first) => (first, bytes.clone()),
            Name::Packed(first) => {
                let mut text = Vec::new();
                MultiGzDecoder::new(bytes.as_slice())
                    .read_to_end(&mut text)
                    .ok()?;
                (first, text)
            }
            _ => continue,
        };
        if segments.insert(first, text).is_some() {
            return None;
        }
    }
    let all = segments.into_values().flat_map(|text| {
        let lines: Vec<_> = text
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        lines
    });
    Some(all.collect())
}

fuzz_target!(|data: &[u8]| {
    let good = &*GOOD;
    let mut edits = Edits(data);
    let Some(what) = edits.byte() else { return };
    let mut files = good.files.clone();
    if what == 255 {
        // Lines and checkpoints that are all the fuzzer's.
        let mut parts = edits.0.split(|byte| *byte == 255);
        files.clear();
        files.insert(Name::Lines(1), parts.next().unwrap_or_default().to_vec());
        files.insert(
            Name::Checkpoints(1),
            parts.next().unwrap_or_default().to_vec(),
        );
    }
    while what != 255 && edits.byte().is_some_and(|more| more > 8) {
        let names: Vec<_> = files.keys().copied().collect();
        let Some(name) = edits.below(names.len()).and_then(|at| names.get(at)) else {
            break;
        };
        match edits.byte() {
            None => break,
            Some(0) => drop(files.remove(name)),
            Some(1) => {
                let other = edits.below(names.len()).and_then(|at| names.get(at));
                let bytes = files.remove(name).unwrap_or_default();
                files.insert(*other.unwrap_or(name), bytes);
            }
            Some(_) => {
                if let Some(bytes) = files.get_mut(name) {
                    let _ = edits.apply(bytes);
                }
            }
        }
    }
    let memory = Memory(files);
    let Ok(report) = verify_in(&memory, std::slice::from_ref(&good.key), |_| ()) else {
        return;
    };
    let signed = usize::try_from(report.signed).expect("a number of lines");
    if report.removed == 0
        && let Some(lines) = lines(&memory.0)
    {
        assert!(lines.len() as u64 >= report.records, "{report:?}");
        assert!(
            lines.get(..signed) == good.lines.get(..signed),
            "{report:?}"
        );
    }
});
