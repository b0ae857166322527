//! Tokens of agents and of people: what they look like, and what of them is kept.
//!
//! `tg_`, or `tgp_` for a person, and 48 letters of URL-safe base64: 32 random bytes and a checksum of
//! four. The prefix and the checksum let secret scanners recognise one that leaked, and let a typing
//! error be told from a token that was revoked. Only SHA-256 of it is stored: 256 random bits need no
//! slow hash.
//!
//! The two classes share nothing: neither prefix starts with the other, and the checksum is made
//! under the class's own label, so that no edit makes an agent's token a person's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::entropy::{Entropy, NoEntropy};

/// A class of tokens.
struct Class {
    prefix: &'static str,
    label: &'static [u8],
}

const AGENT: Class = Class {
    prefix: "tg_",
    label: b"tollgate agent token v1",
};
const PERSON: Class = Class {
    prefix: "tgp_",
    label: b"tollgate person token v1",
};

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
        AGENT.generate(entropy).map(Self)
    }

    /// The digest of `text`, if it is a token.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn digest_of(text: &str) -> Result<Digest, MalformedToken> {
        AGENT.digest_of(text).ok_or(MalformedToken)
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

impl fmt::Debug for AgentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AgentToken(..)")
    }
}

/// The text is not a person's credential. The text itself is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a person's credential: expected `tgp_` and 48 letters; was it cut, or typed by hand?")]
pub struct MalformedCredential;

/// A person's credential. Shown once, where it is issued.
pub struct PersonToken(Zeroizing<String>);

impl PersonToken {
    /// Makes a credential.
    ///
    /// # Errors
    ///
    /// There are no random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        PERSON.generate(entropy).map(Self)
    }

    /// The digest of `text`, if it is a person's credential by its form.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn digest_of(text: &str) -> Result<Digest, MalformedCredential> {
        PERSON.digest_of(text).ok_or(MalformedCredential)
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

impl fmt::Debug for PersonToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonToken(..)")
    }
}

impl Class {
    fn generate(&self, entropy: &dyn Entropy) -> Result<Zeroizing<String>, NoEntropy> {
        let mut random = Zeroizing::new([0; RANDOM]);
        entropy.fill(&mut *random)?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(RANDOM + CHECKSUM));
        bytes.extend_from_slice(&*random);
        bytes.extend_from_slice(&self.checksum(&*random));
        let mut text = Zeroizing::new(String::with_capacity(self.prefix.len() + LETTERS));
        text.push_str(self.prefix);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Ok(text)
    }

    fn digest_of(&self, text: &str) -> Option<Digest> {
        let letters = text.strip_prefix(self.prefix)?;
        if letters.len() != LETTERS {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(letters).ok()?);
        let (random, sum) = bytes.split_at_checked(RANDOM)?;
        (sum == self.checksum(random)).then(|| Digest::of(text.as_bytes()))
    }

    fn checksum(&self, random: &[u8]) -> [u8; CHECKSUM] {
        let digest = Digest::of_parts([self.label, random]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
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
        for other in [
            "",
            "tg_",
            "tgp_",
            "tg_é",
            &format!("{text}x"),
            &format!(" {text}"),
        ] {
            assert_eq!(AgentToken::digest_of(other), Err(MalformedToken));
        }
    }

    #[test]
    fn no_edit_of_a_prefix_makes_a_token_of_the_other_class() {
        let entropy = SeededEntropy::default();
        let agent = AgentToken::generate(&entropy).unwrap();
        let person = PersonToken::generate(&entropy).unwrap();
        assert_eq!(PersonToken::digest_of(person.expose()), Ok(person.digest()));
        assert!(AgentToken::digest_of(person.expose()).is_err());
        assert!(PersonToken::digest_of(agent.expose()).is_err());
        let (_, letters) = agent.expose().split_once('_').unwrap();
        assert!(PersonToken::digest_of(&format!("tgp_{letters}")).is_err());
        let (_, letters) = person.expose().split_once('_').unwrap();
        assert!(AgentToken::digest_of(&format!("tg_{letters}")).is_err());
        assert_eq!(format!("{person:?}"), "PersonToken(..)");
    }
}
