//! Decisions, as promises.

use serde_json::json;

use super::*;

#[test]
fn a_permit_says_what_it_permits() {
    let set = set(&[("github.cedar", ALL)]);
    let asked = comment("ada");
    let Verdict::Allow(permit) = set.decide_call(&asked.question()) else {
        panic!("refused");
    };
    assert_eq!(permit.agent(), &asked.agent);
    assert_eq!(permit.tool(), &asked.tool);
    assert_eq!(permit.arguments_digest(), asked.arguments.digest());
    assert_eq!(permit.ground().set, set.digest());
    assert_eq!(permit.ground().policies[0].file, "github.cedar");
    assert_eq!(permit.ground().policies[0].line, 1);
}

#[test]
fn decisions_by_every_pattern_form_of_the_docs() {
    let cases = [
        // Who.
        (
            r#"principal == Agent::"spiffe://tollgate.local/agent/ada""#,
            "",
            "true",
            true,
        ),
        (r#"principal in Group::"writers""#, "", "true", true),
        (r#"principal in Group::"staff""#, "", "true", true),
        ("principal is Agent", "", "true", true),
        (r#"principal is Agent in Group::"staff""#, "", "true", true),
        // What.
        (
            "principal",
            r#"resource == Tool::"github.comment""#,
            "true",
            true,
        ),
        ("principal", r#"resource in Plugin::"github""#, "true", true),
        (
            "principal",
            r#"resource == Tool::"github.search""#,
            "true",
            false,
        ),
        // Arguments.
        ("principal", "", r#"context.args.repository == "a/b""#, true),
        (
            "principal",
            "",
            r#"context.args.repository like "a/*""#,
            true,
        ),
        (
            "principal",
            "",
            r#"context.args.repository like "*\**""#,
            false,
        ),
        (
            "principal",
            "",
            r#"["a/b", "c/d"].contains(context.args.repository)"#,
            true,
        ),
        ("principal", "", "context.args.number <= 7", true),
        ("principal", "", "context.args has labels", false),
        (
            "principal",
            "",
            r#"context.args has options && context.args.options.deep == "a""#,
            false,
        ),
        ("principal", "", "context.args has note", false),
        ("principal", "", "context.args has __entity", false),
        // The host's word.
        (
            "principal",
            "",
            r#"context.tier == "write" && context.transport == "stdio""#,
            true,
        ),
        ("principal", "", "context.attempt == 1", true),
        (
            "principal",
            "",
            r#"context.time > datetime("2026-01-01") && context.time < datetime("2027-01-01")"#,
            true,
        ),
        (
            "principal",
            "",
            r#"context.time.toTime() < duration("1h")"#,
            false,
        ),
        (
            "principal",
            "",
            r#"context has user && context.user in Group::"staff""#,
            false,
        ),
    ];
    for (principal, resource, condition, allowed) in cases {
        let resource = if resource.is_empty() {
            "resource"
        } else {
            resource
        };
        let text = format!(
            r#"@id("r") permit({principal}, action == Action::"call:github.comment", {resource}) when {{ {condition} }};"#
        );
        let dir = Dir::new(&[("shared.cedar", &text)]);
        let set = dir.load(None).set;
        let expected = if allowed {
            "allow r"
        } else {
            "policy.default_deny"
        };
        assert_eq!(comment("ada").decide(&set), expected, "{text}");
    }
}

#[test]
fn optional_arguments_and_users_are_seen_when_they_are_there() {
    let set = set(&[(
        "github.cedar",
        r#"@id("r") permit(principal, action == Action::"call:github.comment", resource) when {
            context.args has options && context.args.options.deep == "b" && context.args.labels.contains("x")
            && context.args.note == "n" && context has user && context.user in Group::"staff"
        };"#
        .replace("context.args.labels", "context.args has labels && context.args.labels")
        .replace("context.args.note", "context.args has note && context.args.note")
        .as_str(),
    )]);
    let mut asked = call(
        "ada",
        "github.comment",
        json!({ "repository": "a/b", "number": 7, "body": "hi", "options": { "deep": "b", "any": [1.5, null] },
                "labels": ["y", "x"], "note": "n", "weight": 1.5 }),
    );
    assert_eq!(asked.decide(&set), "policy.default_deny");
    asked.user = Some("eve");
    assert_eq!(asked.decide(&set), "allow r");
    asked.user = Some("mallory");
    assert_eq!(asked.decide(&set), "policy.default_deny");
}

#[test]
fn what_needs_a_person_is_held() {
    let set = set(&[(
        "github.cedar",
        r#"@id("ask") permit(principal, action == Action::"call:github.comment", resource) when { context.approved };
           @id("free") permit(principal, action == Action::"call:github.search", resource);"#,
    )]);
    assert_eq!(comment("ada").decide(&set), "hold ask");
    assert_eq!(comment("ada").agreed(&["eve"]).decide(&set), "allow ask");
    assert_eq!(
        call("ada", "github.search", json!({})).decide(&set),
        "allow free"
    );
}

#[test]
fn a_guard_that_a_person_may_lift_holds() {
    let set = set(&[
        ("github.cedar", ALL),
        (
            "shared.cedar",
            r#"@id("guard") forbid(principal, action in Action::"call", resource) unless { context.approved };"#,
        ),
    ]);
    assert_eq!(comment("ada").decide(&set), "hold all");
}

#[test]
fn a_forbid_beats_every_permit_and_approval() {
    let set = set(&[
        ("github.cedar", ALL),
        (
            "shared.cedar",
            r#"@id("no") forbid(principal, action in Action::"call", resource in Plugin::"github");"#,
        ),
    ]);
    assert_eq!(comment("ada").decide(&set), "policy.forbidden no");
    assert_eq!(
        comment("ada").agreed(&["eve"]).decide(&set),
        "policy.forbidden no"
    );
}

#[test]
fn an_error_in_a_forbid_refuses() {
    let set = set(&[
        ("github.cedar", ALL),
        (
            "shared.cedar",
            r#"@id("guard") forbid(principal, action == Action::"call:github.comment", resource)
               when { context.args.number + 9223372036854775807 < 0 };"#,
        ),
    ]);
    assert_eq!(comment("ada").decide(&set), "policy.error guard");
    let zero = call(
        "ada",
        "github.comment",
        json!({ "repository": "a/b", "number": 0, "body": "" }),
    );
    assert_eq!(zero.decide(&set), "allow all");
}

#[test]
fn an_error_that_only_approval_uncovers_refuses() {
    let set = set(&[(
        "github.cedar",
        r#"@id("ask") permit(principal, action == Action::"call:github.comment", resource) when { context.approved };
           @id("guard") forbid(principal, action == Action::"call:github.comment", resource)
           when { context.approved && context.args.number + 9223372036854775807 < 0 };"#,
    )]);
    assert_eq!(comment("ada").decide(&set), "policy.error guard");
}

#[test]
fn arguments_are_never_entities() {
    let set = set(&[(
        "github.cedar",
        r#"@id("r") permit(principal, action == Action::"call:github.comment", resource)
           when { context.args has __entity && context.args["__entity"] has id && context.args["__entity"].id == "x" };"#,
    )]);
    let asked = call(
        "ada",
        "github.comment",
        json!({ "repository": "a/b", "number": 1, "body": "{\"__entity\":1}",
                "__entity": { "type": "Group", "id": "x" }, "__extn": { "fn": "ip", "arg": "::1" } }),
    );
    assert_eq!(asked.decide(&set), "allow r");
}

#[test]
fn arguments_that_do_not_fit_the_schema_refuse() {
    let set = set(&[("github.cedar", ALL)]);
    for arguments in [
        json!({ "repository": "a/b", "body": "hi" }),
        json!({ "repository": "a/b", "number": "7", "body": "hi" }),
        json!({ "repository": { "__entity": { "type": "Group", "id": "staff" } }, "number": 7, "body": "hi" }),
        json!({ "repository": "a/b", "number": 7, "body": "hi", "labels": [1] }),
        json!({ "repository": "a/b", "number": 1.5, "body": "hi" }),
    ] {
        let asked = call("ada", "github.comment", arguments.clone());
        assert_eq!(asked.decide(&set), "policy.error", "{arguments}");
    }
    assert_eq!(
        call("ada", "github.delete", json!({})).decide(&set),
        "policy.error"
    );
    assert_eq!(
        call("ada", "jq.filter", json!({})).decide(&set),
        "policy.error"
    );
}

#[test]
fn host_calls_are_decided_on_their_own() {
    let set = set(&[(
        "github.cedar",
        r#"@id("call") permit(principal, action in Action::"call", resource);
           @id("api") permit(principal, action == Action::"http:github.comment", resource == Origin::"https://api.github.com")
           when { context.method == "POST" && context.path like "/repos/*" && context.secrets.contains("token")
                  && context.host == "api.github.com" && context.port == 443 && context.http_calls < 5 && !context.query
                  && context.body_bytes < 100 && context.requirement == "api" && context.scheme == "https" };
           @id("token") permit(principal, action == Action::"use-secret:github.comment", resource == Secret::"token")
           when { context.origin == "https://api.github.com" && context.scheme == "bearer" };
           @id("clock") permit(principal, action == Action::"clock:github.comment", resource in Plugin::"github");
           @id("net") permit(principal, action == Action::"connect:github.comment", resource in Plugin::"github")
           when { context.address.isInRange(ip("10.0.0.0/8")) };"#,
    )]);
    let asked = comment("ada");
    let decide = |question: Asks| said(set.decide_host_call(&asked.facts(), question));
    assert_eq!(decide(http(ORIGIN, "POST", "/repos/a/b")), "allow api");
    assert_eq!(
        decide(http(ORIGIN, "GET", "/repos/a/b")),
        "policy.default_deny"
    );
    assert_eq!(decide(http(ORIGIN, "POST", "/user")), "policy.default_deny");
    assert_eq!(
        decide(http("https://evil.example", "POST", "/repos/a/b")),
        "policy.default_deny"
    );
    let secret = |scheme: &str| {
        Asks(
            HostAction::UseSecret,
            "token",
            vec![
                ("origin", Fact::Text(ORIGIN.to_owned())),
                ("scheme", Fact::Text(scheme.to_owned())),
            ],
        )
    };
    assert_eq!(decide(secret("bearer")), "allow token");
    assert_eq!(decide(secret("query")), "policy.default_deny");
    assert_eq!(decide(Asks(HostAction::Clock, "", vec![])), "allow clock");
    assert_eq!(decide(connect("10.1.2.3")), "allow net");
    assert_eq!(decide(connect("::ffff:10.1.2.3")), "allow net");
    assert_eq!(decide(connect("169.254.169.254")), "policy.default_deny");
    // Not declared by the plugin, or not the facts of the question.
    assert_eq!(decide(Asks(HostAction::Random, "", vec![])), "policy.error");
    assert_eq!(
        decide(Asks(HostAction::Clock, "", vec![("host", Fact::Whole(1))])),
        "policy.error"
    );
    let mut short = http(ORIGIN, "POST", "/repos/a/b");
    short.2.pop();
    assert_eq!(decide(short), "policy.error");
}

#[test]
fn refusals_tell_the_operator_and_not_the_agent() {
    let set = set(&[(
        "github.cedar",
        r#"@id("no") forbid(principal, action, resource);"#,
    )]);
    let Verdict::Refuse(refusal) = set.decide_call(&comment("ada").question()) else {
        panic!("allowed");
    };
    assert_eq!(refusal.reason, Reason::PolicyForbidden);
    assert!(!refusal.message.contains("no`"));
    assert!(
        refusal
            .detail
            .unwrap()
            .contains("`no` (policies/github.cedar:1)")
    );
}

#[test]
fn agents_are_shown_what_they_could_be_allowed() {
    let set = set(&[(
        "github.cedar",
        r#"permit(principal in Group::"staff", action == Action::"call:github.comment", resource) when { context.approved };
           permit(principal, action in Action::"call", resource == Tool::"github.search");
           forbid(principal == Agent::"spiffe://tollgate.local/agent/ada", action == Action::"call:github.search", resource);
           permit(principal, action == Action::"http:github.comment", resource == Origin::"https://api.github.com");"#,
    )]);
    let (ada, comment, search) = (
        "ada".parse().unwrap(),
        "github.comment".parse().unwrap(),
        "github.search".parse().unwrap(),
    );
    let bob = "bob".parse().unwrap();
    assert!(set.may_call(&ada, None, &comment));
    assert!(!set.may_call(&bob, None, &comment));
    assert!(!set.may_call(&ada, None, &search));
    assert!(set.may_call(&bob, None, &search));
    assert!(set.may_use(&ada, None, &comment, "api"));
    assert!(!set.may_use(&ada, None, &comment, "token"));
    assert!(!set.may_use(&ada, None, &search, "api"));
    assert!(!set.may_use(&ada, None, &search, "clock"));
}

#[test]
fn a_whole_record_can_be_compared() {
    for condition in [
        "context == context && context.args == context.args".to_owned(),
        "context has args.body && context has time && !(context.args has draft)".to_owned(),
        r#"[context.args.body].contains("hi")"#.to_owned(),
        r#"(if context.attempt == 1 then context.args else context.args).body == "hi""#.to_owned(),
    ] {
        let text = format!(
            r#"@id("r") permit(principal, action == Action::"call:github.comment", resource) when {{ {condition} }};"#
        );
        let loaded = Dir::new(&[("shared.cedar", &text)]).load(None);
        assert_eq!(
            comment("ada").decide(&loaded.set),
            "allow r",
            "{text} {:?}",
            loaded.findings
        );
    }
}

#[test]
fn answers_are_judged_and_an_approval_is_for_one_round() {
    let set = set(&[(
        "github.cedar",
        r#"@id("yes") permit(principal, action == Action::"call:github.comment", resource)
           when { context.round == 1 || context.answers.contains("/q/content/ok=true") || context.approved };"#,
    )]);
    let round = |ok: bool| {
        let round = crate::call::Round {
            number: 2,
            answers: vec![("q".to_owned(), json!({ "content": { "ok": ok } }))],
            ..crate::call::Round::default()
        };
        Some(round.facts())
    };
    let mut asked = comment("ada");
    assert_eq!(asked.decide(&set), "allow yes");
    asked.round = round(true);
    assert_eq!(asked.decide(&set), "allow yes");
    asked.round = round(false);
    assert!(
        asked.decide(&set).starts_with("hold"),
        "{}",
        asked.decide(&set)
    );
    let mut agreed = asked.agreed(&["eve"]);
    assert_eq!(agreed.decide(&set), "allow yes");
    // Agreed to with these answers, and then asked with others, or without any.
    for other in [round(true), None] {
        agreed.round = other;
        let verdict = set.decide_call(&agreed.question());
        assert!(
            matches!(&verdict, Verdict::Refuse(refusal) if refusal.reason == Reason::ApprovalBinding),
            "{verdict:?}"
        );
    }
}

#[test]
fn every_context_conforms_to_the_generated_schema() {
    use super::super::approve::Agreement;
    use super::super::context::{self, Mentioned};
    use super::super::decide::request;
    let set = set(&[("github.cedar", ALL)]);
    let schema = schema::read(&set.schema).unwrap();
    let mut everything = Mentioned::default();
    everything.add_everything();
    let mut asked = call(
        "ada",
        "github.comment",
        json!({ "repository": "a/b", "number": 7, "body": "hi", "labels": [], "note": null, "weight": 0.5,
                "options": { "deep": "a", "any": {} }, "__entity": {} }),
    );
    asked.user = Some("eve");
    asked.task = Some(TaskFacts {
        labels: BTreeSet::from(["private".to_owned()]),
        ..TaskFacts::default()
    });
    let round = crate::call::Round {
        number: 2,
        answers: vec![("q".to_owned(), json!({ "content": { "ok": true } }))],
        ..crate::call::Round::default()
    };
    asked.round = Some(round.facts());
    let secret = vec![
        ("origin", Fact::Text(ORIGIN.to_owned())),
        ("scheme", Fact::Text("bearer".to_owned())),
    ];
    let (_, tool) = set.tool(&asked.tool).unwrap();
    let check = |subject: &slice::Subject, pairs| {
        let plain = request(subject, Agreement::by(["eve"]).put(pairs, &everything)).unwrap();
        cedar_policy::Request::new(
            plain.principal().unwrap().clone(),
            plain.action().unwrap().clone(),
            plain.resource().unwrap().clone(),
            plain.context().unwrap().clone(),
            Some(&schema),
        )
        .unwrap();
    };
    let (prepared, _) = set.prepare_call(&asked.question(), None).unwrap();
    let pairs = context::call(&tool.arguments, &everything, &asked.question()).unwrap();
    check(&prepared.subject, pairs);
    let person = "eve".parse().unwrap();
    let question = asked.answered_by(&person);
    let (prepared, _) = set.prepare_approve(&question, None).unwrap();
    let pairs = context::approve(&tool.arguments, &everything, &question).unwrap();
    check(&prepared.subject, pairs);
    for host_call in [
        http(ORIGIN, "GET", "/"),
        connect("::1"),
        Asks(HostAction::UseSecret, "token", secret),
        Asks(HostAction::Clock, "", vec![]),
    ] {
        let facts = asked.facts();
        let (prepared, _) = set.prepare_host_call(&facts, &host_call, None).unwrap();
        let said = host_call.facts();
        let pairs =
            context::host_call(&tool.arguments, &everything, &facts, host_call.0, said).unwrap();
        check(&prepared.subject, pairs);
    }
}
