//! Making step tokens and hand-offs, and believing them again.

use std::sync::Arc;
use std::time::Duration;

use super::authenticated::{Authenticated, TokenFault};
use super::step::{Grant, HANDOFF_LIFE, Narrowing, STEP_LIFE, Step, StepId, StepKind};
use super::{AgentId, Identities};
use crate::digest::Digest;
use crate::handoff;
use crate::id::TaskId;
use crate::name::ToolName;
use crate::reason::{Reason, Refusal};

/// What a new token is to be for.
#[derive(Debug, Clone, Default)]
pub struct MintRequest {
    /// The only tool. A step needs one.
    pub tool: Option<ToolName>,
    /// Which arguments.
    pub narrowing: Narrowing,
    /// Digest of the answers that it brings, for a later round of a call.
    pub answers: Option<Digest>,
    /// The task.
    pub task: Option<TaskId>,
    /// The server that it is for, where that is said: it can only be this one.
    pub audience: Option<String>,
    /// The agent to hand on to; a token for one step where there is none.
    pub to: Option<AgentId>,
    /// For how long.
    pub life: Option<Duration>,
}

/// A token that was made.
pub struct Minted {
    /// Its text: shown now, and never again.
    pub token: String,
    /// What it says.
    pub grant: Grant,
    /// For how long it is good.
    pub life: Duration,
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minted")
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

fn widens(message: &'static str) -> Refusal {
    Refusal::new(Reason::HandoffWidens, message)
}

impl Identities {
    /// Makes a token out of the right of `who`, for this server, whose URL is `audience`. It never
    /// gives more than `who` has.
    ///
    /// # Errors
    ///
    /// It would give more, would hand on too far, or can't be made.
    pub fn mint(
        &self,
        who: &Authenticated,
        ask: MintRequest,
        audience: &str,
    ) -> Result<Minted, Refusal> {
        let parent = who.step.as_deref();
        if ask.audience.is_some_and(|asked| asked != audience) {
            return Err(Refusal::new(
                Reason::TokenAudience,
                "tokens are made for this server only",
            ));
        }
        if parent.is_some_and(|step| step.grant().kind == StepKind::Step) {
            return Err(widens(
                "a token for one step makes no further tokens; it can be narrowed offline",
            ));
        }
        if who.task.is_some() && ask.task.is_some() && who.task != ask.task {
            return Err(widens("the work was handed on for another task"));
        }
        let held = parent.and_then(Step::tool);
        if held.is_some() && ask.tool.is_some() && held != ask.tool.as_ref() {
            return Err(widens("the work was handed on for another tool"));
        }
        let tool = ask.tool.or_else(|| held.cloned());
        let (kind, most) = match &ask.to {
            None if tool.is_none() => {
                return Err(Refusal::new(
                    Reason::TokenInvalid,
                    "a token for one step names its tool",
                ));
            }
            None => (StepKind::Step, STEP_LIFE),
            Some(to) => {
                let mut chain = who.chain.clone();
                chain.push(who.agent.clone());
                handoff::check(&chain, to)?;
                self.known(to).map_err(|error| {
                    Refusal::new(
                        Reason::IdentityUnknown,
                        "there is no such agent to hand on to",
                    )
                    .with_detail(error.to_string())
                })?;
                (StepKind::Handoff, HANDOFF_LIFE)
            }
        };
        let now = self.now();
        let mut expires = now.saturating_add(ask.life.unwrap_or(most).min(most));
        for end in [who.expires, parent.map(Step::expires)]
            .into_iter()
            .flatten()
        {
            expires = expires.min(end);
        }
        let grant = Grant {
            id: StepId::generate(self.entropy()).map_err(|error| internal(&error))?,
            kind,
            agent: who.agent.clone(),
            chain: who.chain.clone(),
            user: who.user.clone(),
            task: ask.task.or(who.task),
            tool,
            answers: ask.answers,
            to: ask.to,
            audience: audience.to_owned(),
            expires: expires.as_secs(),
            under: who.tokens.clone(),
        };
        let life = Duration::from_secs(grant.expires).saturating_sub(now);
        if life.is_zero() {
            return Err(Refusal::new(
                Reason::TokenExpired,
                "what the token is made of expires now",
            ));
        }
        let roots = self.roots().ok_or_else(no_key)?;
        let token = roots
            .with_current(|pair, id| Step::make(&grant, &ask.narrowing, parent, pair, id))
            .ok_or_else(no_key)?
            .map_err(|fault| {
                Refusal::new(fault.reason, "the token can't be made").with_detail(fault.what)
            })?;
        Ok(Minted { token, grant, life })
    }

    /// Who presents this token for one step: in the place of the agent's own.
    pub(super) fn by_step(&self, text: &str, audience: &str) -> Result<Authenticated, TokenFault> {
        let step = self.step(text, audience)?;
        let grant = step.grant();
        if grant.kind != StepKind::Step {
            return Err(TokenFault::new(
                Reason::HandoffWidens,
                "a hand-off is no credential: it goes beside that of the agent that it is for",
            ));
        }
        Ok(self.as_granted(grant.agent.clone(), grant.chain.clone(), step))
    }

    /// `who`, with what was handed on to it. Nothing is added to what it may do: every agent of the
    /// chain must be allowed each thing as well.
    pub(super) fn by_handoff(
        &self,
        who: Authenticated,
        text: &str,
        audience: &str,
    ) -> Result<Authenticated, TokenFault> {
        let widens = |what: &str| TokenFault::new(Reason::HandoffWidens, what);
        if who.step.is_some() {
            return Err(widens("a step token takes no hand-off beside it"));
        }
        let step = self.step(text, audience)?;
        let grant = step.grant();
        if grant.kind != StepKind::Handoff || grant.to.as_ref() != Some(&who.agent) {
            return Err(widens("the hand-off is for another agent"));
        }
        if who.user.is_some() && who.user != grant.user {
            return Err(widens(
                "the agent acts for a person for whom the work was not handed on",
            ));
        }
        let mut chain = grant.chain.clone();
        chain.push(grant.agent.clone());
        chain.extend(who.chain);
        handoff::check(&chain, &who.agent)
            .map_err(|refusal| TokenFault::new(refusal.reason, refusal.message.into_owned()))?;
        let mut all = self.as_granted(who.agent, chain, step);
        all.tokens.extend(who.tokens);
        all.expires = [all.expires, who.expires].into_iter().flatten().min();
        Ok(all)
    }

    fn as_granted(&self, agent: AgentId, chain: Vec<AgentId>, step: Arc<Step>) -> Authenticated {
        let grant = step.grant();
        let mut tokens = vec![grant.id.to_string()];
        tokens.extend(grant.under.iter().cloned());
        Authenticated {
            agent,
            user: grant.user.clone(),
            chain,
            task: grant.task,
            tokens,
            expires: Some(step.expires()),
            step: Some(step),
        }
    }

    /// Reads a token, and holds it against the time, this server, and what was revoked since.
    fn step(&self, text: &str, audience: &str) -> Result<Arc<Step>, TokenFault> {
        let now = self.now();
        let roots = self
            .roots()
            .ok_or_else(|| TokenFault::invalid("this host has no keys of step tokens"))?;
        let step = Step::read(text, roots.verifying(now))?;
        let grant = step.grant();
        if grant.audience != audience {
            return Err(TokenFault::new(
                Reason::TokenAudience,
                "the token is for another server",
            ));
        }
        if now >= step.expires() {
            return Err(TokenFault::new(
                Reason::TokenExpired,
                "the token has expired",
            ));
        }
        let id = grant.id.to_string();
        if grant
            .under
            .iter()
            .chain([&id])
            .any(|id| self.state().is_denied(id))
        {
            return Err(TokenFault::new(
                Reason::TokenRevoked,
                "the token, or what it was made of, was revoked",
            ));
        }
        for agent in grant.chain.iter().chain([&grant.agent]) {
            self.known(agent).map_err(|error| {
                TokenFault::new(
                    Reason::TokenRevoked,
                    format!("an agent of the chain may not act any more: {error}"),
                )
            })?;
        }
        Ok(Arc::new(step))
    }
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(Reason::HostInternal, "the token can't be made").with_detail(error.to_string())
}

fn no_key() -> Refusal {
    internal(&"this host has no keys of step tokens")
}
