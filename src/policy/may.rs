//! What could be allowed, before it is asked: the tools that an agent is shown, and the handles that
//! a call gets.
//!
//! Only scopes are looked at, so the answer is yes too often and never no too often; the call and
//! each host call are decided in full. Cedar's typed partial evaluation would answer closer, and
//! can take this place behind the same two functions once it is no longer experimental.

use cedar_policy::ResourceConstraint;

use crate::identity::AgentId;
use crate::name::ToolName;
use crate::plugin::{OriginScope, Requirement};

use super::load::PolicySet;
use super::slice::{Asked, Scope};
use super::source::Rule;
use super::vocabulary::{CALL, HostAction};

/// Some origin, not known yet. No origin has this id.
const ANY_ORIGIN: (&str, &str) = ("origin", "");

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
}
