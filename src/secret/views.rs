//! The same bytes as another reader sees them: percent-decoded, JSON-unescaped, without line breaks.
//!
//! A value may be written in so many ways (each byte escaped or not) that the ways can't be listed;
//! so the escapes are undone, and the value is looked for in what remains; and where those bytes came
//! from is known, so that a find can be cut out of the original.

use std::ops::Range;

/// A way to undo escapes.
#[derive(Debug, Clone, Copy)]
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

impl Undo {
    /// What may be undone after this: layers in the order in which programs put them on.
    pub(super) const fn next(self) -> &'static [Self] {
        match self {
            Self::Percent => &[Self::Percent, Self::Json],
            Self::Json => &[Self::Json, Self::Percent, Self::LineBreaks],
            Self::Form | Self::LineBreaks => &[],
        }
    }

    /// `bytes` with these escapes undone; nothing where there are none.
    pub(super) fn bytes(self, bytes: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Percent => self.undone(bytes, |b| b == b'%'),
            // Without a `+` it is what `Percent` makes.
            Self::Form if !bytes.contains(&b'+') => None,
            Self::Form => self.undone(bytes, |b| matches!(b, b'+' | b'%')),
            Self::Json => self.undone(bytes, |b| b == b'\\'),
            Self::LineBreaks => self.undone(bytes, |b| matches!(b, b'\n' | b'\r')),
        }
    }

    /// What stands between two escapes is copied as it is: mostly that is nearly all.
    fn undone(self, bytes: &[u8], escapes: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
        let next = |rest: &[u8]| rest.iter().position(|b| escapes(*b));
        let mut escape = next(bytes)?;
        let mut out = Vec::with_capacity(bytes.len());
        let mut rest = bytes;
        while let Some((plain, escaped)) = rest.split_at_checked(escape) {
            out.extend_from_slice(plain);
            let (used, made) = step(self, escaped);
            out.extend(made.iter());
            rest = escaped.get(used..).unwrap_or_default();
            match next(rest) {
                Some(at) => escape = at,
                None => break,
            }
        }
        out.extend_from_slice(rest);
        Some(out)
    }

    fn each(self, bytes: &[u8], mut take: impl FnMut(Range<usize>, &Made)) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
            let (used, made) = step(self, rest);
            take(at..at + used, &made);
            at += used;
        }
    }
}

/// For each byte of `original` with all of `path` undone, where it came from. Made only once
/// something was found: it is larger than the bytes.
pub(super) fn origins(original: &[u8], path: &[Undo]) -> Vec<Range<usize>> {
    let mut origins: Vec<Range<usize>> = (0..original.len()).map(|at| at..at + 1).collect();
    let mut bytes = original.to_vec();
    for undo in path {
        let (mut next, mut made_bytes) = (Vec::with_capacity(bytes.len()), Vec::new());
        undo.each(&bytes, |range, made| {
            let from = source(&origins, &range);
            for byte in made.iter() {
                made_bytes.push(byte);
                next.push(from.clone());
            }
        });
        (origins, bytes) = (next, made_bytes);
    }
    origins
}

/// Where `range` came from.
pub(super) fn source(origins: &[Range<usize>], range: &Range<usize>) -> Range<usize> {
    let start = origins.get(range.start).map_or(0, |o| o.start);
    let last = range.end.checked_sub(1).and_then(|last| origins.get(last));
    start..last.map_or(start, |o| o.end)
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
