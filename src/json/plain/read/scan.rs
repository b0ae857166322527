//! What a text is made of: brackets, words, texts and numbers, one after the other.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::Error as _;
use serde_json::Error;

/// Levels of nesting, as `serde_json` bounds them.
const DEPTH: usize = 128;

/// A text, and how far it was read.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads `text`, with `depth` brackets open before it.
    pub(super) const fn new(text: &'a str, depth: usize) -> Self {
        Self { text, at: 0, depth }
    }

    #[cold]
    pub(super) fn fault(&self, what: &str) -> Error {
        Error::custom(format_args!("{what} at byte {}", self.at))
    }

    /// `value`, if nothing comes behind it.
    pub(super) fn ended<T>(&self, value: T) -> Result<T, Error> {
        if self.at == self.text.len() {
            Ok(value)
        } else {
            Err(self.fault("more than a value"))
        }
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes on past `byte`, if it comes next.
    #[inline]
    fn goes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.goes(byte) {
            Ok(())
        } else {
            Err(self.fault(match byte {
                b'"' => "expected a text",
                b':' => "expected `:`",
                b'}' => "expected `}`",
                _ => "expected another token",
            }))
        }
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), Error> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault("not a value"))
        }
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.expect(b'"')?;
        let start = self.at;
        self.at += self.unescaped()?;
        let whole = self.text.get(start..self.at).unwrap_or_default();
        if self.goes(b'"') {
            return Ok(Cow::Borrowed(whole));
        }
        self.escaped(whole).map(Cow::Owned)
    }

    /// The rest of a text of which `whole` was read, up to something that is escaped.
    #[inline(never)]
    fn escaped(&mut self, whole: &str) -> Result<String, Error> {
        let mut text = String::with_capacity(whole.len() + 128);
        text.push_str(whole);
        loop {
            // Either of the two comes next.
            if self.goes(b'"') {
                return Ok(text);
            }
            self.at += 1;
            text.push(self.escape()?);
            let start = self.at;
            self.at += self.unescaped()?;
            text.push_str(self.text.get(start..self.at).unwrap_or_default());
        }
    }

    /// How many bytes of a text come before its end or what is escaped in it.
    #[inline]
    fn unescaped(&self) -> Result<usize, Error> {
        let rest = self.rest();
        // Most texts are shorter than a call to search memory is worth.
        let (start, _) = rest.as_chunks::<8>();
        for (chunk, at) in start.iter().zip([0, 8]) {
            let found = first_of(b'"', b'\\', *chunk);
            if let Some(found) = found {
                return Ok(at + found);
            }
        }
        let at = start.len().min(2) * 8;
        memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default())
            .map(|found| at + found)
            .ok_or_else(|| self.fault("a text without an end"))
    }

    /// What stands for a letter behind a backslash.
    fn escape(&mut self) -> Result<char, Error> {
        let byte = self.next();
        self.at += usize::from(byte.is_some_and(|byte| byte.is_ascii()));
        Ok(match byte {
            Some(plain @ (b'"' | b'\\' | b'/')) => char::from(plain),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit()?;
                let mut units = [unit, 0];
                let mut count = 1;
                if (0xd800..0xdc00).contains(&unit) {
                    self.expect(b'\\')?;
                    self.expect(b'u')?;
                    units = [unit, self.unit()?];
                    count = 2;
                }
                let units = units.into_iter().take(count);
                match char::decode_utf16(units).next() {
                    Some(Ok(c)) => c,
                    _ => return Err(self.fault("half a letter")),
                }
            }
            _ => return Err(self.fault("an unknown escape")),
        })
    }

    fn unit(&mut self) -> Result<u16, Error> {
        let digits = self.rest().get(..4).filter(|digits| {
            // A sign is no digit.
            digits.iter().all(u8::is_ascii_hexdigit)
        });
        let unit = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u16::from_str_radix(digits, 16).ok())
            .ok_or_else(|| self.fault("expected four hexadecimal digits"))?;
        self.at += 4;
        Ok(unit)
    }

    /// The text of a number, and whether it is whole.
    pub(super) fn number(&mut self) -> Result<(&'a str, bool), Error> {
        let length = self
            .rest()
            .iter()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let start = self.at;
        self.at += length;
        let text = self.text.get(start..self.at).unwrap_or_default();
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_whole = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if is_whole && digits.len() > 1 && digits.starts_with('0') {
            return Err(self.fault("a number with a zero before it"));
        }
        Ok((text, is_whole))
    }

    /// Goes on past a bracket that opens.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.fault("nested too deep"));
        }
        Ok(())
    }

    /// Goes on past the bracket that closes what was entered last.
    #[inline]
    pub(super) fn leave(&mut self, close: u8) -> Result<(), Error> {
        self.depth -= 1;
        self.expect(close)
    }
}

/// Where the first of two bytes is among eight. A byte of a number that is zero is the lowest one to borrow
/// from the highest bit of its own: <https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>.
#[inline]
fn first_of(one: u8, other: u8, bytes: [u8; 8]) -> Option<usize> {
    let number = u64::from_le_bytes(bytes);
    let zeros = |number: u64| {
        number.wrapping_sub(u64::from_le_bytes([1; 8])) & !number & u64::from_le_bytes([0x80; 8])
    };
    let is = |byte: u8| zeros(number ^ u64::from_le_bytes([byte; 8]));
    let found = is(one) | is(other);
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}
