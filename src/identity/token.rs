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
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::entropy::{Entropy, NoEntropy};

/// Whose tokens: what tells their classes apart.
mod class {
    /// A class of tokens.
    pub trait Class {
        /// What its tokens begin with.
        const PREFIX: &'static str;
        /// Under which the checksum is made.
        const LABEL: &'static [u8];
        /// What its tokens are.
        const WHAT: &'static str;
        /// The name of the type, for debugging.
        const NAME: &'static str;
    }

    /// Of agents.
    #[derive(Debug)]
    pub enum OfAgents {}

    impl Class for OfAgents {
        const PREFIX: &'static str = "tg_";
        const LABEL: &'static [u8] = b"tollgate agent token v1";
        const WHAT: &'static str = "a Tollgate token";
        const NAME: &'static str = "AgentToken";
    }

    /// Of people.
    #[derive(Debug)]
    pub enum OfPeople {}

    impl Class for OfPeople {
        const PREFIX: &'static str = "tgp_";
        const LABEL: &'static [u8] = b"tollgate person token v1";
        const WHAT: &'static str = "a person's credential";
        const NAME: &'static str = "PersonToken";
    }
}

const RANDOM: usize = 32;
const CHECKSUM: usize = 4;
/// 36 bytes are 48 letters, without padding.
const LETTERS: usize = (RANDOM + CHECKSUM) / 3 * 4;

/// The text is not a token of this class, whoever's. The text itself is not kept: it may be one with a
/// typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {what}: expected `{prefix}` and 48 letters; was it cut, or typed by hand?")]
pub struct MalformedToken {
    what: &'static str,
    prefix: &'static str,
}

/// A token of one class. Shown once, where it is issued.
pub struct Token<C>(Zeroizing<String>, PhantomData<C>);

/// A token of an agent.
pub type AgentToken = Token<class::OfAgents>;

/// A person's credential.
pub type PersonToken = Token<class::OfPeople>;

impl<C: class::Class> Token<C> {
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
        bytes.extend_from_slice(&Self::checksum(&*random));
        let mut text = Zeroizing::new(String::with_capacity(C::PREFIX.len() + LETTERS));
        text.push_str(C::PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        Ok(Self(text, PhantomData))
    }

    /// The digest of `text`, if it is a token of this class.
    ///
    /// # Errors
    ///
    /// It is not.
    pub fn digest_of(text: &str) -> Result<Digest, MalformedToken> {
        Self::checked(text).ok_or(MalformedToken {
            what: C::WHAT,
            prefix: C::PREFIX,
        })
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

    fn checked(text: &str) -> Option<Digest> {
        let letters = text.strip_prefix(C::PREFIX)?;
        if letters.len() != LETTERS {
            return None;
        }
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(letters).ok()?);
        let (random, sum) = bytes.split_at_checked(RANDOM)?;
        (sum == Self::checksum(random)).then(|| Digest::of(text.as_bytes()))
    }

    fn checksum(random: &[u8]) -> [u8; CHECKSUM] {
        let digest = Digest::of_parts([C::LABEL, random]);
        let [a, b, c, d, ..] = *digest.as_bytes();
        [a, b, c, d]
    }
}

impl<C: class::Class> fmt::Debug for Token<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(..)", C::NAME)
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
            assert!(AgentToken::digest_of(&typo).is_err());
            assert!(AgentToken::digest_of(text.get(..at).unwrap()).is_err());
        }
        for other in [
            "",
            "tg_",
            "tgp_",
            "tg_é",
            &format!("{text}x"),
            &format!(" {text}"),
        ] {
            assert!(AgentToken::digest_of(other).is_err());
        }
        let says = |error: MalformedToken| error.to_string();
        insta::assert_snapshot!(says(AgentToken::digest_of("").unwrap_err()), @"not a Tollgate token: expected `tg_` and 48 letters; was it cut, or typed by hand?");
        insta::assert_snapshot!(says(PersonToken::digest_of("").unwrap_err()), @"not a person's credential: expected `tgp_` and 48 letters; was it cut, or typed by hand?");
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
