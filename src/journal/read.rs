//! Reading the journal, also while a host writes it: a line without an end is then being written.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use super::line::{BadLine, Head};
use super::record::{CallId, Record};
use super::scan::{Lines, Next};
use super::storage::{Disk, Storage, segment_name};
use crate::identity::AgentId;

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

fn failed(file: impl Into<String>) -> impl FnOnce(io::Error) -> ReadError {
    |error| ReadError::Storage {
        file: file.into(),
        error,
    }
}

/// Which records are wanted. An absent field wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this agent. Records that name no agent (host calls, outcomes) are not of any.
    pub agent: Option<AgentId>,
    /// Of this tool, `<plugin>.<tool>`, or of all tools of a plugin, `<plugin>`.
    pub tool: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// Of this call.
    pub call: Option<CallId>,
}

impl Filter {
    /// Whether `record` is wanted.
    #[must_use]
    pub fn wants(&self, record: &Record) -> bool {
        let event = &record.event;
        let is = |wanted: &Option<String>, is: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| is == Some(wanted))
        };
        let tool = event.tool();
        let plugin = tool.as_deref().and_then(|t| t.split_once('.')).map(|t| t.0);
        (is(&self.tool, tool.as_deref()) || is(&self.tool, plugin))
            && is(&self.kind, Some(event.kind()))
            && self.call.is_none_or(|call| event.call() == Some(call))
            && self
                .agent
                .as_ref()
                .is_none_or(|agent| event.caller().is_some_and(|caller| caller.agent == *agent))
    }
}

/// Reads records in order, each strictly, over all segments. At the end it can be asked again: it
/// then goes on with what was written since.
#[derive(Debug)]
pub struct Reader {
    storage: Disk,
    /// The segment being read, once there is one.
    current: Option<(u64, Lines)>,
    scratch: Vec<u8>,
}

impl Reader {
    /// Reads the journal in `directory` from its first record on.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            storage: Disk::new(directory),
            current: None,
            scratch: Vec::new(),
        }
    }

    /// The next record; `None` where there is none now. Ask again after the directory changed.
    ///
    /// # Errors
    ///
    /// The file system fails, or the line is not a record.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        self.next_wanted(|_| true)
    }

    /// Bytes at the end that are no line yet: being written, or torn where no host writes.
    #[must_use]
    pub fn being_written(&self) -> usize {
        match &self.current {
            Some((_, lines)) if lines.is_partial() => lines.line().len(),
            _ => 0,
        }
    }

    /// The next record whose head is wanted; others are not parsed.
    fn next_wanted(
        &mut self,
        wanted: impl Fn(&Head<'_>) -> bool,
    ) -> Result<Option<Record>, ReadError> {
        // What was there of the segment when another one was already: all of it.
        let mut following = None;
        loop {
            if let Some((first, lines)) = &mut self.current {
                match lines.next().map_err(failed(segment_name(*first)))? {
                    Next::Line(line) => {
                        let record = Head::read(line).and_then(|head| {
                            if wanted(&head) {
                                head.record(&mut self.scratch).map(Some)
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

/// The last `count` records that `filter` wants, oldest first, and a reader that goes on from there.
///
/// # Errors
///
/// The file system fails, or a line is not a record.
pub fn tail(
    directory: &Path,
    count: usize,
    filter: &Filter,
) -> Result<(Vec<Record>, Reader), ReadError> {
    let storage = Disk::new(directory);
    let segments = storage
        .list()
        .map_err(failed(directory.display().to_string()))?;
    let mut found: Vec<Record> = Vec::new();
    let mut newest = None;
    for &first in segments.iter().rev() {
        let segment = storage
            .read(first, 0)
            .map_err(failed(segment_name(first)))?;
        let mut reader = Reader {
            storage: storage.clone(),
            current: Some((first, Lines::new(segment))),
            scratch: Vec::new(),
        };
        let missing = count - found.len();
        let mut last = reader.last_of_segment(missing, filter, newest.is_some())?;
        last.append(&mut found);
        found = last;
        newest.get_or_insert(reader);
        if found.len() >= count {
            break;
        }
    }
    Ok((found, newest.unwrap_or_else(|| Reader::new(directory))))
}

impl Reader {
    /// The last wanted records of the segment being read.
    fn last_of_segment(
        &mut self,
        count: usize,
        filter: &Filter,
        complete: bool,
    ) -> Result<Vec<Record>, ReadError> {
        let Some((first, lines)) = &mut self.current else {
            return Ok(Vec::new());
        };
        // Lines are kept as they are and read at the end, unless a filter has to look into each.
        let reads = *filter != Filter::default();
        let mut kept: VecDeque<(u64, Vec<u8>)> = VecDeque::new();
        loop {
            match lines.next().map_err(failed(segment_name(*first)))? {
                Next::Line(line) => {
                    let is_wanted = |line: &[u8], scratch: &mut Vec<u8>| {
                        let head = Head::read(line)?;
                        let kind = filter.kind.as_deref();
                        if kind.is_some_and(|kind| kind != head.kind) {
                            return Ok(false);
                        }
                        Ok::<_, BadLine>(filter.wants(&head.record(scratch)?))
                    };
                    let wanted = !reads
                        || match is_wanted(line, &mut self.scratch) {
                            Ok(wanted) => wanted,
                            Err(why) => return Err(bad(*first, lines, why)),
                        };
                    if wanted && count > 0 {
                        let mut slot = if kept.len() == count {
                            kept.pop_front().map(|(_, slot)| slot).unwrap_or_default()
                        } else {
                            Vec::new()
                        };
                        slot.clear();
                        slot.extend_from_slice(lines.line());
                        kept.push_back((lines.number(), slot));
                    }
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
                    .and_then(|head| head.record(&mut self.scratch))
                    .map_err(|why| ReadError::Bad {
                        file: segment_name(*first),
                        line: *number,
                        why,
                    })
            })
            .collect()
    }
}

/// Everything recorded of one call. `id` is its id, or at least six characters of its start or end:
/// ids made within a minute start alike, and end at random.
///
/// # Errors
///
/// There is no such call or more than one, the file system fails, or a line is not a record.
pub fn call(directory: &Path, id: &str) -> Result<Vec<Record>, ReadError> {
    let text = id.to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    if !(6..=36).contains(&text.len()) || !text.bytes().all(plain) {
        return Err(ReadError::NotAnId(super::escape(super::escape::head(
            id, 64,
        ))));
    }
    let mut reader = Reader::new(directory);
    let mut records = Vec::new();
    let mut calls: Vec<CallId> = Vec::new();
    // Of the first call only; of others their ids, to name some.
    while let Some(record) = reader.next_wanted(|head| {
        head.call()
            .is_some_and(|call| call.starts_with(&text) || call.ends_with(&text))
    })? {
        let Some(call) = record.event.call() else {
            continue;
        };
        if !calls.contains(&call) {
            calls.push(call);
            if calls.len() > 8 {
                break;
            }
        }
        if calls.first() == Some(&call) {
            records.push(record);
        }
    }
    match calls.as_slice() {
        [] => Err(ReadError::NoCall(text)),
        [_] => Ok(records),
        several => Err(ReadError::Ambiguous {
            calls: several.iter().map(ToString::to_string).collect(),
            text,
        }),
    }
}
