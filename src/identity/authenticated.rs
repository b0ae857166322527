//! Who a request comes from, once a credential was believed.

use std::sync::Arc;
use std::time::Duration;

use super::{AgentId, Step, StepId};
use crate::id::TaskId;
use crate::reason::{Reason, Refusal};

/// An agent that proved who it is, and all that its credential says of what it may do. It says less
/// than the agent's rights or the same, never more.
#[derive(Debug, Clone, PartialEq)]
pub struct Authenticated {
    /// Who acts.
    pub agent: AgentId,
    /// The person on whose behalf, when known.
    pub user: Option<String>,
    /// The agents that handed the work on, from the first to the last before this one.
    pub chain: Vec<AgentId>,
    /// The task that the credential is for.
    pub task: Option<TaskId>,
    /// What a step token or a hand-off limits it to.
    pub step: Option<Arc<Step>>,
    /// Ids of the credentials, by which each can be revoked.
    pub tokens: Vec<String>,
    /// From when on the credential is worth nothing, if ever.
    pub expires: Option<Duration>,
}

impl Authenticated {
    /// An agent that the transport established: its own rights, and nobody else's.
    #[must_use]
    pub const fn of(agent: AgentId) -> Self {
        Self {
            agent,
            user: None,
            chain: Vec::new(),
            task: None,
            step: None,
            tokens: Vec::new(),
            expires: None,
        }
    }

    /// Who it is, for what is kept under that: a session, a handle. The same agent for another
    /// person, or by another chain, is someone else.
    #[must_use]
    pub fn principal(&self) -> Principal {
        Principal {
            agent: self.agent.clone(),
            user: self.user.clone(),
            chain: self.chain.clone(),
            step: self.step.as_ref().map(|step| step.grant().id),
        }
    }

    /// The agent and those that handed on to it: each of them must be allowed what is done.
    pub fn agents(&self) -> impl Iterator<Item = &AgentId> {
        self.chain.iter().chain([&self.agent])
    }
}

/// To whom a session or a handle belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The agent.
    pub agent: AgentId,
    /// The person on whose behalf.
    pub user: Option<String>,
    /// The agents before it.
    pub chain: Vec<AgentId>,
    /// The step token or hand-off that limits it: its holder must not get at what is the agent's own.
    pub step: Option<StepId>,
}

/// Why a credential was not believed. The one who presented it hears the reason and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {what}")]
pub struct TokenFault {
    /// The reason.
    pub reason: Reason,
    /// What was found, for the operator. No part of a token is in it.
    pub what: String,
}

impl TokenFault {
    pub(crate) fn new(reason: Reason, what: impl Into<String>) -> Self {
        Self {
            reason,
            what: what.into(),
        }
    }

    pub(super) fn invalid(what: impl Into<String>) -> Self {
        Self::new(Reason::TokenInvalid, what)
    }
}

impl From<TokenFault> for Refusal {
    fn from(fault: TokenFault) -> Self {
        Self::new(fault.reason, "the token does not allow this").with_detail(fault.what)
    }
}
