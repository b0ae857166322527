//! What could be allowed: closer than scopes, and never no where a full decision would allow.

use proptest::prelude::*;

use super::*;

fn may(set: &PolicySet, agent: &str, tool: &str) -> bool {
    set.may_call(&agent.parse().unwrap(), None, &tool.parse().unwrap())
}

#[test]
fn conditions_on_agent_and_tool_are_seen_and_those_on_the_call_are_open() {
    for (rule, ada, bob) in [
        // In the scope it would say the same.
        (
            r#"permit(principal, action in Action::"call", resource) when { principal in Group::"staff" };"#,
            true,
            false,
        ),
        (
            r#"permit(principal, action in Action::"call", resource) when { context.args.number > 3 && principal in Group::"staff" };"#,
            true,
            false,
        ),
        (
            r#"permit(principal, action in Action::"call", resource); forbid(principal, action, resource) unless { principal in Group::"writers" };"#,
            true,
            false,
        ),
        (
            r#"permit(principal, action in Action::"call", resource) when { resource == Tool::"github.search" };"#,
            false,
            false,
        ),
        (
            r#"permit(principal, action in Action::"call", resource); forbid(principal, action, resource) when { context.tier == "write" };"#,
            true,
            true,
        ),
        (
            r#"permit(principal, action in Action::"call", resource) when { context.approved && context.args.number == 7 };"#,
            true,
            true,
        ),
    ] {
        // The number is an argument of `comment` alone.
        let rule = rule.replace(
            r#"action in Action::"call""#,
            r#"action == Action::"call:github.comment""#,
        );
        let set = Dir::new(&[("github.cedar", &rule)]).load(None).set;
        assert_eq!(may(&set, "ada", "github.comment"), ada, "{rule}");
        assert_eq!(may(&set, "bob", "github.comment"), bob, "{rule}");
        // Asked again, it is the same answer.
        assert_eq!(may(&set, "ada", "github.comment"), ada, "{rule}");
    }
}

#[test]
fn a_shared_rule_that_names_another_plugin_hides_nothing_and_is_seen_through() {
    let shared = r#"forbid(principal, action in [Action::"call:other.tool", Action::"call:github.search"], resource)
        unless { principal in Group::"writers" };"#;
    let dir = Dir::new(&[("shared.cedar", shared), ("github.cedar", ALL)]);
    let set = dir.load(None).set;
    assert!(may(&set, "ada", "github.search") && may(&set, "bob", "github.comment"));
    assert!(!may(&set, "bob", "github.search"));
}

/// A condition, of parts that Cedar can and can't know ahead.
fn condition() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        r#"principal in Group::"staff""#,
        r#"principal in Group::"writers""#,
        r#"principal == Agent::"spiffe://tollgate.local/agent/bob""#,
        r#"resource in Plugin::"github""#,
        r#"resource == Tool::"github.comment""#,
        r#"action in Action::"call""#,
        "context.approved",
        r#"context.tier == "write""#,
        "context.args.number > 5",
        "context.args.number + 9223372036854775807 > 0",
        r#"context.args has note && context.args.note == "x""#,
        r#"context.args.repository like "a/*""#,
        r#"context has user && context.user in Group::"staff""#,
        "context.attempt < 2",
        "true",
        "false",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.clone().prop_map(|a| format!("!({a})")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("if ({a}) then ({b}) else false")),
        ]
    })
}

fn rule() -> impl Strategy<Value = String> {
    let conditions = prop::collection::vec((any::<bool>(), condition()), 0..3);
    (prop::bool::weighted(0.4), any::<bool>(), conditions).prop_map(|(forbid, narrow, conditions)| {
        let effect = if forbid { "forbid" } else { "permit" };
        let principal = if narrow { r#"principal in Group::"staff""# } else { "principal" };
        let conditions: String = conditions
            .into_iter()
            .map(|(when, text)| format!(" {} {{ {text} }}", if when { "when" } else { "unless" }))
            .collect();
        format!("{effect}({principal}, action == Action::\"call:github.comment\", resource){conditions};\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn what_a_full_decision_would_allow_is_never_hidden(
        rules in prop::collection::vec(rule(), 1..5),
        number in prop::sample::select(vec![-1i64, 3, 7, i64::MAX]),
        note in prop::option::of(Just("x")),
        user in prop::option::of(Just("eve")),
    ) {
        let set = Dir::new(&[("shared.cedar", &rules.concat())]).load(None).set;
        prop_assert_eq!(set.broken(&"github".parse().unwrap()), None, "{}", rules.concat());
        let mut arguments = json!({ "repository": "a/b", "number": number, "body": "hi" });
        if let Some(note) = note {
            arguments["note"] = note.into();
        }
        for agent in ["ada", "bob"] {
            let mut asked = call(agent, "github.comment", arguments.clone());
            asked.user = user;
            for agreed in [false, true] {
                if agreed {
                    asked = asked.agreed(&["eve"]);
                }
                let answer = asked.decide(&set);
                if answer.starts_with("allow") || answer.starts_with("hold") {
                    prop_assert!(
                        set.may_call(&asked.agent, user, &asked.tool),
                        "{} for {} was hidden: {}", answer, agent, rules.concat()
                    );
                }
            }
        }
    }
}
