//! The host's own keys, under which step tokens are made.
//!
//! Kept beside the state, for the host's user alone; it never leaves the process. A rotation makes a
//! new one; the old one verifies for as long as its last token could be good.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use biscuit_auth::builder::Algorithm;
use biscuit_auth::{KeyPair, PrivateKey, PublicKey, RootKeyProvider};
use zeroize::Zeroizing;

use super::step::HANDOFF_LIFE;
use crate::entropy::{Entropy, NoEntropy};
use crate::private::{self, PrivateError};

/// Bytes of the file: two keys are two lines.
const MAX_FILE: u64 = 4 << 10;

/// The keys can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The file is not private, or can't be used.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// What is in it can't be.
    #[error("the keys of step tokens in `{}` are damaged: move the file away, and a new key is made (tokens made under it are then void)", .0.display())]
    Damaged(PathBuf),
    /// This host was started without.
    #[error("this host has no keys of step tokens")]
    None,
    /// There are no random bytes to make one of.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// The keys. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Roots(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The last one makes tokens.
    keys: ArcSwap<Vec<Root>>,
}

struct Root {
    id: u32,
    /// When it was made.
    from: Duration,
    pair: KeyPair,
    seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Root")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Root {
    fn new(id: u32, from: Duration, seed: Zeroizing<[u8; 32]>) -> Option<Self> {
        let private = PrivateKey::from_bytes(&*seed, Algorithm::Ed25519).ok()?;
        Some(Self {
            id,
            from,
            pair: KeyPair::from(&private),
            seed,
        })
    }

    fn generate(id: u32, now: Duration, entropy: &dyn Entropy) -> Result<Self, NoEntropy> {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed)?;
        Self::new(id, now, seed).ok_or_else(|| NoEntropy(String::from("32 bytes were no key")))
    }

    fn copy(&self) -> Option<Self> {
        Self::new(self.id, self.from, self.seed.clone())
    }

    fn line(&self) -> Zeroizing<String> {
        let seed = Zeroizing::new(hex::encode(*self.seed));
        Zeroizing::new(format!("{} {} {}\n", self.id, self.from.as_secs(), *seed))
    }

    fn read(line: &str) -> Option<Self> {
        let mut parts = line.split(' ');
        let (id, from, text) = (parts.next()?, parts.next()?, parts.next()?);
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text, &mut *seed).ok()?;
        let from = Duration::from_secs(from.parse().ok()?);
        match parts.next() {
            None => Self::new(id.parse().ok()?, from, seed),
            Some(_) => None,
        }
    }
}

impl Roots {
    /// Reads the keys at `path`, and makes the first where there is none.
    ///
    /// # Errors
    ///
    /// The file is not private or damaged, or no key can be made.
    pub fn open(path: &Path, entropy: &dyn Entropy, now: Duration) -> Result<Self, RootError> {
        let keys = match private::read(path, MAX_FILE) {
            Ok(bytes) => std::str::from_utf8(&bytes)
                .ok()
                .and_then(|text| text.lines().map(Root::read).collect::<Option<Vec<_>>>())
                .filter(|keys| !keys.is_empty())
                .ok_or_else(|| RootError::Damaged(path.to_owned()))?,
            Err(error) if error.is_missing() => {
                let keys = vec![Root::generate(1, now, entropy)?];
                write(path, &keys)?;
                keys
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            keys: ArcSwap::from_pointee(keys),
        })))
    }

    /// Makes a new key. The one before verifies on while its tokens may be good, unless they are to
    /// end `at_once`. Waits for the disk.
    ///
    /// # Errors
    ///
    /// It can't be made or kept; then the old one stays.
    pub fn rotate(
        &self,
        entropy: &dyn Entropy,
        now: Duration,
        at_once: bool,
    ) -> Result<u32, RootError> {
        let old = self.0.keys.load();
        let id = old.last().map_or(1, |last| last.id.wrapping_add(1));
        let mut keys = Vec::new();
        if !at_once {
            keys.extend(old.last().and_then(Root::copy));
        }
        keys.push(Root::generate(id, now, entropy)?);
        write(&self.0.path, &keys)?;
        self.0.keys.store(Arc::new(keys));
        Ok(id)
    }

    /// Works with the key that makes tokens.
    pub(super) fn with_current<T>(&self, work: impl FnOnce(&KeyPair, u32) -> T) -> Option<T> {
        let keys = self.0.keys.load();
        keys.last().map(|root| work(&root.pair, root.id))
    }

    /// The keys by which tokens are verified at `now`.
    pub(super) fn verifying(&self, now: Duration) -> Verifying {
        let keys = self.0.keys.load();
        let last = keys.last();
        let all = keys.iter().filter(|root| {
            let replaced = last.filter(|last| last.id != root.id);
            replaced.is_none_or(|by| by.from.saturating_add(HANDOFF_LIFE) > now)
        });
        Verifying(all.map(|root| (root.id, root.pair.public())).collect())
    }
}

fn write(path: &Path, keys: &[Root]) -> Result<(), PrivateError> {
    let mut text = Zeroizing::new(String::with_capacity(256));
    for key in keys {
        text.push_str(&key.line());
    }
    private::replace(path, text.as_bytes())
}

/// Public keys by id.
#[derive(Debug, Clone)]
pub(super) struct Verifying(Vec<(u32, PublicKey)>);

impl RootKeyProvider for Verifying {
    fn choose(&self, id: Option<u32>) -> Result<PublicKey, biscuit_auth::error::Format> {
        self.0
            .iter()
            .find(|(known, _)| Some(*known) == id)
            .map(|(_, key)| *key)
            .ok_or(biscuit_auth::error::Format::UnknownPublicKey)
    }
}
