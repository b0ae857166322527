//! The same bytes as another reader sees them: percent-decoded, JSON-unescaped, without line breaks.
//!
//! A value may be written in so many ways (each byte escaped or not) that the ways can't be listed;
//! so the escapes are undone, and the value is looked for in what remains. Each view knows where its
//! bytes came from, so that a find in it can be cut out of the original.

use std::borrow::Cow;
use std::ops::Range;

/// Bytes, and where each came from.
#[derive(Debug, Clone)]
pub(super) struct View<'b> {
    pub(super) bytes: Cow<'b, [u8]>,
    /// For each byte, where it starts in the original; and at the end, where the original ends.
    /// Absent where it is the original.
    starts: Option<Vec<usize>>,
}

/// A way to undo escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    /// `%41`.
    Percent,
    /// The same, where `+` is a space.
    Form,
    /// `\u0041`, `\n`, `\/`.
    Json,
    /// Base64 and hexadecimal digits in lines.
    LineBreaks,
}

impl<'b> View<'b> {
    pub(super) const fn original(bytes: &'b [u8]) -> Self {
        Self {
            bytes: Cow::Borrowed(bytes),
            starts: None,
        }
    }

    /// Where `range` of this view is in the original.
    pub(super) fn source(&self, range: &Range<usize>) -> Range<usize> {
        let Some(starts) = &self.starts else {
            return range.clone();
        };
        let start = starts.get(range.start).copied().unwrap_or(0);
        let end = starts.get(range.end).or(starts.last()).copied().unwrap_or(start);
        start..end.max(start + 1)
    }

    /// This view with escapes undone; nothing where there are none.
    pub(super) fn undo(&self, undo: Undo) -> Option<View<'static>> {
        let escapes: fn(u8) -> bool = match undo {
            Undo::Percent => |b| b == b'%',
            Undo::Form => |b| b == b'+',
            Undo::Json => |b| b == b'\\',
            Undo::LineBreaks => |b| b == b'\n' || b == b'\r',
        };
        if !self.bytes.iter().any(|b| escapes(*b)) {
            return None;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut starts = Vec::with_capacity(self.bytes.len() + 1);
        let mut at = 0;
        while let Some(rest) = self.bytes.get(at..).filter(|r| !r.is_empty()) {
            let (used, made) = step(undo, rest);
            let start = self.source(&(at..at + 1)).start;
            for byte in made.iter() {
                bytes.push(byte);
                starts.push(start);
            }
            at += used;
        }
        starts.push(self.source(&(self.bytes.len()..self.bytes.len())).start);
        Some(View {
            bytes: Cow::Owned(bytes),
            starts: Some(starts),
        })
    }
}

/// At most four bytes: one character.
struct Made([u8; 4], usize);

impl Made {
    const fn byte(byte: u8) -> Self {
        Self([byte, 0, 0, 0], 1)
    }

    fn character(c: char) -> Self {
        let mut bytes = [0; 4];
        let len = c.encode_utf8(&mut bytes).len();
        Self(bytes, len)
    }

    fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied().take(self.1)
    }
}

/// How many bytes of `rest` become what.
fn step(undo: Undo, rest: &[u8]) -> (usize, Made) {
    let as_is = |byte| (1, Made::byte(byte));
    match (undo, rest) {
        (Undo::Percent | Undo::Form, [b'%', a, b, ..]) => match hex_value(&[*a, *b]) {
            Some(value) => (3, Made::byte(u8::try_from(value).unwrap_or(0))),
            None => as_is(b'%'),
        },
        (Undo::Form, [b'+', ..]) => as_is(b' '),
        (Undo::LineBreaks, [b'\n' | b'\r', ..]) => (1, Made([0; 4], 0)),
        (Undo::Json, [b'\\', b'u', rest @ ..]) => json_unicode(rest),
        (Undo::Json, [b'\\', escape, ..]) => {
            let byte = match escape {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                b'"' | b'\\' | b'/' => *escape,
                _ => return as_is(b'\\'),
            };
            (2, Made::byte(byte))
        }
        (_, [byte, ..]) => as_is(*byte),
        (_, []) => (1, Made([0; 4], 0)),
    }
}

/// What `\u` and `rest` are.
fn json_unicode(rest: &[u8]) -> (usize, Made) {
    let unit = |bytes: &[u8]| bytes.get(..4).and_then(hex_value);
    let Some(first) = unit(rest) else {
        return (1, Made::byte(b'\\'));
    };
    if let Some(c) = char::from_u32(first) {
        return (6, Made::character(c));
    }
    let second = match rest.get(4..) {
        Some([b'\\', b'u', more @ ..]) => unit(more),
        _ => None,
    };
    let pair = second
        .filter(|low| (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(low))
        .and_then(|low| char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00)));
    match pair {
        Some(c) => (12, Made::character(c)),
        None => (6, Made::character('\u{fffd}')),
    }
}

fn hex_value(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| {
        char::from(*digit).to_digit(16).map(|d| value * 16 + d)
    })
}
