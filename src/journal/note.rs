//! Checkpoints: what the journal was at a size, signed (C2SP signed-note and tlog-checkpoint, v1).
//!
//! A note is text and signatures on it. Nothing of the text counts until a known key's signature on it
//! is verified; signatures of unknown keys are ignored, so that a log's witnesses may sign as well, and
//! a bad one of a known key rejects the whole note. The journal's own keys sign as plain Ed25519 (type
//! 0x01) under a name that is the log's origin; witnesses sign with the time (type 0x04, C2SP
//! tlog-cosignature). One spelling is accepted of each thing, so that two readers can't differ.

mod key;

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::key::{Kind, is_name};
pub use self::key::{Signer, SignerError, VerifierKey};
use crate::digest::Digest;

/// The most bytes that a note may have: room for the signatures of many witnesses, larger ones than these too.
pub const MAX_NOTE: usize = 256 << 10;
/// The most signatures that a note may have. The specification asks for 16 at least.
pub const MAX_SIGNATURES: usize = 32;

/// What separates a signature line from others: an em dash and a space.
const DASH: &str = "\u{2014} ";

/// Why something is no note, or not one that can be relied upon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoteError {
    /// Not in the form of a note.
    #[error("this is no signed note: {0}")]
    Form(&'static str),
    /// More signatures than are looked at.
    #[error("the note has {0} signatures; at most {MAX_SIGNATURES} are accepted")]
    TooMany(usize),
    /// The text is not that of a checkpoint.
    #[error("the note is no checkpoint: {0}")]
    Checkpoint(&'static str),
    /// A known key's signature does not verify.
    #[error("the signature by `{0}` does not verify: the note was changed, or never signed")]
    Bad(String),
    /// No known key signed.
    #[error("the note is not signed by {0}")]
    Unsigned(String),
    /// Signed, but for another log.
    #[error("the checkpoint is of the log `{found}`, not of `{wanted}`")]
    Origin {
        /// What it says.
        found: String,
        /// Whose key it was held against.
        wanted: String,
    },
    /// The text is not a verifier key.
    #[error("`{text}` is no verifier key: {why}")]
    Key {
        /// Its beginning.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// What the whole journal was at a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log: `<host>/tollgate/<id>`.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The root of the tree over these.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    #[must_use]
    pub fn text(&self) -> String {
        let root = STANDARD.encode(self.root.as_bytes());
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Reads the text that was signed. Extension lines are refused: no log of this kind writes any.
    ///
    /// # Errors
    ///
    /// The text is not what [`Self::text`] gives for any checkpoint.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let form = NoteError::Checkpoint;
        let body = text
            .strip_suffix('\n')
            .ok_or(form("the last line has no end"))?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(form("origin, size and root are three lines"));
        };
        if lines.next().is_some() {
            return Err(form("it has extension lines"));
        }
        if origin.is_empty() {
            return Err(form("the origin is empty"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: plain_number(size).ok_or(form("the size is not a plain number"))?,
            root: hash(root).ok_or(form("the root is not 32 bytes in base64"))?,
        })
    }
}

/// A number as the formats have it: digits, no leading zero.
pub(super) fn plain_number(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// A hash as the formats have it: standard base64, padded.
pub(super) fn hash(text: &str) -> Option<Digest> {
    let bytes = STANDARD.decode(text).ok()?;
    Some(Digest::from_bytes(bytes.try_into().ok()?))
}

/// One signature, of whatever kind.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: String,
    id: [u8; 4],
    bytes: Vec<u8>,
}

impl Signature {
    fn parse(line: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        let (name, encoded) = line
            .strip_prefix(DASH)
            .ok_or(form("a signature line starts with an em dash"))?
            .split_once(' ')
            .ok_or(form("a signature line has a name and a signature"))?;
        if !is_name(name) {
            return Err(form("the name in a signature line is not one of a key"));
        }
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|_| form("a signature is not in base64"))?;
        let Some((id, bytes)) = bytes.split_first_chunk::<4>() else {
            return Err(form("a signature is too short"));
        };
        if bytes.is_empty() {
            return Err(form("a signature is too short"));
        }
        Ok(Self {
            name: name.to_owned(),
            id: *id,
            bytes: bytes.to_vec(),
        })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = STANDARD.encode([self.id.as_slice(), &self.bytes].concat());
        writeln!(f, "{DASH}{} {signed}", self.name)
    }
}

/// What a witness says of a checkpoint: that it saw no other history of this log, as of a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness, by the name of its key.
    pub name: String,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// Text with signatures, none of which has been looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

impl Note {
    /// Reads a note in its one form.
    ///
    /// # Errors
    ///
    /// It is not one, or larger than one may be.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        if bytes.len() > MAX_NOTE {
            return Err(form("it is too large"));
        }
        let note = str::from_utf8(bytes).map_err(|_| form("it is not UTF-8"))?;
        if note.bytes().any(|b| b < b' ' && b != b'\n') {
            return Err(form("it has control characters"));
        }
        let (body, lines) = note
            .rsplit_once("\n\n")
            .ok_or(form("no empty line divides text and signatures"))?;
        let lines = lines
            .strip_suffix('\n')
            .ok_or(form("the last signature has no end"))?;
        let count = lines.split('\n').count();
        if count > MAX_SIGNATURES {
            return Err(NoteError::TooMany(count));
        }
        Ok(Self {
            text: format!("{body}\n"),
            signatures: lines
                .split('\n')
                .map(Signature::parse)
                .collect::<Result<_, _>>()?,
        })
    }

    /// The text, which nobody may have signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The checkpoint that it claims to be, where no signature is asked for: to name what was found.
    ///
    /// # Errors
    ///
    /// The text is not that of a checkpoint.
    pub fn unverified(&self) -> Result<Checkpoint, NoteError> {
        Checkpoint::parse(&self.text)
    }

    /// The checkpoint, where one of the log's `keys` signed it. Keys of witnesses don't count here.
    ///
    /// # Errors
    ///
    /// None did, one of them signed something else, or what was signed is not a checkpoint of the log
    /// that the key is for.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Checkpoint, NoteError> {
        let mut signer = None;
        for (key, _) in self.signed_by(keys, Kind::Log)? {
            signer.get_or_insert(key);
        }
        let Some(signer) = signer else {
            let name = keys.iter().find(|key| key.is_log());
            let name = name.map_or_else(
                || String::from("any key that is known"),
                |key| format!("a known key of `{}`", key.name()),
            );
            return Err(NoteError::Unsigned(name));
        };
        let checkpoint = Checkpoint::parse(&self.text)?;
        if checkpoint.origin != signer.name() {
            return Err(NoteError::Origin {
                found: checkpoint.origin,
                wanted: signer.name().to_owned(),
            });
        }
        Ok(checkpoint)
    }

    /// What the `witnesses` among `keys` say of it: one entry for each that signed.
    ///
    /// # Errors
    ///
    /// A signature by one of them does not verify.
    pub fn cosignatures(&self, keys: &[VerifierKey]) -> Result<Vec<Cosignature>, NoteError> {
        let mut said: Vec<Cosignature> = Vec::new();
        for (key, time) in self.signed_by(keys, Kind::Witness)? {
            if said.iter().all(|one| one.name != key.name()) {
                said.push(Cosignature {
                    name: key.name().to_owned(),
                    time,
                });
            }
        }
        Ok(said)
    }

    /// Adds the signature lines that a witness answered with, as far as `keys` know and verify them;
    /// how many were added.
    ///
    /// # Errors
    ///
    /// `lines` is not a sequence of signature lines, or a signature by a known key does not verify.
    pub fn add(&mut self, lines: &str, keys: &[VerifierKey]) -> Result<usize, NoteError> {
        let told = Self::parse(format!("{}\n{lines}", self.text).as_bytes())?;
        // An empty line in `lines` would make some of them part of the text.
        if told.text != self.text {
            return Err(NoteError::Form("the answer is not signature lines alone"));
        }
        told.cosignatures(keys)?;
        let mut added = 0;
        for signature in told.signatures {
            let known = keys
                .iter()
                .any(|key| !key.is_log() && key.is_of(&signature.name, signature.id));
            if known && !self.signatures.contains(&signature) {
                if self.signatures.len() == MAX_SIGNATURES {
                    return Err(NoteError::TooMany(MAX_SIGNATURES + 1));
                }
                self.signatures.push(signature);
                added += 1;
            }
        }
        Ok(added)
    }

    /// Adds the signatures of another note, where it is of the same text and as far as there is room.
    pub fn merge(&mut self, other: &Self) {
        if self.text != other.text {
            return;
        }
        for signature in &other.signatures {
            if !self.signatures.contains(signature) && self.signatures.len() < MAX_SIGNATURES {
                self.signatures.push(signature.clone());
            }
        }
    }

    /// Adds the signature of a further key of the log.
    pub fn countersign(&mut self, signer: &Signer) {
        let signature = signer.signed(&self.text);
        if !self.signatures.contains(&signature) {
            self.signatures.push(signature);
        }
    }

    /// The keys of this kind that signed; every signature that bears the name and id of one must verify.
    fn signed_by<'a>(
        &self,
        keys: &'a [VerifierKey],
        kind: Kind,
    ) -> Result<Vec<(&'a VerifierKey, u64)>, NoteError> {
        let mut signed = Vec::new();
        for signature in &self.signatures {
            let known =
                |key: &&VerifierKey| key.kind() == kind && key.is_of(&signature.name, signature.id);
            // Several keys of one name and id can't be told apart: one of them must have signed.
            let mut candidates = keys.iter().filter(known).peekable();
            if candidates.peek().is_none() {
                continue;
            }
            let verified =
                candidates.find_map(|key| Some((key, key.verified(&self.text, &signature.bytes)?)));
            signed.push(verified.ok_or_else(|| NoteError::Bad(signature.name.clone()))?);
        }
        Ok(signed)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| signature.fmt(f))
    }
}

#[cfg(test)]
mod tests;
