//! Reading what [`super::write`] wrote, quickly: no space between tokens, numbers as they stand, texts without
//! a copy where nothing in them is escaped.
//!
//! It tells apart only what it must to read a value rightly. Whether the text is the one that would be written
//! is for [`super::is_written_as`] to say, without which nothing that was read here counts.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer as _,
    MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Error;

/// Levels of nesting, as `serde_json` bounds them.
const DEPTH: usize = 128;

/// The value that `text` is.
#[cfg(test)]
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    let value = T::deserialize(&mut reader)?;
    reader.ended(value)
}

/// The value whose members, with the closing brace behind, are `text`.
///
/// # Errors
///
/// It is none of this kind.
pub(crate) fn read_members<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 1,
    };
    let value = T::deserialize(Opened(&mut reader))?;
    reader.ended(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    #[cold]
    fn fault(&self, what: &str) -> Error {
        Error::custom(format_args!("{what} at byte {}", self.at))
    }

    /// `value`, if nothing comes behind it.
    fn ended<T>(&self, value: T) -> Result<T, Error> {
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
    fn next(&self) -> Option<u8> {
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
    fn expect(&mut self, byte: u8) -> Result<(), Error> {
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

    fn word(&mut self, word: &str) -> Result<(), Error> {
        if self.rest().starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault("not a value"))
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Error> {
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
    fn number(&mut self) -> Result<(&'a str, bool), Error> {
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

    fn enter(&mut self) -> Result<(), Error> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.fault("nested too deep"));
        }
        Ok(())
    }

    fn visit_number<'de, V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Error> {
        let (text, is_whole) = self.number()?;
        // Zero has no sign among whole numbers.
        if is_whole && text != "-0" {
            if let Ok(number) = text.parse::<u64>() {
                return visitor.visit_u64(number);
            }
            if let Ok(number) = text.parse::<i64>() {
                return visitor.visit_i64(number);
            }
        }
        visitor.visit_f64(serde_json::from_str(text)?)
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

/// Reads an object whose brace was read.
struct Opened<'r, 'a>(&'r mut Reader<'a>);

impl<'de> Deserializer<'de> for Opened<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = visitor.visit_map(Items::new(&mut *self.0))?;
        self.0.expect(b'}')?;
        Ok(value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.next() {
            Some(b'"') => self.deserialize_str(visitor),
            Some(b'{') => {
                self.enter()?;
                let value = visitor.visit_map(Items::new(&mut *self))?;
                self.depth -= 1;
                self.expect(b'}')?;
                Ok(value)
            }
            Some(b'[') => {
                self.enter()?;
                let value = visitor.visit_seq(Items::new(&mut *self))?;
                self.depth -= 1;
                self.expect(b']')?;
                Ok(value)
            }
            Some(b'n') => {
                self.word("null")?;
                visitor.visit_unit()
            }
            Some(b't') => {
                self.word("true")?;
                visitor.visit_bool(true)
            }
            Some(b'f') => {
                self.word("false")?;
                visitor.visit_bool(false)
            }
            Some(b'-' | b'0'..=b'9') => self.visit_number(visitor),
            _ => Err(self.fault("not a value")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.string()? {
            Cow::Borrowed(text) => visitor.visit_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.next() == Some(b'n') {
            self.word("null")?;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if self.next() != Some(b'{') {
            let name = self.string()?;
            return visitor.visit_enum(name.into_deserializer());
        }
        self.enter()?;
        let value = visitor.visit_enum(Variant(&mut *self))?;
        self.depth -= 1;
        self.expect(b'}')?;
        Ok(value)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct ignored_any
    }
}

/// What stands between brackets.
struct Items<'r, 'a> {
    reader: &'r mut Reader<'a>,
    is_first: bool,
}

impl<'r, 'a> Items<'r, 'a> {
    const fn new(reader: &'r mut Reader<'a>) -> Self {
        Self {
            reader,
            is_first: true,
        }
    }

    /// Whether another one comes, before the bracket that closes them.
    fn more(&mut self, close: u8) -> Result<bool, Error> {
        if self.reader.next() == Some(close) {
            return Ok(false);
        }
        if !std::mem::replace(&mut self.is_first, false) {
            self.reader.expect(b',')?;
        }
        Ok(true)
    }
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if !self.more(b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        seed.deserialize(Key(&mut *self.reader)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Error> {
        self.reader.expect(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

/// A key: always a text, in which a number may stand.
struct Key<'r, 'a>(&'r mut Reader<'a>);

macro_rules! numbers {
    ($($method:ident),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let text = self.0.string()?;
            if let Ok(number) = text.parse::<i64>() {
                return visitor.visit_i64(number);
            }
            let number = text.parse::<u64>();
            visitor.visit_u64(number.map_err(|_| self.0.fault("a key that is no number"))?)
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_str(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self.0.string()?.into_deserializer())
    }

    numbers!(
        deserialize_i8,
        deserialize_i16,
        deserialize_i32,
        deserialize_i64,
        deserialize_u8,
        deserialize_u16,
        deserialize_u32,
        deserialize_u64
    );

    forward_to_deserialize_any! {
        bool i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// A variant that holds something: `{"name":…}`, behind its brace.
struct Variant<'r, 'a>(&'r mut Reader<'a>);

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self), Error> {
        let name = seed.deserialize(&mut *self.0)?;
        self.0.expect(b':')?;
        Ok((name, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        serde::Deserialize::deserialize(self.0)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_map(visitor)
    }
}
