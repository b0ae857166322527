//! Where secrets come from: one trait for what is there already, for what is made when it is asked
//! for, and for what has to be taken back.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::value::{MAX_VALUE, SecretValue};
use crate::id::LeaseId;
use crate::name::PluginName;
use crate::private::{self, PrivateError};

/// Where a credential comes from.
#[async_trait]
pub trait Source: Send + Sync + fmt::Debug {
    /// Its kind, as in the configuration: `store`, `env`, `vault`, ...
    fn kind(&self) -> &'static str;

    /// What becomes of what it gives.
    fn nature(&self) -> Nature;

    /// Whether it is on this machine and answers at once.
    fn is_local(&self) -> bool {
        false
    }

    /// The value, at once, of one that is on this machine. May read a file.
    fn local_value(&self, _plugin: &PluginName, _name: &str) -> Option<SecretValue> {
        None
    }

    /// Whether what it makes for one call or task hangs together, so that all of it can be taken
    /// back by one handle, also what the host does not know of: the key under which it does.
    fn bond_key(&self) -> Option<&str> {
        None
    }

    /// Makes what the others hang on. It gives access to nothing by itself until `issue` used it.
    ///
    /// # Errors
    ///
    /// It can't.
    async fn bond(&self, _ask: &Ask) -> Result<Issued, SourceError> {
        Err(SourceError::Unavailable(String::from(
            "this source has nothing for others to hang on",
        )))
    }

    /// Gives the value, or makes one.
    ///
    /// # Errors
    ///
    /// It has none, or can't give it.
    async fn issue(&self, ask: &Ask, bond: Option<&SecretValue>) -> Result<Issued, SourceError>;

    /// Whether what it lends can be renewed.
    fn renews(&self) -> bool {
        false
    }

    /// Makes what `handle` stands for live for `ttl` from now on, and what it hangs on.
    ///
    /// # Errors
    ///
    /// It was not renewed, nor was what it hangs on; [`SourceError::Uncertain`] where either may have been.
    async fn renew(
        &self,
        _handle: &str,
        _bond: Option<&SecretValue>,
        _ttl: Duration,
    ) -> Result<Renewed, SourceError> {
        Err(SourceError::Unavailable(String::from(
            "what this source gives can't be renewed",
        )))
    }
}

/// What becomes of what a source gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// It is there anyway, and stays.
    Standing,
    /// It is made when it is asked for, ends by itself, and can't be taken back.
    Minted,
    /// It is made when it is asked for, and taken back.
    Lent,
}

/// For whom a credential is.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The plugin.
    pub plugin: PluginName,
    /// The secret's name.
    pub name: String,
    /// The lease that it becomes.
    pub lease: LeaseId,
    /// For how long at most.
    pub ttl: Duration,
}

/// A credential.
#[derive(Debug)]
pub struct Issued {
    /// What goes into requests.
    pub value: SecretValue,
    /// The user name that goes with it, where its source made one.
    pub user: Option<String>,
    /// For how long it lives; none where it does on its own.
    pub ttl: Option<Duration>,
    /// What takes it back, as the source understands it.
    pub handle: Option<Zeroizing<String>>,
}

impl Issued {
    /// A value that is there anyway.
    #[must_use]
    pub const fn standing(value: SecretValue) -> Self {
        Self {
            value,
            user: None,
            ttl: None,
            handle: None,
        }
    }
}

/// How long something lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Renewed {
    /// The credential.
    pub ttl: Duration,
    /// What it hangs on, where that was renewed with it.
    pub bond: Option<Duration>,
}

/// A source of this machine, which may read a file.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub(super) kind: &'static str,
    pub(super) source: Arc<dyn SecretSource>,
}

#[async_trait]
impl Source for Local {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn nature(&self) -> Nature {
        Nature::Standing
    }

    fn is_local(&self) -> bool {
        true
    }

    fn local_value(&self, plugin: &PluginName, name: &str) -> Option<SecretValue> {
        self.source.get(plugin, name).ok()
    }

    async fn issue(&self, ask: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let (source, plugin, name) = (
            Arc::clone(&self.source),
            ask.plugin.clone(),
            ask.name.clone(),
        );
        blocking(move || source.get(&plugin, &name))
            .await
            .map(Issued::standing)
    }
}

/// A source that can't be asked, and why.
#[derive(Debug)]
pub(super) struct Nowhere(pub(super) &'static str, pub(super) &'static str);

#[async_trait]
impl Source for Nowhere {
    fn kind(&self) -> &'static str {
        self.0
    }

    fn nature(&self) -> Nature {
        Nature::Standing
    }

    async fn issue(&self, _: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        Err(SourceError::Unavailable(self.1.to_owned()))
    }
}

/// Reads, on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))
}

/// A place of this machine that has secrets.
pub trait SecretSource: Send + Sync + fmt::Debug {
    /// The value of the secret `name` of `plugin`. May read a file.
    ///
    /// # Errors
    ///
    /// It has none, or can't give it.
    fn get(&self, plugin: &PluginName, name: &str) -> Result<SecretValue, SourceError>;
}

/// A source gives no value. For the operator only: a plugin hears the same of a secret that is
/// missing and of one that it may not have.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such secret.
    #[error("{0}")]
    Missing(String),
    /// There may be, but it can't be had.
    #[error("{0}")]
    Unavailable(String),
    /// It was asked for, and nobody knows whether it was done, or all of it.
    #[error("{0}")]
    Uncertain(String),
}

impl From<PrivateError> for SourceError {
    fn from(error: PrivateError) -> Self {
        if error.is_missing() {
            Self::Missing(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}

/// Looks up environment variables.
type Lookup = Arc<dyn Fn(&str) -> Option<std::ffi::OsString> + Send + Sync>;

/// An environment variable of the host.
#[derive(Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) lookup: Lookup,
}

impl fmt::Debug for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl SecretSource for Variable {
    fn get(&self, _: &PluginName, _: &str) -> Result<SecretValue, SourceError> {
        use std::os::unix::ffi::OsStringExt as _;
        let value = (self.lookup)(&self.name).filter(|v| !v.is_empty());
        let value = value.ok_or_else(|| {
            SourceError::Missing(format!(
                "the environment variable `{}` is not set where the host was started",
                self.name
            ))
        })?;
        sized(SecretValue::new(value.into_vec()), &self.name)
    }
}

/// A file that only the host's user can read.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
}

impl SecretSource for File {
    fn get(&self, _: &PluginName, _: &str) -> Result<SecretValue, SourceError> {
        let mut bytes = private::read(&self.path, MAX_VALUE as u64 + 2)?;
        let value = SecretValue::new(std::mem::take(&mut *bytes)).without_line_end();
        sized(value, &self.path.display().to_string())
    }
}

pub(super) fn sized(value: SecretValue, from: &str) -> Result<SecretValue, SourceError> {
    match value.expose().len() {
        0 => Err(SourceError::Missing(format!("`{from}` is empty"))),
        1..=MAX_VALUE => Ok(value),
        _ => Err(SourceError::Unavailable(format!(
            "`{from}` holds more than {MAX_VALUE} bytes"
        ))),
    }
}
