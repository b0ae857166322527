//! Logs made from nothing, with their keys at hand: by the public formats, and by none of the host's
//! own writing.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tollgate::digest::Digest;
use tollgate::journal::merkle::{Tree, leaf};
use tollgate::journal::note::{Checkpoint, Signer};
use tollgate::journal::record::{CallId, Changed, Event, Recovered, SegmentClosed, SegmentOpened};

/// The files of a log, by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A log that is being made.
#[derive(Debug, Clone)]
pub(super) struct Forge {
    origin: String,
    /// The seed of the open segment's key.
    seed: u8,
    first: u64,
    segments: BTreeMap<u64, (String, String)>,
    leaves: Vec<Digest>,
    tree: Tree,
    pub(super) first_key: String,
}

/// What is done to a log as it is made.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Write(String),
    Unknown(u8),
    Heartbeat,
    Checkpoint,
    Rotate,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => "\\PC{0,12}|[\u{7f}-\u{9f}\u{202e}\u{feff}\u{e0041}\n\"\\\\é日😀a-z]{0,8}".prop_map(Step::Write),
        1 => (0..3_u8).prop_map(Step::Unknown),
        1 => Just(Step::Heartbeat),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Rotate),
    ]
}

impl Forge {
    pub(super) fn new(seed: u8) -> Self {
        let origin = format!("host.example/tollgate/{seed:016x}");
        let mut forge = Self {
            first_key: String::new(),
            origin,
            seed,
            first: 1,
            segments: BTreeMap::new(),
            leaves: Vec::new(),
            tree: Tree::default(),
        };
        forge.first_key = forge.signer().verifier().to_string();
        forge.open();
        forge
    }

    pub(super) fn made(seed: u8, steps: &[Step]) -> Self {
        let mut forge = Self::new(seed);
        for step in steps {
            forge.step(step);
        }
        forge
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Write(text) => self.change(text, None),
            Step::Unknown(calls) => self.write(&Event::Recovered(Recovered {
                cut_bytes: u64::from(*calls),
                unknown: (0..*calls)
                    .map(|n| CallId(uuid::Uuid::from_u128(n.into())))
                    .collect(),
            })),
            Step::Heartbeat => self.write(&Event::Heartbeat {}),
            Step::Checkpoint => self.checkpoint(),
            Step::Rotate => self.rotate(),
        }
    }

    pub(super) fn signer(&self) -> Signer {
        Signer::from_bytes(&self.origin, &[self.seed; 32]).unwrap()
    }

    fn open(&mut self) {
        self.first = self.tree.size() + 1;
        self.segments.insert(self.first, Default::default());
        self.write(&Event::SegmentOpened(SegmentOpened {
            origin: self.origin.clone(),
            key: self.signer().verifier().to_string(),
            size: self.tree.size(),
            peaks: self.tree.peaks().to_vec(),
            calls: Vec::new(),
        }));
    }

    pub(super) fn change(&mut self, text: &str, subject: Option<&str>) {
        self.write(&Event::Changed(Changed {
            change: text.to_owned(),
            subject: subject.map(str::to_owned),
            ..Changed::default()
        }));
    }

    fn write(&mut self, event: &Event) {
        let event = escaped(&serde_json::to_string(event).unwrap());
        let seq = self.tree.size() + 1;
        let prev = self.leaves.last().copied();
        let prev = prev.unwrap_or(Digest::from_bytes([0; 32]));
        let time = format!("2026-11-22T{:02}:{:02}:08.123Z", seq / 60 % 24, seq % 60);
        self.raw(&format!(
            "{{\"v\":1,\"seq\":{seq},\"time\":\"{time}\",\"prev\":\"{prev}\",{}",
            &event[1..]
        ));
    }

    /// A line as it is, without its newline.
    pub(super) fn raw(&mut self, line: &str) {
        let hash = leaf(line.as_bytes());
        self.leaves.push(hash);
        self.tree.push(hash);
        let (lines, _) = self.segments.get_mut(&self.first).unwrap();
        lines.push_str(line);
        lines.push('\n');
    }

    /// What there is, signed with the key of now.
    pub(super) fn note(&self) -> String {
        self.signer().sign(&Checkpoint {
            origin: self.origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
        })
    }

    /// The same, by the key of another seed.
    pub(super) fn note_by(&self, seed: u8) -> String {
        let other = Self {
            seed,
            ..self.clone()
        };
        other.note()
    }

    /// The same key and the same tree, under another log's name.
    pub(super) fn note_of(&self, origin: &str) -> String {
        let origin = origin.to_owned();
        let other = Self {
            origin,
            ..self.clone()
        };
        other.note()
    }

    pub(super) fn checkpoint(&mut self) {
        let note = self.note() + "\n";
        let (_, notes) = self.segments.get_mut(&self.first).unwrap();
        if !notes.ends_with(&note) {
            notes.push_str(&note);
        }
    }

    pub(super) fn rotate(&mut self) {
        self.close_only();
        self.seed = self.seed.wrapping_add(101);
        self.open();
    }

    /// The closing record and its checkpoint, and nothing after it.
    pub(super) fn close_only(&mut self) {
        let next = self.seed.wrapping_add(101);
        let key = Signer::from_bytes(&self.origin, &[next; 32]).unwrap();
        self.write(&Event::SegmentClosed(SegmentClosed {
            next: key.verifier().to_string(),
        }));
        self.checkpoint();
    }

    /// A segment that goes by a key which the one before did not name.
    pub(super) fn rotate_to_a_stranger(&mut self) {
        self.close_only();
        self.seed = self.seed.wrapping_add(7);
        self.open();
    }

    /// A second opening record in the open segment.
    pub(super) fn open_again(&mut self) {
        let first = self.first;
        self.open();
        let (lines, _) = self.segments.remove(&self.first).unwrap();
        self.first = first;
        self.segments.get_mut(&first).unwrap().0.push_str(&lines);
    }

    /// The last line as a leaf.
    pub(super) fn last(&self) -> Digest {
        *self.leaves.last().unwrap()
    }

    /// The files, as a host leaves them; `keep` says of each closed segment what became of it.
    pub(super) fn files(&self, keep: impl Fn(u64) -> Keep) -> Files {
        let mut files = Files::new();
        files.insert("log.pub".into(), format!("{}\n", self.first_key).into());
        for (first, (lines, notes)) in &self.segments {
            let name = |kind: &str| format!("{first:020}.{kind}");
            files.insert(name("checkpoints"), notes.clone().into());
            let kept = if *first == self.first {
                Keep::Plain
            } else {
                keep(*first)
            };
            if !matches!(kept, Keep::Plain) {
                let hashes = lines
                    .lines()
                    .flat_map(|line| *leaf(line.as_bytes()).as_bytes());
                files.insert(name("hashes"), hashes.collect());
            }
            match kept {
                Keep::Plain | Keep::Hashed => {
                    files.insert(name("jsonl"), lines.clone().into());
                }
                Keep::Packed => {
                    files.insert(name("jsonl.gz"), packed(lines));
                }
                Keep::Removed => {
                    let (start, end) = (lines.lines().next(), lines.lines().last());
                    let ends = format!("{}\n{}\n", start.unwrap(), end.unwrap());
                    files.insert(name("ends"), ends.into());
                }
            }
        }
        files
    }
}

/// What became of a closed segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    Plain,
    Hashed,
    Packed,
    Removed,
}

fn packed(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap()
}

/// What could end a line or change how it is shown is an escape, as the format of records has it.
fn escaped(json: &str) -> String {
    let mut out = String::new();
    for c in json.chars() {
        let plain = !matches!(c,
            '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if plain {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    out
}

pub(super) fn save(files: &Files, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}
