//! Text from outside, made fit to be shown or stored: escaped, and cut with its length.

use std::fmt::Write as _;

use crate::json::plain::is_unsafe;

/// `text` on one line, with whatever a terminal would act upon written as `\u{..}`.
///
/// Backslashes stay as they are, since much of what is shown was escaped once when it was recorded.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(text, usize::MAX, &mut out);
    out
}

/// Text that may not even be text: each byte that is not UTF-8 is written as `\x..`. At most `bytes`
/// bytes come out; the second value says whether something was left out.
#[must_use]
pub fn escape_bytes(text: &[u8], bytes: usize) -> (String, bool) {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        if !push_escaped(chunk.valid(), bytes, &mut out) {
            return (out, true);
        }
        for byte in chunk.invalid() {
            if out.len() + 4 > bytes {
                return (out, true);
            }
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    (out, false)
}

/// Appends until `out` would be longer than `bytes`; says whether all of it fitted.
fn push_escaped(text: &str, bytes: usize, out: &mut String) -> bool {
    for c in text.chars() {
        let before = out.len();
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_unsafe(c) => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
        if out.len() > bytes {
            out.truncate(before);
            return false;
        }
    }
    true
}

/// The start of `text`, of at most `bytes` bytes, ending at a letter's end.
#[must_use]
pub(super) fn head(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}
