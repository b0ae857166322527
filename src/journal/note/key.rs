//! Keys of notes: those that sign, and the text form (`vkey`) of those that verify.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{Checkpoint, NoteError, Signature};
use crate::entropy::{Entropy, NoEntropy};

/// What a key signs, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// The text itself: the key of a log.
    Log,
    /// The text and a time: the key of a witness.
    Witness,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 0x01,
            Self::Witness => 0x04,
        }
    }
}

/// Whether `name` can be that of a key.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| c != '+' && !c.is_whitespace() && !c.is_control())
}

/// A public key by name: `<name>+<id>+<base64 of type and key>`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: Kind,
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, kind: Kind, key: VerifyingKey) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            key,
        }
    }

    /// Its name: of a log, the origin of its checkpoints.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is the key of a log, not of a witness.
    #[must_use]
    pub fn is_log(&self) -> bool {
        self.kind == Kind::Log
    }

    pub(super) const fn kind(&self) -> Kind {
        self.kind
    }

    /// The four bytes that name it in a signature: no digest to rely upon, an index.
    fn id(&self) -> [u8; 4] {
        let mut hasher = Sha256::new();
        hasher.update(&self.name);
        hasher.update([b'\n', self.kind.byte()]);
        hasher.update(self.key.as_bytes());
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        [a, b, c, d]
    }

    /// Whether a signature with this name and id claims to be of this key.
    pub(super) fn is_of(&self, name: &str, id: [u8; 4]) -> bool {
        self.name == name && self.id() == id
    }

    /// The time that a witness signed with, 0 for a log; `None` where the signature does not verify.
    pub(super) fn verified(&self, text: &str, signature: &[u8]) -> Option<u64> {
        let (time, signature, message) = match self.kind {
            Kind::Log => (0, signature, text.to_owned()),
            Kind::Witness => {
                let (time, signature) = signature.split_first_chunk()?;
                let time = u64::from_be_bytes(*time);
                (time, signature, witnessed(time, text))
            }
        };
        let signature = ed25519_dalek::Signature::from_slice(signature).ok()?;
        self.key
            .verify_strict(message.as_bytes(), &signature)
            .ok()
            .map(|()| time)
    }
}

/// What a witness signs.
fn witnessed(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.byte()];
        key.extend_from_slice(self.key.as_bytes());
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.id()),
            STANDARD.encode(key)
        )
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let error = |why| NoteError::Key {
            text: text
                .chars()
                .take(128)
                .flat_map(char::escape_debug)
                .collect(),
            why,
        };
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(error("it has the form `<name>+<8 digits>+<base64>`"));
        };
        if !is_name(name) {
            return Err(error("the name has spaces, or is empty"));
        }
        let key = STANDARD
            .decode(key)
            .map_err(|_| error("the key is not in base64"))?;
        let kind = match key.first() {
            Some(0x01) => Kind::Log,
            Some(0x04) => Kind::Witness,
            _ => return Err(error("only Ed25519 keys (types 1 and 4) are known here")),
        };
        let key = key
            .get(1..)
            .and_then(|key| <[u8; 32]>::try_from(key).ok())
            .ok_or(error("an Ed25519 key has 32 bytes"))?;
        let point = VerifyingKey::from_bytes(&key)
            .ok()
            // A key with a small order verifies what nobody signed; another spelling of one point is another key to some.
            .filter(|point| !point.is_weak() && *point.to_edwards().compress().as_bytes() == key)
            .ok_or(error("it is no key of Ed25519"))?;
        let this = Self::new(name, kind, point);
        if hex::encode(this.id()) != id {
            return Err(error(
                "the digits do not fit name and key: some of it was changed",
            ));
        }
        Ok(this)
    }
}

/// A private key by name. Wiped when dropped, and shown by no `Debug`.
pub struct Signer {
    key: SigningKey,
    verifier: VerifierKey,
    id: [u8; 4],
}

impl Signer {
    /// A new key for the log `name`.
    ///
    /// # Errors
    ///
    /// There are no random bytes, or `name` can't be that of a key.
    pub fn generate(name: &str, entropy: &dyn Entropy) -> Result<Self, SignerError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice())?;
        Self::from_bytes(name, &bytes)
    }

    /// The key for the log `name` that [`Self::to_bytes`] gave.
    ///
    /// # Errors
    ///
    /// `name` can't be that of a key.
    pub fn from_bytes(name: &str, bytes: &[u8; 32]) -> Result<Self, SignerError> {
        Self::of(name, Kind::Log, bytes)
    }

    fn of(name: &str, kind: Kind, bytes: &[u8; 32]) -> Result<Self, SignerError> {
        if !is_name(name) {
            return Err(SignerError::Name(name.escape_debug().to_string()));
        }
        let key = SigningKey::from_bytes(bytes);
        let verifier = VerifierKey::new(name, kind, key.verifying_key());
        let id = verifier.id();
        Ok(Self { key, verifier, id })
    }

    /// The private key, to be kept where only this host reads it.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.key.to_bytes())
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The whole note: the checkpoint's text, an empty line, the signature.
    #[must_use]
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.text();
        let signature = self.signed(&text);
        format!("{text}\n{signature}")
    }

    pub(super) fn signed(&self, text: &str) -> Signature {
        self.signature(self.key.sign(text.as_bytes()).to_bytes().to_vec())
    }

    fn signature(&self, bytes: Vec<u8>) -> Signature {
        Signature {
            name: self.verifier.name.clone(),
            id: self.id,
            bytes,
        }
    }
}

/// For tests: the key of a witness.
#[cfg(test)]
impl Signer {
    pub(crate) fn witness(name: &str, bytes: &[u8; 32]) -> Self {
        Self::of(name, Kind::Witness, bytes).unwrap()
    }

    /// The line that a witness answers with.
    pub(crate) fn cosign(&self, text: &str, time: u64) -> String {
        let signed = self.key.sign(witnessed(time, text).as_bytes());
        let bytes = [time.to_be_bytes().as_slice(), &signed.to_bytes()].concat();
        self.signature(bytes).to_string()
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("verifier", &self.verifier)
            .finish_non_exhaustive()
    }
}

/// A key can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// Not a name.
    #[error("`{0}` can't be the name of a key: it is empty, or has a space or a `+`")]
    Name(String),
}
