//! The wire form of Protocol Buffers, as far as OTLP needs it: written, never read.
//!
//! Four shapes of fields, each a few lines; the code generators of the field, with what they stand on, are a
//! dozen crates.

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field's value is written.
#[derive(Clone, Copy)]
enum Wire {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        loop {
            let [low, ..] = value.to_le_bytes();
            value >>= 7;
            if value == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn key(&mut self, field: u32, wire: Wire) {
        self.varint(u64::from(field) << 3 | wire as u64);
    }

    /// `string` or `bytes`; left out where it is empty.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.always(field, bytes);
        }
    }

    /// The same, written also where it is empty: a member of a `oneof`, or an item of a list.
    pub(super) fn always(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, Wire::Bytes);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// `int64`, `uint32`, an enumeration; written also where it is zero.
    pub(super) fn whole(&mut self, field: u32, value: i64) {
        self.key(field, Wire::Varint);
        self.varint(value.cast_unsigned());
    }

    /// `fixed64` or `sfixed64`.
    pub(super) fn fixed64(&mut self, field: u32, value: u64) {
        self.key(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `double`.
    pub(super) fn double(&mut self, field: u32, value: f64) {
        self.key(field, Wire::Fixed64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `fixed32`.
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, Wire::Fixed32);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// `repeated` of eight bytes each, packed.
    pub(super) fn packed(&mut self, field: u32, values: impl ExactSizeIterator<Item = [u8; 8]>) {
        self.key(field, Wire::Bytes);
        self.varint(values.len() as u64 * 8);
        for value in values {
            self.0.extend_from_slice(&value);
        }
    }

    /// A message within this one.
    pub(super) fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.always(field, &inner.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_the_encodings_own_examples_have_them() {
        // From the description of the encoding: `a = 150`, `b = "testing"`, a message of it.
        let mut message = Message::default();
        message.whole(1, 150);
        assert_eq!(message.into_bytes(), [0x08, 0x96, 0x01]);
        let mut message = Message::default();
        message.bytes(2, b"testing");
        assert_eq!(message.into_bytes(), b"\x12\x07testing");
        let mut message = Message::default();
        message.message(3, |inner| inner.whole(1, 150));
        assert_eq!(message.into_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let mut message = Message::default();
        message.whole(1, -1);
        assert_eq!(message.into_bytes().len(), 11);
        let mut message = Message::default();
        message.fixed64(1, 1);
        message.fixed32(2, 1);
        message.double(3, 1.0);
        assert_eq!(
            message.into_bytes(),
            b"\x09\x01\0\0\0\0\0\0\0\x15\x01\0\0\0\x19\0\0\0\0\0\0\xf0\x3f"
        );
        let mut message = Message::default();
        message.packed(16, [[1, 0, 0, 0, 0, 0, 0, 0]].into_iter());
        assert_eq!(message.into_bytes(), b"\x82\x01\x08\x01\0\0\0\0\0\0\0");
        let mut message = Message::default();
        message.bytes(1, b"");
        assert!(message.into_bytes().is_empty());
    }
}
