//! Lines and leaves of single segments, and hashes of ranges of leaves over several.

use std::io::{self, Read as _};

use super::{Archive, ArchiveError, Span, bad, failed};
use crate::digest::Digest;
use crate::journal::line::Head;
use crate::journal::merkle::{self, Subtrees, Tree};
use crate::journal::scan::{Lines, Next};
use crate::journal::storage::Name;

impl Archive {
    /// The line of a segment by its place in it, from 0.
    pub(super) fn line_of(&self, first: u64, place: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let name = self.source(first);
        if self.names.contains(&Name::Ends(first)) {
            let found = self.in_ends(first, place)?;
            if found.is_some() || self.is_removed(first) {
                return Ok(found);
            }
        }
        let reader = self.storage.read(first, 0).map_err(failed(name))?;
        let mut lines = Lines::new(reader);
        let mut at = 0;
        loop {
            match lines.next().map_err(failed(name))? {
                Next::Line(line) if at == place => return Ok(Some(line.to_vec())),
                Next::Line(_) => at += 1,
                Next::TooLong => return Err(bad(name, "a line is longer than a record can be")),
                Next::Partial(_) | Next::End => return Ok(None),
            }
        }
    }

    /// The same, where the first line and the last are kept by themselves.
    fn in_ends(&self, first: u64, place: u64) -> Result<Option<Vec<u8>>, ArchiveError> {
        let name = Name::Ends(first);
        let reader = self.storage.reader(name, 0).map_err(failed(name))?;
        let mut lines = Lines::new(reader);
        while let Next::Line(line) = lines.next().map_err(failed(name))? {
            let head = Head::read(line).map_err(|why| bad(name, why.to_string()))?;
            if head.seq.checked_sub(first) == Some(place) {
                return Ok(Some(line.to_vec()));
            }
        }
        Ok(None)
    }

    /// The leaves of a segment, kept until another one's are asked for.
    pub(super) fn leaves(&mut self, place: usize) -> Result<&[Digest], ArchiveError> {
        if self.leaves.as_ref().is_none_or(|(at, _)| *at != place) {
            let first = self.spans.get(place).map_or(0, |span| span.first);
            let leaves = match self.kept_leaves(first)? {
                Some(leaves) => leaves,
                None => self.hashed_lines(first)?,
            };
            self.leaves = Some((place, leaves));
        }
        Ok(self.leaves.as_ref().map_or(&[], |(_, leaves)| leaves))
    }

    fn kept_leaves(&self, first: u64) -> Result<Option<Vec<Digest>>, ArchiveError> {
        let name = Name::Hashes(first);
        if !self.names.contains(&name) {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        let reader = self.storage.reader(name, 0).map_err(failed(name))?;
        io::BufReader::new(reader)
            .read_to_end(&mut bytes)
            .map_err(failed(name))?;
        let (leaves, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(bad(name, "it does not end with a whole hash"));
        }
        Ok(Some(
            leaves
                .iter()
                .map(|leaf| Digest::from_bytes(*leaf))
                .collect(),
        ))
    }

    fn hashed_lines(&self, first: u64) -> Result<Vec<Digest>, ArchiveError> {
        let name = self.source(first);
        let mut lines = Lines::new(self.storage.read(first, 0).map_err(failed(name))?);
        let mut leaves = Vec::new();
        loop {
            match lines.next().map_err(failed(name))? {
                Next::Line(line) => leaves.push(merkle::leaf(line)),
                Next::TooLong => return Err(bad(name, "a line is longer than a record can be")),
                // What has no end is being written.
                Next::Partial(_) | Next::End => return Ok(leaves),
            }
        }
    }
}

/// Complete subtrees of more leaves than this are kept once they were hashed: many proofs out of one segment
/// then hash it once, and what is kept stays small beside its leaves.
const HASHED_ANEW: u64 = 256;

impl Subtrees for Archive {
    fn subtree(&mut self, from: u64, to: u64) -> io::Result<Digest> {
        if let Some(hash) = self.known.get(&(from, to)) {
            return Ok(*hash);
        }
        let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let place = self.place_of(from).ok_or_else(missing)?;
        let ends = self.spans.get(place + 1).map(Span::from);
        let size = to.saturating_sub(from);
        if size > HASHED_ANEW || ends.is_some_and(|ends| ends < to) {
            // As the tree divides it.
            let middle = from + merkle::divide(size);
            let left = self.subtree(from, middle)?;
            let right = self.subtree(middle, to)?;
            let hash = merkle::node(&left, &right);
            if size.is_power_of_two() && size > HASHED_ANEW {
                self.known.insert((from, to), hash);
            }
            return Ok(hash);
        }
        let before = self.spans.get(place).map_or(0, Span::from);
        let leaves = self.leaves(place).map_err(io::Error::other)?;
        let within = |index: u64| usize::try_from(index.checked_sub(before)?).ok();
        let range = within(from).zip(within(to));
        let leaves = range
            .and_then(|(from, to)| leaves.get(from..to))
            .ok_or_else(missing)?;
        let mut tree = Tree::default();
        tree.extend(leaves.iter().copied());
        Ok(tree.root())
    }
}
