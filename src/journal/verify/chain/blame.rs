//! Which line is to blame, where two do not fit each other, or a checkpoint does not fit them.

use super::{Chain, Stop};
use crate::digest::Digest;
use crate::journal::line::Head;
use crate::journal::merkle;
use crate::journal::scan::{Lines, Next};
use crate::journal::storage::Name;

impl Chain<'_> {
    /// A line's `prev` is not the line before: one of the two was changed. Where the line after vouches
    /// for this one, it was the other.
    pub(super) fn blame(&mut self) -> Stop {
        let (first, number) = self
            .current
            .as_ref()
            .map_or((1, 1), |c| (c.segment.first, c.lines + 1));
        let is_vouched_for = self
            .following(first, number)
            .is_some_and(|(this, next)| this == next);
        match self.before {
            // What a checkpoint speaks of is what was written, whatever comes after it says.
            Some((first, line)) if is_vouched_for && self.report.unsigned() > 0 => {
                self.report.records -= 1;
                Stop::at(
                    Name::Lines(first),
                    line,
                    "the line was changed: the one after it carries another digest",
                )
            }
            _ => self.here("`prev` is not the digest of the line before"),
        }
    }

    /// A checkpoint is good, and not of these lines. The last one was changed, where the next shows
    /// that; otherwise all of them were written anew from somewhere on.
    pub(super) fn other_lines(&mut self) -> Stop {
        let (first, line) = self.before.unwrap_or((1, 1));
        let size = self.report.records;
        self.report.records -= 1;
        let next = self.following(first, line);
        let why = if next.is_some_and(|(this, next)| this != next) {
            String::from("the line was changed: the one after it carries another digest")
        } else {
            format!(
                "the checkpoint of {size} records is of others: this line or one before it was changed"
            )
        };
        Stop::at(Name::Lines(first), line, why)
    }

    /// A line as a leaf, and what the line after it carries as `prev`; `None` where there is none, or it
    /// can't be read: what follows may be damaged as well.
    fn following(&self, first: u64, number: u64) -> Option<(Digest, Digest)> {
        let carried = |line: &[u8]| Head::read(line).ok().map(|head| head.prev);
        let mut lines = Lines::new(self.storage.read(first, 0).ok()?);
        let mut this = None;
        for _ in 0..number {
            this = match lines.next() {
                Ok(Next::Line(line)) => Some(merkle::leaf(line)),
                _ => return None,
            };
        }
        let next = match lines.next() {
            Ok(Next::Line(line)) => carried(line),
            _ => {
                let next = self
                    .segments
                    .iter()
                    .find(|s| s.first > first && s.has_lines);
                let source = self.storage.read(next?.first, 0).ok()?;
                match Lines::new(source).next() {
                    Ok(Next::Line(line)) => carried(line),
                    _ => None,
                }
            }
        };
        this.zip(next)
    }
}
