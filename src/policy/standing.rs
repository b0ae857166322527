//! Rights that stand: rules that let an agent call while it is on no task.

use cedar_policy::{ActionConstraint, PrincipalConstraint, ResourceConstraint};
use serde_json::Value;

use super::PolicyRef;
use super::load::{PluginPolicies, PolicySet};
use super::source::Rule;
use super::vocabulary::CALLS;
use crate::name::PluginName;

impl PolicySet {
    /// The rules that permit calls to an agent that is on no task, in the order of their files. A rule
    /// asks for a task by `when { context has task && ... }`; a guardrail for all of them is
    /// `forbid (principal, action in Action::"call", resource) unless { context has task };`.
    #[must_use]
    pub fn standing(&self) -> Vec<PolicyRef> {
        let mut found: Vec<PolicyRef> = self
            .plugins
            .values()
            .flat_map(standing)
            .map(|rule| rule.reference.clone())
            .collect();
        found.sort_by(|a, b| (&a.file, a.line, &a.id).cmp(&(&b.file, b.line, &b.id)));
        found.dedup();
        found
    }

    /// Whether one of these rules permits calls of `plugin`.
    #[must_use]
    pub fn stands_for(&self, plugin: &PluginName) -> bool {
        let policies = self.plugins.get(plugin);
        policies.is_some_and(|policies| standing(policies).next().is_some())
    }
}

fn standing(plugin: &PluginPolicies) -> impl Iterator<Item = &Rule> {
    let groups = plugin.by_action.iter().filter(|(action, rules)| {
        let called = action.split(':').next();
        called.is_some_and(|group| CALLS.contains(&group)) && !rules.iter().any(|r| is_guard(r))
    });
    groups
        .flat_map(|(_, rules)| rules)
        .filter(|rule| rule.permits() && !needs_task(rule))
        .map(|rule| &**rule)
}

/// Whether a rule forbids every call out of a task, to everyone.
fn is_guard(rule: &Rule) -> bool {
    let open = matches!(rule.policy.principal_constraint(), PrincipalConstraint::Any)
        && matches!(
            rule.policy.resource_constraint(),
            ResourceConstraint::Any | ResourceConstraint::In(_)
        )
        && !matches!(rule.policy.action_constraint(), ActionConstraint::Eq(_));
    let conditions = conditions(rule);
    open && !rule.permits()
        && matches!(
            conditions.as_slice(),
            [(kind, body)] if (kind == "unless" && is_has_task(body))
                || (kind == "when" && body.pointer("/!/arg").is_some_and(is_has_task))
        )
}

/// Whether a rule applies on a task alone: `context has task` is among what must hold.
fn needs_task(rule: &Rule) -> bool {
    conditions(rule).iter().any(|(kind, body)| {
        if kind != "when" {
            return body.pointer("/!/arg").is_some_and(is_has_task);
        }
        let mut left = vec![body];
        while let Some(part) = left.pop() {
            if is_has_task(part) {
                return true;
            }
            if let Some(both) = part.get("&&") {
                left.extend([both.get("left"), both.get("right")].into_iter().flatten());
            }
        }
        false
    })
}

fn is_has_task(part: &Value) -> bool {
    let Some(test) = part.get("has") else {
        return false;
    };
    let context = test.pointer("/left/Var").and_then(Value::as_str) == Some("context");
    let attribute = match test.get("attr") {
        Some(Value::Array(path)) => path.first().and_then(Value::as_str),
        Some(other) => other.as_str(),
        None => None,
    };
    context && attribute == Some("task")
}

fn conditions(rule: &Rule) -> Vec<(String, Value)> {
    let Ok(tree) = rule.policy.to_json() else {
        return Vec::new();
    };
    tree.get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|condition| {
            let kind = condition.get("kind")?.as_str()?.to_owned();
            Some((kind, condition.get("body")?.clone()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::set;

    fn standing(rules: &str) -> Vec<String> {
        let set = set(&[("github.cedar", rules)]);
        set.standing().into_iter().map(|rule| rule.id).collect()
    }

    #[test]
    fn a_permit_that_asks_for_no_task_stands() {
        let rules = r#"
            @id("open") permit (principal, action == Action::"call:github.comment", resource);
            @id("task") permit (principal, action == Action::"call:github.comment", resource)
                when { context.attempt < 3 && context has task && context.task.calls < 5 };
            @id("either") permit (principal, action == Action::"call:github.comment", resource)
                when { context has task || context.approved };
            @id("unless") permit (principal, action == Action::"call:github.comment", resource)
                unless { !(context has task) };
            @id("guard") forbid (principal, action == Action::"call:github.comment", resource)
                unless { context has task };
            @id("http") permit (principal, action in Action::"http", resource);
        "#;
        assert_eq!(standing(rules), ["open", "either"]);
        let set = set(&[("github.cedar", rules)]);
        assert!(set.stands_for(&"github".parse().unwrap()));
        assert!(!set.stands_for(&"other".parse().unwrap()));
    }

    #[test]
    fn a_guardrail_leaves_none_standing() {
        let guarded = r#"
            @id("open") permit (principal, action in Action::"call", resource);
            @id("guard") forbid (principal, action in Action::"call", resource) unless { context has task };
        "#;
        assert!(standing(guarded).is_empty());
        let set = set(&[("github.cedar", guarded)]);
        assert!(!set.stands_for(&"github".parse().unwrap()));
        let one_agent = guarded.replace(
            "forbid (principal,",
            r#"forbid (principal == Agent::"spiffe://tollgate.local/agent/ada","#,
        );
        assert_eq!(standing(&one_agent), ["open"]);
    }
}
