//! Reading the journal, also while a host writes it: a line without an end is then being written.

mod calls;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use super::line::{BadLine, Head};
use super::query::{Compiled, Mask, Query, Take};
use super::record::{CallId, Record};
use super::scan::{Lines, Next};
use super::search;
use super::segments::Segments;
use super::storage::{Disk, Storage, segment_name};

pub use self::calls::{call, story};

/// The journal can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file system failed.
    #[error("can't read `{file}`: {error}")]
    Storage {
        /// The segment, or the directory.
        file: String,
        /// What the file system said.
        #[source]
        error: io::Error,
    },
    /// A line is not a record.
    #[error("`{file}`, line {line}: {why}; `tollgate audit verify` looks at the whole journal")]
    Bad {
        /// The segment.
        file: String,
        /// The line in it, from 1.
        line: u64,
        /// What is wrong with it.
        why: BadLine,
    },
    /// No call by that id.
    #[error("no call `{0}` is in the journal")]
    NoCall(String),
    /// Several calls whose ids start or end so.
    #[error("`{text}` is more than one call: {}", calls.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Some of the calls.
        calls: Vec<String>,
    },
    /// Nothing that an id could start or end with.
    #[error(
        "`{0}` is not an id of a call: give at least 6 of its characters, from its start or its end"
    )]
    NotAnId(String),
}

pub(super) fn failed(file: impl Into<String>) -> impl FnOnce(io::Error) -> ReadError {
    |error| ReadError::Storage {
        file: file.into(),
        error,
    }
}

/// Reads records in order, each strictly, over all segments. At the end it can be asked again: it
/// then goes on with what was written since.
#[derive(Debug)]
pub struct Reader {
    storage: Disk,
    /// The segment being read, once there is one.
    current: Option<(u64, Lines)>,
}

impl Reader {
    /// Reads the journal in `directory` from its first record on.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            storage: Disk::new(directory),
            current: None,
        }
    }

    /// The next record; `None` where there is none now. Ask again after the directory changed.
    ///
    /// # Errors
    ///
    /// The file system fails, or the line is not a record.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        self.next_wanted(|_, _| true)
    }

    /// Bytes at the end that are no line yet: being written, or torn where no host writes.
    #[must_use]
    pub fn being_written(&self) -> usize {
        match &self.current {
            Some((_, lines)) if lines.is_partial() => lines.line().len(),
            _ => 0,
        }
    }

    /// The next record whose line is wanted; others are not parsed.
    fn next_wanted(
        &mut self,
        mut wanted: impl FnMut(&Head<'_>, &[u8]) -> bool,
    ) -> Result<Option<Record>, ReadError> {
        // What was there of the segment when another one was already: all of it.
        let mut following = None;
        loop {
            if let Some((first, lines)) = &mut self.current {
                match lines.next().map_err(failed(segment_name(*first)))? {
                    Next::Line(line) => {
                        let record = Head::read(line).and_then(|head| {
                            if wanted(&head, line) {
                                head.record().map(Some)
                            } else {
                                Ok(None)
                            }
                        });
                        match record {
                            Ok(None) => continue,
                            Ok(record) => return Ok(record),
                            Err(why) => return Err(bad(*first, lines, why)),
                        }
                    }
                    Next::TooLong => {
                        let why = BadLine(String::from("longer than a record can be"));
                        return Err(bad(*first, lines, why));
                    }
                    Next::Partial(_) if following.is_some() => {
                        let why = BadLine(String::from("the line has no end"));
                        return Err(bad(*first, lines, why));
                    }
                    Next::End | Next::Partial(_) => {}
                }
            }
            if let Some(first) = following {
                let segment = self.storage.read(first, 0);
                let lines = Lines::new(segment.map_err(failed(segment_name(first)))?);
                self.current = Some((first, lines));
                following = None;
                continue;
            }
            following = self.following()?;
            if following.is_none() {
                return Ok(None);
            }
        }
    }

    /// The segment after the current one. It is made only when the current one is complete, so the
    /// rest of that is read once more before going on.
    fn following(&self) -> Result<Option<u64>, ReadError> {
        let segments = self
            .storage
            .list()
            .map_err(failed(self.storage.directory().display().to_string()))?;
        let after = self.current.as_ref().map_or(0, |(first, _)| *first);
        Ok(segments.into_iter().find(|first| *first > after))
    }
}

fn bad(first: u64, lines: &Lines, why: BadLine) -> ReadError {
    ReadError::Bad {
        file: segment_name(first),
        line: lines.number(),
        why,
    }
}

/// The end of the journal: what is written from now on, as far as it is wanted.
#[derive(Debug)]
pub struct Tail {
    reader: Reader,
    following: Option<Following>,
}

impl Tail {
    /// The next record that is wanted; `None` where there is none now. Ask again after the directory changed.
    ///
    /// # Errors
    ///
    /// As for [`Reader::next_record`].
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        match &mut self.following {
            None => self.reader.next_record(),
            Some(following) => self
                .reader
                .next_wanted(|head, line| following.wants(head, line)),
        }
    }
}

/// Calls that are remembered while following. Beyond that, those are forgotten that were known so far.
const REMEMBERED: usize = 65_536;

/// Tells which of the records that come are wanted. Whose call it is stands in its first record, so what
/// holds for a call is remembered.
#[derive(Debug)]
struct Following {
    compiled: Compiled,
    calls: HashMap<CallId, Mask>,
}

impl Following {
    fn new(compiled: Compiled) -> Self {
        Self {
            calls: HashMap::new(),
            compiled,
        }
    }

    /// These are calls of whom it is asked.
    fn remember(&mut self, calls: &[CallId]) {
        let known = self.compiled.of_callers();
        self.calls.extend(calls.iter().map(|call| (*call, known)));
    }

    fn wants(&mut self, head: &Head<'_>, line: &[u8]) -> bool {
        let own = self.compiled.of_line(head, line);
        let mut all = own;
        if let Some(call) = search::call_of(head) {
            if self.calls.len() >= REMEMBERED {
                self.calls.clear();
            }
            let callers = own & self.compiled.of_callers();
            if callers != 0 {
                *self.calls.entry(call).or_default() |= callers;
            }
            all |= self.calls.get(&call).copied().unwrap_or(0);
        }
        self.compiled.is_met(all) && self.compiled.shows(head, line)
    }
}

/// The last `count` records that `query` asks for, oldest first, and a reader that goes on from there.
///
/// # Errors
///
/// The file system fails, or a line is not a record.
pub fn tail(
    directory: &Path,
    count: usize,
    query: &Query,
) -> Result<(Vec<Record>, Tail), ReadError> {
    if query.is_empty() {
        return last(directory, count);
    }
    // Where the end is comes first: what is written meanwhile is what the reader gives next.
    let mut following = Following::new(query.compiled(Take::Records));
    let (reader, end) = at_the_end(directory, &mut following)?;
    let found = search::search_records(directory, query, count)?;
    let mut records = VecDeque::new();
    search::each(directory, &found, |record| {
        if record.seq > end {
            return ControlFlow::Break(());
        }
        records.push_back(record);
        if records.len() > count {
            records.pop_front();
        }
        ControlFlow::Continue(())
    })?;
    following.remember(&found.calls);
    let tail = Tail {
        reader,
        following: Some(following),
    };
    Ok((records.into(), tail))
}

/// A reader behind the last record there is now, and that record's number. Whose the calls of the last
/// segment are is noted on the way, for some of them have not ended.
fn at_the_end(directory: &Path, following: &mut Following) -> Result<(Reader, u64), ReadError> {
    let segments = Segments::list(directory)?;
    let mut reader = Reader::new(directory);
    let mut end = 0;
    let Some(first) = segments.firsts().last() else {
        return Ok((reader, end));
    };
    let source = segments.disk().read(*first, 0);
    reader.current = Some((
        *first,
        Lines::new(source.map_err(failed(segment_name(*first)))?),
    ));
    while reader
        .next_wanted(|head, line| {
            end = head.seq;
            following.wants(head, line);
            false
        })?
        .is_some()
    {}
    Ok((reader, end))
}

/// The last `count` records, whatever they are.
fn last(directory: &Path, count: usize) -> Result<(Vec<Record>, Tail), ReadError> {
    let segments = Segments::list(directory)?;
    let mut found: Vec<Record> = Vec::new();
    let mut newest = None;
    for &first in segments.firsts().iter().rev() {
        let source = segments.disk().read(first, 0);
        let mut reader = Reader {
            storage: segments.disk().clone(),
            current: Some((
                first,
                Lines::new(source.map_err(failed(segment_name(first)))?),
            )),
        };
        let missing = count - found.len();
        let mut last = reader.last_of_segment(missing, newest.is_some())?;
        last.append(&mut found);
        found = last;
        newest.get_or_insert(reader);
        if found.len() >= count {
            break;
        }
    }
    let tail = Tail {
        reader: newest.unwrap_or_else(|| Reader::new(directory)),
        following: None,
    };
    Ok((found, tail))
}

impl Reader {
    /// The last records of the segment being read. Lines are kept as they are, and read at the end.
    fn last_of_segment(&mut self, count: usize, complete: bool) -> Result<Vec<Record>, ReadError> {
        let Some((first, lines)) = &mut self.current else {
            return Ok(Vec::new());
        };
        let mut kept: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        loop {
            match lines.next().map_err(failed(segment_name(*first)))? {
                Next::Line(_) if count == 0 => {}
                Next::Line(_) => {
                    let mut slot = if kept.len() == count {
                        kept.pop_front().map(|(_, slot)| slot).unwrap_or_default()
                    } else {
                        Vec::new()
                    };
                    slot.clear();
                    slot.extend_from_slice(lines.line());
                    kept.push_back((lines.number(), slot));
                }
                Next::End => break,
                Next::Partial(_) if !complete => break,
                Next::Partial(_) => {
                    let why = BadLine(String::from("the line has no end"));
                    return Err(bad(*first, lines, why));
                }
                Next::TooLong => {
                    let why = BadLine(String::from("longer than a record can be"));
                    return Err(bad(*first, lines, why));
                }
            }
        }
        kept.iter()
            .map(|(number, line)| {
                Head::read(line)
                    .and_then(|head| head.record())
                    .map_err(|why| ReadError::Bad {
                        file: segment_name(*first),
                        line: *number,
                        why,
                    })
            })
            .collect()
    }
}
