//! The encrypted local file: the host's own store of secrets.
//!
//! Each value is sealed with XChaCha20-Poly1305 under a key of its own file, with its plugin and
//! name as associated data, so that no value can be moved to another name; and the whole list is
//! sealed again, so that none can be taken out or put back. It protects a backup or a copy of the
//! file without its key. It does not protect from the user that the host runs as, who can read the
//! key; nor from one who puts a whole earlier file back.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::source::{SecretSource, SourceError};
use super::value::{MAX_VALUE, SecretValue};
use crate::digest::Digest;
use crate::entropy::{NoEntropy, SharedEntropy};
use crate::home::Home;
use crate::name::{self, PluginName};
use crate::private::{self, PrivateError};

const FORMAT: &str = "tollgate-secrets";
const VERSION: u32 = 1;
/// Hundreds of secrets of the largest size.
const MAX_FILE: u64 = 64 << 20;
const KEY: usize = 32;
const NONCE: usize = 24;

/// The store can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// One of its files is not private, or can't be used.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// The store is there and its key is not.
    #[error("`{}` can't be opened: its key `{}` is missing; restore the key, or move the store away and set the secrets again", store.display(), key.display())]
    NoKey {
        /// The store.
        store: PathBuf,
        /// Where its key should be.
        key: PathBuf,
    },
    /// The key is not one.
    #[error("`{}` is not a key: expected {KEY} bytes; restore it", path.display())]
    BadKey {
        /// The key's file.
        path: PathBuf,
    },
    /// The store was not written by this host under this key, or was changed since.
    #[error("`{}` was changed, damaged or written under another key ({what}): restore it together with its key, or move both away and set the secrets again", path.display())]
    Tampered {
        /// The store.
        path: PathBuf,
        /// What shows it.
        what: &'static str,
    },
    /// A later version of the host wrote it.
    #[error("`{}` has version {found}, and this host knows {VERSION}: use the host that wrote it, or a later one", path.display())]
    Newer {
        /// The store.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The name can't be a secret's.
    #[error(
        "`{0}` can't be a secret's name: use 1 to 64 of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit"
    )]
    Name(String),
    /// The value is empty, or too long.
    #[error("a secret's value has 1 to {MAX_VALUE} bytes, and this one has {0}")]
    Size(usize),
    /// There is no such secret.
    #[error(
        "the store has no secret `{plugin}/{name}`: set it with `tollgate secret set {plugin} {name}`"
    )]
    Missing {
        /// The plugin.
        plugin: PluginName,
        /// The name.
        name: String,
    },
    /// There are no random bytes.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// The encrypted local file.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    key: PathBuf,
    lock: PathBuf,
    entropy: SharedEntropy,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: String,
    version: u32,
    entries: Vec<Entry>,
    nonce: String,
    seal: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    plugin: PluginName,
    name: String,
    nonce: String,
    sealed: String,
}

impl Entry {
    fn is(&self, plugin: &PluginName, name: &str) -> bool {
        self.plugin == *plugin && self.name == name
    }
}

impl Store {
    /// The store of `home`. Touches nothing.
    #[must_use]
    pub fn new(home: &Home, entropy: SharedEntropy) -> Self {
        Self {
            path: home.secrets(),
            key: home.secrets_key(),
            lock: home.keys().join("secrets.lock"),
            entropy,
        }
    }

    /// Keeps `value` as the secret `name` of `plugin`, in the place of what it was.
    ///
    /// # Errors
    ///
    /// The name or value can't be one, the store was tampered with, or can't be written. It is then
    /// as it was.
    pub fn set(
        &self,
        plugin: &PluginName,
        name: &str,
        value: &SecretValue,
    ) -> Result<(), StoreError> {
        if !name::is_plain(name) {
            return Err(StoreError::Name(name::shown(name, 80)));
        }
        let size = value.expose().len();
        if size == 0 || size > MAX_VALUE {
            return Err(StoreError::Size(size));
        }
        let _held = self.hold()?;
        let cipher = self.cipher(true)?;
        let mut entries = self.entries(&cipher)?;
        entries.retain(|e| !e.is(plugin, name));
        let (nonce, sealed) = self.seal(&cipher, value.expose(), &of_entry(plugin, name))?;
        entries.push(Entry {
            plugin: plugin.clone(),
            name: name.to_owned(),
            nonce,
            sealed,
        });
        self.write(&cipher, entries)
    }

    /// Forgets the secret `name` of `plugin`.
    ///
    /// # Errors
    ///
    /// There is none, the store was tampered with, or can't be written.
    pub fn remove(&self, plugin: &PluginName, name: &str) -> Result<(), StoreError> {
        let _held = self.hold()?;
        let cipher = self.cipher(false)?;
        let mut entries = self.entries(&cipher)?;
        let before = entries.len();
        entries.retain(|e| !e.is(plugin, name));
        if entries.len() == before {
            return Err(missing(plugin, name));
        }
        self.write(&cipher, entries)
    }

    /// Plugins and names of all secrets, in order. No values.
    ///
    /// # Errors
    ///
    /// The store was tampered with, or can't be read.
    pub fn list(&self) -> Result<Vec<(PluginName, String)>, StoreError> {
        if !self.path.exists() {
            return Ok(Vec::new());
        }
        let cipher = self.cipher(false)?;
        let entries = self.entries(&cipher)?;
        Ok(entries.into_iter().map(|e| (e.plugin, e.name)).collect())
    }

    /// The value of the secret `name` of `plugin`.
    ///
    /// # Errors
    ///
    /// There is none, the store was tampered with, or can't be read.
    pub fn value(&self, plugin: &PluginName, name: &str) -> Result<SecretValue, StoreError> {
        if !self.path.exists() {
            return Err(missing(plugin, name));
        }
        let cipher = self.cipher(false)?;
        let entries = self.entries(&cipher)?;
        let entry = entries
            .iter()
            .find(|e| e.is(plugin, name))
            .ok_or_else(|| missing(plugin, name))?;
        self.open(
            &cipher,
            &entry.nonce,
            &entry.sealed,
            &of_entry(plugin, name),
        )
        .map(SecretValue::new)
    }

    /// Seals `text` under the store's key, for another place than the store; `about` is what it
    /// belongs to, and opens nothing else.
    ///
    /// # Errors
    ///
    /// There is no key, or none can be made.
    pub(crate) fn seal_text(&self, about: &str, text: &str) -> Result<Vec<u8>, StoreError> {
        let cipher = {
            // Or two would make a key each.
            let _held = self.hold()?;
            self.cipher(true)?
        };
        let (nonce, sealed) = self.encrypt(&cipher, text.as_bytes(), &of_text(about))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// What `seal_text` sealed.
    ///
    /// # Errors
    ///
    /// It was sealed about something else, under another key, or changed since.
    pub(crate) fn open_text(
        &self,
        about: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<String>, StoreError> {
        let cipher = self.cipher(false)?;
        let fault = || self.tampered("what was sealed under its key does not fit");
        let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or_else(fault)?;
        let payload = Payload {
            msg: sealed,
            aad: &of_text(about),
        };
        let plain = cipher
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| fault())?;
        String::from_utf8(plain)
            .map(Zeroizing::new)
            .map_err(|_| fault())
    }

    /// One writer at a time, of whichever process; until the file is dropped.
    fn hold(&self) -> Result<std::fs::File, StoreError> {
        let file = private::open_or_make(&self.lock)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|e| PrivateError::io(&self.lock, "lock")(e.into()))?;
        Ok(file)
    }

    fn cipher(&self, may_make: bool) -> Result<XChaCha20Poly1305, StoreError> {
        let bytes = match private::read(&self.key, KEY as u64) {
            Ok(bytes) => bytes,
            Err(e) if e.is_missing() && may_make && !self.path.exists() => {
                let mut fresh = Zeroizing::new(vec![0; KEY]);
                self.entropy.fill(&mut fresh)?;
                private::replace(&self.key, &fresh)?;
                fresh
            }
            Err(e) if e.is_missing() => {
                return Err(StoreError::NoKey {
                    store: self.path.clone(),
                    key: self.key.clone(),
                });
            }
            Err(PrivateError::TooLarge { path, .. }) => return Err(StoreError::BadKey { path }),
            Err(e) => return Err(e.into()),
        };
        XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| StoreError::BadKey {
            path: self.key.clone(),
        })
    }

    fn entries(&self, cipher: &XChaCha20Poly1305) -> Result<Vec<Entry>, StoreError> {
        let bytes = match private::read(&self.path, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(e) if e.is_missing() => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let contents: Contents =
            serde_json::from_slice(&bytes).map_err(|_| self.tampered("it is not a store"))?;
        if contents.format != FORMAT {
            return Err(self.tampered("it is not a store"));
        }
        if contents.version != VERSION {
            return Err(StoreError::Newer {
                path: self.path.clone(),
                found: contents.version,
            });
        }
        let list = of_list(&contents.entries);
        self.open(cipher, &contents.nonce, &contents.seal, &list)?;
        Ok(contents.entries)
    }

    fn write(&self, cipher: &XChaCha20Poly1305, mut entries: Vec<Entry>) -> Result<(), StoreError> {
        entries.sort_by(|a, b| (&a.plugin, &a.name).cmp(&(&b.plugin, &b.name)));
        let (nonce, seal) = self.seal(cipher, b"", &of_list(&entries))?;
        let contents = Contents {
            format: FORMAT.to_owned(),
            version: VERSION,
            entries,
            nonce,
            seal,
        };
        let text = serde_json::to_vec_pretty(&contents)
            .map_err(|_| self.tampered("it can't be written as JSON"))?;
        Ok(private::replace(&self.path, &text)?)
    }

    fn seal(
        &self,
        cipher: &XChaCha20Poly1305,
        value: &[u8],
        about: &[u8],
    ) -> Result<(String, String), StoreError> {
        let (nonce, sealed) = self.encrypt(cipher, value, about)?;
        Ok((STANDARD.encode(nonce), STANDARD.encode(sealed)))
    }

    /// A fresh nonce for each: 24 random bytes never meet again.
    fn encrypt(
        &self,
        cipher: &XChaCha20Poly1305,
        plain: &[u8],
        about: &[u8],
    ) -> Result<([u8; NONCE], Vec<u8>), StoreError> {
        let mut nonce = [0; NONCE];
        self.entropy.fill(&mut nonce)?;
        let payload = Payload {
            msg: plain,
            aad: about,
        };
        let sealed = cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| StoreError::Size(plain.len()))?;
        Ok((nonce, sealed))
    }

    fn open(
        &self,
        cipher: &XChaCha20Poly1305,
        nonce: &str,
        sealed: &str,
        about: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let decode = |text: &str| {
            STANDARD
                .decode(text)
                .map_err(|_| self.tampered("an entry is no base64"))
        };
        let nonce: [u8; NONCE] = decode(nonce)?
            .try_into()
            .map_err(|_| self.tampered("a nonce has the wrong length"))?;
        let sealed = decode(sealed)?;
        let payload = Payload {
            msg: &sealed,
            aad: about,
        };
        cipher
            .decrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| self.tampered("a seal does not fit"))
    }

    fn tampered(&self, what: &'static str) -> StoreError {
        StoreError::Tampered {
            path: self.path.clone(),
            what,
        }
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl SecretSource for Store {
    fn get(&self, plugin: &PluginName, name: &str) -> Result<SecretValue, SourceError> {
        self.value(plugin, name).map_err(|e| match e {
            StoreError::Missing { .. } => SourceError::Missing(e.to_string()),
            e => SourceError::Unavailable(e.to_string()),
        })
    }
}

fn missing(plugin: &PluginName, name: &str) -> StoreError {
    StoreError::Missing {
        plugin: plugin.clone(),
        name: name.escape_default().to_string(),
    }
}

fn of_entry(plugin: &PluginName, name: &str) -> [u8; 32] {
    let parts = [
        b"secret v1".as_slice(),
        plugin.as_str().as_bytes(),
        name.as_bytes(),
    ];
    *Digest::of_parts(parts).as_bytes()
}

fn of_text(about: &str) -> [u8; 32] {
    *Digest::of_parts([b"text v1".as_slice(), about.as_bytes()]).as_bytes()
}

fn of_list(entries: &[Entry]) -> [u8; 32] {
    let parts = entries
        .iter()
        .flat_map(|e| [e.plugin.as_str(), &e.name, &e.nonce, &e.sealed].map(str::as_bytes));
    *Digest::of_parts(std::iter::once(b"secrets v1".as_slice()).chain(parts)).as_bytes()
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
