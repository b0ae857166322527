//! For tests: logs made in memory, with their keys at hand, so that every forgery can be tried.

use std::collections::BTreeMap;
use std::path::Path;

use super::line;
use super::merkle::{self, Tree};
use super::note::{Checkpoint, Note, Signer};
use super::prove::Proof;
use super::record::{Changed, Event, Record, SegmentClosed, SegmentOpened};
use super::storage::Name;
use crate::digest::Digest;

/// A log that is being forged.
#[derive(Debug, Clone)]
pub(crate) struct Forge {
    origin: String,
    seed: u8,
    /// The lines of each segment, with their newlines, by the number of the first record.
    pub(crate) segments: BTreeMap<u64, Vec<String>>,
    pub(crate) notes: BTreeMap<u64, Vec<String>>,
    /// The seed of each segment's key.
    keys: BTreeMap<u64, u8>,
    pub(crate) leaves: Vec<Digest>,
    tree: Tree,
}

impl Forge {
    /// A log with its first segment opened.
    pub(crate) fn new(seed: u8) -> Self {
        let mut forge = Self {
            origin: format!("host.example/tollgate/{seed:016x}"),
            seed,
            segments: BTreeMap::new(),
            notes: BTreeMap::new(),
            keys: BTreeMap::new(),
            leaves: Vec::new(),
            tree: Tree::default(),
        };
        forge.opened(seed);
        forge
    }

    pub(crate) fn signer(&self, seed: u8) -> Signer {
        Signer::from_bytes(&self.origin, &[seed; 32]).unwrap()
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.size()
    }

    pub(crate) fn root(&self) -> Digest {
        self.tree.root()
    }

    fn opened(&mut self, seed: u8) {
        let first = self.tree.size() + 1;
        self.keys.insert(first, seed);
        self.segments.insert(first, Vec::new());
        self.notes.insert(first, Vec::new());
        self.write(&Event::SegmentOpened(SegmentOpened {
            origin: self.origin.clone(),
            key: self.signer(seed).verifier().to_string(),
            size: self.tree.size(),
            peaks: self.tree.peaks().to_vec(),
            calls: Vec::new(),
        }));
    }

    /// Writes a record; its number.
    pub(crate) fn write(&mut self, event: &Event) -> u64 {
        let seq = self.tree.size() + 1;
        let prev = self.leaves.last().copied().unwrap_or(line::ORIGIN);
        let time = format!("2026-11-22T{:02}:{:02}:08.123Z", seq / 60 % 24, seq % 60);
        let mut text = Vec::new();
        line::write_event(event, &mut text).unwrap();
        let mut out = Vec::new();
        line::assemble(seq, &time, &line::hex(&prev), &text, &mut out);
        self.raw(String::from_utf8(out).unwrap())
    }

    /// Writes a line as it is, newline included.
    pub(crate) fn raw(&mut self, text: String) -> u64 {
        let leaf = merkle::leaf(text.trim_end_matches('\n').as_bytes());
        self.leaves.push(leaf);
        self.tree.push(leaf);
        self.segments.last_entry().unwrap().get_mut().push(text);
        self.tree.size()
    }

    pub(crate) fn change(&mut self, text: &str) -> u64 {
        self.write(&Event::Changed(Changed {
            change: text.to_owned(),
            ..Changed::default()
        }))
    }

    /// Signs what there is.
    pub(crate) fn checkpoint(&mut self) -> String {
        let (segment, seed) = self.keys.last_key_value().unwrap();
        let (segment, seed) = (*segment, *seed);
        let note = self.signed(seed);
        self.notes.entry(segment).or_default().push(note.clone());
        note
    }

    /// What there is, signed with the key of a seed.
    pub(crate) fn signed(&self, seed: u8) -> String {
        self.signer(seed).sign(&Checkpoint {
            origin: self.origin.clone(),
            size: self.tree.size(),
            root: self.tree.root(),
        })
    }

    /// Closes the segment and opens the next.
    pub(crate) fn rotate(&mut self) {
        let seed = self.keys.last_key_value().unwrap().1.wrapping_add(101);
        let next = self.signer(seed).verifier().to_string();
        self.write(&Event::SegmentClosed(SegmentClosed { next }));
        self.checkpoint();
        self.opened(seed);
    }

    pub(crate) fn line(&self, seq: u64) -> String {
        let (first, lines) = self.segments.range(..=seq).next_back().unwrap();
        let at = usize::try_from(seq - first).unwrap();
        lines[at].trim_end_matches('\n').to_owned()
    }

    pub(crate) fn record(&self, seq: u64) -> Record {
        let line = self.line(seq);
        line::Head::read(line.as_bytes()).unwrap().record().unwrap()
    }

    /// The proof of a record by one of the log's notes.
    pub(crate) fn proof(&self, seq: u64, note: &str) -> Proof {
        let note = Note::parse(note.as_bytes()).unwrap();
        let size = note.unverified().unwrap().size;
        Proof {
            extra: None,
            index: seq - 1,
            hashes: merkle::inclusion(seq - 1, size, &mut self.leaves.as_slice()).unwrap(),
            note,
        }
    }

    /// The files of the log, by name, as a host has them that rotated and did not compress.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for (first, lines) in &self.segments {
            files.insert(Name::Lines(*first).to_string(), lines.concat().into());
            let notes: String = self.notes[first]
                .iter()
                .flat_map(|note| [note.as_str(), "\n"])
                .collect();
            files.insert(Name::Checkpoints(*first).to_string(), notes.into());
        }
        let key = self.signer(self.seed).verifier().to_string();
        files.insert(Name::Public.to_string(), format!("{key}\n").into());
        files
    }
}

/// Puts files into a folder.
pub(crate) fn save(files: &BTreeMap<String, Vec<u8>>, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}
