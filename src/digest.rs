//! SHA-256 digests: of components, arguments, policy sets, bodies and results.
//!
//! One algorithm everywhere, so that a digest seen in a record, a pin or a decision can be compared
//! with any other, and recomputed by `sha256sum`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// The name of the algorithm, before the digits.
const NAME: &[u8] = b"sha256:";
/// Bytes of the text.
const TEXT: usize = NAME.len() + 64;

/// A SHA-256 digest (FIPS 180-4). Written as `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of several parts, each preceded by its length, so that no two lists of parts
    /// share a digest by moving bytes from one part to the next.
    #[must_use]
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        Self(hasher.finalize().into())
    }

    /// A digest from its 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A digest from 64 hexadecimal digits in lower case.
    ///
    /// A journal that is verified has several in each line. Without a branch for each letter the compiler
    /// reads many at once.
    pub(crate) fn from_hex(digits: &[u8]) -> Option<Self> {
        let (pairs, rest) = digits.as_chunks::<2>();
        let pairs: &[[u8; 2]; 32] = pairs.try_into().ok()?;
        let mut wrong = 0;
        let bytes = pairs.map(|[high, low]| {
            let (high, low) = (worth(high), worth(low));
            wrong |= high | low;
            high << 4 | low & 0xf
        });
        (rest.is_empty() && wrong <= 0xf).then_some(Self(bytes))
    }

    /// The 64 hexadecimal digits, without the name of the algorithm: for file names.
    #[must_use]
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }

    /// The whole text, written into `buffer`.
    fn text<'a>(&self, buffer: &'a mut [u8; TEXT]) -> &'a str {
        let (name, digits) = buffer.split_at_mut(NAME.len());
        name.copy_from_slice(NAME);
        // The lengths agree, and what is written is ASCII.
        let _ = hex::encode_to_slice(self.0, digits);
        std::str::from_utf8(buffer).unwrap_or_default()
    }

    /// The first twelve hexadecimal digits, for people. Never compare these.
    #[must_use]
    pub fn short(&self) -> String {
        let mut text = self.hex();
        text.truncate(12);
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text(&mut [0; TEXT]))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected `sha256:` and 64 lower-case hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("sha256:").ok_or(ParseDigestError)?;
        Self::from_hex(digits.as_bytes()).ok_or(ParseDigestError)
    }
}

/// What a letter is worth as a hexadecimal digit in lower case; more than 15 where it is none.
const fn worth(letter: u8) -> u8 {
    let (digit, letter) = (letter.wrapping_sub(b'0'), letter.wrapping_sub(b'a'));
    if digit < 10 {
        digit
    } else if letter < 6 {
        letter + 10
    } else {
        u8::MAX
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Every record has several: written without an allocation.
        serializer.serialize_str(self.text(&mut [0; TEXT]))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text)
    }
}

/// Reads a digest where it stands, without a copy of its text.
struct Text;

impl Visitor<'_> for Text {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a digest")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_plain_sha256() {
        assert_eq!(
            Digest::of(b"abc").to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    proptest! {
        #[test]
        fn digits_are_read_as_others_read_them(digits in "[0-9a-f]{60,66}|[0-9a-fA-F]{64}|[ -~]{64}") {
            let other = hex::decode(&digits).ok().and_then(|bytes| bytes.try_into().ok());
            let lower = !digits.bytes().any(|letter| letter.is_ascii_uppercase());
            let expected = other.filter(|_| lower).map(Digest::from_bytes);
            prop_assert_eq!(Digest::from_hex(digits.as_bytes()), expected);
        }
    }

    #[test]
    fn parses_only_its_own_form() {
        let digest = Digest::of(b"abc");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.hex().parse::<Digest>(), Err(ParseDigestError));
        assert_eq!(
            format!("sha256:{}", digest.hex().to_uppercase()).parse::<Digest>(),
            Err(ParseDigestError)
        );
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one: [&[u8]; 2] = [b"ab", b"c"];
        let two: [&[u8]; 2] = [b"a", b"bc"];
        assert_ne!(Digest::of_parts(one), Digest::of_parts(two));
    }
}
