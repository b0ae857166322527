//! The host's own agents: issuing their tokens, knowing them again, taking them back.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use super::{AgentId, AgentToken, MalformedToken, ParseAgentError};
use crate::clock::SharedClock;
use crate::entropy::{NoEntropy, SharedEntropy};
use crate::reason::{Reason, Refusal};
use crate::state::{AgentRecord, State, StateError};

/// A token could not be issued or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The name can't be an agent's.
    #[error(transparent)]
    Name(#[from] ParseAgentError),
    /// There are no random bytes to make it of.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// It could not be kept.
    #[error(transparent)]
    State(#[from] StateError),
}

/// No agent was established. Told apart for the log; the far side hears the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticateError {
    /// Not a token at all.
    #[error(transparent)]
    Malformed(#[from] MalformedToken),
    /// Nobody's.
    #[error("the token is nobody's: it was never issued here, or was replaced")]
    Unknown,
    /// It was revoked.
    #[error("the token of {0:?} was revoked")]
    Revoked(AgentId),
    /// Its time is over.
    #[error("the token of {0:?} has expired: issue a new one with `tollgate agent add`")]
    Expired(AgentId),
}

impl From<AuthenticateError> for Refusal {
    fn from(error: AuthenticateError) -> Self {
        let (reason, message) = match error {
            AuthenticateError::Revoked(_) => (Reason::RevokedAgent, "the agent was revoked"),
            _ => (Reason::IdentityUnknown, "no agent has this token"),
        };
        Self::new(reason, message).with_detail(error.to_string())
    }
}

/// A token that was just issued.
#[derive(Debug)]
pub struct Issued {
    /// To whom.
    pub agent: AgentId,
    /// The token: shown now, and never again.
    pub token: AgentToken,
    /// Until when, since 1970-01-01T00:00:00Z.
    pub expires: Option<Duration>,
}

/// The host's own agents.
#[derive(Debug, Clone)]
pub struct Identities {
    state: State,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Identities {
    /// The agents in `state`.
    #[must_use]
    pub fn new(state: State, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            state,
            clock,
            entropy,
        }
    }

    /// Makes the local agent `name` and its token, worth something for `lifetime`, or until it is revoked.
    /// Waits for the disk.
    ///
    /// # Errors
    ///
    /// The name can't be one, the agent has a token already, or it can't be kept.
    pub fn issue(&self, name: &str, lifetime: Option<Duration>) -> Result<Issued, IssueError> {
        let agent = AgentId::local(name)?;
        let token = AgentToken::generate(&*self.entropy)?;
        let created = self.clock.now();
        // A lifetime beyond the end of time is one without an end.
        let expires = lifetime.and_then(|l| created.checked_add(l));
        self.state.add_agent(&AgentRecord {
            id: agent.clone(),
            token: token.digest(),
            created,
            expires,
            revoked: None,
        })?;
        Ok(Issued {
            agent,
            token,
            expires,
        })
    }

    /// The agent that has the token `bearer`. From memory.
    ///
    /// # Errors
    ///
    /// Nobody has it, or not any more.
    pub fn authenticate(&self, bearer: &str) -> Result<AgentId, AuthenticateError> {
        let digest = AgentToken::digest_of(bearer)?;
        // Looked up by digest, so the time it takes says nothing of the token; and compared whole
        // all the same, so that this does not rest on how a hash map compares.
        let record = self
            .state
            .agent_by_token(&digest)
            .filter(|r| r.token.as_bytes().ct_eq(digest.as_bytes()).into())
            .ok_or(AuthenticateError::Unknown)?;
        self.judge(&record)
    }

    /// Whether the local agent `id` may still act: for calls under way, and for transports that
    /// established it otherwise (stdio). From memory.
    ///
    /// # Errors
    ///
    /// It is unknown, revoked or expired.
    pub fn confirm(&self, id: &AgentId) -> Result<AgentId, AuthenticateError> {
        let record = self.state.agent(id).ok_or(AuthenticateError::Unknown)?;
        self.judge(&record)
    }

    fn judge(&self, record: &AgentRecord) -> Result<AgentId, AuthenticateError> {
        if record.revoked.is_some() {
            return Err(AuthenticateError::Revoked(record.id.clone()));
        }
        if record.expires.is_some_and(|end| end <= self.clock.now()) {
            return Err(AuthenticateError::Expired(record.id.clone()));
        }
        Ok(record.id.clone())
    }

    /// Every agent, revoked ones included, by name.
    #[must_use]
    pub fn list(&self) -> Vec<AgentRecord> {
        self.state
            .agents()
            .iter()
            .map(|record| AgentRecord::clone(record))
            .collect()
    }

    /// Takes the token of `id` back, at once. Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is no such agent, or it can't be written down.
    pub fn revoke(&self, id: &AgentId) -> Result<(), IssueError> {
        Ok(self.state.revoke_agent(id, self.clock.now())?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::entropy::SeededEntropy;

    #[derive(Debug, Default)]
    struct Seconds(AtomicU64);

    impl Clock for Seconds {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn identities() -> (tempfile::TempDir, Arc<Seconds>, Identities) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("db")).unwrap();
        let clock = Arc::new(Seconds::default());
        let identities = Identities::new(
            state,
            Arc::clone(&clock) as SharedClock,
            Arc::new(SeededEntropy::default()),
        );
        (dir, clock, identities)
    }

    #[test]
    fn a_token_is_good_until_it_expires() {
        let (_dir, clock, identities) = identities();
        let issued = identities
            .issue("claude", Some(Duration::from_secs(60)))
            .unwrap();
        let token = issued.token.expose();
        assert_eq!(identities.authenticate(token), Ok(issued.agent.clone()));
        clock.0.store(59, Ordering::Relaxed);
        assert_eq!(identities.confirm(&issued.agent), Ok(issued.agent.clone()));
        clock.0.store(60, Ordering::Relaxed);
        let expired = Err(AuthenticateError::Expired(issued.agent.clone()));
        assert_eq!(identities.authenticate(token), expired);
        assert_eq!(identities.confirm(&issued.agent), expired);
    }

    #[test]
    fn a_token_is_good_until_it_is_revoked() {
        let (_dir, _clock, identities) = identities();
        let one = identities.issue("one", None).unwrap();
        let two = identities.issue("two", None).unwrap();
        assert_ne!(one.token.expose(), two.token.expose());
        identities.revoke(&one.agent).unwrap();
        let revoked = Err(AuthenticateError::Revoked(one.agent.clone()));
        assert_eq!(identities.authenticate(one.token.expose()), revoked);
        assert_eq!(identities.authenticate(two.token.expose()), Ok(two.agent));
        assert_eq!(identities.list().len(), 2);
        let again = identities.issue("one", None).unwrap();
        assert_eq!(
            identities.authenticate(one.token.expose()),
            Err(AuthenticateError::Unknown)
        );
        assert_eq!(
            identities.authenticate(again.token.expose()),
            Ok(again.agent)
        );
    }

    #[test]
    fn the_far_side_hears_the_same_of_every_bad_token() {
        let (_dir, _clock, identities) = identities();
        let one = identities.issue("one", None).unwrap();
        identities.revoke(&one.agent).unwrap();
        let foreign = AgentToken::generate(&SeededEntropy(AtomicU64::new(900))).unwrap();
        // A revoked one that is established otherwise (stdio, the terminal) is told so; over HTTP all
        // of these are a 401 without a reason.
        let revoked = Refusal::from(identities.confirm(&one.agent).unwrap_err());
        assert_eq!(revoked.reason, Reason::RevokedAgent);
        let said: Vec<_> = ["", "Bearer x", foreign.expose()]
            .into_iter()
            .map(|t| Refusal::from(identities.authenticate(t).unwrap_err()).to_string())
            .collect();
        assert!(said.iter().all(|s| *s == said[0]), "{said:?}");
    }

    #[test]
    fn an_agent_has_one_token_at_a_time() {
        let (_dir, _clock, identities) = identities();
        identities.issue("one", None).unwrap();
        let error = identities.issue("one", None).unwrap_err();
        insta::assert_snapshot!(error, @"the agent `spiffe://tollgate.local/agent/one` has a token already: remove it first (`tollgate agent remove`), or use another name");
        assert!(identities.issue("One", None).is_err());
    }

    #[test]
    fn no_debug_text_shows_a_token() {
        let (_dir, _clock, identities) = identities();
        let issued = identities.issue("one", None).unwrap();
        let shown = format!("{identities:?} {issued:?} {:?}", identities.list());
        assert!(!shown.contains(issued.token.expose()));
    }
}
