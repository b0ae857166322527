//! A person's identity. People approve and administer; they never call tools.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::name::{as_text, shown};

/// A person, as policies name one: `User::"ada"`.
///
/// The name may be the `sub` of an issuer, so it is wider than an agent's: 1 to 128 visible ASCII
/// letters, without quotes and backslashes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PersonId(Arc<str>);

/// The text can't name a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` can't name a person: expected 1 to 128 visible ASCII letters, no quotes or backslashes"
)]
pub struct ParsePersonError(String);

impl PersonId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PersonId {
    type Err = ParsePersonError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = |b: u8| b.is_ascii_graphic() && !b"\"'`\\".contains(&b);
        // An agent's identity must never pass for a person's.
        if (1..=128).contains(&text.len()) && text.bytes().all(good) && !text.starts_with("spiffe:")
        {
            Ok(Self(text.into()))
        } else {
            Err(ParsePersonError(shown(text, 160)))
        }
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(PersonId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_and_odd_names_are_no_people() {
        assert_eq!(
            "ada@example.org".parse::<PersonId>().unwrap().as_str(),
            "ada@example.org"
        );
        for text in [
            "",
            "a b",
            "a\"b",
            "spiffe://x/agent/a",
            "é",
            &"a".repeat(129),
        ] {
            assert!(text.parse::<PersonId>().is_err(), "{text:?}");
        }
    }
}
