//! JSON that has only letters in it that are shown as themselves: for lines that are kept, and for those
//! that may end up on a terminal.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

/// Whether `c` is written as an escape, since on a terminal or in a browser it would be more than a letter.
pub(crate) const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes strings so that a line has only letters in it that are shown as themselves.
struct Plain;

impl Formatter for Plain {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // `serde_json` itself escapes what JSON demands: quote, backslash, and C0.
        // The largest byte, and not the first that is too large: that is looked for many bytes at once.
        if fragment.bytes().fold(0, u8::max) < 0x7f {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some((before, found)) = rest
            .char_indices()
            .find(|(_, c)| is_unsafe(*c))
            .and_then(|(at, c)| Some((rest.get(..at)?, c)))
        {
            writer.write_all(before.as_bytes())?;
            for unit in found.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = rest
                .get(before.len() + found.len_utf8()..)
                .unwrap_or_default();
        }
        writer.write_all(rest.as_bytes())
    }

    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.write_null(writer)
    }
}

/// Appends `value` to `out`: control characters (C0, DEL, C1), line and paragraph separators, bidirectional
/// and invisible characters are written as escapes.
///
/// # Errors
///
/// `value` has no JSON text.
pub(crate) fn write(
    value: &(impl Serialize + ?Sized),
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    value.serialize(&mut serde_json::Serializer::with_formatter(out, Plain))
}
