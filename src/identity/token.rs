//! An agent's token: what it looks like, and what of it is kept.
//!
//! `tg_` and 48 letters of URL-safe base64: 32 random bytes and a checksum of four. The prefix and
//! the checksum let secret scanners recognise one that leaked, and let a typing error be told from
//! a token that was revoked. Only SHA-256 of it is stored: 256 random bits need no slow hash.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::entropy::{Entropy, NoEntropy};

const PREFIX: &str = "tg_";
const RANDOM: usize = 32;
const CHECKSUM: usize = 4;
/// 36 bytes are 48 letters, without padding.
const LETTERS: usize = (RANDOM + CHECKSUM) / 3 * 4;

/// The text is not a token, whoever's. The text itself is not kept: it may be one with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Tollgate token: expected `tg_` and 48 letters; was it cut, or typed by hand?")]
pub struct MalformedToken;

/// A token of an agent. Shown once, where it is issued.
pub struct AgentToken(Zeroizing<String>);

impl AgentToken {
    /// Makes a token.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut random = Zeroizing::new([0; RANDOM]);
        entropy.fill(&mut *random)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(RANDOM + CHECKSUM));
        bytes.extend_from_slice(&*random);
        bytes.extend_from_slice(&checksum(&*random));
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + LETTERS));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Ok(Self(text))
    }

    /// The digest of `text`, if it is a token.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn digest_of(text: &str) -> Result<Digest, MalformedToken> {
        let letters = text.strip_prefix(PREFIX).ok_or(MalformedToken)?;
        if letters.len() != LETTERS {
            return Err(MalformedToken);
        }
        let bytes = Zeroizing::new(
            URL_SAFE_NO_PAD
                .decode(letters)
                .map_err(|_| MalformedToken)?,
        );
        let (random, sum) = bytes.split_at_checked(RANDOM).ok_or(MalformedToken)?;
        if sum != checksum(random) {
            return Err(MalformedToken);
        }
        Ok(Digest::of(text.as_bytes()))
    }

    /// Its digest: what is stored.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// Its text, to be shown once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

fn checksum(random: &[u8]) -> [u8; CHECKSUM] {
    let digest = Digest::of_parts([b"tollgate agent token v1".as_slice(), random]);
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

impl fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    #[test]
    fn a_token_is_known_by_its_form() {
        let token = AgentToken::generate(&SeededEntropy::default()).unwrap();
        insta::assert_snapshot!(token.expose(), @"tg_r1Vw9aGBC3r3jK9LxwpmDw31HkK6-R1N5bIyjeDoPfxhap-t");
        assert_eq!(AgentToken::digest_of(token.expose()), Ok(token.digest()));
        assert_eq!(format!("{token:?}"), "AgentToken(..)");
    }

    #[test]
    fn every_single_typing_error_is_caught() {
        let token = AgentToken::generate(&SeededEntropy::default()).unwrap();
        let text = token.expose();
        for at in 0..text.len() {
            let mut typo = text.to_owned().into_bytes();
            typo[at] = if typo[at] == b'x' { b'y' } else { b'x' };
            let typo = String::from_utf8(typo).unwrap();
            assert_eq!(AgentToken::digest_of(&typo), Err(MalformedToken));
            assert_eq!(
                AgentToken::digest_of(text.get(..at).unwrap()),
                Err(MalformedToken)
            );
        }
        for other in ["", "tg_", "tg_é", &format!("{text}x"), &format!(" {text}")] {
            assert_eq!(AgentToken::digest_of(other), Err(MalformedToken));
        }
    }
}
