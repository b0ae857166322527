//! Who may act: the host's own agents and their tokens, those of trusted issuers, step tokens.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use subtle::ConstantTimeEq as _;

use super::authenticated::{Authenticated, TokenFault};
use super::issuers::{IssuerError, Issuers};
use super::roots::{RootError, Roots};
use super::single_use::Uses;
use super::{AgentId, AgentToken, MalformedToken, ParseAgentError, step};
use crate::clock::SharedClock;
use crate::entropy::{Entropy, NoEntropy, SharedEntropy};
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::state::{AgentRecord, Rotation, State, StateError};

/// For how long an agent's token is good unless its operator says otherwise.
pub const LIFETIME: Duration = Duration::from_secs(90 * 86_400);

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

/// No agent was established. Told apart for the log and the operator.
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
    #[error("the token of {0:?} has expired: issue a new one with `tollgate agent rotate`")]
    Expired(AgentId),
    /// A token that says something by itself, and proves none of it.
    #[error(transparent)]
    Fault(#[from] TokenFault),
    /// It lacks a scope.
    #[error("the token lacks the scope `{0}`")]
    Scope(String),
    /// Whether it is good can't be told now.
    #[error("{0}")]
    Unavailable(String),
}

impl AuthenticateError {
    /// The reason, where the one who presents the token may hear it: what such a token says, its
    /// holder can read. Of an opaque one nothing is told.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Fault(fault) => Some(fault.reason),
            _ => None,
        }
    }
}

impl From<IssuerError> for AuthenticateError {
    fn from(error: IssuerError) -> Self {
        match error {
            IssuerError::Fault(fault) => Self::Fault(fault),
            IssuerError::Scope(scope) => Self::Scope(scope),
            IssuerError::Unavailable(error) => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<AuthenticateError> for Refusal {
    fn from(error: AuthenticateError) -> Self {
        let (reason, message) = match &error {
            AuthenticateError::Revoked(_) => (Reason::RevokedAgent, "the agent was revoked"),
            AuthenticateError::Fault(fault) => (fault.reason, "the token is not in force"),
            _ => (Reason::IdentityUnknown, "no agent has this token"),
        };
        Self::new(reason, message).with_detail(error.to_string())
    }
}

/// The forms that a token of an agent has.
enum Form {
    /// The host's own, opaque.
    Own,
    /// Of an issuer: a JWT.
    Issued,
    /// A step token or a hand-off.
    Step,
}

impl Form {
    fn of(bearer: &str) -> Self {
        if bearer.starts_with(step::PREFIX) {
            Self::Step
        } else if bearer.contains('.') {
            Self::Issued
        } else {
            Self::Own
        }
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
    /// Until when the token before it is good as well.
    pub overlap: Option<Duration>,
}

/// All agents, and how each proves itself. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Identities {
    state: State,
    clock: SharedClock,
    entropy: SharedEntropy,
    issuers: Arc<ArcSwap<Issuers>>,
    roots: Option<Roots>,
    uses: Uses,
}

impl Identities {
    /// The agents in `state`. What expires goes by `clock`, which must not go back where that counts.
    #[must_use]
    pub fn new(state: State, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            clock,
            state,
            entropy,
            issuers: Arc::default(),
            roots: None,
            uses: Uses::default(),
        }
    }

    /// The same, with the keys of step tokens.
    #[must_use]
    pub fn with(mut self, roots: Roots) -> Self {
        self.roots = Some(roots);
        self
    }

    /// Puts other issuers in force.
    pub(crate) fn trust(&self, make: impl FnOnce(&Issuers) -> Issuers) {
        let before = self.issuers.load();
        self.issuers.store(Arc::new(make(&before)));
    }

    /// The issuers that clients may get a token from, and the scopes it then needs.
    #[must_use]
    pub fn issuers(&self) -> (Vec<String>, Vec<String>) {
        let issuers = self.issuers.load();
        (
            issuers.names().map(str::to_owned).collect(),
            issuers.scopes().map(str::to_owned).collect(),
        )
    }

    pub(super) const fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        &*self.entropy
    }

    pub(super) const fn roots(&self) -> Option<&Roots> {
        self.roots.as_ref()
    }

    pub(super) const fn uses(&self) -> &Uses {
        &self.uses
    }

    /// The time by which tokens are judged.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.now()
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
        let created = self.now();
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
            overlap: None,
        })
    }

    /// Gives the agent `id` a new token. The present one is good for `overlap` more, if it is not over
    /// before. Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is no such agent, it was revoked, or the token can't be kept.
    pub fn rotate(
        &self,
        id: &AgentId,
        lifetime: Option<Duration>,
        overlap: Duration,
    ) -> Result<Issued, IssueError> {
        let token = AgentToken::generate(&*self.entropy)?;
        let created = self.now();
        let expires = lifetime.and_then(|l| created.checked_add(l));
        let rotation = Rotation {
            token: token.digest(),
            created,
            expires,
            overlap: created.saturating_add(overlap),
        };
        self.state.rotate_agent(id, &rotation)?;
        Ok(Issued {
            agent: id.clone(),
            token,
            expires,
            overlap: (!overlap.is_zero()).then_some(rotation.overlap),
        })
    }

    /// Who presents this token: an agent's own, one of a trusted issuer, or a step token. `audience` is
    /// this server's URL. From memory, but for keys of an issuer that must be looked up.
    ///
    /// # Errors
    ///
    /// Nobody has it, or not any more; or it is not for this server.
    pub async fn authenticate(
        &self,
        bearer: &str,
        audience: &str,
    ) -> Result<Authenticated, AuthenticateError> {
        let now = self.now();
        let who = match Form::of(bearer) {
            Form::Own => self.by_own_token(bearer, now)?,
            Form::Issued => {
                let issuers = self.issuers.load_full();
                // Boxed: it may fetch keys, and no other token should carry the room for that along.
                let who = Box::pin(issuers.authenticate(bearer, now)).await?;
                for agent in who.agents() {
                    self.unrevoked(agent)?;
                }
                who
            }
            Form::Step => self.by_step(bearer, audience)?,
        };
        if who.tokens.iter().any(|id| self.state.is_denied(id)) {
            return Err(TokenFault::new(Reason::TokenRevoked, "the token was revoked").into());
        }
        Ok(who)
    }

    /// Who presents this token together with a hand-off of another agent.
    ///
    /// # Errors
    ///
    /// As for `authenticate`; or the hand-off is not for this agent, or not good any more.
    pub async fn authenticate_with_handoff(
        &self,
        bearer: &str,
        handoff: &str,
        audience: &str,
    ) -> Result<Authenticated, AuthenticateError> {
        let who = self.authenticate(bearer, audience).await?;
        Ok(self.by_handoff(who, handoff, audience)?)
    }

    /// The agent whose token this is, of whatever form, wherever it is presented: to tell it for what it
    /// is, and never to let it in. From memory: of an issuer's token nothing is known before its keys
    /// were read.
    #[must_use]
    pub fn holder(&self, bearer: &str) -> Option<AgentId> {
        let now = self.now();
        match Form::of(bearer) {
            Form::Own => self.by_own_token(bearer, now).ok().map(|who| who.agent),
            Form::Issued => self.issuers.load().holder(bearer, now),
            Form::Step => {
                let step = step::Step::read(bearer, self.roots()?.verifying(now)).ok()?;
                Some(step.grant().agent.clone())
            }
        }
    }

    fn by_own_token(
        &self,
        bearer: &str,
        now: Duration,
    ) -> Result<Authenticated, AuthenticateError> {
        let digest = AgentToken::digest_of(bearer)?;
        // Looked up by digest, so the time it takes says nothing of the token; and compared whole
        // all the same, so that this does not rest on how a hash map compares.
        let record = self
            .state
            .agent_by_token(&digest)
            .filter(|r| r.token.as_bytes().ct_eq(digest.as_bytes()).into())
            .ok_or(AuthenticateError::Unknown)?;
        let agent = judge(&record, now)?;
        Ok(Authenticated {
            tokens: vec![token_id(&record.token)],
            expires: record.expires,
            ..Authenticated::of(agent)
        })
    }

    /// Whether the agent `id` may still act: for calls under way, and for transports that established
    /// it otherwise (stdio). From memory.
    ///
    /// # Errors
    ///
    /// It is unknown, revoked or expired.
    pub fn confirm(&self, id: &AgentId) -> Result<AgentId, AuthenticateError> {
        let record = self.state.agent(id).ok_or(AuthenticateError::Unknown)?;
        judge(&record, self.now())
    }

    /// Whether `id` is an agent that may act at all: one of the host's own, or one that a trusted
    /// issuer may name. From memory.
    ///
    /// # Errors
    ///
    /// It is unknown, revoked or expired.
    pub fn known(&self, id: &AgentId) -> Result<AgentId, AuthenticateError> {
        self.unrevoked(id)?;
        match self.confirm(id) {
            Err(AuthenticateError::Unknown) if self.issuers.load().may_name(id) => Ok(id.clone()),
            confirmed => confirmed,
        }
    }

    fn unrevoked(&self, id: &AgentId) -> Result<(), AuthenticateError> {
        if self.state.is_revoked(&Scope::Agent(id.clone())) {
            return Err(AuthenticateError::Revoked(id.clone()));
        }
        Ok(())
    }

    /// Whether what `who` presented is still good, for a session that outlives its request. From memory.
    ///
    /// # Errors
    ///
    /// An agent of the chain may not act any more, or a credential was revoked or has expired.
    pub fn still(&self, who: &Authenticated) -> Result<(), AuthenticateError> {
        for agent in who.agents() {
            self.known(agent)?;
        }
        if who.tokens.iter().any(|id| self.state.is_denied(id)) {
            return Err(TokenFault::new(Reason::TokenRevoked, "the token was revoked").into());
        }
        if who.expires.is_some_and(|end| end <= self.now()) {
            return Err(AuthenticateError::Expired(who.agent.clone()));
        }
        Ok(())
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

    /// Takes the tokens of `id` back, at once. Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is no such agent, or it can't be written down.
    pub fn revoke(&self, id: &AgentId) -> Result<(), IssueError> {
        Ok(self.state.revoke_agent(id, self.clock.now())?)
    }

    /// Takes one token back, by its id, and with it whatever was made of it. Waits for the disk.
    ///
    /// # Errors
    ///
    /// It can't be written down.
    pub fn revoke_token(&self, id: &str) -> Result<(), IssueError> {
        Ok(self.state.deny(id, self.now())?)
    }

    /// Makes a new key for step tokens. Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is none to replace, or the new one can't be kept.
    pub fn rotate_key(&self, at_once: bool) -> Result<u32, RootError> {
        let roots = self.roots.as_ref().ok_or(RootError::None)?;
        roots.rotate(&*self.entropy, self.now(), at_once)
    }
}

/// What the id of an agent's own token begins with.
pub(super) const TOKEN_ID: &str = "agent_";

/// The id of an agent's own token.
pub(crate) fn token_id(digest: &crate::digest::Digest) -> String {
    format!("{TOKEN_ID}{}", digest.short())
}

pub(super) fn judge(record: &AgentRecord, now: Duration) -> Result<AgentId, AuthenticateError> {
    if record.revoked.is_some() {
        return Err(AuthenticateError::Revoked(record.id.clone()));
    }
    if record.expires.is_some_and(|end| end <= now) {
        return Err(AuthenticateError::Expired(record.id.clone()));
    }
    Ok(record.id.clone())
}

#[cfg(test)]
#[path = "identities_tests.rs"]
mod tests;
