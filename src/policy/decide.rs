//! Decisions: the only place where a [`Permit`] or a [`Checked`] value is made.

use std::sync::Arc;

use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, EntityUid, Request, ResourceConstraint,
    RestrictedExpression,
};

use crate::identity::AgentId;
use crate::name::ToolName;
use crate::plugin::{OriginScope, Requirement};
use crate::reason::{Reason, Refusal};

use super::context::{self, Pairs};
use super::entities::{self, Directory};
use super::load::{PluginPolicies, PolicySet};
use super::question::{CallFacts, CallQuestion, HostQuestion, Target};
use super::schema::ToolModel;
use super::slice::{Prepared, Scope, Subject};
use super::source::Rule;
use super::vocabulary::{CALL, HostAction};
use super::{Checked, Ground, Permit, Verdict};

/// Some origin, not known yet. No origin has this id.
const ANY_ORIGIN: (&str, &str) = ("origin", "");

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
        let asked = self
            .prepare_call(question, None)
            .and_then(|(prepared, pairs)| self.answer(&prepared, pairs, question.approved));
        match self.settle(asked, "this call") {
            Verdict::Allow(ground) => Verdict::Allow(Permit {
                agent: question.agent.clone(),
                user: question.user.map(str::to_owned),
                tool: question.tool.clone(),
                plugin_digest: question.plugin_digest,
                arguments_digest: question.arguments.digest(),
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
        let asked = self
            .prepare_host_call(call, &question, None)
            .and_then(|(prepared, pairs)| self.answer(&prepared, pairs, call.approved));
        match self.settle(asked, "this use") {
            Verdict::Allow(ground) => Verdict::Allow(Checked {
                value: question,
                ground,
            }),
            Verdict::Hold(ground) => Verdict::Hold(ground),
            Verdict::Refuse(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Whether this agent could be allowed to call this tool, for some arguments and with a person's
    /// agreement: what its list of tools shows. It may say yes too often, never no too often; the
    /// call itself is decided in full.
    #[must_use]
    pub fn may_call(&self, agent: &AgentId, user: Option<&str>, tool: &ToolName) -> bool {
        self.may(agent, user, CALL, tool, ("tool", ""))
    }

    /// Whether a call of this tool by this agent could be allowed to use this requirement: which
    /// handles are made. The same over-approximation.
    #[must_use]
    pub fn may_use(
        &self,
        agent: &AgentId,
        user: Option<&str>,
        tool: &ToolName,
        requirement: &str,
    ) -> bool {
        let Ok((plugin, _)) = self.tool(tool) else {
            return false;
        };
        let description = &plugin.known.description;
        let uses = description
            .tool(tool)
            .is_some_and(|t| t.uses.iter().any(|name| name == requirement));
        let may =
            |action: HostAction, resource| self.may(agent, user, action.group(), tool, resource);
        match description.requirement(requirement) {
            _ if !uses => false,
            // Settings are the operator's own word to this plugin, part of its pin.
            Some(Requirement::Setting(_)) => true,
            Some(Requirement::Http(http)) => match plugin.known.origins.get(&http.name) {
                Some(origin) => may(HostAction::Http, ("origin", origin)),
                None if http.origin == OriginScope::AnyPublic => may(HostAction::Http, ANY_ORIGIN),
                None => false,
            },
            Some(Requirement::Secret(secret)) => {
                may(HostAction::UseSecret, ("secret", &secret.name))
                    || secret.reveal && may(HostAction::RevealSecret, ("secret", &secret.name))
            }
            Some(Requirement::Clock { .. }) => may(HostAction::Clock, ("plugin", "")),
            Some(Requirement::Random { .. }) => may(HostAction::Random, ("plugin", "")),
            None => false,
        }
    }

    fn may(
        &self,
        agent: &AgentId,
        user: Option<&str>,
        group: &'static str,
        tool: &ToolName,
        resource: (&'static str, &str),
    ) -> bool {
        let (Ok((plugin, _)), Some(directory)) = (self.tool(tool), &self.directory) else {
            return false;
        };
        let asked = Asked {
            agent: agent.as_str(),
            user,
            group,
            tool,
            resource,
        };
        let Some(rules) = plugin.by_action.get(&asked.action()) else {
            return false;
        };
        let subject = asked.subject();
        let scope = Scope::of(&subject, directory);
        // Of an origin that is not known yet, a rule for one origin may be the one that it meets.
        let open = resource == ANY_ORIGIN;
        let meets = |rule: &Rule| {
            scope.matches(&rule.policy)
                || open
                    && rule.permits()
                    && scope.matches_principal(&rule.policy)
                    && matches!(rule.policy.resource_constraint(), ResourceConstraint::Eq(_))
        };
        plugin.broken.is_none()
            && rules.iter().any(|rule| rule.permits() && meets(rule))
            && !rules.iter().any(|rule| {
                !rule.permits() && !rule.policy.has_non_scope_constraint() && meets(rule)
            })
    }

    pub(super) fn prepare_call(
        &self,
        question: &CallQuestion<'_>,
        directory: Option<&Directory>,
    ) -> Result<(Arc<Prepared>, Pairs), String> {
        let (plugin, tool) = self.tool(question.tool)?;
        let pairs = context::call(&tool.arguments, question)?;
        let subject = Asked {
            agent: question.agent.as_str(),
            user: question.user,
            group: CALL,
            tool: question.tool,
            resource: ("tool", ""),
        };
        Ok((self.prepare(plugin, &subject, directory)?, pairs))
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
            (HostAction::Clock | HostAction::Random, Target::Plugin) => ("plugin", ""),
            (action, target) => {
                return Err(format!("`{}` has no target {target:?}", action.group()));
            }
        };
        let pairs = context::host_call(&tool.arguments, call, action, question.facts())?;
        let subject = Asked {
            agent: call.agent.as_str(),
            user: call.user,
            group: action.group(),
            tool: call.tool,
            resource,
        };
        Ok((self.prepare(plugin, &subject, directory)?, pairs))
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

    fn prepare(
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

    /// Evaluates; and where that refuses, evaluates once more as if a person had agreed.
    pub(super) fn answer(
        &self,
        prepared: &Prepared,
        pairs: Pairs,
        approved: bool,
    ) -> Result<Answer, String> {
        let now = self.evaluate(prepared, pairs.clone(), approved)?;
        if !now.ground.errors.is_empty() {
            return Ok(Answer::Refuse(Reason::PolicyError, now.ground));
        }
        if now.allow {
            return Ok(Answer::Allow(now.ground));
        }
        if !approved && prepared.rules.iter().any(|rule| rule.permits()) {
            let then = self.evaluate(prepared, pairs, true)?;
            if !then.ground.errors.is_empty() {
                return Ok(Answer::Refuse(Reason::PolicyError, then.ground));
            }
            if then.allow {
                return Ok(Answer::Hold(then.ground));
            }
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
        approved: bool,
    ) -> Result<Evaluated, String> {
        let request = request(&prepared.subject, with_approved(pairs, approved))?;
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

/// A question's subject as the host writes it.
struct Asked<'a> {
    agent: &'a str,
    user: Option<&'a str>,
    group: &'static str,
    tool: &'a ToolName,
    resource: (&'static str, &'a str),
}

impl Asked<'_> {
    fn action(&self) -> String {
        format!("{}:{}", self.group, self.tool)
    }

    /// No two subjects share a key: what stands before the user has no control characters, and the
    /// user's length stands before it.
    fn key(&self) -> String {
        let user = self.user.unwrap_or_default();
        format!(
            "{}\n{}\n{}\n{}{}\n{user}{}",
            self.agent,
            self.group,
            self.tool,
            if self.user.is_some() { "u" } else { "-" },
            user.len(),
            self.resource.1
        )
    }

    fn subject(&self) -> Subject {
        let plugin = entities::plugin(self.tool.plugin());
        Subject {
            principal: entities::agent(self.agent),
            user: self.user.map(entities::user),
            group: self.group,
            action: entities::action(self.action()),
            resource: match self.resource {
                ("tool", _) => entities::tool(self.tool),
                ("origin", id) => entities::origin(id),
                ("secret", id) => entities::secret(id),
                _ => plugin.clone(),
            },
            plugin,
        }
    }
}

pub(super) fn with_approved(mut pairs: Pairs, approved: bool) -> Pairs {
    let value = RestrictedExpression::new_bool(approved);
    pairs.push(("approved".to_owned(), value));
    pairs
}

pub(super) fn request(subject: &Subject, pairs: Pairs) -> Result<Request, String> {
    let context = Context::from_pairs(pairs).map_err(|error| entities::chain(&error))?;
    let uid = |uid: &EntityUid| uid.clone();
    Request::new(
        uid(&subject.principal),
        uid(&subject.action),
        uid(&subject.resource),
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
