//! JSON that has only letters in it that are shown as themselves: for lines that are kept, and for those
//! that may end up on a terminal.
//!
//! A serializer of its own, and not a formatter of `serde_json`'s: each text is looked at once and as a
//! whole, and the same code that writes a value can say whether a text is what it would write. A journal
//! that is verified does that for each of its lines.

mod letters;
mod read;
mod sink;

pub(crate) use letters::is_unsafe;
pub(crate) use read::read_members;

use std::fmt::{Display, Write as _};

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;

use letters::{PLAIN, are_plain};
use sink::{Expected, Sink};

/// Appends `value` to `out`: control characters (C0, DEL, C1), line and paragraph separators, bidirectional
/// and invisible characters are written as escapes.
///
/// # Errors
///
/// `value` has no JSON text.
pub(crate) fn write(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) -> Result<(), Error> {
    value.serialize(&mut Writer::new(out))
}

/// Whether these pieces, put together, are what [`write`] would append for `value`. Nothing is written.
pub(crate) fn is_written_as(value: &(impl Serialize + ?Sized), pieces: [&[u8]; 2]) -> bool {
    let mut rest = Expected(pieces);
    value.serialize(&mut Writer::new(&mut rest)).is_ok() && rest.0 == [b""; 2]
}

struct Writer<'s, S> {
    sink: &'s mut S,
    /// The key of a map comes: what is no text is put between quotes.
    is_key: bool,
}

impl<'s, S: Sink> Writer<'s, S> {
    const fn new(sink: &'s mut S) -> Self {
        Self {
            sink,
            is_key: false,
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Error> {
        if are_plain(text.as_bytes()) {
            return self.sink.put_all([b"\"", text.as_bytes(), b"\""]);
        }
        self.sink.put(b"\"")?;
        self.escaped(text)?;
        self.sink.put(b"\"")
    }

    #[inline(never)]
    fn escaped(&mut self, text: &str) -> Result<(), Error> {
        let (mut from, mut at) = (0, 0);
        let piece = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
        loop {
            let rest = piece(at, text.len());
            let odd = rest
                .bytes()
                .position(|b| PLAIN.get(usize::from(b)) != Some(&true));
            let Some((odd, c)) =
                odd.and_then(|odd| Some((at + odd, rest.get(odd..)?.chars().next()?)))
            else {
                return self.sink.put(piece(from, text.len()).as_bytes());
            };
            at = odd + c.len_utf8();
            if !is_unsafe(c) && !matches!(c, '"' | '\\') {
                continue;
            }
            let before = piece(from, odd).as_bytes();
            from = at;
            let short: &[u8] = match c {
                '"' => b"\\\"",
                '\\' => b"\\\\",
                '\n' => b"\\n",
                '\r' => b"\\r",
                '\t' => b"\\t",
                '\x08' => b"\\b",
                '\x0c' => b"\\f",
                _ => b"",
            };
            self.sink.put_all([before, short, b""])?;
            if short.is_empty() {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    self.sink.put(format!("\\u{unit:04x}").as_bytes())?;
                }
            }
        }
    }

    /// A number, or what else is written without quotes.
    fn bare(&mut self, text: &str) -> Result<(), Error> {
        if self.is_key {
            self.text(text)
        } else {
            self.sink.put(text.as_bytes())
        }
    }

    fn open(&mut self, bracket: &[u8]) -> Result<(), Error> {
        if self.is_key {
            return Err(Error::custom("a key must be a text"));
        }
        self.sink.put(bracket)
    }

    /// `{"name":`, and what is in the variant of this name comes next.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.open(b"{")?;
        self.text(name)?;
        self.sink.put(b":")
    }
}

/// Several values between brackets.
struct Several<'w, 's, S> {
    writer: &'w mut Writer<'s, S>,
    is_first: bool,
    close: &'static [u8],
}

impl<'w, 's, S: Sink> Several<'w, 's, S> {
    const fn new(writer: &'w mut Writer<'s, S>, close: &'static [u8]) -> Self {
        Self {
            writer,
            is_first: true,
            close,
        }
    }

    fn comma(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.is_first, false) {
            Ok(())
        } else {
            self.writer.sink.put(b",")
        }
    }

    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        self.comma()?;
        value.serialize(&mut *self.writer)
    }

    fn field(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        // A field's name in Rust: nothing of it is ever escaped.
        let open: &[u8] = if std::mem::replace(&mut self.is_first, false) {
            b"\""
        } else {
            b",\""
        };
        self.writer.sink.put_all([open, key.as_bytes(), b"\":"])?;
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Result<(), Error> {
        self.writer.sink.put(self.close)
    }
}

macro_rules! bare {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method(self, value: $kind) -> Result<(), Error> {
            self.bare(itoa::Buffer::new().format(value))
        })*
    };
}

impl<'w, 's, S: Sink> Serializer for &'w mut Writer<'s, S> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Several<'w, 's, S>;
    type SerializeTuple = Several<'w, 's, S>;
    type SerializeTupleStruct = Several<'w, 's, S>;
    type SerializeTupleVariant = Several<'w, 's, S>;
    type SerializeMap = Several<'w, 's, S>;
    type SerializeStruct = Several<'w, 's, S>;
    type SerializeStructVariant = Several<'w, 's, S>;

    bare!(
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    );

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.bare(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, value: f32) -> Result<(), Error> {
        self.bare(&serde_json::to_string(&value)?)
    }

    fn serialize_f64(self, value: f64) -> Result<(), Error> {
        self.bare(&serde_json::to_string(&value)?)
    }

    fn serialize_char(self, value: char) -> Result<(), Error> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), Error> {
        self.text(value)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        let mut short = Short {
            bytes: [0; 128],
            length: 0,
        };
        if write!(short, "{value}").is_ok() {
            self.text(short.as_str())
        } else {
            self.text(&value.to_string())
        }
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.open(b"null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.sink.put(b"}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Several<'w, 's, S>, Error> {
        self.open(b"[")?;
        Ok(Several::new(self, b"]"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Several<'w, 's, S>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Several<'w, 's, S>, Error> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Several<'w, 's, S>, Error> {
        self.variant(variant)?;
        self.open(b"[")?;
        Ok(Several::new(self, b"]}"))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Several<'w, 's, S>, Error> {
        self.open(b"{")?;
        Ok(Several::new(self, b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Several<'w, 's, S>, Error> {
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Several<'w, 's, S>, Error> {
        self.variant(variant)?;
        self.open(b"{")?;
        Ok(Several::new(self, b"}}"))
    }
}

/// A text that needs no memory of its own: names and identifiers.
struct Short {
    bytes: [u8; 128],
    length: usize,
}

impl Short {
    fn as_str(&self) -> &str {
        let written = self.bytes.get(..self.length).unwrap_or_default();
        // Whole texts were put there.
        std::str::from_utf8(written).unwrap_or_default()
    }
}

impl std::fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self.bytes.get_mut(self.length..end);
        room.ok_or(std::fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

impl<S: Sink> SerializeMap for Several<'_, '_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.comma()?;
        self.writer.is_key = true;
        key.serialize(&mut *self.writer)?;
        self.writer.is_key = false;
        self.writer.sink.put(b":")
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

macro_rules! several {
    ($($kind:ident: $method:ident($($key:ident)?) => $each:ident),*) => {
        $(impl<S: Sink> $kind for Several<'_, '_, S> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), Error> {
                self.$each($($key,)? value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        })*
    };
}

several!(
    SerializeSeq: serialize_element() => item,
    SerializeTuple: serialize_element() => item,
    SerializeTupleStruct: serialize_field() => item,
    SerializeTupleVariant: serialize_field() => item,
    SerializeStruct: serialize_field(key) => field,
    SerializeStructVariant: serialize_field(key) => field
);

#[cfg(test)]
mod tests;
