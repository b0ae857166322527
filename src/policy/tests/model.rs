//! Random scope-only policies, held against a reference model of a few lines.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
struct Scoped {
    forbid: bool,
    principal: usize,
    action: usize,
    resource: usize,
    approved: bool,
}

const PRINCIPALS: [&str; 4] = [
    "principal",
    r#"principal == Agent::"spiffe://tollgate.local/agent/ada""#,
    r#"principal in Group::"staff""#,
    r#"principal == Agent::"spiffe://tollgate.local/agent/bob""#,
];
const ACTIONS: [&str; 4] = [
    "action",
    r#"action in Action::"call""#,
    r#"action == Action::"call:github.comment""#,
    r#"action in [Action::"call:github.search"]"#,
];
const RESOURCES: [&str; 4] = [
    "resource",
    r#"resource in Plugin::"github""#,
    r#"resource == Tool::"github.comment""#,
    r#"resource is Tool in Plugin::"github""#,
];

impl Scoped {
    fn text(&self, i: usize) -> String {
        let effect = if self.forbid { "forbid" } else { "permit" };
        let (p, a, r) = (
            PRINCIPALS[self.principal],
            ACTIONS[self.action],
            RESOURCES[self.resource],
        );
        let when = if self.approved {
            " when { context.approved }"
        } else {
            ""
        };
        format!("@id(\"r{i}\") {effect}({p}, {a}, {r}){when};\n")
    }

    /// Whether it applies to `agent` calling `tool`.
    fn applies(&self, agent: &str, tool: &str, approved: bool) -> bool {
        let principal = match self.principal {
            0 => true,
            1 | 2 => agent == "ada",
            _ => agent == "bob",
        };
        let action = match self.action {
            0 | 1 => true,
            2 => tool == "comment",
            _ => tool == "search",
        };
        let resource = self.resource != 2 || tool == "comment";
        principal && action && resource && (approved || !self.approved)
    }
}

fn allowed(rules: &[Scoped], agent: &str, tool: &str, approved: bool) -> bool {
    let applies = |rule: &&Scoped| rule.applies(agent, tool, approved);
    rules.iter().filter(applies).any(|r| !r.forbid)
        && !rules.iter().filter(applies).any(|r| r.forbid)
}

fn expected(rules: &[Scoped], agent: &str, tool: &str) -> &'static str {
    if allowed(rules, agent, tool, false) {
        "allow"
    } else if allowed(rules, agent, tool, true) {
        "hold"
    } else if rules
        .iter()
        .any(|r| r.forbid && r.applies(agent, tool, false))
    {
        "policy.forbidden"
    } else {
        "policy.default_deny"
    }
}

fn rule() -> impl Strategy<Value = Scoped> {
    (
        prop::bool::weighted(0.3),
        0..4usize,
        0..4usize,
        0..4usize,
        any::<bool>(),
    )
        .prop_map(|(forbid, principal, action, resource, approved)| Scoped {
            forbid,
            principal,
            action,
            resource,
            approved,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn decisions_are_those_of_the_model(
        shared in prop::collection::vec(rule(), 0..4),
        own in prop::collection::vec(rule(), 0..4),
    ) {
        let text = |rules: &[Scoped]| rules.iter().enumerate().map(|(i, r)| r.text(i)).collect::<String>();
        let dir = Dir::new(&[("shared.cedar", &text(&shared))]);
        // What can never match is an error in a plugin's own file, so only rules that can.
        let own: Vec<Scoped> = own
            .into_iter()
            .filter(|r| !(r.action == 3 && r.resource == 2))
            .collect();
        dir.write("github.cedar", &text(&own));
        let set = dir.load(None).set;
        let rules: Vec<Scoped> = shared.into_iter().chain(own).collect();
        for agent in ["ada", "bob", "eve"] {
            for tool in ["comment", "search"] {
                let mut asked = comment(agent);
                if tool == "search" {
                    asked = call(agent, "github.search", json!({}));
                }
                let answer = asked.decide(&set);
                let answer = answer.split(' ').next().unwrap();
                prop_assert_eq!(answer, expected(&rules, agent, tool), "{} {} {:?}", agent, tool, rules);
                if matches!(answer, "allow" | "hold") {
                    prop_assert!(set.may_call(&asked.agent, None, &asked.tool));
                }
            }
        }
    }
}
