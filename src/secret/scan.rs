//! The search for lent values in whatever is around them: escapes undone, gzip opened.
//!
//! Found: plain, base64 (both alphabets, any alignment, padded or not, in lines), hexadecimal in
//! either case, percent-encoded and JSON-escaped in whole or in part, two layers of these, and any
//! of the plain forms within gzip or base64 of gzip. Not found, and a residual risk: a value that was
//! reversed, split, encrypted, or encoded in another way. Then the grant is what holds.

use std::io::Read as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::forms::{Forms, Hit, is_base64};
use super::views::{Undo, origins, source};

/// How much is inflated for one search: several bodies of the largest size. What would need more is
/// treated as if it had been found.
const INFLATE: usize = 32 << 20;

/// What a try to inflate costs of that, whatever comes out: a body that says nothing but "gzip starts
/// here" must not keep a thread for seconds.
const TRY: usize = 1 << 10;

/// How often a run of base64 is tried at another place in it.
const TRIES: usize = 32;

const GZIP: &[u8] = b"\x1f\x8b\x08";
/// `GZIP` in base64: three bytes are four letters.
const GZIP_BASE64: &[u8] = b"H4sI";

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Every stretch of `bytes` that holds a lent value, in order, none overlapping another.
pub(super) fn scan(forms: &Forms, bytes: &[u8], host: bool) -> Vec<Hit> {
    let mut search = Search {
        forms,
        original: bytes,
        host,
        budget: INFLATE,
        hits: Vec::new(),
    };
    search.layer(bytes, &mut Vec::new());
    merge(search.hits)
}

struct Search<'a> {
    forms: &'a Forms,
    original: &'a [u8],
    host: bool,
    budget: usize,
    hits: Vec<Hit>,
}

impl Search<'_> {
    /// Searches `bytes`, which are the original with all of `path` undone, and what lies below.
    fn layer(&mut self, bytes: &[u8], path: &mut Vec<Undo>) {
        let mut found = self.forms.find(bytes, self.host);
        found.extend(gzip(self.forms, bytes, &mut self.budget));
        if path.is_empty() {
            self.hits.append(&mut found);
        } else if !found.is_empty() {
            let origins = origins(self.original, path);
            self.hits.extend(found.into_iter().map(|hit| Hit {
                range: source(&origins, &hit.range),
                ..hit
            }));
        }
        let next = match path.last() {
            None if self.forms.spaces => &[Undo::Percent, Undo::Json, Undo::LineBreaks, Undo::Form],
            None => [Undo::Percent, Undo::Json, Undo::LineBreaks].as_slice(),
            Some(last) if path.len() == 1 => last.next(),
            Some(_) => &[],
        };
        for undo in next {
            if let Some(below) = undo.bytes(bytes) {
                path.push(*undo);
                self.layer(&below, path);
                path.pop();
            }
        }
    }
}

fn merge(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.range.start, std::cmp::Reverse(hit.range.end)));
    let mut merged: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match merged.last_mut() {
            Some(last) if hit.range.start < last.range.end => {
                last.range.end = last.range.end.max(hit.range.end);
            }
            _ => merged.push(hit),
        }
    }
    merged
}

/// Every gzip member in `bytes`, plain or in base64, that holds a lent value.
fn gzip(forms: &Forms, bytes: &[u8], budget: &mut usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    let mut at = 0;
    while let Some(start) = find(bytes, GZIP, at) {
        let member = bytes.get(start..).unwrap_or_default();
        let (value, used) = inflate(forms, member, budget);
        if let Some(value) = value {
            let range = start..start + used;
            hits.push(Hit { range, value });
        }
        at = start + used.max(GZIP.len());
    }
    let (mut at, mut tries) = (0, 0);
    while let Some(start) = find(bytes, GZIP_BASE64, at) {
        let run = bytes.get(start..).unwrap_or_default();
        let len = run.iter().take_while(|b| is_base64(**b)).count();
        let letters: Vec<u8> = run
            .iter()
            .take(len)
            .map(|b| match b {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            })
            .collect();
        // A single letter left over holds no byte; it may be the start of what comes after.
        let whole = if len % 4 == 1 { len - 1 } else { len };
        let member = letters.get(..whole).map(|l| LENIENT.decode(l));
        let (value, used) = match member {
            Some(Ok(member)) => inflate(forms, &member, budget),
            _ => (None, 0),
        };
        tries += 1;
        if let Some(value) = value {
            let range = start..start + len;
            hits.push(Hit { range, value });
        }
        // Each try decodes the rest of the run: a few, lest a run of nothing else takes its square.
        at = if used > 0 || tries >= TRIES {
            start + len
        } else {
            start + GZIP_BASE64.len()
        };
    }
    hits
}

fn find(bytes: &[u8], what: &[u8], from: usize) -> Option<usize> {
    let first = *what.first()?;
    let mut at = from;
    loop {
        let rest = bytes.get(at..)?;
        let next = rest.iter().position(|b| *b == first)?;
        if rest.get(next..)?.starts_with(what) {
            return Some(at + next);
        }
        at += next + 1;
    }
}

/// Whether a gzip member holds a lent value, or can't be searched; and how many bytes it takes.
fn inflate(forms: &Forms, member: &[u8], budget: &mut usize) -> (Option<usize>, usize) {
    const PIECE: usize = 32 << 10;
    if *budget < TRY {
        *budget = 0;
        return (Some(0), member.len());
    }
    *budget -= TRY;
    let mut reader = flate2::bufread::GzDecoder::new(member);
    // Each piece is searched together with the end of the one before.
    let mut window: Vec<u8> = Vec::with_capacity(PIECE + forms.longest);
    let mut piece = vec![0; PIECE];
    loop {
        let read = match reader.read(&mut piece) {
            Ok(0) => {
                let rest = reader.into_inner().len();
                return (None, member.len() - rest);
            }
            Ok(read) => read,
            // Not gzip after all, or cut short. What came out was searched.
            Err(_) => return (None, 0),
        };
        if read > *budget {
            *budget = 0;
            return (Some(0), member.len());
        }
        *budget -= read;
        window.extend(piece.iter().take(read));
        if let Some(hit) = forms.find(&window, false).first() {
            // Where it ends does not matter any more: what follows in it could belong to the value.
            let value = hit.value;
            let end = end_of(reader, &mut piece, budget);
            return (
                Some(value),
                end.map_or(member.len(), |rest| member.len() - rest),
            );
        }
        let keep = window.len().saturating_sub(forms.longest);
        window.drain(..keep);
    }
}

/// Reads a member to its end; how many bytes are left behind it.
fn end_of(
    mut reader: flate2::bufread::GzDecoder<&[u8]>,
    piece: &mut [u8],
    budget: &mut usize,
) -> Option<usize> {
    loop {
        match reader.read(piece) {
            Ok(0) => return Some(reader.into_inner().len()),
            Ok(read) if read <= *budget => *budget -= read,
            _ => return None,
        }
    }
}

/// `range` grown to whole characters of `text`.
pub(super) fn whole_characters(text: &str, range: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start);
    let end = text.ceil_char_boundary(range.end);
    start..end
}
