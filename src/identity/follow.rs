//! Tokens that are revoked by their ids: what was made of one goes with it.

use super::Identities;
use crate::reason::{Reason, Refusal};
use crate::revocation::{Follower, Scope, Taken};

/// Whether this can be the id of a token. The token itself must not become its own name, in the database
/// and in the journal.
pub(crate) fn is_token_id(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let ours = ["step_", "agent_", "jwt_"];
    id.len() <= 64 && id.bytes().all(plain) && ours.iter().any(|kind| id.starts_with(kind))
}

#[async_trait::async_trait]
impl Follower for Identities {
    async fn take_back(&self, scope: &Scope, _why: &Refusal) -> Result<Taken, Refusal> {
        // Of whatever else ends, each request asks.
        let Scope::Token(id) = scope else {
            return Ok(Taken::default());
        };
        if !is_token_id(id) {
            return Ok(Taken::default());
        }
        let (identities, denied) = (self.clone(), id.clone());
        let failed = |error: String| {
            Refusal::new(Reason::HostInternal, "the token's end can't be kept").with_detail(error)
        };
        tokio::task::spawn_blocking(move || identities.revoke_token(&denied))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))?;
        Ok(Taken {
            tokens: vec![id.clone()],
            ..Taken::default()
        })
    }
}
