//! People: who may answer, whose agreement counts, and what an approval is bound to.

use super::*;

fn may(set: &PolicySet, person: &str, asked: &Call, standing: bool) -> String {
    let person: PersonId = person.parse().unwrap();
    let answered = set.decide_approve(&ApproveQuestion {
        standing,
        ..asked.answered_by(&person)
    });
    match answered {
        Ok(ground) => format!("allow {}", ground.policies[0].id),
        Err(refusal) => refusal.reason.to_string(),
    }
}

const ASK: &str = r#"@id("ask") permit(principal, action == Action::"call:github.comment", resource) when { context.approved };"#;

#[test]
fn who_may_answer_is_said_by_rules_on_approve_alone() {
    let nobody = set(&[
        (
            "github.cedar",
            r#"@id("open") permit(principal, action, resource);"#,
        ),
        (
            "shared.cedar",
            r#"@id("too") permit(principal in Group::"staff", action, resource);"#,
        ),
    ]);
    let asked = comment("ada");
    assert_eq!(may(&nobody, "eve", &asked, false), "policy.default_deny");
    let staff = set(&[(
        "shared.cedar",
        r#"@id("staff") permit(principal in Group::"staff", action in Action::"approve", resource);
           @id("four-eyes") forbid(principal, action in Action::"approve", resource)
           when { context has user && context.user == principal };
           @id("once") forbid(principal, action in Action::"approve", resource) when { context.standing };"#,
    )]);
    assert_eq!(may(&staff, "eve", &asked, false), "allow staff");
    assert_eq!(may(&staff, "eve", &asked, true), "policy.forbidden");
    assert_eq!(may(&staff, "mallory", &asked, false), "policy.default_deny");
    let mut own = comment("ada");
    own.user = Some("eve");
    assert_eq!(may(&staff, "eve", &own, false), "policy.forbidden");
    let narrow = set(&[(
        "github.cedar",
        r#"@id("narrow") permit(principal == User::"eve", action == Action::"approve:github.comment", resource)
           when { context.args.repository == "a/b" && context.agent in Group::"writers" && !context.host_call };"#,
    )]);
    assert_eq!(may(&narrow, "eve", &asked, false), "allow narrow");
    assert_eq!(
        may(&narrow, "eve", &comment("bob"), false),
        "policy.default_deny"
    );
    let other = call(
        "ada",
        "github.comment",
        json!({ "repository": "c/d", "number": 7, "body": "hi" }),
    );
    assert_eq!(may(&narrow, "eve", &other, false), "policy.default_deny");
}

#[test]
fn a_person_may_be_let_agree_only_within_a_task() {
    let set = set(&[(
        "shared.cedar",
        r#"@id("triage") permit(principal == User::"eve", action in Action::"approve", resource)
           when { context has task && context.task.intent like "triage*" };
           @id("private") forbid(principal, action in Action::"approve", resource)
           when { context has task && context.task.labels.contains("private") };"#,
    )]);
    let on = |intent: &str, labels: &[&str]| Call {
        task: Some(TaskFacts {
            intent: intent.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            ..TaskFacts::default()
        }),
        ..comment("ada")
    };
    assert_eq!(
        may(&set, "eve", &comment("ada"), false),
        "policy.default_deny"
    );
    assert_eq!(
        may(&set, "eve", &on("triage of 7", &[]), false),
        "allow triage"
    );
    assert_eq!(
        may(&set, "eve", &on("other", &[]), false),
        "policy.default_deny"
    );
    assert_eq!(
        may(&set, "eve", &on("triage of 7", &["private"]), false),
        "policy.forbidden"
    );
}

#[test]
fn a_rule_on_approve_lets_no_agent_call() {
    let set = set(&[(
        "github.cedar",
        r#"@id("p") permit(principal, action in Action::"approve", resource);"#,
    )]);
    assert_eq!(
        comment("ada").agreed(&["eve"]).decide(&set),
        "policy.default_deny"
    );
}

#[test]
fn two_by_name_must_agree() {
    let set = set(&[(
        "github.cedar",
        r#"@id("two") permit(principal, action == Action::"call:github.comment", resource)
           when { context.approvers.containsAll([User::"eve", User::"kim"]) };"#,
    )]);
    let asked = comment("ada");
    let Verdict::Hold(ground) = set.decide_call(&asked.question()) else {
        panic!("held");
    };
    let hold = set.hold_of_call(&asked.question(), &ground, &[]).unwrap();
    let names: Vec<Vec<&str>> = hold
        .enough
        .iter()
        .map(|set| set.iter().map(PersonId::as_str).collect())
        .collect();
    assert_eq!(names, [["eve", "kim"]]);
    assert_eq!(comment("ada").agreed(&["eve"]).decide(&set), "hold two");
    assert_eq!(
        comment("ada").agreed(&["eve", "kim"]).decide(&set),
        "allow two"
    );
    let mut own = comment("ada");
    own.user = Some("kim");
    // Whether the agent's own user may answer is for the rules on `approve`.
    assert_eq!(own.decide(&set), "hold two");
}

#[test]
fn a_rule_that_keeps_one_person_out_still_holds() {
    let set = set(&[
        ("github.cedar", ASK),
        (
            "shared.cedar",
            r#"@id("not-eve") forbid(principal, action in Action::"call", resource) when { context.approvers.contains(User::"eve") };"#,
        ),
    ]);
    assert_eq!(comment("ada").decide(&set), "hold ask");
    assert_eq!(
        comment("ada").agreed(&["eve"]).decide(&set),
        "policy.forbidden not-eve"
    );
    assert_eq!(comment("ada").agreed(&["kim"]).decide(&set), "allow ask");
}

#[test]
fn an_approval_of_another_call_proves_nothing() {
    let set = set(&[("github.cedar", ASK)]);
    let mut asked = comment("ada").agreed(&["eve"]);
    asked.arguments = Arguments::parse(
        br#"{"repository":"a/b","number":8,"body":"hi"}"#,
        &Limits::default(),
    )
    .unwrap();
    let Verdict::Refuse(refusal) = set.decide_call(&asked.question()) else {
        panic!("refused");
    };
    assert_eq!(refusal.reason, Reason::ApprovalBinding);
    let mut asked = comment("ada").agreed(&["eve"]);
    asked.agent = "bob".parse().unwrap();
    assert!(matches!(
        set.decide_call(&asked.question()),
        Verdict::Refuse(refusal) if refusal.reason == Reason::ApprovalBinding
    ));
}

#[test]
fn an_approval_is_bound_to_what_decided_and_to_nothing_else() {
    let deciding = |own: &str, shared: &str, also: &[&str]| {
        let set = set(&[("github.cedar", own), ("shared.cedar", shared)]);
        let asked = comment("ada");
        let Verdict::Hold(ground) = set.decide_call(&asked.question()) else {
            panic!("held: {own} {shared}");
        };
        set.hold_of_call(&asked.question(), &ground, also)
            .unwrap()
            .deciding
    };
    let unrelated =
        r#"@id("x") permit(principal, action == Action::"call:github.search", resource);"#;
    let before = deciding(ASK, "", &["hold"]);
    let moved = format!("// A comment.\n\n{unrelated}\n{ASK}");
    assert_eq!(before, deciding(&moved, unrelated, &["hold"]));
    let changed = ASK.replace(
        "context.approved",
        "context.approved && context.attempt < 9",
    );
    assert_ne!(before, deciding(&changed, "", &["hold"]));
    assert_ne!(before, deciding(ASK, "", &["other tier"]));
    let guard = r#"@id("g") forbid(principal, action in Action::"call", resource) unless { context.approved };"#;
    assert_ne!(
        before,
        deciding(ASK, guard, &["hold"]),
        "a guard that now also keeps it"
    );
}
