//! What could be allowed, before it is asked: the tools that an agent is shown, and the handles that
//! a call gets.
//!
//! Asked with the agent known and the call's context not: first of scopes alone; then, where a rule
//! has conditions, of Cedar's typed partial evaluation, which also sees what these say of agent and
//! tool. The answer may be yes too often, and is never no where the full decision could allow: that
//! is what decides, for the call and for each host call. Cedar calls partial evaluation experimental,
//! so it is asked in one function, whose silence leaves the answer of the scopes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use cedar_policy::{
    PartialEntities, PartialEntity, PartialEntityUid, PartialRequest, ResourceConstraint, Schema,
};

use serde_json::Value;

use crate::identity::AgentId;
use crate::name::ToolName;
use crate::plugin::{OriginScope, Requirement};

use super::entities::Directory;
use super::load::{PluginPolicies, PolicySet};
use super::slice::{Asked, Prepared, Scope, Subject};
use super::source::Rule;
use super::vocabulary::{APPROVE, HostAction, called, group_of};

/// Some origin, not known yet. No origin has this id.
const ANY_ORIGIN: (&str, &str) = ("origin", "");

/// The most answers kept: a hundred agents, and as many plugins with several tools each. One takes
/// about a hundred bytes. Measured in a debug build, with 10 to 1,000 rules: 0.25 to 0.4 ms to find an
/// answer, under 1 us to give it again.
const MAX_KEPT: usize = 1 << 16;

/// Answers that were given before: they depend on nothing that changes while a set is in force.
#[derive(Debug, Default)]
pub(super) struct Answers(RwLock<HashMap<String, bool>>);

impl Answers {
    fn get_or_make(&self, key: String, make: impl FnOnce() -> bool) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&key) {
            return *answer;
        }
        drop(known);
        let answer = make();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KEPT {
            known.clear();
        }
        known.insert(key, answer);
        answer
    }
}

impl PolicySet {
    /// Whether this agent could be allowed to call this tool, for some arguments and with a person's
    /// agreement: what its list of tools shows. It may say yes too often, never no too often; the
    /// call itself is decided in full.
    ///
    /// Of a chain, each agent must be: `agents` are all of them.
    #[must_use]
    pub fn may_all_call<'a>(
        &self,
        mut agents: impl Iterator<Item = &'a AgentId>,
        user: Option<&str>,
        tool: &ToolName,
    ) -> bool {
        agents.all(|agent| self.may_call(agent, user, tool))
    }

    /// The same, for one agent.
    #[must_use]
    pub fn may_call(&self, agent: &AgentId, user: Option<&str>, tool: &ToolName) -> bool {
        let Ok((_, model)) = self.tool(tool) else {
            return false;
        };
        self.may(agent, user, group_of(model.kind), tool, called(model.kind))
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

    /// Whether a rule keeps calls of this tool, or host calls of it, for a person.
    #[must_use]
    pub fn asks(&self, tool: &ToolName) -> bool {
        let Ok((plugin, model)) = self.tool(tool) else {
            return false;
        };
        let groups = model.actions.iter().map(|action| action.group());
        [group_of(model.kind)]
            .into_iter()
            .chain(groups)
            .filter_map(|group| plugin.by_action.get(&format!("{group}:{tool}")))
            .flatten()
            .any(|rule| rule.asks())
    }

    /// Whether a rule lets anybody agree to calls of this tool.
    #[must_use]
    pub fn answerable(&self, tool: &ToolName) -> bool {
        self.tool(tool)
            .ok()
            .and_then(|(plugin, _)| plugin.by_action.get(&format!("{APPROVE}:{tool}")))
            .is_some_and(|rules| rules.iter().any(|rule| rule.permits()))
    }

    fn may(
        &self,
        agent: &AgentId,
        user: Option<&str>,
        group: &'static str,
        tool: &ToolName,
        resource: (&'static str, &str),
    ) -> bool {
        let asked = Asked {
            principal: agent.as_str(),
            asker: None,
            user,
            group,
            tool,
            resource,
        };
        self.may.get_or_make(asked.key(), || self.could(&asked))
    }

    fn could(&self, asked: &Asked<'_>) -> bool {
        let (Ok((plugin, _)), Some(directory)) = (self.tool(asked.tool), &self.directory) else {
            return false;
        };
        let Some(rules) = plugin.by_action.get(&asked.action()) else {
            return false;
        };
        let subject = asked.subject();
        let scope = Scope::of(&subject, directory);
        // Of an origin that is not known yet, a rule for one origin may be the one that it meets.
        let open = asked.resource == ANY_ORIGIN;
        let meets = |rule: &Rule| {
            scope.matches(&rule.policy)
                || open
                    && rule.permits()
                    && scope.matches_principal(&rule.policy)
                    && matches!(rule.policy.resource_constraint(), ResourceConstraint::Eq(_))
        };
        let by_scopes = plugin.broken.is_none()
            && rules.iter().any(|rule| rule.permits() && meets(rule))
            && !rules.iter().any(|rule| {
                !rule.permits() && !rule.policy.has_non_scope_constraint() && meets(rule)
            });
        let conditional = rules
            .iter()
            .any(|rule| rule.policy.has_non_scope_constraint() && meets(rule));
        by_scopes
            && (open
                || !conditional
                || partially(plugin, rules, subject.clone(), directory).unwrap_or(true))
    }
}

/// The answer of typed partial evaluation, with the context unknown; none where there is none to be had.
///
/// A permit that is an error whatever the context is counts as one that never applies: an evaluation
/// error refuses.
fn partially(
    plugin: &PluginPolicies,
    rules: &[Arc<Rule>],
    subject: Subject,
    directory: &Directory,
) -> Option<bool> {
    let schema = plugin.schema.as_ref()?;
    let prepared = Prepared::of(subject, rules, directory).ok()?;
    let Subject {
        principal,
        action,
        resource,
        ..
    } = prepared.subject.clone();
    let request = PartialRequest::new(
        PartialEntityUid::from_concrete(principal),
        action,
        PartialEntityUid::from_concrete(resource),
        None,
        schema,
    )
    .ok()?;
    let entities = known(&prepared, schema)?;
    let answer = prepared.policies.tpe(&request, &entities, schema).ok()?;
    let permits = answer.true_permits().next().is_some()
        || answer.residual_permits().any(|id| {
            // One that can't be looked at could be anything.
            let residual = answer.get_policy(id).and_then(|rule| rule.to_json().ok());
            residual.is_none_or(|tree| satisfiable(&tree))
        });
    Some(permits && answer.true_forbids().next().is_none())
}

/// Whether what is left of a rule could be true. Cedar leaves `x && false` as it is, since `x` may be an
/// error; here that is all the same.
fn satisfiable(rule: &Value) -> bool {
    let conditions = rule.get("conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().all(|condition| {
        let is_when = condition.get("kind").and_then(Value::as_str) == Some("when");
        !is_when || condition.get("body").is_none_or(possible)
    })
}

fn possible(expression: &Value) -> bool {
    let part = |operands: &Value, name: &str| operands.get(name).is_none_or(possible);
    if let Some(both) = expression.get("&&") {
        return part(both, "left") && part(both, "right");
    }
    if let Some(either) = expression.get("||") {
        return part(either, "left") || part(either, "right");
    }
    if let Some(choice) = expression.get("if-then-else") {
        return part(choice, "if") && part(choice, "then") || part(choice, "else");
    }
    expression.get("Value") != Some(&Value::Bool(false))
}

/// Everything that the rules of the slice can walk, all of it known. Actions are the schema's own.
fn known(prepared: &Prepared, schema: &Schema) -> Option<PartialEntities> {
    let all = prepared
        .entities
        .iter()
        .map(|entity| entity.uid())
        .filter(|uid| uid.type_name().basename() != "Action")
        .map(|uid| {
            let inside = prepared.entities.ancestors(&uid)?.cloned().collect();
            let nothing = BTreeMap::new;
            PartialEntity::new(uid, Some(nothing()), Some(inside), Some(nothing()), schema).ok()
        })
        .collect::<Option<Vec<_>>>()?;
    PartialEntities::from_partial_entities(all, schema).ok()
}
