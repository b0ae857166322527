//! Looking through the whole journal for calls, and for records that are of no call.
//!
//! What is asked for is spread over a call's records: who asked stands in the first, where it went in
//! others, how it ended in the last. So a search notes for each call which criteria its records satisfy,
//! and takes those calls that satisfy all. Lines are searched as bytes, newest segment first, on all
//! cores, and it ends once as many were found as are wanted (`query.rs` says why bytes are enough). Only
//! what is shown is read.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use memchr::memmem;

use super::line::Head;
use super::query::{Compiled, Mask, Query, Take};
use super::read::ReadError;
use super::record::{CallId, Record};
use super::segments::{Block, Segments};

/// How far behind the first record of a segment records before it may be dated: a day, so that a clock
/// that was set back hides nothing from a search by time.
const SLACK: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

/// What a search found.
#[derive(Debug)]
pub struct Found {
    /// The calls, the oldest first, by the last of their records that was asked for.
    pub calls: Vec<CallId>,
    /// The numbers of records that are of no call, ascending.
    pub records: Vec<u64>,
    /// The first record that matters for any of them, as far as it is known.
    oldest: u64,
    /// The segments that hold all of their records, ascending, where that is known.
    within: Option<Vec<u64>>,
    compiled: Compiled,
}

/// A line that satisfies something.
#[derive(Debug, Clone, Copy)]
struct Hit {
    seq: u64,
    call: Option<CallId>,
    mask: Mask,
}

/// What is known of a call so far.
#[derive(Debug, Clone, Copy)]
struct Partly {
    mask: Mask,
    newest: u64,
    oldest: u64,
}

/// Finds the newest calls and records of no call that satisfy `query`, at most `limit` of them.
///
/// # Errors
///
/// The file system fails, or a line that has what is asked for is not a record.
pub fn search(directory: &Path, query: &Query, limit: usize) -> Result<Found, ReadError> {
    find(directory, query.compiled(Take::Calls), limit)
}

/// The same for records: of each call found, at least one is wanted as it stands.
pub(super) fn search_records(
    directory: &Path,
    query: &Query,
    limit: usize,
) -> Result<Found, ReadError> {
    find(directory, query.compiled(Take::Records), limit)
}

fn find(directory: &Path, compiled: Compiled, limit: usize) -> Result<Found, ReadError> {
    let segments = Segments::list(directory)?;
    let from = match compiled.since().map(a_day_before) {
        Some(since) => segments.before(&since)?,
        None => 0,
    };
    let mut so_far = SoFar::default();
    let all = from..segments.firsts().len();
    if limit > 0 {
        segments.newest_first(
            all,
            |first, goes_on| hits(&segments, first, &compiled, goes_on),
            |_, hits| so_far.take(&compiled, limit, &hits),
        )?;
    }
    Ok(so_far.found(compiled, limit))
}

/// The records of what was found, in order, each read strictly: of calls all, or those that were asked
/// for themselves.
///
/// # Errors
///
/// The file system fails, or one of the lines is not a record.
pub fn each(
    directory: &Path,
    found: &Found,
    mut record: impl FnMut(Record) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    if found.is_empty() {
        return Ok(());
    }
    let segments = Segments::list(directory)?;
    let calls: HashSet<CallId> = found.calls.iter().copied().collect();
    let records: HashSet<u64> = found.records.iter().copied().collect();
    let firsts = match &found.within {
        Some(within) => within.as_slice(),
        None => {
            let from = found.starts_at(&segments)?;
            segments.firsts().get(from..).unwrap_or(&[])
        }
    };
    for first in firsts {
        let mut is_enough = false;
        segments.blocks(*first, &|| true, |block| {
            lines(block, |line, at| {
                if let Some((seq, call)) = peeked(line)
                    && !calls.contains(&call)
                    && !records.contains(&seq)
                {
                    return Ok(ControlFlow::Continue(()));
                }
                let head = Head::read(line).map_err(|why| block.bad(&segments, at, why))?;
                let of_call = call_of(&head).is_some_and(|call| calls.contains(&call));
                let is_wanted = of_call && found.compiled.shows(&head, line);
                if !is_wanted && !records.contains(&head.seq) {
                    return Ok(ControlFlow::Continue(()));
                }
                let read = head.record();
                let flow = record(read.map_err(|why| block.bad(&segments, at, why))?);
                is_enough = flow.is_break();
                Ok(flow)
            })
        })?;
        if is_enough {
            break;
        }
    }
    Ok(())
}

impl Found {
    /// Whether nothing was found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.records.is_empty()
    }

    /// The place of the segment from which on their records are. A call's first record may lie before what
    /// was found of it: by when its id was made, that is known well enough.
    fn starts_at(&self, segments: &Segments) -> Result<usize, ReadError> {
        let after = segments
            .firsts()
            .partition_point(|first| *first <= self.oldest);
        let place = after.saturating_sub(2);
        let Some(oldest) = self.calls.iter().min() else {
            return Ok(place);
        };
        match arrived(oldest) {
            Some(began) => Ok(place.min(segments.before(&began)?)),
            // An id that tells no time: it may be anywhere.
            None => Ok(0),
        }
    }
}

/// When a call arrived, by its id.
fn arrived(call: &CallId) -> Option<String> {
    let (seconds, nanos) = call.0.get_timestamp()?.to_unix();
    let nanos = i32::try_from(nanos).ok()?;
    let time = jiff::Timestamp::new(i64::try_from(seconds).ok()?, nanos).ok()?;
    Some(format!("{time:.3}"))
}

/// A line's number, and the call that it is about, by where they stand; nothing where that is not sure. For passing over
/// lines quickly: what is taken is read as it should be.
fn peeked(line: &[u8]) -> Option<(u64, CallId)> {
    let rest = line.strip_prefix(b"{\"v\":1,\"seq\":")?;
    let digits = memchr::memchr(b',', rest)?;
    let seq = std::str::from_utf8(rest.get(..digits)?)
        .ok()?
        .parse()
        .ok()?;
    // The time, the digest of the line before, and what stands around them.
    let kind = rest.get(digits + BETWEEN..)?;
    let end = memchr::memchr(b'"', kind)?;
    let call = kind
        .get(end..)?
        .strip_prefix(b"\",\"call\":\"")?
        .get(..36)?;
    let call = uuid::Uuid::try_parse_ascii(call).ok()?;
    Some((seq, CallId(call)))
}

/// Bytes from the end of a line's number to the start of its kind.
const BETWEEN: usize = r#","time":"2026-11-22T13:22:08.123Z","prev":"sha256:","kind":""#.len() + 64;

/// Calls whose ids start or end with `text`: all, unless there are more than `most`, and then a few more than
/// that. [`each`] gives their records.
pub(super) fn by_id(directory: &Path, text: &str, most: usize) -> Result<Found, ReadError> {
    let segments = Segments::list(directory)?;
    let finder = memmem::Finder::new(text);
    let mut known: HashMap<CallId, u64> = HashMap::new();
    let mut within = Vec::new();
    segments.newest_first(
        0..segments.firsts().len(),
        |first, goes_on| {
            let mut found: HashMap<CallId, u64> = HashMap::new();
            segments.blocks(first, goes_on, |block| {
                let mut from = 0;
                while let Some(at) = block.lines.get(from..).and_then(|rest| finder.find(rest)) {
                    let (start, line) = line_around(block.lines, from + at);
                    from = start + line.len();
                    let head = Head::read(line).map_err(|why| block.bad(&segments, start, why))?;
                    let is_wanted = head
                        .call()
                        .is_some_and(|call| call.starts_with(text) || call.ends_with(text));
                    if let Some(call) = call_of(&head).filter(|_| is_wanted) {
                        found.entry(call).or_insert(head.seq);
                    }
                }
                Ok(if found.len() > most {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })?;
            Ok(found)
        },
        |first, found| {
            if !found.is_empty() {
                within.push(first);
            }
            // Older ones come later.
            known.extend(found);
            if known.len() > most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    )?;
    let mut calls: Vec<CallId> = known.keys().copied().collect();
    calls.sort_unstable();
    within.reverse();
    Ok(Found {
        oldest: known.values().min().copied().unwrap_or(0),
        within: Some(within),
        calls,
        records: Vec::new(),
        compiled: Query::default().compiled(Take::Calls),
    })
}

/// Adds to the one call that was found the records that are not its own and name it.
pub(super) fn with_mentions(directory: &Path, mut found: Found) -> Result<Found, ReadError> {
    let Some(call) = found.calls.first().copied() else {
        return Ok(found);
    };
    let segments = Segments::list(directory)?;
    let compiled = Compiled::naming(call);
    let from = found.starts_at(&segments)?;
    segments.newest_first(
        from..segments.firsts().len(),
        |first, goes_on| hits(&segments, first, &compiled, goes_on),
        |first, hits| {
            let before = found.records.len();
            let others = hits.iter().filter(|hit| hit.call != Some(call));
            found.records.extend(others.map(|hit| hit.seq));
            if found.records.len() > before
                && let Some(within) = &mut found.within
            {
                within.push(first);
            }
            ControlFlow::Continue(())
        },
    )?;
    found.records.sort_unstable();
    if let Some(within) = &mut found.within {
        within.sort_unstable();
        within.dedup();
    }
    Ok(found)
}

/// The lines of a segment that satisfy something.
fn hits(
    segments: &Segments,
    first: u64,
    compiled: &Compiled,
    goes_on: &dyn Fn() -> bool,
) -> Result<Vec<Hit>, ReadError> {
    let mut hits = Vec::new();
    // Where lines with something in them start in the block, and what.
    let mut places: Vec<(usize, Mask)> = Vec::new();
    segments.blocks(first, goes_on, |block| {
        places.clear();
        if compiled.criteria.is_empty() {
            // Only time is asked for.
            return lines(block, |line, at| {
                hits.extend(hit(segments, block, (at, line), compiled, 0)?);
                Ok(ControlFlow::Continue(()))
            });
        }
        for criterion in &compiled.criteria {
            criterion.each(block.lines, |at| {
                let (start, line) = line_around(block.lines, at);
                places.push((start, criterion.bit()));
                Some(start + line.len())
            });
        }
        places.sort_unstable();
        for same in places.chunk_by(|one, other| one.0 == other.0) {
            let mask = same.iter().fold(0, |mask, (_, bit)| mask | bit);
            if let Some((start, _)) = same.first() {
                let (_, line) = line_around(block.lines, *start);
                hits.extend(hit(segments, block, (*start, line), compiled, mask)?);
            }
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(hits)
}

/// What a line that has `found` in it amounts to.
fn hit(
    segments: &Segments,
    block: Block<'_>,
    (at, line): (usize, &[u8]),
    compiled: &Compiled,
    found: Mask,
) -> Result<Option<Hit>, ReadError> {
    let head = Head::read(line).map_err(|why| block.bad(segments, at, why))?;
    let mask = compiled.judged(&head, found);
    let call = call_of(&head);
    Ok(mask
        // A record of no call stands for itself alone.
        .filter(|mask| call.is_some() && (*mask != 0 || found == 0) || compiled.is_met(*mask))
        .map(|mask| Hit {
            seq: head.seq,
            call,
            mask,
        }))
}

/// The call that a line is about, by its head.
pub(super) fn call_of(head: &Head<'_>) -> Option<CallId> {
    head.call()
        .and_then(|text| uuid::Uuid::try_parse(text).ok())
        .map(CallId)
}

/// Hands on the lines of a block, without their newlines, with their places in it.
fn lines(
    block: Block<'_>,
    mut each: impl FnMut(&[u8], usize) -> Result<ControlFlow<()>, ReadError>,
) -> Result<ControlFlow<()>, ReadError> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', block.lines) {
        let line = block.lines.get(start..end).unwrap_or_default();
        if each(line, start)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        start = end + 1;
    }
    Ok(ControlFlow::Continue(()))
}

/// The line around byte `at` of `lines`, without its newline, and where it starts.
fn line_around(lines: &[u8], at: usize) -> (usize, &[u8]) {
    let (before, behind) = lines.split_at_checked(at).unwrap_or_default();
    let start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    let end = memchr::memchr(b'\n', behind).map_or(lines.len(), |newline| at + newline);
    (start, lines.get(start..end).unwrap_or_default())
}

/// A time a day before another; the same, where it is none.
fn a_day_before(time: &str) -> String {
    let earlier = time
        .parse::<jiff::Timestamp>()
        .ok()
        .and_then(|time| time.checked_sub(SLACK).ok());
    earlier.map_or_else(|| time.to_owned(), |time| format!("{time:.3}"))
}

/// What was found in the segments looked at so far.
#[derive(Debug, Default)]
struct SoFar {
    calls: HashMap<CallId, Partly>,
    /// Calls that satisfy everything.
    met: usize,
    records: Vec<u64>,
    /// How many there were, calls and records, before the segment taken last.
    before: usize,
}

impl SoFar {
    /// Takes what an older segment gives; says whether it is enough.
    fn take(&mut self, compiled: &Compiled, limit: usize, hits: &[Hit]) -> ControlFlow<()> {
        for hit in hits {
            let Some(call) = hit.call else {
                self.records.push(hit.seq);
                continue;
            };
            let before = self.calls.get(&call).copied();
            // A call is as new as the last of its records that would be shown.
            let newest = if compiled.is_shown_for(hit.mask) {
                hit.seq
            } else {
                0
            };
            let known = before.map_or(
                Partly {
                    mask: hit.mask,
                    newest,
                    oldest: hit.seq,
                },
                |known| Partly {
                    mask: known.mask | hit.mask,
                    newest: known.newest.max(newest),
                    oldest: known.oldest.min(hit.seq),
                },
            );
            let was_met = before.is_some_and(|known| compiled.is_met(known.mask));
            self.met += usize::from(compiled.is_met(known.mask) && !was_met);
            self.calls.insert(call, known);
        }
        let now = self.met + self.records.len();
        // Where a call's records lie in two segments, one that began earlier may still turn out to be newer
        // than those found: so one segment more is looked at.
        let enough = if compiled.is_spread() {
            self.before
        } else {
            now
        };
        self.before = now;
        if enough >= limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn found(self, compiled: Compiled, limit: usize) -> Found {
        let calls = self
            .calls
            .into_iter()
            .filter(|(_, known)| compiled.is_met(known.mask))
            .map(|(call, known)| (known.newest, known.oldest, Some(call)));
        let records = self.records.into_iter().map(|seq| (seq, seq, None));
        let mut all: Vec<(u64, u64, Option<CallId>)> = calls.chain(records).collect();
        all.sort_unstable_by_key(|(newest, ..)| *newest);
        let kept = all.split_off(all.len().saturating_sub(limit));
        Found {
            oldest: kept.iter().map(|(_, oldest, _)| *oldest).min().unwrap_or(0),
            within: None,
            calls: kept.iter().filter_map(|(_, _, call)| *call).collect(),
            records: kept
                .iter()
                .filter(|(_, _, call)| call.is_none())
                .map(|(seq, ..)| *seq)
                .collect(),
            compiled,
        }
    }
}
