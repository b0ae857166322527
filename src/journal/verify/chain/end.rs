//! What shows at the end of a segment, and at the end of all.

use std::io::Read as _;

use super::super::look::{self, Cut, Rest};
use super::super::signed::Signed;
use super::{Chain, Goes, Stop};
use crate::journal::storage::Name;

impl Chain<'_> {
    /// The end of a segment.
    pub(super) fn end(&mut self, rest: Rest) -> Goes {
        let Some(segment) = self.current.as_ref().map(|c| c.segment) else {
            return Ok(());
        };
        if !segment.has_lines {
            self.removed = Some(segment.first);
            self.ends(segment.first)?;
        }
        let is_last = self.current.as_ref().is_some_and(|c| c.is_last);
        match rest {
            Rest::Nothing => {}
            Rest::Partial(bytes) if is_last => self.report.torn_tail = bytes,
            Rest::Partial(_) => return Err(self.here("the line has no end")),
            Rest::TooLong => return Err(self.here("longer than a record can be")),
            Rest::Damaged(why) => {
                let (_, line) = self.place();
                let why = format!("it can't be decompressed: {why}");
                return Err(Stop::at(Name::Packed(segment.first), line, why));
            }
        }
        if is_last {
            self.catch_up()?;
            self.check_begun(segment.first)?;
        }
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        let (is_closed, lines) = (current.is_closed, current.lines);
        if !is_last && !is_closed {
            return Err(
                self.here("`segment-closed` was to come, since there is a segment after it")
            );
        }
        if let Some(signed) = &mut current.signed {
            signed.finish(self.report.records)?;
            if !is_last && signed.last_size() != self.report.records {
                return Err(Stop::at(
                    Name::Checkpoints(segment.first),
                    signed.line(),
                    "the end of the segment was to be signed by its key",
                ));
            }
        }
        let has_more = match &mut current.hashes {
            Some(hashes) => hashes.read(&mut [0])? > 0,
            None => false,
        };
        let other = current.other_hash.or(has_more.then_some(lines + 1));
        match other {
            // Of this segment every line is known to be good by now.
            Some(line) if is_closed => Err(Stop::at(
                Name::Hashes(segment.first),
                line,
                "it is not the digest of that line",
            )),
            _ => Ok(()),
        }
    }

    /// Of a segment of which no record is there, nothing is signed.
    fn check_begun(&self, first: u64) -> Goes {
        if self.current.as_ref().is_none_or(|c| c.signed.is_some()) {
            return Ok(());
        }
        let file = Name::Checkpoints(first);
        if self.names.contains(&file) && self.storage.size(file)? > 0 {
            let why =
                "there are checkpoints, and no record that they speak of: the end was cut off";
            return Err(Stop::at(file, 1, why));
        }
        Ok(())
    }

    /// Where a host writes meanwhile, a checkpoint may speak of lines that came after those were read.
    fn catch_up(&mut self) -> Goes {
        loop {
            let Some(current) = &self.current else {
                return Ok(());
            };
            let size = current.signed.as_ref().and_then(Signed::next_size);
            if size.is_none_or(|size| size <= self.report.records) {
                return Ok(());
            }
            let source = self.storage.read(current.segment.first, current.bytes)?;
            let mut block = Vec::new();
            let rest = Cut::new(source).fill(&mut block)?;
            if block.is_empty() {
                return Ok(());
            }
            self.report.torn_tail = match rest {
                Some(Rest::Partial(bytes)) => bytes,
                _ => 0,
            };
            self.lines(&look::look(&block))?;
        }
    }

    /// What only shows once all is read.
    pub(super) fn check_whole(&self) -> Goes {
        let last = self.segments.last().map_or(0, |segment| segment.first);
        for name in self.names {
            let belongs = match name {
                Name::Public => last > 0,
                name => name.segment().is_none_or(|first| first <= last),
            };
            // Of a host that died as it began a segment.
            let is_begun = matches!(name, Name::Checkpoints(_));
            if !belongs && (!is_begun || self.storage.size(*name)? > 0) {
                let next = Name::Lines(name.segment().unwrap_or(1));
                return Err(Stop::at(
                    next,
                    1,
                    format!(
                        "it is gone: `{name}` is there, and the records that belong to it are not"
                    ),
                ));
            }
        }
        match self.removed {
            Some(removed) if self.said_removed < Some(removed) => Err(Stop::at(
                Name::Lines(removed),
                1,
                "its lines are gone, and no record says that they were removed",
            )),
            _ => Ok(()),
        }
    }
}
