//! One error type for plugins.

use std::fmt::{self, Debug, Display};

use crate::bindings::exports::tollgate::plugin::tools::CallError;
use crate::bindings::tollgate::plugin::types;

pub use crate::bindings::tollgate::plugin::types::ErrorKind;

/// Why a tool could not do its work.
///
/// `?` turns anything that can be displayed into one. It is not `Display` itself (that is what makes room for `?`);
/// [`Error::message`] gives its text.
pub struct Error(Cause);

enum Cause {
    Host(HostError),
    Arguments(String),
    Failed(String),
}

/// What the host said when it did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostError {
    /// Who or what stood in the way.
    pub kind: ErrorKind,
    /// Stable dotted code, such as `egress.ip_class` or `policy.forbidden`.
    pub reason: String,
    /// One phrase for people.
    pub message: String,
}

impl Error {
    /// The work failed; the text reaches the model.
    #[must_use]
    pub fn failed(message: impl Display) -> Self {
        Self(Cause::Failed(message.to_string()))
    }

    /// The arguments conform to the schema and still make no sense.
    #[must_use]
    pub fn arguments(message: impl Display) -> Self {
        Self(Cause::Arguments(message.to_string()))
    }

    /// The text.
    #[must_use]
    pub fn message(&self) -> String {
        match &self.0 {
            Cause::Host(error) => format!("{} ({})", error.message, error.reason),
            Cause::Arguments(message) | Cause::Failed(message) => message.clone(),
        }
    }

    /// The host's word, where the host was the one that did not do it.
    #[must_use]
    pub fn host(&self) -> Option<&HostError> {
        match &self.0 {
            Cause::Host(error) => Some(error),
            Cause::Arguments(_) | Cause::Failed(_) => None,
        }
    }

    /// Puts words before the text, for what was being done. A host's refusal stays one.
    #[must_use]
    pub fn context(self, doing: impl Display) -> Self {
        Self(match self.0 {
            Cause::Host(mut error) => {
                error.message = format!("{doing}: {}", error.message);
                Cause::Host(error)
            }
            Cause::Arguments(message) => Cause::Arguments(format!("{doing}: {message}")),
            Cause::Failed(message) => Cause::Failed(format!("{doing}: {message}")),
        })
    }

    pub(crate) fn from_host(error: types::Error) -> Self {
        Self(Cause::Host(HostError {
            kind: error.kind,
            reason: error.reason,
            message: error.message,
        }))
    }

    pub(crate) fn into_call_error(self) -> CallError {
        match self.0 {
            Cause::Arguments(message) => CallError::InvalidArguments(message),
            Cause::Host(_) | Cause::Failed(_) => CallError::Failed(self.message()),
        }
    }
}

impl<E: Display> From<E> for Error {
    fn from(error: E) -> Self {
        Self::failed(error)
    }
}

impl Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}
