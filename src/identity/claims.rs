//! What a verified token of another issuer says, held against what the operator set.
//!
//! Only called once the signature is that of the issuer's key. Agent and person are kept apart: the
//! agent is named by a claim of the client, or by a workload's `sub`; a token whose only identity is
//! a person's is no agent's, whatever it is signed with.

use std::time::Duration;

use serde_json::{Map, Value};

use super::authenticated::TokenFault;
use super::{AgentId, PersonId};
use crate::config::{AgentClaim, Issuer};
use crate::handoff;
use crate::name::shown;
use crate::reason::Reason;

/// Entries of an `aud` that is a list.
const MAX_AUDIENCES: usize = 16;

/// What a token established.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Established {
    pub(super) agent: AgentId,
    pub(super) user: Option<String>,
    pub(super) chain: Vec<AgentId>,
    /// From when on it is worth nothing, the leeway included.
    pub(super) expires: Duration,
}

type Claims = Map<String, Value>;

/// Judges the claims of a token of `issuer`. `kind` is the header's `typ`.
pub(super) fn judge(
    issuer: &Issuer,
    audience: &str,
    kind: Option<&str>,
    claims: &Claims,
    now: Duration,
) -> Result<Established, TokenFault> {
    // A token made for something else (a log-out, a proof of possession) is no access token.
    let kinds = ["jwt", "at+jwt", "application/at+jwt", "jose"];
    if kind.is_some_and(|kind| !kinds.iter().any(|known| known.eq_ignore_ascii_case(kind))) {
        return Err(TokenFault::invalid(
            "its `typ` is not that of an access token",
        ));
    }
    match claims.get("iss") {
        Some(Value::String(name)) if *name == issuer.issuer => {}
        // A JWT-SVID need not have one; its trust domain stands in its `sub`.
        None if issuer.spiffe => {}
        _ => return Err(TokenFault::invalid("its `iss` is not its issuer")),
    }
    if !names(claims.get("aud"), audience) {
        return Err(TokenFault::new(
            Reason::TokenAudience,
            format!("its `aud` does not name `{audience}`"),
        ));
    }
    let expires = times(issuer, claims, now)?;
    // Bound to a key of the client's, of which nothing is known here: as a bearer token it is a copy.
    if claims.contains_key("cnf") {
        return Err(TokenFault::invalid(
            "it is bound to a key of its client (`cnf`), which can't be checked here",
        ));
    }
    let agent = agent(issuer, claims)?;
    let user = user(issuer, claims)?;
    let chain = chain(issuer, claims, &agent)?;
    Ok(Established {
        agent,
        user,
        chain,
        expires,
    })
}

/// Whether the token has the scope that is asked of it.
pub(super) fn has_scope(issuer: &Issuer, claims: &Claims) -> bool {
    let Some(needed) = issuer.scope.as_deref() else {
        return true;
    };
    ["scope", "scp"].iter().any(|name| match claims.get(*name) {
        Some(Value::String(all)) => all.split(' ').any(|scope| scope == needed),
        Some(Value::Array(all)) => all.iter().any(|scope| scope == needed),
        _ => false,
    })
}

fn names(claim: Option<&Value>, audience: &str) -> bool {
    match claim {
        Some(Value::String(name)) => name == audience,
        Some(Value::Array(all)) => {
            all.len() <= MAX_AUDIENCES
                && all.iter().all(Value::is_string)
                && all.iter().any(|name| name == audience)
        }
        _ => false,
    }
}

fn times(issuer: &Issuer, claims: &Claims, now: Duration) -> Result<Duration, TokenFault> {
    let date = |name: &str| match claims.get(name) {
        None => Ok(None),
        // Whole seconds of any year that there will be.
        Some(Value::Number(number)) => number
            .as_f64()
            .filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))
            .map(|seconds| Some(Duration::from_secs_f64(seconds)))
            .ok_or_else(|| TokenFault::invalid(format!("its `{name}` is no time"))),
        Some(_) => Err(TokenFault::invalid(format!("its `{name}` is no time"))),
    };
    let Some(expires) = date("exp")? else {
        return Err(TokenFault::invalid(
            "it has no `exp`, so it would never end",
        ));
    };
    let early = now.saturating_add(issuer.leeway);
    let expires = expires.saturating_add(issuer.leeway);
    if now >= expires {
        return Err(TokenFault::new(Reason::TokenExpired, "its `exp` is over"));
    }
    for name in ["nbf", "iat"] {
        if date(name)?.is_some_and(|from| from > early) {
            let what = format!("its `{name}` has not come");
            return Err(TokenFault::new(Reason::TokenExpired, what));
        }
    }
    Ok(expires)
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=512).contains(&text.len()) => Ok(Some(text)),
        Some(_) => Err(TokenFault::invalid(format!("its `{name}` is no name"))),
    }
}

fn agent(issuer: &Issuer, claims: &Claims) -> Result<AgentId, TokenFault> {
    let claim = issuer.agent_claim.as_str();
    let value =
        text(claims, claim)?.ok_or_else(|| TokenFault::invalid(format!("it has no `{claim}`")))?;
    if issuer.agent_claim == AgentClaim::Sub && !issuer.spiffe {
        for client in ["azp", "client_id"] {
            if text(claims, client)?.is_some_and(|client| client != value) {
                return Err(TokenFault::new(
                    Reason::IdentityKind,
                    format!(
                        "its `sub` is someone for whom the client `{client}` acts, so no agent"
                    ),
                ));
            }
        }
    }
    known(issuer, value).ok_or_else(|| {
        TokenFault::new(
            Reason::IdentityUnknown,
            format!(
                "its `{claim}` (`{}`) is no agent of this host: name it in `[issuer.agents]` of `{}`",
                shown(value, 80),
                issuer.issuer
            ),
        )
    })
}

/// The agent that a claim's value names, if the operator named it.
pub(super) fn known(issuer: &Issuer, value: &str) -> Option<AgentId> {
    if let Some(agent) = issuer.agents.get(value) {
        return Some(agent.clone());
    }
    let name = if issuer.spiffe {
        value
            .strip_prefix("spiffe://")?
            .strip_prefix(issuer.trust_domain.as_str())?
            .strip_prefix("/agent/")?
    } else {
        value
    };
    if !name.starts_with(issuer.agent_prefix.as_deref()?) {
        return None;
    }
    let id = crate::config::issuer::id(&issuer.trust_domain, name).ok()?;
    // A client must not take the name that another was given.
    (!name.starts_with("spiffe:") && !issuer.agents.values().any(|named| *named == id))
        .then_some(id)
}

fn user(issuer: &Issuer, claims: &Claims) -> Result<Option<String>, TokenFault> {
    let Some(claim) = issuer.user_claim.as_deref() else {
        return Ok(None);
    };
    let Some(value) = text(claims, claim)? else {
        return Ok(None);
    };
    // What a client got for itself has the client as its subject, and nobody behind it.
    if text(claims, issuer.agent_claim.as_str())? == Some(value) {
        return Ok(None);
    }
    format!("{}{value}", issuer.user_prefix)
        .parse::<PersonId>()
        .map(|person| Some(person.as_str().to_owned()))
        .map_err(|error| TokenFault::invalid(format!("its `{claim}`: {error}")))
}

/// The agents of `act` (RFC 8693), from the first to the last before `agent`.
fn chain(issuer: &Issuer, claims: &Claims, agent: &AgentId) -> Result<Vec<AgentId>, TokenFault> {
    let mut chain = Vec::new();
    let mut at = claims.get("act");
    while let Some(actor) = at {
        let actor = actor
            .as_object()
            .ok_or_else(|| TokenFault::invalid("its `act` is no actor"))?;
        if chain.len() > handoff::MAX_DEPTH + 1 {
            return Err(TokenFault::new(
                Reason::HandoffDepth,
                "its `act` names too many actors",
            ));
        }
        let named = match text(actor, issuer.agent_claim.as_str())? {
            Some(named) => Some(named),
            None => text(actor, "sub")?,
        };
        let known = named
            .and_then(|named| known(issuer, named))
            .ok_or_else(|| {
                TokenFault::new(
                    Reason::IdentityUnknown,
                    "its `act` names an actor that is no agent of this host",
                )
            })?;
        chain.push(known);
        at = actor.get("act");
    }
    // The outermost is who acts now.
    if chain.first() == Some(agent) {
        chain.remove(0);
    }
    chain.reverse();
    handoff::check(&chain, agent)
        .map_err(|refusal| TokenFault::new(refusal.reason, refusal.message.into_owned()))?;
    Ok(chain)
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
