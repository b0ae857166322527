//! Segments whose lines retention removed.

use std::io::{BufReader, Read as _};

use super::{Chain, Goes, Stop};
use crate::digest::Digest;
use crate::journal::line::Head;
use crate::journal::merkle;
use crate::journal::scan::{Lines, Next};
use crate::journal::storage::Name;

impl Chain<'_> {
    /// A segment whose lines were removed: its leaves stand for them, its first and its last line are there.
    pub(super) fn ends(&mut self, first: u64) -> Goes {
        let (ends, hashes) = (Name::Ends(first), Name::Hashes(first));
        if !self.names.contains(&hashes) {
            let why = "its lines were removed, and their digests are gone";
            return Err(Stop::at(hashes, 1, why));
        }
        let mut lines = Lines::new(self.storage.reader(ends, 0)?);
        let mut events = Vec::new();
        let count = self.storage.size(hashes)? / 32;
        for seq in [first, (first - 1).saturating_add(count)] {
            let number = events.len() as u64 + 1;
            let line = match lines.next()? {
                Next::Line(line) => line,
                _ => return Err(Stop::at(ends, number, "a line was to come")),
            };
            let record = Head::read(line).and_then(|head| head.record());
            let record = record.map_err(|why| Stop::at(ends, number, why.to_string()))?;
            if record.seq != seq {
                let why = format!("record {} where {seq} was to come", record.seq);
                return Err(Stop::at(ends, number, why));
            }
            if number == 1 && record.prev != self.last {
                let why = "`prev` is not the digest of the line before";
                return Err(Stop::at(ends, number, why));
            }
            events.push((merkle::leaf(line), record));
        }
        if lines.next()? != Next::End {
            return Err(Stop::at(ends, 3, "nothing more was to come"));
        }
        let mut leaves = BufReader::new(self.storage.reader(hashes, 0)?);
        for index in 0..count {
            let mut hash = [0; 32];
            leaves.read_exact(&mut hash)?;
            let hash = Digest::from_bytes(hash);
            let known = match index {
                0 => events.first(),
                _ if index + 1 == count => events.last(),
                _ => None,
            };
            if known.is_some_and(|(leaf, _)| *leaf != hash) {
                let why = "it is not the digest of the line that is kept";
                return Err(Stop::at(hashes, index + 1, why));
            }
            if index + 1 == count && known.is_some_and(|(_, record)| record.prev != self.last) {
                let why = "`prev` of the last line is not the digest before it";
                return Err(Stop::at(hashes, index, why));
            }
            self.leaf(hash, known.map(|(_, record)| &record.event))?;
        }
        if let Some((_, record)) = events.pop() {
            self.last_time = record.time;
        }
        Ok(())
    }
}
