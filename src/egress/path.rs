//! Paths: one normalisation, and what two readers could still read differently after it.
//!
//! The path that is decided on is the path that is sent, byte by byte. That alone is not enough: a
//! server may decode `%2f` before it routes, decode twice, merge `//` or cut `;parameters`, and so
//! serve another path than the one that was allowed. What leads out of a directory in any such
//! reading is always refused. What is merely ambiguous is marked as a [`Doubt`], and refused where
//! a grant is limited to some paths.

use std::borrow::Cow;

use crate::reason::{Reason, Refusal};

/// What makes a path ambiguous, though harmless where every path is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// As written it had `.` or `..` segments; they are resolved in what is sent.
    DotSegments,
    /// `%2f`: a separator to some. GitLab's interface needs it in names of projects.
    EncodedSlash,
    /// `%5c`: a separator to some.
    EncodedBackslash,
    /// `%25` and two hexadecimal digits: another text to those who decode twice.
    DoubleEncoding,
    /// `//`: the same as `/` to some.
    EmptySegment,
    /// `;`: what follows is cut off by some.
    Parameters,
}

impl Doubt {
    /// What it is, in words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DotSegments => "`.` or `..` segments",
            Self::EncodedSlash => "an encoded slash",
            Self::EncodedBackslash => "an encoded backslash",
            Self::DoubleEncoding => "a doubly encoded character",
            Self::EmptySegment => "an empty segment",
            Self::Parameters => "`;` parameters",
        }
    }
}

const fn nibble(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte that an escape at the start of `text` stands for.
const fn escape(text: &[u8]) -> Option<u8> {
    if let [b'%', high, low, ..] = text
        && let (Some(high), Some(low)) = (nibble(*high), nibble(*low))
    {
        return Some(high << 4 | low);
    }
    None
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `path` with the escapes of unreserved characters decoded and the digits of the others in upper
/// case (RFC 3986 sections 6.2.2.1 and 6.2.2.2), so that a rule on `/admin` also meets `/%61dmin`.
pub(super) fn normalise(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, _)) = rest.split_once('%') {
        out.push_str(before);
        let (_, tail) = rest.split_at(before.len());
        if let (Some(byte), Some((escaped, after))) =
            (escape(tail.as_bytes()), tail.split_at_checked(3))
        {
            if is_unreserved(byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&escaped.to_ascii_uppercase());
            }
            rest = after;
        } else {
            out.push('%');
            rest = tail.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn decode_once(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        if let (Some(byte), Some(tail)) = (escape(rest), rest.get(3..)) {
            out.push(byte);
            rest = tail;
        } else {
            out.push(*first);
            rest = after;
        }
    }
    out
}

fn has_dot_segment(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\'))
        .any(|segment| {
            // `..;x` is `..` to those who cut parameters.
            let name = segment
                .split(|byte| *byte == b';')
                .next()
                .unwrap_or_default();
            matches!(name, b"." | b"..")
        })
}

/// Looks at a path as it was written and as it will be sent.
///
/// # Errors
///
/// `egress.path`, where some reader would leave the directory, or meet a control character.
pub(super) fn examine(written: &str, sent: &str) -> Result<Option<Doubt>, Refusal> {
    let refuse = |what: &'static str| Err(Refusal::new(Reason::EgressPath, what));
    // On the text as written: `%%36%31` would be normalised into an escape that nobody wrote.
    for (at, byte) in written.bytes().enumerate() {
        if byte == b'%' && written.as_bytes().get(at..).and_then(escape).is_none() {
            return refuse("the path has a `%` that starts no escape; write it as `%25`");
        }
    }
    // Decode until nothing changes: every reader's text is one of these. Each round shortens the
    // text, and a text that goes on longer than four rounds is nobody's path.
    let mut reading = sent.as_bytes().to_vec();
    for round in 0.. {
        if has_dot_segment(&reading) {
            return refuse("the path leads elsewhere once it is decoded");
        }
        if reading.iter().any(u8::is_ascii_control) {
            return refuse("the path has an encoded control character");
        }
        let next = decode_once(&reading);
        if next == reading {
            break;
        }
        if round == 4 {
            return refuse("the path is encoded over and over");
        }
        reading = next;
    }
    Ok(doubt(written.as_bytes(), sent.as_bytes()))
}

fn doubt(written: &[u8], sent: &[u8]) -> Option<Doubt> {
    if has_dot_segment(&decode_once(written)) {
        return Some(Doubt::DotSegments);
    }
    sent.iter().enumerate().find_map(|(at, byte)| {
        let rest = sent.get(at..)?;
        match byte {
            b'%' => match escape(rest)? {
                b'/' => Some(Doubt::EncodedSlash),
                b'\\' => Some(Doubt::EncodedBackslash),
                // What is left of `%25..` once decoded is an escape again, or starts one.
                b'%' => Some(Doubt::DoubleEncoding),
                b';' => Some(Doubt::Parameters),
                _ => None,
            },
            b';' => Some(Doubt::Parameters),
            b'/' if rest.get(1) == Some(&b'/') => Some(Doubt::EmptySegment),
            _ => None,
        }
    })
}
