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
    let chain: Vec<AgentId> = chain.iter().map(|name| name.parse().unwrap()).collect();
    said(set.decide_call(&CallQuestion {
        chain: &chain,
        ..asked.question()
    }))
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
    let asked = comment("ada");
    let chain = ["bob".parse::<AgentId>().unwrap()];
    let alone = set.decide_host_call(&asked.facts(), http(ORIGIN, "GET", "/search/issues"));
    assert_eq!(said(alone), "allow http");
    let facts = CallFacts {
        chain: &chain,
        ..asked.facts()
    };
    let handed = set.decide_host_call(&facts, http(ORIGIN, "GET", "/search/issues"));
    assert_eq!(said(handed), "policy.default_deny");
}
