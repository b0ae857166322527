//! Step tokens: Biscuits of this host for one step, or for a hand-off to another agent.
//!
//! The first block is the host's: one fact with everything that the host itself needs
//! (`tollgate("{..}")`), and checks that hold the token to its tool, arguments, task, audience and
//! time. Whoever holds a token may add blocks, offline, which only narrow it; what those may be is
//! bounded here, because anyone with a token can write them:
//!
//! | rule | why |
//! | --- | --- |
//! | at most 8 KiB, looked at before anything is decoded; blocks are read after every signature | a token is a program |
//! | further blocks hold `check if` and facts of their own; no rules, no third parties' blocks | rules make facts without end |
//! | few checks, at most two predicates each; no closures, no patterns, no foreign functions | the library looks at its clock between queries, not inside one |
//! | 50 ms for a decision, not the library's 1 ms | under load 1 ms refuses what is allowed |
//! | facts of the host have names that no check of the host asks for, and the reverse | a token can't state what only the host knows |
//!
//! A single use is the host's to keep: a token alone can't know that it was used.

mod bounds;
mod terms;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use biscuit_auth::builder::{BiscuitBuilder, Check, Fact, Term};
use biscuit_auth::{AuthorizerBuilder, Biscuit, KeyPair, RootKeyProvider};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::bounds::{bounded, limits};
use self::terms::{MAX_TEXT, is, leaves, scalar, time_check};
use super::AgentId;
use super::authenticated::TokenFault;
use crate::digest::Digest;
use crate::id::TaskId;
use crate::json::Arguments;
use crate::name::ToolName;
use crate::policy::RoundFacts;
use crate::reason::{Reason, Refusal};

crate::id::id!(
    /// A step token or a hand-off.
    StepId, "step"
);

/// What every such token begins with, for scanners and for people.
pub const PREFIX: &str = "tgs_";

/// Bytes of a token's text.
pub const MAX_STEP: usize = 8 << 10;

/// The longest that a token for one step is good: it is used at once or not at all.
pub const STEP_LIFE: Duration = Duration::from_secs(60);

/// The longest that a hand-off is good. It is worth something in the hands of one agent only, who
/// proves itself beside it, so it may last for a piece of work; each further one asks again.
pub const HANDOFF_LIFE: Duration = Duration::from_secs(600);

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// One call, in the place of the agent's own token.
    Step,
    /// For another agent, beside its own credential.
    Handoff,
}

/// What the host says in a token's first block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The token.
    pub id: StepId,
    /// What it is for.
    pub kind: StepKind,
    /// Whose right it carries.
    pub agent: AgentId,
    /// The agents before that one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<AgentId>,
    /// The person on whose behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The only tool. A step has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<ToolName>,
    /// Digest of the answers that the call brings, for a step that is a later round. A step without one is
    /// for a first round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<Digest>,
    /// Who may present a hand-off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<AgentId>,
    /// The server that it is for.
    pub audience: String,
    /// From when on it is worth nothing, in seconds since 1970.
    pub expires: u64,
    /// Ids of the credentials that it was made with: revoked with any of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub under: Vec<String>,
}

/// Further limits of a new token.
#[derive(Debug, Clone, Default)]
pub struct Narrowing {
    /// Exactly these arguments.
    pub arguments: Option<Digest>,
    /// Values of single arguments, by JSON pointer.
    pub values: Vec<(String, Value)>,
}

/// A token that was verified: what it grants, and under which checks.
pub struct Step {
    grant: Grant,
    token: Biscuit,
}

impl std::fmt::Debug for Step {
    // The Biscuit holds the key by which it is narrowed further.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step")
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.grant == other.grant
            && self.token.revocation_identifiers() == other.token.revocation_identifiers()
    }
}

/// What a step is asked for.
#[derive(Debug, Clone, Copy)]
pub struct StepQuestion<'a> {
    /// The tool that is called.
    pub tool: &'a ToolName,
    /// With what.
    pub arguments: &'a Arguments,
    /// In which round, where it is not the first.
    pub round: Option<&'a RoundFacts>,
    /// On which task.
    pub task: Option<TaskId>,
    /// The host's time.
    pub time: Duration,
}

fn failed() -> Refusal {
    Refusal::new(
        Reason::TokenCheckFailed,
        "the step token is not for this call",
    )
}

impl Step {
    /// Makes a token under `root`, with every check of `parent`, if it is made from one.
    pub(super) fn make(
        grant: &Grant,
        narrowing: &Narrowing,
        parent: Option<&Self>,
        root: &KeyPair,
        root_id: u32,
    ) -> Result<String, TokenFault> {
        let broken = |error: biscuit_auth::error::Token| {
            TokenFault::new(
                Reason::HostInternal,
                format!("a token can't be made: {error}"),
            )
        };
        let said = serde_json::to_string(grant)
            .map_err(|error| TokenFault::new(Reason::HostInternal, error.to_string()))?;
        let mut builder = BiscuitBuilder::new()
            .root_key_id(root_id)
            .fact(Fact::new("tollgate".into(), vec![Term::Str(said)]))
            .map_err(broken)?;
        let mut checks = vec![
            time_check(grant.expires),
            is("audience", vec![Term::Str(grant.audience.clone())]),
        ];
        if let Some(tool) = &grant.tool {
            checks.push(is("tool", vec![Term::Str(tool.to_string())]));
        }
        if let Some(task) = &grant.task {
            checks.push(is("task", vec![Term::Str(task.to_string())]));
        }
        if let Some(digest) = &grant.answers {
            checks.push(is("answers", vec![Term::Str(digest.to_string())]));
        }
        if let Some(digest) = &narrowing.arguments {
            checks.push(is("arguments", vec![Term::Str(digest.to_string())]));
        }
        for (pointer, value) in &narrowing.values {
            let value = scalar(value).ok_or_else(|| {
                TokenFault::invalid(format!(
                    "`{pointer}`: an argument is held to a text of at most {MAX_TEXT} bytes, a whole number, a truth value or null"
                ))
            })?;
            checks.push(is("argument", vec![Term::Str(pointer.clone()), value]));
        }
        if let Some(parent) = parent {
            for check in parent.checks().map_err(broken)? {
                if !checks.contains(&check) {
                    checks.push(check);
                }
            }
        }
        for check in checks {
            builder = builder.check(check).map_err(broken)?;
        }
        let token = builder.build(root).map_err(broken)?;
        bounded(&token)?;
        let text = encode(&token)?;
        if text.len() > MAX_STEP {
            return Err(TokenFault::invalid(format!(
                "a token of more than {MAX_STEP} bytes: too many conditions"
            )));
        }
        Ok(text)
    }

    /// Reads a token. Its time, its audience and its agents are for the caller to judge.
    pub(super) fn read(text: &str, root: impl RootKeyProvider) -> Result<Self, TokenFault> {
        if text.len() > MAX_STEP {
            return Err(TokenFault::invalid(format!(
                "a step token has at most {MAX_STEP} bytes"
            )));
        }
        let bytes = text
            .strip_prefix(PREFIX)
            .and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok())
            .ok_or_else(|| TokenFault::invalid("not a step token"))?;
        // Verifies every signature before it reads any block.
        let token = Biscuit::from(&bytes, root).map_err(|error| {
            TokenFault::invalid(format!("not a step token of this host: {error}"))
        })?;
        bounded(&token)?;
        let unreadable =
            |what: String| TokenFault::invalid(format!("a step token without a grant: {what}"));
        let mut authorizer = AuthorizerBuilder::new()
            .set_limits(limits())
            .build(&token)
            .map_err(|error| unreadable(error.to_string()))?;
        // Sees facts of the first block only, whatever the others say.
        let mut said: Vec<(String,)> = authorizer
            .query("data($grant) <- tollgate($grant)")
            .map_err(|error: biscuit_auth::error::Token| unreadable(error.to_string()))?;
        let (Some((said,)), true) = (said.pop(), said.is_empty()) else {
            return Err(unreadable(String::from("not exactly one")));
        };
        let grant = serde_json::from_str(&said).map_err(|error| unreadable(error.to_string()))?;
        Ok(Self { grant, token })
    }

    /// What the host said in it.
    #[must_use]
    pub const fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The only tool, where it has one.
    #[must_use]
    pub const fn tool(&self) -> Option<&ToolName> {
        self.grant.tool.as_ref()
    }

    /// Whether it has a single use, to be taken before anything is done. Copies that were narrowed are one
    /// token: they share it.
    #[must_use]
    pub fn is_used_once(&self) -> bool {
        self.grant.kind == StepKind::Step
    }

    /// From when on it is worth nothing. A use must be remembered until then.
    #[must_use]
    pub const fn expires(&self) -> Duration {
        Duration::from_secs(self.grant.expires)
    }

    /// Whether the token allows this call, as far as tokens can: policy is asked all the same.
    ///
    /// # Errors
    ///
    /// `token.expired`, or `token.check_failed`.
    pub fn admits(&self, question: &StepQuestion<'_>) -> Result<(), Refusal> {
        if question.time >= self.expires() {
            return Err(Refusal::new(
                Reason::TokenExpired,
                "the step token has expired",
            ));
        }
        // Again in plain words, so that this does not rest on how checks are evaluated.
        if self.tool().is_some_and(|tool| tool != question.tool) {
            return Err(failed().with_detail("it is for another tool"));
        }
        if self.grant.task.is_some() && self.grant.task != question.task {
            return Err(failed().with_detail("it is for another task"));
        }
        // Answers are data like arguments: who was given one step was not given its answers.
        let answers = question.round.map(|round| round.bound.answers);
        let bound = self.is_used_once() || self.grant.answers.is_some();
        if bound && self.grant.answers != answers {
            return Err(failed().with_detail("it is for another round, or for other answers"));
        }
        let mut facts = vec![
            ("tool", vec![Term::Str(question.tool.to_string())]),
            (
                "arguments",
                vec![Term::Str(question.arguments.digest().to_string())],
            ),
            ("audience", vec![Term::Str(self.grant.audience.clone())]),
            ("time", vec![Term::Date(question.time.as_secs())]),
        ];
        if let Some(task) = question.task {
            facts.push(("task", vec![Term::Str(task.to_string())]));
        }
        let number = question.round.map_or(1, |round| round.bound.number);
        facts.push(("round", vec![Term::Integer(number.into())]));
        if let Some(answers) = answers {
            facts.push(("answers", vec![Term::Str(answers.to_string())]));
        }
        let mut scalars = Vec::new();
        // Where there are more than checks can be given, they are given none: a check then fails.
        if leaves(question.arguments.value(), &mut String::new(), &mut scalars) {
            for (pointer, value) in scalars {
                facts.push(("argument", vec![Term::Str(pointer), value]));
            }
        }
        self.authorize(facts)
            .map_err(|error| failed().with_detail(error.to_string()))
    }

    fn authorize(
        &self,
        facts: Vec<(&'static str, Vec<Term>)>,
    ) -> Result<(), biscuit_auth::error::Token> {
        let mut builder = AuthorizerBuilder::new().set_limits(limits());
        for (name, terms) in facts {
            builder = builder.fact(Fact::new(name.into(), terms))?;
        }
        let mut authorizer = builder.policy("allow if true")?.build(&self.token)?;
        authorizer.authorize().map(drop)
    }

    /// Every check in it, those of later blocks included.
    fn checks(&self) -> Result<Vec<Check>, biscuit_auth::error::Token> {
        let (_, _, checks, _) = self.token.authorizer()?.dump();
        Ok(checks)
    }
}

/// Narrows a token: offline, without the host and without asking anyone.
///
/// # Errors
///
/// It is not a step token, or the checks are not Datalog, or would not be taken.
pub fn narrow(text: &str, checks: &[String]) -> Result<String, TokenFault> {
    let invalid = |error: biscuit_auth::error::Token| TokenFault::invalid(error.to_string());
    let bytes = text
        .strip_prefix(PREFIX)
        .and_then(|rest| URL_SAFE_NO_PAD.decode(rest).ok())
        .ok_or_else(|| TokenFault::invalid("not a step token"))?;
    let token = biscuit_auth::UnverifiedBiscuit::from(&bytes).map_err(invalid)?;
    let mut block = biscuit_auth::BlockBuilder::new();
    for check in checks {
        block = block.check(check.as_str()).map_err(invalid)?;
    }
    let narrowed = token.append(block).map_err(invalid)?;
    let text = format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(narrowed.to_vec().map_err(invalid)?)
    );
    if text.len() > MAX_STEP {
        return Err(TokenFault::invalid(format!(
            "a step token has at most {MAX_STEP} bytes"
        )));
    }
    Ok(text)
}

fn encode(token: &Biscuit) -> Result<String, TokenFault> {
    let bytes = token
        .to_vec()
        .map_err(|error| TokenFault::new(Reason::HostInternal, error.to_string()))?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

#[cfg(test)]
mod tests;
