//! Questions of a chain, with Cedar.

use super::*;

const RULES: &str = r#"
@id("ada")
permit(principal == Agent::"spiffe://tollgate.local/agent/ada", action in Action::"call", resource in Plugin::"github");
@id("bob.search")
permit(principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"github.search");
@id("bob.comment")
permit(principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource == Tool::"github.comment")
when { context.approved };
@id("http")
permit(principal == Agent::"spiffe://tollgate.local/agent/ada", action in Action::"http", resource);
@id("alone")
forbid(principal, action in Action::"call", resource == Tool::"github.search")
when { context.chain.contains(Agent::"spiffe://tollgate.local/agent/eve") };
"#;

fn decide(set: &PolicySet, agent: &str, chain: &[&str], tool: &str) -> String {
    let asked = if tool == "github.comment" {
        comment(agent)
    } else {
        call(agent, tool, json!({ "query": "x" }))
    };
    asked.handed_on_by(chain).decide(set)
}

#[test]
fn the_strictest_answer_of_a_chain_counts() {
    // The agents of these rules are in no group, so `entities.json` need not know them.
    let set = Dir::new(&[("github.cedar", RULES)]).load(None).set;
    for (agent, chain, tool, expected) in [
        ("ada", &[][..], "github.comment", "allow ada"),
        ("bob", &[], "github.comment", "hold bob.comment"),
        ("bob", &["ada"], "github.comment", "hold ada,bob.comment"),
        ("ada", &["bob"], "github.comment", "hold ada,bob.comment"),
        ("bob", &["ada"], "github.search", "allow ada,bob.search"),
        ("carol", &["ada"], "github.search", "policy.default_deny"),
        ("ada", &["carol"], "github.search", "policy.default_deny"),
        (
            "ada",
            &["bob", "carol"],
            "github.search",
            "policy.default_deny",
        ),
        ("ada", &["eve"], "github.search", "policy.forbidden alone"),
        ("ada", &["eve"], "github.comment", "policy.default_deny"),
    ] {
        assert_eq!(
            decide(&set, agent, chain, tool),
            expected,
            "{agent} {chain:?} {tool}"
        );
    }
}

#[test]
fn each_host_call_is_asked_of_each_agent_as_well() {
    // The agents of these rules are in no group, so `entities.json` need not know them.
    let set = Dir::new(&[("github.cedar", RULES)]).load(None).set;
    let decide = |asked: &Call| {
        said(set.decide_host_call(&asked.facts(), http(ORIGIN, "GET", "/search/issues")))
    };
    assert_eq!(decide(&comment("ada")), "allow http");
    assert_eq!(
        decide(&comment("ada").handed_on_by(&["bob"])),
        "policy.default_deny"
    );
}

/// What a hold over a chain asks for.
fn hold(set: &PolicySet, asked: &Call) -> Hold {
    let Verdict::Hold(ground) = set.decide_call(&asked.question()) else {
        panic!("held");
    };
    set.hold_of_call(&asked.question(), &ground, &["hold"])
        .unwrap()
}

#[test]
fn an_approval_over_a_chain_is_bound_to_what_its_rules_say_and_not_to_where_they_stand() {
    let asked = || comment("bob").handed_on_by(&["ada"]);
    let deciding = |rules: &str| {
        let set = Dir::new(&[("github.cedar", rules)]).load(None).set;
        hold(&set, &asked()).deciding
    };
    let before = deciding(RULES);
    // A comment, and one rule put behind the others: they say the same.
    let (first, rest) = RULES.split_at(RULES.find("@id(\"bob.search\")").unwrap());
    assert_eq!(before, deciding(&format!("// Moved.\n{rest}\n{first}")));
    let changed = RULES.replace(
        "when { context.approved }",
        "when { context.approved && context.attempt < 9 }",
    );
    assert_ne!(before, deciding(&changed));
}

#[test]
fn an_approval_of_one_chain_proves_nothing_for_another() {
    let set = Dir::new(&[("github.cedar", RULES)]).load(None).set;
    let agreed = comment("bob").handed_on_by(&["ada"]).agreed(&["eve"]);
    assert_eq!(agreed.decide(&set), "allow ada,bob.comment");
    let mut alone = comment("bob");
    alone.approval = agreed.approval;
    let Verdict::Refuse(refusal) = set.decide_call(&alone.question()) else {
        panic!("refused");
    };
    assert_eq!(refusal.reason, Reason::ApprovalBinding);
}
