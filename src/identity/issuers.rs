//! The issuers that the operator trusts, and their tokens.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::authenticated::{Authenticated, TokenFault};
use super::claims::{self, Established};
use super::jwks::KeySet;
use super::jws::{PublicKey, Unverified};
use super::keys::{Keys, KeysError};
use crate::config::{Config, Issuer};
use crate::digest::Digest;
use crate::egress::OwnClient;
use crate::identity::AgentId;
use crate::reason::Reason;

/// The issuers in force.
#[derive(Debug, Default)]
pub struct Issuers {
    list: Vec<Arc<Trusted>>,
    client: Option<OwnClient>,
}

#[derive(Debug)]
struct Trusted {
    issuer: Issuer,
    audience: String,
    keys: Keys,
}

/// A token of another issuer is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// It proves nothing.
    #[error(transparent)]
    Fault(#[from] TokenFault),
    /// It is good, but for a scope that it lacks.
    #[error("the token lacks the scope `{0}`")]
    Scope(String),
    /// Whether it is good can't be told now.
    #[error(transparent)]
    Unavailable(#[from] KeysError),
}

impl Trusted {
    /// What the token says, once it is signed with `key`.
    fn judge(
        &self,
        token: Unverified<'_>,
        key: &PublicKey,
        now: Duration,
    ) -> Result<(Map<String, Value>, Established), TokenFault> {
        let kind = token.kind.clone();
        let claims = token
            .verify(key)
            .map_err(|error| TokenFault::invalid(error.to_string()))?;
        let established =
            claims::judge(&self.issuer, &self.audience, kind.as_deref(), &claims, now)?;
        Ok((claims, established))
    }
}

impl Issuers {
    /// Those of `config`. Keys that `before` had read stay read where their issuer did not change.
    #[must_use]
    pub fn new(config: &Config, client: Option<OwnClient>, before: &Self) -> Self {
        let list = config
            .issuers
            .iter()
            .map(|issuer| {
                let audience = issuer
                    .audience
                    .clone()
                    .unwrap_or_else(|| config.server.resource.clone());
                let known = before
                    .list
                    .iter()
                    .find(|known| known.issuer == *issuer && known.audience == audience);
                known.cloned().unwrap_or_else(|| {
                    Arc::new(Trusted {
                        keys: Keys::new(issuer.keys.clone(), issuer.algorithms.clone()),
                        issuer: issuer.clone(),
                        audience,
                    })
                })
            })
            .collect();
        Self { list, client }
    }

    /// Their names, for clients that look for one.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        // A JWT-SVID comes from the workload's surroundings, not from a server that clients could ask.
        self.list
            .iter()
            .filter(|trusted| !trusted.issuer.spiffe)
            .map(|trusted| trusted.issuer.issuer.as_str())
    }

    /// The scopes that tokens must have.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.list
            .iter()
            .filter_map(|trusted| trusted.issuer.scope.as_deref())
    }

    /// Whether some issuer may name this agent at all.
    pub(super) fn may_name(&self, agent: &AgentId) -> bool {
        self.list.iter().any(|trusted| {
            let issuer = &trusted.issuer;
            issuer.agents.values().any(|named| named == agent)
                || issuer.agent_prefix.as_ref().is_some_and(|prefix| {
                    agent.name().starts_with(prefix.as_str())
                        && crate::config::issuer::id(&issuer.trust_domain, agent.name()).as_ref()
                            == Ok(agent)
                })
        })
    }

    /// Who presents this token.
    pub(super) async fn authenticate(
        &self,
        text: &str,
        now: Duration,
    ) -> Result<Authenticated, IssuerError> {
        let token =
            Unverified::read(text).map_err(|error| TokenFault::invalid(error.to_string()))?;
        let trusted = self.issuer_of(&token)?;
        let accept = |set: &KeySet| self.is_own(trusted, set);
        let key = trusted
            .keys
            .find(
                token.key_id.as_deref(),
                token.algorithm,
                now,
                self.client.as_ref(),
                accept,
            )
            .await?
            .ok_or_else(|| {
                TokenFault::invalid("it is signed with a key that its issuer does not have")
            })?;
        let (
            claims,
            Established {
                agent,
                user,
                chain,
                expires,
            },
        ) = trusted.judge(token, &key, now)?;
        if !claims::has_scope(&trusted.issuer, &claims) {
            let scope = trusted.issuer.scope.clone().unwrap_or_default();
            return Err(IssuerError::Scope(scope));
        }
        Ok(Authenticated {
            user,
            chain,
            tokens: vec![format!("jwt_{}", Digest::of(text.as_bytes()).short())],
            expires: Some(expires),
            ..Authenticated::of(agent)
        })
    }

    /// The agent that this token is of, as far as keys that were read before tell.
    pub(super) fn holder(&self, text: &str, now: Duration) -> Option<AgentId> {
        let token = Unverified::read(text).ok()?;
        let trusted = self.issuer_of(&token).ok()?;
        let keys = trusted.keys.current()?;
        let key = keys.find(token.key_id.as_deref(), token.algorithm)?;
        let (_, established) = trusted.judge(token, key, now).ok()?;
        Some(established.agent)
    }

    /// The issuer whose keys are tried: exactly the one that the token names, and no other.
    fn issuer_of(&self, token: &Unverified<'_>) -> Result<&Arc<Trusted>, TokenFault> {
        let found = match token.hint("iss") {
            Some(name) => self.list.iter().find(|t| t.issuer.issuer == name),
            None => {
                let domain = token
                    .hint("sub")
                    .and_then(|sub| sub.strip_prefix("spiffe://"))
                    .and_then(|rest| rest.split_once('/'))
                    .map(|(domain, _)| domain);
                self.list
                    .iter()
                    .find(|t| t.issuer.spiffe && Some(t.issuer.trust_domain.as_str()) == domain)
            }
        };
        found.ok_or_else(|| {
            TokenFault::new(
                Reason::TokenInvalid,
                "it names no issuer that this host trusts: `[[issuer]]` in `tollgate.toml`",
            )
        })
    }

    fn is_own(&self, of: &Arc<Trusted>, set: &KeySet) -> Result<(), KeysError> {
        for other in self.list.iter().filter(|other| !Arc::ptr_eq(other, of)) {
            if other
                .keys
                .current()
                .is_some_and(|its| its.shares_a_key(set))
            {
                return Err(KeysError::Shared(other.issuer.issuer.clone()));
            }
        }
        Ok(())
    }
}
