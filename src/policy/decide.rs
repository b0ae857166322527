//! Decisions: the only place where a [`Permit`] or a [`Checked`] value is made.

use std::sync::Arc;

use cedar_policy::{AuthorizationError, Authorizer, Context, Decision, Request};

use crate::name::ToolName;
use crate::reason::{Reason, Refusal};

use super::approve::{self, Agreement};
use super::chain;
use super::context::{self, Pairs};
use super::entities::{self, Directory};
use super::load::{PluginPolicies, PolicySet};
use super::question::{CallFacts, CallQuestion, HostQuestion, Target};
use super::schema::ToolModel;
use super::slice::{Asked, Prepared, Subject};
use super::vocabulary::{HostAction, called, group_of};
use super::{Checked, Ground, HostVerdict, Permit, Verdict};

/// An answer, before it becomes a proof.
#[derive(Debug)]
pub(super) enum Answer {
    Allow(Ground),
    Hold(Ground),
    Refuse(Reason, Ground),
}

/// One evaluation.
struct Evaluated {
    allow: bool,
    ground: Ground,
}

impl PolicySet {
    /// May this call run?
    pub fn decide_call(&self, question: &CallQuestion<'_>) -> Verdict<Permit> {
        if let Some(why) = question
            .call
            .approval
            .and_then(|approval| approve::for_another_call(approval, question))
        {
            return Verdict::Refuse(misplaced(why));
        }
        let call = &question.call;
        let agreement = Agreement::of(call.approval);
        let asked = chain::strictest(call.chain, call.agent, |agent| {
            self.prepare_call(&question.of(agent), None)
                .and_then(|(prepared, pairs)| self.answer(&prepared, pairs, &agreement))
        });
        match self.settle(asked, "this call") {
            Verdict::Allow(ground) => Verdict::Allow(Permit {
                agent: call.agent.clone(),
                user: call.user.map(str::to_owned),
                tool: call.tool.clone(),
                plugin_digest: question.plugin_digest,
                arguments_digest: call.arguments.digest(),
                round: call.round.map(|round| round.bound),
                ground,
            }),
            Verdict::Hold(ground) => Verdict::Hold(ground),
            Verdict::Refuse(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// May this host call of a running call reach out? The value that is decided on comes back as
    /// proof, and is what the effect acts on.
    pub fn decide_host_call<T: HostQuestion>(
        &self,
        call: &CallFacts<'_>,
        question: T,
    ) -> Verdict<Checked<T>> {
        match self.decide_or_hold(call, question) {
            HostVerdict::Allow(checked) => Verdict::Allow(checked),
            HostVerdict::Hold(_, ground) => Verdict::Hold(ground),
            HostVerdict::Refuse(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// The same, for one who waits where a person must agree: a value that is held comes back.
    pub fn decide_or_hold<T: HostQuestion>(
        &self,
        call: &CallFacts<'_>,
        question: T,
    ) -> HostVerdict<T> {
        if let Some(why) = call
            .approval
            .and_then(|approval| approve::for_another_host_call(approval, call))
        {
            return HostVerdict::Refuse(misplaced(why));
        }
        let agreement = Agreement::of(call.approval);
        let asked = chain::strictest(call.chain, call.agent, |agent| {
            self.prepare_host_call(&call.of(agent), &question, None)
                .and_then(|(prepared, pairs)| self.answer(&prepared, pairs, &agreement))
        });
        match self.settle(asked, "this use") {
            Verdict::Allow(ground) => HostVerdict::Allow(Checked {
                value: question,
                ground,
            }),
            Verdict::Hold(ground) => HostVerdict::Hold(question, ground),
            Verdict::Refuse(refusal) => HostVerdict::Refuse(refusal),
        }
    }

    pub(super) fn prepare_call(
        &self,
        question: &CallQuestion<'_>,
        directory: Option<&Directory>,
    ) -> Result<(Arc<Prepared>, Pairs), String> {
        let call = &question.call;
        let (plugin, tool) = self.tool(call.tool)?;
        let subject = Asked {
            principal: call.agent.as_str(),
            asker: None,
            user: call.user,
            group: group_of(tool.kind),
            tool: call.tool,
            resource: called(tool.kind),
        };
        let prepared = self.prepare(plugin, &subject, directory)?;
        let pairs = context::call(&tool.arguments, &prepared.seen, question)?;
        Ok((prepared, pairs))
    }

    pub(super) fn prepare_host_call<T: HostQuestion>(
        &self,
        call: &CallFacts<'_>,
        question: &T,
        directory: Option<&Directory>,
    ) -> Result<(Arc<Prepared>, Pairs), String> {
        let (plugin, tool) = self.tool(call.tool)?;
        let action = question.action();
        if !tool.actions.contains(&action) {
            return Err(format!(
                "`{}` declares no requirement that leads to `{}`",
                call.tool,
                action.group()
            ));
        }
        let resource = match (action, question.target()) {
            (HostAction::Http | HostAction::Connect, Target::Origin(origin)) => ("origin", origin),
            (HostAction::UseSecret | HostAction::RevealSecret, Target::Secret(name)) => {
                ("secret", name)
            }
            (HostAction::Clock | HostAction::Random | HostAction::Ask, Target::Plugin) => {
                ("plugin", "")
            }
            (action, target) => {
                return Err(format!("`{}` has no target {target:?}", action.group()));
            }
        };
        let subject = Asked {
            principal: call.agent.as_str(),
            asker: None,
            user: call.user,
            group: action.group(),
            tool: call.tool,
            resource,
        };
        let prepared = self.prepare(plugin, &subject, directory)?;
        let facts = question.facts();
        let pairs = context::host_call(&tool.arguments, &prepared.seen, call, action, facts)?;
        Ok((prepared, pairs))
    }

    pub(super) fn tool(&self, name: &ToolName) -> Result<(&PluginPolicies, &ToolModel), String> {
        let plugin = self
            .plugins
            .get(name.plugin())
            .ok_or_else(|| format!("policy knows no plugin `{}`", name.plugin()))?;
        let tool = plugin
            .model
            .tools
            .get(name)
            .ok_or_else(|| format!("policy knows no tool `{name}`"))?;
        Ok((plugin, tool))
    }

    pub(super) fn prepare(
        &self,
        plugin: &PluginPolicies,
        asked: &Asked<'_>,
        directory: Option<&Directory>,
    ) -> Result<Arc<Prepared>, String> {
        if let Some(why) = plugin.broken.as_ref() {
            return Err(why.clone());
        }
        let rules = plugin
            .by_action
            .get(&asked.action())
            .map_or(&[][..], Vec::as_slice);
        if let Some(other) = directory {
            return Prepared::of(asked.subject(), rules, other).map(Arc::new);
        }
        let directory = self
            .directory
            .as_ref()
            .ok_or("`policies/entities.json` does not validate, so no one's groups are known")?;
        self.kept.get_or_make(&asked.key(), || {
            Prepared::of(asked.subject(), rules, directory)
        })
    }

    /// Evaluates; and where that refuses, evaluates once more as if people had agreed: those whom the
    /// rules name, or, where that does not help, anybody.
    pub(super) fn answer(
        &self,
        prepared: &Prepared,
        pairs: Pairs,
        agreement: &Agreement,
    ) -> Result<Answer, String> {
        let now = self.answer_once(prepared, pairs.clone(), agreement)?;
        let refused = matches!(now, Answer::Refuse(reason, _) if reason != Reason::PolicyError);
        if !refused || !prepared.rules.iter().any(|rule| rule.permits()) {
            return Ok(now);
        }
        for beyond in agreement.beyond(prepared) {
            match self.answer_once(prepared, pairs.clone(), &beyond)? {
                Answer::Allow(ground) => return Ok(Answer::Hold(ground)),
                failed @ Answer::Refuse(Reason::PolicyError, _) => return Ok(failed),
                Answer::Hold(_) | Answer::Refuse(..) => {}
            }
        }
        Ok(now)
    }

    /// Evaluates with exactly this agreement.
    pub(super) fn answer_once(
        &self,
        prepared: &Prepared,
        pairs: Pairs,
        agreement: &Agreement,
    ) -> Result<Answer, String> {
        let now = self.evaluate(prepared, pairs, agreement)?;
        if !now.ground.errors.is_empty() {
            return Ok(Answer::Refuse(Reason::PolicyError, now.ground));
        }
        if now.allow {
            return Ok(Answer::Allow(now.ground));
        }
        let reason = if now.ground.policies.is_empty() {
            Reason::PolicyDefault
        } else {
            Reason::PolicyForbidden
        };
        Ok(Answer::Refuse(reason, now.ground))
    }

    fn evaluate(
        &self,
        prepared: &Prepared,
        pairs: Pairs,
        agreement: &Agreement,
    ) -> Result<Evaluated, String> {
        let request = request(&prepared.subject, agreement.put(pairs, &prepared.seen))?;
        let response =
            Authorizer::new().is_authorized(&request, &prepared.policies, &prepared.entities);
        let diagnostics = response.diagnostics();
        let mut errors: Vec<String> = diagnostics
            .errors()
            .map(|error| entities::chain(error))
            .collect();
        errors.sort_unstable();
        let policies = if errors.is_empty() {
            prepared.references(diagnostics.reason())
        } else {
            // Whatever else applied: these are why it is refused.
            prepared.references(diagnostics.errors().map(|error| match error {
                AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
            }))
        };
        Ok(Evaluated {
            allow: response.decision() == Decision::Allow,
            ground: Ground {
                policies,
                set: self.digest,
                errors,
            },
        })
    }

    fn settle(&self, asked: Result<Answer, String>, what: &str) -> Verdict<Ground> {
        let (reason, ground) = match asked {
            Ok(Answer::Allow(ground)) => return Verdict::Allow(ground),
            Ok(Answer::Hold(ground)) => return Verdict::Hold(ground),
            Ok(Answer::Refuse(reason, ground)) => (reason, ground),
            Err(error) => (
                Reason::PolicyError,
                Ground {
                    policies: Vec::new(),
                    set: self.digest,
                    errors: vec![error],
                },
            ),
        };
        let (message, detail) = match reason {
            Reason::PolicyForbidden => (
                format!("policy forbids {what}"),
                format!(
                    "forbidden by {}; `tollgate policy explain` shows which condition applied",
                    list(&ground)
                ),
            ),
            Reason::PolicyDefault => (
                format!("no policy allows {what}"),
                String::from(
                    "no permit applied; `tollgate policy explain` shows which came near, and what would have allowed it",
                ),
            ),
            _ => (
                format!("policy could not decide on {what}, so it is refused"),
                ground.errors.join("; "),
            ),
        };
        Verdict::Refuse(
            Refusal::new(reason, message)
                .with_detail(detail)
                .with_ground(ground),
        )
    }
}

/// An approval that is no proof for this question. The host took it for another, so this never happens
/// but by a fault of the host's own.
fn misplaced(why: &'static str) -> Refusal {
    Refusal::new(
        Reason::ApprovalBinding,
        "that approval is not one for this call",
    )
    .with_detail(why)
}

pub(super) fn request(subject: &Subject, pairs: Pairs) -> Result<Request, String> {
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let context = Context::from_pairs(pairs).map_err(|error| entities::chain(&error))?;
    Request::new(
        subject.principal.clone(),
        subject.action.clone(),
        subject.resource.clone(),
        context,
        None,
    )
    .map_err(|error| entities::chain(&error))
}

fn list(ground: &Ground) -> String {
    let named: Vec<String> = ground
        .policies
        .iter()
        .map(|p| format!("`{}` (policies/{}:{})", p.id, p.file, p.line))
        .collect();
    named.join(", ")
}
