//! What authors of policies get: cases, explanations, lint.

use super::*;

#[test]
fn cases_check_decision_and_reasons() {
    let dir = Dir::new(&[
        (
            "github.cedar",
            r#"@id("ask") permit(principal in Group::"writers", action == Action::"call:github.comment", resource) when { context.approved };
               @id("api") permit(principal, action == Action::"http:github.comment", resource == Origin::"https://api.github.com") when { context.requirement == "api" };"#,
        ),
        (
            "cases/github.json",
            r#"[
            { "name": "held", "agent": "ada", "tool": "github.comment", "arguments": { "repository": "a/b", "number": 1, "body": "" }, "decision": "hold", "policies": ["ask"] },
            { "name": "joined", "agent": "bob", "groups": ["writers"], "tool": "github.comment", "arguments": { "repository": "a/b", "number": 1, "body": "" }, "approved": true, "decision": "allow", "policies": ["ask"] },
            { "name": "stranger", "agent": "bob", "tool": "github.comment", "arguments": { "repository": "a/b", "number": 1, "body": "" }, "decision": "refuse", "policies": [] },
            { "name": "request", "agent": "bob", "tool": "github.comment", "arguments": { "repository": "a/b", "number": 1, "body": "" }, "host_call": { "capability": "http", "method": "GET", "url": "https://api.github.com/x" }, "decision": "allow", "policies": ["api"] },
            { "name": "wrong reason", "agent": "ada", "tool": "github.comment", "arguments": { "repository": "a/b", "number": 1, "body": "" }, "decision": "hold", "policies": ["api"] },
            { "name": "no such tool", "agent": "ada", "tool": "github.nothing", "decision": "refuse", "policies": [] }
            ]"#,
        ),
        ("cases/torn.json", "[{"),
    ]);
    let set = dir.load(None).set;
    let results = run_cases(dir.path(), &set);
    let passed: Vec<_> = results
        .iter()
        .filter(|r| r.passed)
        .map(|r| r.name.as_str())
        .collect();
    assert_eq!(
        passed,
        ["held", "joined", "stranger", "request"],
        "{results:#?}"
    );
    assert_eq!(results.len(), 7);
    assert_eq!(results[4].answered, "hold by ask");
}

#[test]
fn an_explanation_says_what_would_have_changed_the_answer() {
    let set = set(&[(
        "github.cedar",
        r#"@id("ask") permit(principal, action == Action::"call:github.comment", resource)
           when { context.args.number == 7 && context.args.repository like "c/*" && context.approved } unless { context.args has draft };
           @id("others") permit(principal in Group::"staff", action == Action::"call:github.comment", resource);
           @id("no") forbid(principal, action == Action::"call:github.comment", resource) when { context.args has draft };"#,
    )]);
    let explanation = set.explain_call(&comment("bob").question(), false);
    assert_eq!(explanation.decision, "refuse");
    let text = explanation.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "refuse (policy.default_deny): spiffe://tollgate.local/agent/bob call:github.comment on github.comment",
            "  permit `ask` (policies/github.cedar:1) does not apply",
            "    true: context.args.number == 7",
            "    false: context.args.repository like \"c/*\"",
            "    not reached: context.approved",
            "    not reached: !(context.args has draft)",
            "  permit `others` (policies/github.cedar:3) is for another principal",
            "  forbid `no` (policies/github.cedar:4) does not apply",
            "    false: context.args has draft",
            "hint: `ask` (policies/github.cedar:1) would allow it if `context.args.repository like \"c/*\"` held",
            "hint: `others` (policies/github.cedar:3) is for another principal",
        ]
    );
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["rules"][0]["conditions"][1]["holds"], false);
    let allowed = set.explain_call(&comment("ada").question(), false);
    assert_eq!(allowed.decision, "allow");
    assert!(allowed.hints.is_empty());
}

#[test]
fn lint_finds_what_can_never_match() {
    let cases = [
        (
            r#"resource == Origin::"https://API.github.com""#,
            "true",
            "`https://api.github.com`",
        ),
        (
            r#"resource == Origin::"https://api.github.com/""#,
            "true",
            "`https://api.github.com`",
        ),
        (
            r#"resource == Origin::"https://api.github.com:443""#,
            "true",
            "`https://api.github.com`",
        ),
        (
            r#"resource == Origin::"api.github.com""#,
            "true",
            "no origin",
        ),
        (
            r#"resource == Origin::"https://other.example""#,
            "true",
            "no requirement has",
        ),
        (r#"resource in Plugin::"gitlab""#, "true", "another plugin"),
        ("resource", r#"context.method == "get""#, "capitals"),
        (
            "resource",
            r#"["GET", "post"].contains(context.method)"#,
            "capitals",
        ),
        (
            "resource",
            r#"context.path like "repos/*""#,
            "starts with `/`",
        ),
        ("resource", r#"context.path == "/a?b""#, "before `?`"),
        ("resource", r#"context.path like "/a/../*""#, "segment"),
        (
            "resource",
            r#"context.host like "*.GitHub.com""#,
            "lower case",
        ),
        (
            "resource",
            r#"context.host == "api.github.com:443""#,
            "canonical",
        ),
        ("resource", r#"context.scheme == "HTTPS""#, "schemes"),
        ("resource", "context.port == 70000", "no port"),
        (
            "resource",
            r#"context.method == "GET" && !context.query && context.method == "POST""#,
            "can't be both",
        ),
        (
            "resource",
            r#"context.args has state && context.args.state == "opne""#,
            "input schema lists",
        ),
        ("resource", r#"context.requirement == "apo""#, "requirement"),
        ("resource", r#"context.secrets.contains("tokn")"#, "tokn"),
        ("resource", "context.method == 1", "types"),
        (
            "resource",
            "context.query && !context.query && false",
            "impossible",
        ),
    ];
    for (resource, condition, message) in cases {
        let text = format!(
            "\n@id(\"r\") permit(principal, action == Action::\"http:github.comment\", {resource}) when {{ {condition} }};"
        );
        let found = Dir::new(&[("github.cedar", &text)]).load(None).findings;
        assert!(!found.is_empty(), "{text}");
        let all = found
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        assert!(all.contains(message), "{text}: {all}");
        assert!(
            found
                .iter()
                .all(|f| f.line == 2 && f.file == "github.cedar"),
            "{all}"
        );
    }
    let people = r#"@id("r") permit(principal in Group::"nobody", action in Action::"call", resource);
        @id("r") permit(principal == Agent::"ada", action in Action::"call", resource == Tool::"github.nothing");"#;
    let found = Dir::new(&[("github.cedar", people)]).load(None).findings;
    let all = found
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    for expected in [
        "a second rule",
        "`Agent::\"spiffe://tollgate.local/agent/ada\"`",
        "no tool",
    ] {
        assert!(all.contains(expected), "{expected}: {all}");
    }
}

#[test]
fn a_hold_that_nobody_can_answer_is_found() {
    let found = |action: &str, condition: &str| {
        let text =
            format!("\n@id(\"r\") permit(principal, {action}, resource) when {{ {condition} }};");
        Dir::new(&[("github.cedar", &text)]).load(None).findings
    };
    for (action, what) in [
        (
            r#"action == Action::"use-secret:github.comment""#,
            "`use-secret`",
        ),
        (
            r#"action in [Action::"http", Action::"clock", Action::"connect"]"#,
            "`clock`, `connect`",
        ),
        ("action", "`clock`, `connect`, `use-secret`"),
    ] {
        for condition in [
            "context.approved",
            r#"context.approvers.contains(User::"eve")"#,
        ] {
            let found = found(action, condition);
            let [one] = found.as_slice() else {
                panic!("{action}: {found:#?}");
            };
            assert_eq!((one.severity, one.line), (Severity::Warning, 2), "{one}");
            let says = format!("no person can agree to {what}: ");
            assert!(one.message.starts_with(&says), "{one}");
        }
        assert_eq!(found(action, r#"context.tier == "write""#), []);
    }
    for action in [
        r#"action in Action::"call""#,
        r#"action in Action::"http""#,
        r#"action in Action::"approve""#,
    ] {
        assert_eq!(found(action, "context.approved"), [], "{action}");
    }
    // For every plugin as well, at the shared rule's own line.
    let shared = "\n\nforbid (principal, action in Action::\"clock\", resource) unless { context.approved };";
    let found = Dir::new(&[("shared.cedar", shared)]).load(None).findings;
    assert!(
        found.iter().any(|one| one.file == "shared.cedar"
            && one.line == 3
            && one.message.contains("no person can agree to `clock`")),
        "{found:#?}"
    );
}

#[test]
fn an_operator_is_told_what_a_hand_off_would_get() {
    let rules = r#"
@id("ada") permit(principal == Agent::"spiffe://tollgate.local/agent/ada", action in Action::"call", resource);
@id("bob") permit(principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource) when { context.approved };
@id("http") permit(principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"http", resource);
"#;
    let arguments = json!({ "repository": "a/b", "number": 7, "body": "hi" });
    let case = |name: &str, chain: &[&str], more: serde_json::Value| {
        let mut case = json!({ "name": name, "agent": "bob", "chain": chain, "tool": "github.comment", "arguments": arguments });
        for (key, value) in more.as_object().unwrap() {
            case[key] = value.clone();
        }
        case
    };
    let request =
        json!({ "capability": "http", "method": "GET", "url": "https://api.github.com/repos/x" });
    let cases = json!([
        case(
            "held for one of both",
            &["ada"],
            json!({ "decision": "hold", "policies": ["ada", "bob"] })
        ),
        case(
            "agreed",
            &["ada"],
            json!({ "approved": true, "decision": "allow", "policies": ["ada", "bob"] })
        ),
        case(
            "refused to one",
            &["ada", "eve"],
            json!({ "decision": "refuse", "policies": [] })
        ),
        case(
            "its own request",
            &[],
            json!({ "host_call": request, "decision": "allow", "policies": ["http"] })
        ),
        case(
            "a request for another",
            &["ada"],
            json!({ "host_call": request, "decision": "refuse", "policies": [] })
        ),
        case(
            "in a circle",
            &["bob"],
            json!({ "decision": "allow", "policies": [] })
        ),
    ]);
    let dir = Dir::new(&[
        ("github.cedar", rules),
        ("cases/c.json", &cases.to_string()),
    ]);
    let set = dir.load(None).set;
    let results = run_cases(dir.path(), &set);
    let failed: Vec<_> = results.iter().filter(|result| !result.passed).collect();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    assert!(failed[0].answered.contains("handoff.loop"), "{failed:#?}");

    let asked = comment("bob").handed_on_by(&["ada", "eve"]);
    let explanation = set.explain_call(&asked.question(), true);
    let text = explanation.to_string();
    let answers: Vec<_> = text
        .lines()
        .filter(|line| line.contains(" call:github.comment on "))
        .collect();
    assert_eq!(
        answers,
        [
            "refuse (policy.default_deny): spiffe://tollgate.local/agent/bob call:github.comment on github.comment",
            "  allow: spiffe://tollgate.local/agent/bob call:github.comment on github.comment",
            "  allow: spiffe://tollgate.local/agent/ada call:github.comment on github.comment",
            "  refuse (policy.default_deny): spiffe://tollgate.local/agent/eve call:github.comment on github.comment",
        ],
        "{text}"
    );
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["agents"][0]["ground"]["policies"][0]["id"], "bob");
    let alone = set.explain_call(&comment("bob").question(), false);
    assert_eq!((alone.decision, alone.agents.len()), ("hold", 0), "{alone}");
    let facts = asked.facts();
    let request = set.explain_host_call(&facts, &http(ORIGIN, "GET", "/repos/x"), false);
    assert_eq!((request.decision, request.agents.len()), ("refuse", 3));
}
