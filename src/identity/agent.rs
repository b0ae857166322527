//! An agent's identity.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::name::as_text;

/// The trust domain of the identities that the host itself issues.
pub const LOCAL_TRUST_DOMAIN: &str = "tollgate.local";

/// A workload identity (SPIFFE ID): `spiffe://<trust domain>/agent/<name>`. Never a person's.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AgentId(Arc<str>);

/// The text is not an agent's identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an agent: expected a name of 1 to 64 of `a`-`z`, `0`-`9`, `.`, `_` and `-`, or `spiffe://<trust domain>/agent/<name>`"
)]
pub struct ParseAgentError(String);

impl AgentId {
    /// The agent `name` of the host's own trust domain.
    ///
    /// # Errors
    ///
    /// The name has other letters than a SPIFFE path segment may have, or is too long.
    pub fn local(name: &str) -> Result<Self, ParseAgentError> {
        Self::new(LOCAL_TRUST_DOMAIN, name)
    }

    fn new(domain: &str, name: &str) -> Result<Self, ParseAgentError> {
        let whole = format!("spiffe://{domain}/agent/{name}");
        if is_good(domain, name) {
            Ok(Self(whole.into()))
        } else {
            Err(ParseAgentError(whole.escape_default().to_string()))
        }
    }

    /// The whole identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is of the host's own trust domain.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0
            .strip_prefix("spiffe://")
            .and_then(|rest| rest.strip_prefix(LOCAL_TRUST_DOMAIN))
            .is_some_and(|rest| rest.starts_with('/'))
    }

    /// The last part: what people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Whether a trust domain and a path segment are what SPIFFE lets them be.
fn is_good(domain: &str, name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    let good = |text: &str, longest: usize| {
        !text.is_empty()
            && text.len() <= longest
            && text.bytes().all(plain)
            && !matches!(text, "." | "..")
    };
    good(domain, 255) && good(name, 64)
}

impl FromStr for AgentId {
    type Err = ParseAgentError;

    /// Takes a whole identity, or the name of a local agent.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("spiffe://") {
            None => Self::local(text),
            // As it stands, without a copy in between: a journal that is verified has one in most lines.
            Some(rest) => rest
                .split_once('/')
                .and_then(|(domain, path)| Some((domain, path.strip_prefix("agent/")?)))
                .filter(|(domain, name)| is_good(domain, name))
                .map(|_| Self(text.into()))
                .ok_or_else(|| ParseAgentError(text.escape_default().to_string())),
        }
    }
}

impl fmt::Display for AgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

as_text!(AgentId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_local() {
        let agent: AgentId = "claude".parse().unwrap();
        assert_eq!(agent.as_str(), "spiffe://tollgate.local/agent/claude");
        assert_eq!(agent.name(), "claude");
        assert_eq!(agent.as_str().parse::<AgentId>().unwrap(), agent);
    }

    #[test]
    fn what_is_no_agent_is_refused() {
        for text in [
            "",
            "A",
            "a/b",
            "..",
            "spiffe://x",
            "spiffe://x/user/me",
            "spiffe://x/agent/a/agent/b",
            "é",
        ] {
            assert!(text.parse::<AgentId>().is_err(), "{text:?}");
        }
    }
}
