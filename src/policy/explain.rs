//! Why a question was answered as it was, and what would have changed the answer.
//!
//! Each rule that the question could have met is shown with its conditions taken apart and
//! evaluated one by one, on the same request and the same entities as the decision.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cedar_policy::{Authorizer, Decision, Policy, PolicyId, PolicySet as CedarSet, Request};
use serde::Serialize;
use serde_json::{Value, json};

use crate::identity::AgentId;
use crate::reason::Reason;

use super::approve::{Agreement, approved_so_far};
use super::chain;
use super::context::Pairs;
use super::decide::{Answer, request};
use super::entities;
use super::load::PolicySet;
use super::question::{ApproveQuestion, CallFacts, CallQuestion, HostQuestion};
use super::slice::{Prepared, Scope};
use super::source::Rule;
use super::vocabulary::{APPROVE, group_of};
use super::{Ground, PolicyRef};

/// Why a question was answered as it was. Its JSON form is [`serde`]'s, its text form `Display`'s.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// `allow`, `hold` or `refuse`.
    pub decision: &'static str,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// What was asked: agent, action and resource.
    pub question: [String; 3],
    /// The policies that determined the answer.
    pub ground: Option<Ground>,
    /// Rules that the question could have met, permits before forbids.
    pub rules: Vec<ExplainedRule>,
    /// What would change the answer.
    pub hints: Vec<String>,
    /// Of work that was handed on, the answer to each agent of the chain by itself, the one that acts
    /// first: the strictest counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<Self>,
}

/// A rule, held against a question.
#[derive(Debug, Clone, Serialize)]
pub struct ExplainedRule {
    /// The rule.
    pub policy: PolicyRef,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Whether it applied: scope and every condition.
    pub applies: bool,
    /// The parts of its scope that did not match: `principal`, `resource`.
    pub outside: Vec<&'static str>,
    /// Its conditions, taken apart. Empty where the scope did not match.
    pub conditions: Vec<Condition>,
}

/// One condition of a rule.
#[derive(Debug, Clone, Serialize)]
pub struct Condition {
    /// In Cedar.
    pub text: String,
    /// Whether it holds; of an `unless`, each part stands here negated. None where it was not reached,
    /// for one before it is false, or where it failed.
    pub holds: Option<bool>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Explanation {
    /// The bare answer.
    fn of(answered: Result<Answer, String>, question: [String; 3]) -> Self {
        let mut hints = Vec::new();
        let (decision, reason, ground) = match answered {
            Ok(Answer::Allow(ground)) => ("allow", None, Some(ground)),
            Ok(Answer::Hold(ground)) => ("hold", Some(Reason::ApprovalRequired), Some(ground)),
            Ok(Answer::Refuse(reason, ground)) => ("refuse", Some(reason), Some(ground)),
            Err(error) => {
                hints.push(format!("the question could not be put: {error}"));
                ("refuse", Some(Reason::PolicyError), None)
            }
        };
        Self {
            decision,
            reason,
            question,
            ground,
            rules: Vec::new(),
            hints,
            agents: Vec::new(),
        }
    }
}

impl PolicySet {
    /// Explains the answer to a call question; as if people had agreed, where `approved`.
    #[must_use]
    pub fn explain_call(&self, question: &CallQuestion<'_>, approved: bool) -> Explanation {
        let tool = question.call.tool;
        let kind = self.tool(tool).map(|(_, model)| model.kind);
        let group = group_of(kind.unwrap_or_default());
        self.explain_chain(
            &question.call,
            approved,
            |agent| self.prepare_call(&question.of(agent), None),
            [format!("{group}:{tool}"), tool.to_string()],
        )
    }

    /// Explains whether a person may answer what is held.
    #[must_use]
    pub fn explain_approve(&self, question: &ApproveQuestion<'_>) -> Explanation {
        let tool = question.call.tool;
        let what = [
            question.person.to_string(),
            format!("{APPROVE}:{tool}"),
            tool.to_string(),
        ];
        let agreement = approved_so_far(question);
        self.explain(self.prepare_approve(question, None), &agreement, what)
    }

    /// Explains the answer to a host call's question.
    #[must_use]
    pub fn explain_host_call<T: HostQuestion>(
        &self,
        call: &CallFacts<'_>,
        question: &T,
        approved: bool,
    ) -> Explanation {
        self.explain_chain(
            call,
            approved,
            |agent| self.prepare_host_call(&call.of(agent), question, None),
            [
                format!("{}:{}", question.action().group(), call.tool),
                format!("{:?}", question.target()),
            ],
        )
    }

    /// Of work that was handed on: what the strictest answer is, and what each agent's own is.
    fn explain_chain(
        &self,
        call: &CallFacts<'_>,
        approved: bool,
        prepare: impl Fn(&AgentId) -> Result<(Arc<Prepared>, Pairs), String>,
        [action, resource]: [String; 2],
    ) -> Explanation {
        let agents = || chain::each(call.chain, call.agent);
        let agreement = if approved {
            // Everyone whom the rules name, whichever agent they are about.
            let ready = agents().filter_map(|agent| prepare(agent).ok());
            let people: BTreeSet<String> = ready.flat_map(|(ready, _)| ready.people()).collect();
            Agreement::by(people.iter().map(String::as_str))
        } else {
            Agreement::default()
        };
        let question = |agent: &AgentId| [agent.to_string(), action.clone(), resource.clone()];
        let own = |agent: &AgentId| self.explain(prepare(agent), &agreement, question(agent));
        if call.chain.is_empty() {
            return own(call.agent);
        }
        let strictest = chain::strictest(call.chain, call.agent, |agent| {
            let (prepared, pairs) = prepare(agent)?;
            self.answer(&prepared, pairs, &agreement)
        });
        let mut all = Explanation::of(strictest, question(call.agent));
        all.agents = agents().map(own).collect();
        all
    }

    fn explain(
        &self,
        prepared: Result<(Arc<Prepared>, Pairs), String>,
        agreement: &Agreement,
        question: [String; 3],
    ) -> Explanation {
        let evaluated = prepared.and_then(|(prepared, pairs)| {
            let answer = self.answer(&prepared, pairs.clone(), agreement)?;
            let request = request(&prepared.subject, agreement.put(pairs, &prepared.seen))?;
            Ok((answer, self.rules(&prepared, &request)))
        });
        let (answer, mut rules) = match evaluated {
            Ok((answer, rules)) => (Ok(answer), rules),
            Err(error) => return Explanation::of(Err(error), question),
        };
        rules.sort_by_key(|rule| {
            (
                rule.effect == "forbid",
                !rule.outside.is_empty(),
                rule.policy.file.clone(),
                rule.policy.line,
            )
        });
        let mut explanation = Explanation::of(answer, question);
        explanation.hints = hints(explanation.decision, &rules, &explanation.question);
        explanation.rules = rules;
        explanation
    }

    /// Every rule for this action: those whose scope matches, and the permits that came near.
    fn rules(&self, prepared: &Prepared, request: &Request) -> Vec<ExplainedRule> {
        let Some(directory) = &self.directory else {
            return Vec::new();
        };
        let scope = Scope::of(&prepared.subject, directory);
        let action = prepared.subject.action.id().unescaped().to_owned();
        self.plugins
            .values()
            .filter_map(|plugin| plugin.by_action.get(&action))
            .flatten()
            .filter_map(|rule| {
                let mut outside = Vec::new();
                if !scope.matches_principal(&rule.policy) {
                    outside.push("principal");
                }
                if !scope.matches_resource(&rule.policy) {
                    outside.push("resource");
                }
                if !outside.is_empty() && !rule.permits() {
                    return None;
                }
                let conditions = if outside.is_empty() {
                    conditions(rule, prepared, request)
                } else {
                    Vec::new()
                };
                Some(ExplainedRule {
                    policy: rule.reference.clone(),
                    effect: if rule.permits() { "permit" } else { "forbid" },
                    applies: outside.is_empty() && conditions.iter().all(|c| c.holds == Some(true)),
                    outside,
                    conditions,
                })
            })
            .collect()
    }
}

fn conditions(rule: &Rule, prepared: &Prepared, request: &Request) -> Vec<Condition> {
    let Ok(tree) = rule.policy.to_json() else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    for condition in tree
        .get("conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let (Some(kind), Some(body)) = (
            condition.get("kind").and_then(Value::as_str),
            condition.get("body"),
        ) else {
            continue;
        };
        // Every part of `when` must hold; no part of `unless` may.
        let operator = if kind == "when" { "&&" } else { "||" };
        split(body, operator, &mut |part| {
            parts.push((kind.to_owned(), part.clone()))
        });
    }
    let mut reached = true;
    let mut out = Vec::new();
    for (kind, part) in parts {
        let (text, value) = evaluate(&kind, &part, prepared, request);
        let (holds, error) = match value {
            _ if !reached => (None, None),
            Ok(holds) => (Some(holds), None),
            Err(error) => (None, Some(error)),
        };
        reached &= holds == Some(true);
        out.push(Condition { text, holds, error });
    }
    out
}

/// The operands of a chain of `&&` or `||`, from left to right.
fn split(tree: &Value, operator: &str, take: &mut impl FnMut(&Value)) {
    match tree.get(operator) {
        Some(operands) => {
            for side in ["left", "right"] {
                if let Some(operand) = operands.get(side) {
                    split(operand, operator, take);
                }
            }
        }
        None => take(tree),
    }
}

/// One condition by itself: its text, and whether it holds.
fn evaluate(
    kind: &str,
    body: &Value,
    prepared: &Prepared,
    request: &Request,
) -> (String, Result<bool, String>) {
    let rule = json!({
        "effect": "permit", "principal": { "op": "All" }, "action": { "op": "All" }, "resource": { "op": "All" },
        "conditions": [{ "kind": kind, "body": body }],
    });
    let policy = match Policy::from_json(Some(PolicyId::new("condition")), rule) {
        Ok(policy) => policy,
        Err(error) => return (kind.to_owned(), Err(entities::chain(&error))),
    };
    let written = policy.to_cedar().unwrap_or_default();
    let text = written
        .split_once('{')
        .and_then(|(_, rest)| rest.rsplit_once('}'))
        .map(|(inner, _)| inner.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_default();
    let value = CedarSet::from_policies([policy])
        .map_err(|error| entities::chain(&error))
        .and_then(|set| {
            let response = Authorizer::new().is_authorized(request, &set, &prepared.entities);
            match response.diagnostics().errors().next() {
                Some(error) => Err(entities::chain(error)),
                None => Ok(response.decision() == Decision::Allow),
            }
        });
    (text, value)
}

fn hints(decision: &str, rules: &[ExplainedRule], question: &[String; 3]) -> Vec<String> {
    let place = |rule: &ExplainedRule| {
        format!(
            "`{}` (policies/{}:{})",
            rule.policy.id, rule.policy.file, rule.policy.line
        )
    };
    if decision == "allow" {
        return Vec::new();
    }
    let mut hints = Vec::new();
    if decision == "hold" {
        hints.push("a person's approval would allow it".to_owned());
    }
    for rule in rules {
        let failed = rule
            .conditions
            .iter()
            .find(|c| c.holds == Some(false) || c.error.is_some());
        match (rule.effect, failed) {
            ("forbid", _) if rule.applies => {
                hints.push(format!(
                    "{} forbids it; while it applies, no permit helps",
                    place(rule)
                ));
            }
            ("permit", Some(condition)) => {
                hints.push(format!(
                    "{} would allow it if `{}` held",
                    place(rule),
                    condition.text
                ));
            }
            ("permit", None) if !rule.outside.is_empty() => hints.push(format!(
                "{} is for another {}",
                place(rule),
                rule.outside.join(" and another ")
            )),
            _ => {}
        }
    }
    let [_, action, _] = question;
    if !rules.iter().any(|rule| rule.effect == "permit") {
        hints.push(format!("no rule permits `{action}` to anyone"));
    }
    hints
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [agent, action, resource] = &self.question;
        write!(f, "{}", self.decision)?;
        if let Some(reason) = self.reason {
            write!(f, " ({reason})")?;
        }
        writeln!(f, ": {agent} {action} on {resource}")?;
        if let Some(ground) = &self.ground {
            for policy in &ground.policies {
                writeln!(
                    f,
                    "  determined by `{}` (policies/{}:{})",
                    policy.id, policy.file, policy.line
                )?;
            }
            for error in &ground.errors {
                writeln!(f, "  error: {error}")?;
            }
        }
        for rule in &self.rules {
            let state = if rule.applies {
                "applies".to_owned()
            } else if rule.outside.is_empty() {
                "does not apply".to_owned()
            } else {
                format!("is for another {}", rule.outside.join(" and another "))
            };
            writeln!(
                f,
                "  {} `{}` (policies/{}:{}) {state}",
                rule.effect, rule.policy.id, rule.policy.file, rule.policy.line
            )?;
            for condition in &rule.conditions {
                let mark = match (condition.holds, &condition.error) {
                    (Some(true), _) => "true",
                    (Some(false), _) => "false",
                    (None, Some(_)) => "error",
                    (None, None) => "not reached",
                };
                writeln!(f, "    {mark}: {}", condition.text)?;
            }
        }
        for hint in &self.hints {
            writeln!(f, "hint: {hint}")?;
        }
        for agent in &self.agents {
            for line in agent.to_string().lines() {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}
