//! The forms of a lent value that are searched for, and the search in one stretch of bytes.
//!
//! One automaton finds all forms of all values in one pass, so the time grows with the text alone.

use std::ops::Range;

use aho_corasick::{AhoCorasick, BuildError, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Shorter values are not searched for: they stand in texts by chance, so that replacing them would
/// tear texts apart and, by where it tears, show the value. `check` warns of them.
pub const SHORTEST: usize = 6;

/// Where a value was found, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) range: Range<usize>,
    /// The position of the value among those lent.
    pub(super) value: usize,
}

#[derive(Debug, Clone, Copy)]
struct Pattern {
    value: usize,
    /// Base64 whose first letter shares bits with what goes before.
    shares_left: bool,
    /// Base64 whose last letter shares bits with what comes after.
    shares_right: bool,
    base64: bool,
    /// Counts in its own case; in any, where letters have lost theirs: in a host's name.
    cased: bool,
}

/// All forms of all values.
#[derive(Debug)]
pub(super) struct Forms {
    /// Finds every form in any case; whether the case counts is looked at where one is found, so that
    /// one pass serves both.
    automaton: AhoCorasick,
    /// In the order of the automaton's patterns.
    forms: Vec<(Vec<u8>, Pattern)>,
    /// The length of the longest form.
    pub(super) longest: usize,
    /// Whether a value has a space, which forms write as `+`.
    pub(super) spaces: bool,
}

impl Forms {
    pub(super) fn of(values: &[&[u8]]) -> Result<Self, BuildError> {
        let mut forms: Vec<(Vec<u8>, Pattern)> = Vec::new();
        for (number, value) in values.iter().enumerate() {
            if value.len() < SHORTEST {
                continue;
            }
            let plain = Pattern {
                value: number,
                shares_left: false,
                shares_right: false,
                base64: false,
                cased: true,
            };
            forms.push((value.to_vec(), plain));
            for before in 0..3 {
                for (text, pattern) in base64_cores(value, before, plain) {
                    if forms.iter().all(|(known, _)| *known != text) {
                        forms.push((text, pattern));
                    }
                }
            }
            let digits = Pattern {
                cased: false,
                ..plain
            };
            forms.push((hex::encode(value).into_bytes(), digits));
        }
        let automaton = AhoCorasick::builder()
            // Every match, also those that overlap: two values may share a stretch.
            .match_kind(MatchKind::Standard)
            .ascii_case_insensitive(true)
            .build(forms.iter().map(|(text, _)| text))?;
        Ok(Self {
            longest: forms.iter().map(|(text, _)| text.len()).max().unwrap_or(0),
            spaces: values.iter().any(|v| v.contains(&b' ')),
            automaton,
            forms,
        })
    }

    /// Every hit in `bytes`; `host` where letters may have lost their case.
    pub(super) fn find(&self, bytes: &[u8], host: bool) -> Vec<Hit> {
        let mut hits = Vec::new();
        for found in self.automaton.find_overlapping_iter(bytes) {
            let Some((text, pattern)) = self.forms.get(found.pattern().as_usize()) else {
                continue;
            };
            if host || !pattern.cased || bytes.get(found.range()) == Some(text.as_slice()) {
                note(&mut hits, bytes, found.range(), *pattern);
            }
        }
        hits
    }
}

/// Notes a hit, and grows the last one where they overlap: a text of nothing but hits stays cheap.
fn note(hits: &mut Vec<Hit>, bytes: &[u8], mut range: Range<usize>, pattern: Pattern) {
    if pattern.base64 {
        // The letters at the ends hold bits of the value as well.
        let letter = |at: usize| bytes.get(at).is_some_and(|b| is_base64(*b));
        if pattern.shares_left && range.start > 0 && letter(range.start - 1) {
            range.start -= 1;
        }
        if pattern.shares_right && letter(range.end) {
            range.end += 1;
        }
        let padding = bytes.iter().skip(range.end).take(2);
        range.end += padding.take_while(|b| **b == b'=').count();
    }
    match hits.last_mut() {
        Some(last) if last.range.start <= range.start && range.start < last.range.end => {
            last.range.end = last.range.end.max(range.end);
        }
        _ => hits.push(Hit {
            range,
            value: pattern.value,
        }),
    }
}

pub(super) const fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// The letters that a value always has in base64, when `before` bytes (of three) go before it: those
/// that share no bit with what stands around it. In both alphabets.
fn base64_cores(value: &[u8], before: usize, plain: Pattern) -> [(Vec<u8>, Pattern); 2] {
    let mut padded = vec![0; before];
    padded.extend_from_slice(value);
    // Of the first letters, those that hold bits of what goes before.
    let skip = (before * 8).div_ceil(6);
    let whole = padded.len() * 8 / 6;
    let core = |text: String| {
        text.into_bytes()
            .into_iter()
            .take(whole)
            .skip(skip)
            .collect::<Vec<_>>()
    };
    let pattern = Pattern {
        shares_left: before > 0,
        shares_right: !(padded.len() * 8).is_multiple_of(6),
        base64: true,
        ..plain
    };
    [
        (core(STANDARD_NO_PAD.encode(&padded)), pattern),
        (core(URL_SAFE_NO_PAD.encode(&padded)), pattern),
    ]
}
