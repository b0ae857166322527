//! Signed statements about components: who vouches for which file, under which name and version.
//!
//! A component's signature is `<name>.wasm.sig` beside it: a C2SP signed note
//! (<https://c2sp.org/signed-note>), Ed25519, verified by `ring`. Why this form: a signature over
//! the bytes alone (minisign, signify, cosign's blobs) says neither under which name they may serve
//! nor which version they are, so that a good component could come back old or under another's
//! name; what is signed here is a statement that says both, in words that a person can read. The
//! form carries several signatures (an old key beside a new one), names its keys, is that of the
//! transparency logs, and needs one primitive that the host has already.
//!
//! ```text
//! tollgate plugin v1
//! plugin github
//! component sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//! version 7
//!
//! — acme 0Rg1Gy…
//! ```
//!
//! The text has one form only. Anything else, also a line more, is refused.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::state::Signed;

/// The first line of a statement: no signature for anything else can stand for one.
const TITLE: &str = "tollgate plugin v1";
/// A signature by Ed25519, as the format numbers the algorithms.
const ED25519_TYPE: u8 = 1;
/// How the text of a key that signs starts.
const PRIVATE: &str = "PRIVATE+KEY+";
/// Bytes of a signature file; a statement has about 150, a signature line about 150.
const MOST: u64 = 16 << 10;

/// A key that the operator trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

/// The text is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a key: write `<name>+<8 hexadecimal digits>+<base64>`, an Ed25519 key as signed notes have it"
)]
pub struct ParseKeyError;

impl Key {
    fn of(name: &str, public: [u8; 32]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(name.as_bytes());
        hasher.update([b'\n', ED25519_TYPE]);
        hasher.update(public);
        let [a, b, c, d, ..] = <[u8; 32]>::from(hasher.finalize());
        Self {
            name: name.to_owned(),
            id: [a, b, c, d],
            public,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for Key {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ParseKeyError);
        };
        let bytes = STANDARD.decode(key).map_err(|_| ParseKeyError)?;
        let public = match bytes.split_first() {
            Some((&ED25519_TYPE, public)) => public.try_into().map_err(|_| ParseKeyError)?,
            _ => return Err(ParseKeyError),
        };
        let plain = |c: char| c.is_ascii_graphic();
        if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
            return Err(ParseKeyError);
        }
        let key = Self::of(name, public);
        // The digits bind the name to the key: a name that was changed does not fit any more.
        (id == hex::encode(key.id))
            .then_some(key)
            .ok_or(ParseKeyError)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![ED25519_TYPE];
        bytes.extend_from_slice(&self.public);
        let (id, key) = (hex::encode(self.id), STANDARD.encode(bytes));
        write!(f, "{}+{id}+{key}", self.name)
    }
}

/// A key that the operator trusts, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: Key,
    /// From when on it counts no more, since 1970-01-01T00:00:00Z.
    pub expires: Option<Duration>,
}

/// What the operator asks of signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    /// The keys that are trusted. Without any, signatures are not looked at.
    pub keys: Vec<TrustedKey>,
    /// Whether a component without a good signature is refused.
    pub required: bool,
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Under which name the component may serve.
    pub plugin: PluginName,
    /// The component.
    pub component: Digest,
    /// Its version: a number that only grows.
    pub version: u64,
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            plugin,
            component,
            version,
        } = self;
        write!(
            f,
            "{TITLE}\nplugin {plugin}\ncomponent {component}\nversion {version}\n"
        )
    }
}

impl Statement {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1);
        let mut value = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let statement = Self {
            plugin: value("plugin")?.parse().ok()?,
            component: value("component")?.parse().ok()?,
            version: value("version")?.parse().ok()?,
        };
        // One form only: another title, `+7`, a second line end or a line more say something else.
        (statement.to_string() == text).then_some(statement)
    }

    /// The statement, signed: what goes into `<name>.wasm.sig`.
    #[must_use]
    pub fn sign(&self, by: &Signer) -> String {
        let text = self.to_string();
        let mut bytes = by.key.id.to_vec();
        bytes.extend_from_slice(by.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n— {} {}\n", by.key.name, STANDARD.encode(bytes))
    }
}

/// A key that can sign.
pub struct Signer {
    pair: Ed25519KeyPair,
    key: Key,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("key", &self.key.name)
            .finish_non_exhaustive()
    }
}

impl Signer {
    /// The key of this name that grows from `seed`, which is as secret as the key.
    ///
    /// # Errors
    ///
    /// The name can't be that of a key.
    pub fn new(name: &str, seed: &[u8; 32]) -> Result<Self, ParseKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| ParseKeyError)?;
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| ParseKeyError)?;
        let key: Key = Key::of(name, public).to_string().parse()?;
        Ok(Self { pair, key })
    }

    /// The text of the key that grows from `seed`: `PRIVATE+KEY+<name>+<id>+<base64>`, as tools for
    /// signed notes have it.
    ///
    /// # Errors
    ///
    /// The name can't be that of a key.
    pub fn private(name: &str, seed: &[u8; 32]) -> Result<Zeroizing<String>, ParseKeyError> {
        let id = hex::encode(Self::new(name, seed)?.key.id);
        let mut bytes = Zeroizing::new(vec![ED25519_TYPE]);
        bytes.extend_from_slice(seed);
        let seed = Zeroizing::new(STANDARD.encode(&*bytes));
        Ok(Zeroizing::new(format!("{PRIVATE}{name}+{id}+{}", *seed)))
    }

    /// The key that `text` holds.
    ///
    /// # Errors
    ///
    /// It holds none.
    pub fn parse(text: &str) -> Result<Self, ParseKeyError> {
        let (name, rest) = text
            .trim_end()
            .strip_prefix(PRIVATE)
            .and_then(|text| text.split_once('+'))
            .ok_or(ParseKeyError)?;
        let (id, seed) = rest.split_once('+').ok_or(ParseKeyError)?;
        let bytes = Zeroizing::new(STANDARD.decode(seed).map_err(|_| ParseKeyError)?);
        let seed = match bytes.split_first() {
            Some((&ED25519_TYPE, seed)) => seed.try_into().map_err(|_| ParseKeyError)?,
            _ => return Err(ParseKeyError),
        };
        let signer = Self::new(name, seed)?;
        (id == hex::encode(signer.key.id))
            .then_some(signer)
            .ok_or(ParseKeyError)
    }

    /// The key that verifies, for `tollgate.toml`.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }
}

fn refuse(message: String) -> Refusal {
    Refusal::new(Reason::PinSignature, message)
}

/// The signature file that goes with the component at `path`, where there is one.
///
/// # Errors
///
/// It is there and can't be read, or is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, Refusal> {
    use std::io::Read as _;
    let path = super::folder::signature(path);
    let unreadable = |error: std::io::Error| {
        refuse("its signature can't be read".to_owned()).with_detail(error.to_string())
    };
    match std::fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
        // Opening a pipe would wait for somebody to write into it.
        Ok(meta) if !meta.is_file() || meta.len() > MOST => {
            return Err(refuse(format!(
                "its signature is no file of at most {MOST} bytes"
            )));
        }
        Ok(_) => {}
    }
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(MOST).read_to_string(&mut text))
        .map_err(unreadable)?;
    Ok(Some(text))
}

/// Holds the signature that came with a component against what the operator trusts. `component` is
/// the digest of the bytes that will be compiled, not of what the folder holds by then.
///
/// # Errors
///
/// `pin.signature`, and which of the rules is broken.
pub(crate) fn check(
    trust: &Trust,
    plugin: &PluginName,
    component: Digest,
    note: Option<&str>,
    now: Duration,
) -> Result<Option<Signed>, Refusal> {
    let Some(note) = note else {
        return match trust.required {
            true => Err(refuse(format!(
                "it is not signed, and `require_signature` is set: put its signature beside it, as `{plugin}.wasm.sig`"
            ))),
            false => Ok(None),
        };
    };
    if trust.keys.is_empty() && !trust.required {
        return Ok(None);
    }
    let (statement, by) = verify(&trust.keys, note)?;
    if by.expires.is_some_and(|end| end <= now) {
        return Err(refuse(format!(
            "the key `{}`, which signed it, has expired",
            by.key.name
        )));
    }
    if statement.component != component {
        return Err(refuse("its signature is for another component".to_owned())
            .with_detail(format!("signed {}, found {component}", statement.component)));
    }
    if statement.plugin != *plugin {
        return Err(refuse(format!(
            "its signature is for the name `{}`",
            statement.plugin
        )));
    }
    Ok(Some(Signed {
        key: by.key.name.clone(),
        version: statement.version,
    }))
}

/// The statement, and the trusted key whose signature it bears; of several, the one that expires last.
fn verify<'a>(keys: &'a [TrustedKey], note: &str) -> Result<(Statement, &'a TrustedKey), Refusal> {
    let malformed = || refuse("its signature is no signed note of a statement".to_owned());
    let (text, signatures) = note.rsplit_once("\n\n").ok_or_else(malformed)?;
    // The line end of the text's last line is part of what is signed; the empty line is not.
    let text = format!("{text}\n");
    let statement = Statement::parse(&text).ok_or_else(malformed)?;
    let signatures = signatures.strip_suffix('\n').ok_or_else(malformed)?;
    let mut found: Vec<&TrustedKey> = Vec::new();
    for line in signatures.split('\n') {
        let (name, signature) = line
            .strip_prefix("— ")
            .and_then(|line| line.split_once(' '))
            .ok_or_else(malformed)?;
        let bytes = STANDARD.decode(signature).map_err(|_| malformed())?;
        let (id, signature) = bytes.split_at_checked(4).ok_or_else(malformed)?;
        // Signatures by keys that are not known here are for others.
        for trusted in keys {
            let key = &trusted.key;
            if key.name != name || key.id != id {
                continue;
            }
            UnparsedPublicKey::new(&ED25519, &key.public)
                .verify(text.as_bytes(), signature)
                .map_err(|_| {
                    refuse(format!(
                        "its signature does not verify under the key `{name}`"
                    ))
                })?;
            found.push(trusted);
        }
    }
    found
        .into_iter()
        .max_by_key(|trusted| trusted.expires.unwrap_or(Duration::MAX))
        .map(|trusted| (statement, trusted))
        .ok_or_else(|| refuse("it is signed by no key that is trusted here".to_owned()))
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
