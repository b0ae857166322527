//! What the host said, for tests to look at.

use tollgate_plugin::ErrorKind;
use tollgate_plugin::prelude::*;

/// What the host said.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(crate) struct Word {
    /// Whether it did what was asked.
    pub(crate) ok: bool,
    /// What it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// Why it did not: kind, reason and message of its error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
}

impl From<Error> for Word {
    fn from(error: Error) -> Self {
        let message = Some(error.message());
        let Some(host) = error.host() else {
            return Self {
                message,
                ..Self::default()
            };
        };
        let kind = match host.kind {
            ErrorKind::Refused => "refused",
            ErrorKind::ApprovalRequired => "approval-required",
            ErrorKind::Limit => "limit",
            ErrorKind::Failed => "failed",
        };
        Self {
            kind: Some(kind.to_owned()),
            reason: Some(host.reason.clone()),
            message: Some(host.message.clone()),
            ..Self::default()
        }
    }
}

impl From<Result<String, Error>> for Word {
    fn from(result: Result<String, Error>) -> Self {
        match result {
            Ok(value) => Self {
                ok: true,
                value: Some(value),
                ..Self::default()
            },
            Err(error) => error.into(),
        }
    }
}
