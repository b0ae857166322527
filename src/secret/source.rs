//! Where secrets come from.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::value::{MAX_VALUE, SecretValue};
use crate::name::PluginName;
use crate::private::{self, PrivateError};

/// A place that has secrets.
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

fn sized(value: SecretValue, from: &str) -> Result<SecretValue, SourceError> {
    match value.expose().len() {
        0 => Err(SourceError::Missing(format!("`{from}` is empty"))),
        1..=MAX_VALUE => Ok(value),
        _ => Err(SourceError::Unavailable(format!(
            "`{from}` holds more than {MAX_VALUE} bytes"
        ))),
    }
}
