//! The answers of policy, and the proofs of an allow.
//!
//! Both proofs have private fields and are made in this module's `decide` only. Neither can be
//! cloned: whoever runs a call or carries out an effect takes the proof by value, so that one
//! decision serves one act.

use crate::approval::RoundBinding;
use crate::digest::Digest;
use crate::identity::AgentId;
use crate::name::ToolName;
use crate::reason::Refusal;

use super::Ground;

/// What policy answers.
#[derive(Debug)]
#[must_use]
pub enum Verdict<P> {
    /// Allowed; `P` proves it.
    Allow(P),
    /// Refused now, and allowed once a person agrees. The ground names the policies that would
    /// allow it.
    Hold(Ground),
    /// Refused.
    Refuse(Refusal),
}

/// What policy answers about a host call: what is held comes back, to be asked about again.
#[derive(Debug)]
#[must_use]
pub enum HostVerdict<T> {
    /// Allowed.
    Allow(Checked<T>),
    /// Refused now, and allowed once a person agrees.
    Hold(T, Ground),
    /// Refused.
    Refuse(Refusal),
}

/// Proof that policy allowed this call: this agent, tool, component, arguments and round. Running
/// the call takes it.
#[derive(Debug)]
#[must_use]
pub struct Permit {
    pub(super) agent: AgentId,
    pub(super) user: Option<String>,
    pub(super) tool: ToolName,
    pub(super) plugin_digest: Digest,
    pub(super) arguments_digest: Digest,
    pub(super) round: Option<RoundBinding>,
    pub(super) ground: Ground,
}

impl Permit {
    /// Who may call.
    #[must_use]
    pub const fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// On whose behalf, when known.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What may be called.
    #[must_use]
    pub const fn tool(&self) -> &ToolName {
        &self.tool
    }

    /// The component that may run.
    #[must_use]
    pub const fn plugin_digest(&self) -> Digest {
        self.plugin_digest
    }

    /// The arguments that it may run with.
    #[must_use]
    pub const fn arguments_digest(&self) -> Digest {
        self.arguments_digest
    }

    /// The round that it may run, where that is not the first: with these answers and this state.
    #[must_use]
    pub const fn round(&self) -> Option<RoundBinding> {
        self.round
    }

    /// What the decision rests on.
    #[must_use]
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }
}

/// A value that policy allowed to be acted on. The effect takes it; the value inside is the very
/// one that was decided on, and can't be changed while it is proof.
#[derive(Debug)]
#[must_use]
pub struct Checked<T> {
    pub(super) value: T,
    pub(super) ground: Ground,
}

impl<T> Checked<T> {
    /// The value, to look at.
    #[must_use]
    pub const fn get(&self) -> &T {
        &self.value
    }

    /// What the decision rests on.
    #[must_use]
    pub const fn ground(&self) -> &Ground {
        &self.ground
    }

    /// Takes the proof apart, for the one who acts on it.
    #[must_use]
    pub fn into_inner(self) -> (T, Ground) {
        (self.value, self.ground)
    }
}
