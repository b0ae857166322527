//! What somebody may do to the files of a log without its keys.

use proptest::prelude::*;

use super::forge::Files;

/// What somebody did to the files of a log.
#[derive(Debug, Clone)]
pub(super) enum Harm {
    /// A byte of a file is another one.
    Flip(prop::sample::Index, prop::sample::Index, u8),
    /// A line of a file is gone, twice there, or in another's place.
    Drop(prop::sample::Index, prop::sample::Index),
    Twice(prop::sample::Index, prop::sample::Index),
    Swap(
        prop::sample::Index,
        prop::sample::Index,
        prop::sample::Index,
    ),
    /// A file is cut short, or gone.
    Cut(prop::sample::Index, prop::sample::Index),
    Gone(prop::sample::Index),
    /// A file is that of another log.
    Other(prop::sample::Index),
    /// Bytes are added at the end of a file.
    More(prop::sample::Index, Vec<u8>),
    /// Lines and checkpoints after some line are gone in step: what an insider would do.
    Tail(prop::sample::Index),
}

pub(super) fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), at(), 1..=255_u8).prop_map(|(file, byte, flip)| Harm::Flip(file, byte, flip)),
        2 => (at(), at()).prop_map(|(file, line)| Harm::Drop(file, line)),
        2 => (at(), at()).prop_map(|(file, line)| Harm::Twice(file, line)),
        2 => (at(), at(), at()).prop_map(|(file, one, two)| Harm::Swap(file, one, two)),
        2 => (at(), at()).prop_map(|(file, byte)| Harm::Cut(file, byte)),
        1 => at().prop_map(Harm::Gone),
        1 => at().prop_map(Harm::Other),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..40)).prop_map(|(file, bytes)| Harm::More(file, bytes)),
        1 => at().prop_map(Harm::Tail),
    ]
}

fn named<'a>(files: &'a mut Files, index: &prop::sample::Index) -> (String, &'a mut Vec<u8>) {
    let names: Vec<String> = files.keys().cloned().collect();
    let name = names[index.index(names.len())].clone();
    let bytes = files.get_mut(&name).unwrap();
    (name, bytes)
}

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes
        .split_inclusive(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

impl Harm {
    pub(super) fn apply(&self, files: &mut Files, other: &Files) {
        match self {
            Self::Flip(file, byte, flip) => {
                let (_, bytes) = named(files, file);
                if !bytes.is_empty() {
                    let at = byte.index(bytes.len());
                    bytes[at] ^= flip;
                }
            }
            Self::Drop(file, line) => Self::rearranged(files, file, |lines| {
                lines.remove(line.index(lines.len()));
            }),
            Self::Twice(file, line) => Self::rearranged(files, file, |lines| {
                let at = line.index(lines.len());
                lines.insert(at, lines[at].clone());
            }),
            Self::Swap(file, one, two) => Self::rearranged(files, file, |lines| {
                let (one, two) = (one.index(lines.len()), two.index(lines.len()));
                lines.swap(one, two);
            }),
            Self::Cut(file, byte) => {
                let (_, bytes) = named(files, file);
                let len = byte.index(bytes.len() + 1);
                bytes.truncate(len);
            }
            Self::Gone(file) => {
                let (name, _) = named(files, file);
                files.remove(&name);
            }
            Self::Other(file) => {
                let (name, bytes) = named(files, file);
                if let Some(others) = other.get(&name) {
                    bytes.clone_from(others);
                }
            }
            Self::More(file, more) => named(files, file).1.extend_from_slice(more),
            Self::Tail(at) => {
                let last = files.keys().rfind(|name| name.ends_with(".jsonl")).cloned();
                let Some(name) = last else { return };
                let kept = lines(&files[&name]);
                let keep = at.index(kept.len() + 1);
                files.insert(name.clone(), kept[..keep].concat());
                let first: u64 = name[..20].parse().unwrap();
                let size = first - 1 + keep as u64;
                let small = |note: &&str| {
                    let claimed = note
                        .lines()
                        .nth(1)
                        .and_then(|line| line.parse::<u64>().ok());
                    claimed.is_some_and(|claimed| claimed <= size)
                };
                if let Some(notes) = files.get_mut(&name.replace("jsonl", "checkpoints"))
                    && let Ok(text) = String::from_utf8(notes.clone())
                {
                    let text: String = text.split_inclusive("=\n\n").filter(small).collect();
                    *notes = text.into();
                }
            }
        }
    }

    fn rearranged(
        files: &mut Files,
        file: &prop::sample::Index,
        change: impl FnOnce(&mut Vec<Vec<u8>>),
    ) {
        let (_, bytes) = named(files, file);
        let mut lines = lines(bytes);
        if !lines.is_empty() {
            change(&mut lines);
            *bytes = lines.concat();
        }
    }
}
