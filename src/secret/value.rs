//! A secret's value: wiped when dropped, and shown by nothing.

use std::fmt;

use zeroize::Zeroizing;

/// The longest value that is kept or lent. Keys and tokens are far shorter; each is searched for in
/// everything that a call sends and returns.
pub const MAX_VALUE: usize = 64 << 10;

/// The value of a secret. It can't be copied, printed or serialised; `expose` is the one way to it,
/// so that a search for that word finds every place that sees one.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes over `bytes`.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value without one line end at its end: files that people write have one.
    #[must_use]
    pub(super) fn without_line_end(mut self) -> Self {
        if self.0.last() == Some(&b'\n') {
            self.0.pop();
            if self.0.last() == Some(&b'\r') {
                self.0.pop();
            }
        }
        self
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not even its length.
        f.write_str("SecretValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        let value = SecretValue::new(b"canary-5d41402a".to_vec());
        assert_eq!(format!("{value:?}"), "SecretValue(..)");
    }

    #[test]
    fn one_line_end_is_cut() {
        for (given, kept) in [
            ("a\n", "a"),
            ("a\r\n", "a"),
            ("a\n\n", "a\n"),
            ("a", "a"),
            ("\n", ""),
        ] {
            let value = SecretValue::new(given.into()).without_line_end();
            assert_eq!(value.expose(), kept.as_bytes());
        }
    }
}
