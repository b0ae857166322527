//! Which letters are shown as themselves, and which are written as escapes.

/// Whether `c` is written as an escape, since on a terminal or in a browser it would be more than a letter.
pub(crate) const fn is_unsafe(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a byte is a letter that stands for itself, whatever stands beside it.
const fn is_plain(b: u8) -> bool {
    (b >= 0x20) & (b < 0x7f) & (b != b'"') & (b != b'\\')
}

/// The same, looked up: quicker where each byte is asked for by itself.
#[expect(
    clippy::indexing_slicing,
    reason = "a constant: what is out of bounds does not compile"
)]
pub(super) const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        table[byte as usize] = is_plain(byte);
        byte += 1;
    }
    table
};

/// Whether all of them are. All are looked at, and not up to the first that is not plain: so many are at once.
#[inline]
pub(super) fn are_plain(bytes: &[u8]) -> bool {
    let plain = |bytes: &[u8]| bytes.iter().fold(true, |all, b| all & is_plain(*b));
    let (chunks, rest) = bytes.as_chunks::<16>();
    chunks.iter().fold(true, |all, chunk| all & plain(chunk))
        // The last sixteen again, where there are as many, are quicker than some of them one by one.
        & bytes.last_chunk::<16>().map_or_else(|| plain(rest), |last| plain(last))
}
