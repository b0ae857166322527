//! What an operator takes back, and gives back.

use serde_json::{Value, json};

use crate::daemon::ControlError;
use crate::host::Host;
use crate::revocation::{self, RevokeError, Revoked, Scope};

/// Whoever can open the socket.
pub(super) const BY: &str = "operator";

pub(crate) async fn revoke(
    host: &Host,
    kind: &str,
    subject: &str,
    by: &str,
) -> Result<Value, ControlError> {
    let scope = scope(kind, subject)?;
    super::value(&take(host, scope, by).await?)
}

pub(super) async fn take(host: &Host, scope: Scope, by: &str) -> Result<Revoked, ControlError> {
    revocation::revoke(host, scope, by).await.map_err(error)
}

pub(crate) async fn lift(
    host: &Host,
    kind: &str,
    subject: &str,
    by: &str,
) -> Result<Value, ControlError> {
    let scope = scope(kind, subject)?;
    revocation::lift(host, scope, by).await.map_err(error)?;
    Ok(json!({"kind": kind, "subject": subject}))
}

fn scope(kind: &str, subject: &str) -> Result<Scope, ControlError> {
    Scope::parse(kind, subject).map_err(|message| ControlError::new("revoke.invalid", message))
}

fn error(error: RevokeError) -> ControlError {
    let code = match &error {
        RevokeError::Unknown(_) => "revoke.unknown",
        RevokeError::NotKept { .. } => "revoke.not_kept",
        RevokeError::Partly { .. } => "revoke.partly",
        RevokeError::NotLifted(_) => "revoke.not_lifted",
    };
    let shown = ControlError::new(code, error.to_string());
    match error {
        RevokeError::Unknown(Scope::Agent(_)) => {
            shown.with_hint("`tollgate agent list` shows those that there are")
        }
        RevokeError::Unknown(Scope::Plugin(_)) => {
            shown.with_hint("`tollgate plugins` shows those that there are")
        }
        RevokeError::Unknown(Scope::Task(_)) => {
            shown.with_hint("`tollgate task list --all` shows those that there are")
        }
        RevokeError::NotKept { .. } => {
            shown.with_hint("mend the disk, and revoke it again before the daemon ends")
        }
        _ => shown,
    }
}
