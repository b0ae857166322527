//! What rules see of a task.

use serde_json::json;

use super::*;

const RULES: &str = r#"
@id("task") permit (principal, action in Action::"call", resource)
when { context has task && context.task.calls <= 3 && context.task.intent like "triage*" };
@id("private") forbid (principal, action in Action::"http", resource)
when { context has task && context.task.labels.contains("private") };
@id("http") permit (principal, action in Action::"http", resource);
"#;

fn facts(labels: &[&str], calls: u64) -> TaskFacts {
    TaskFacts {
        id: "task_aaaaaaaaaaaaaaaa".into(),
        intent: "triage of 7".into(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        calls,
        host_calls: 0,
    }
}

#[test]
fn a_rule_sees_the_task_of_a_call_and_of_its_host_calls() {
    let set = set(&[("github.cedar", RULES)]);
    let mut asked = comment("ada");
    assert_eq!(asked.decide(&set), "policy.default_deny", "no task");
    asked.task = Some(facts(&[], 3));
    assert_eq!(asked.decide(&set), "allow task");
    asked.task = Some(facts(&[], 4));
    assert_eq!(asked.decide(&set), "policy.default_deny", "too many calls");
    let send =
        |asked: &Call| said(set.decide_host_call(&asked.facts(), http(ORIGIN, "GET", "/repos/a")));
    assert_eq!(send(&asked), "allow http");
    asked.task = Some(facts(&["other", "private"], 1));
    assert_eq!(send(&asked), "policy.forbidden private");
    asked.task = None;
    assert_eq!(send(&asked), "allow http");
}

#[test]
fn a_label_that_no_tool_gives_and_a_task_that_can_not_be_are_found() {
    let rules = RULES.replace("\"private\")", "\"privat\")")
        + "forbid (principal, action in Action::\"call\", resource) when { context has task && context.task.id == \"7\" };";
    let loaded = Dir::new(&[("github.cedar", &rules)]).load(None);
    let found: Vec<_> = loaded
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.message.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (
                Severity::Warning,
                "no tool puts the label `privat` on a task"
            ),
            (
                Severity::Error,
                "`context.task.id` is never `7`, so this never matches"
            ),
        ]
    );
    // A task is not always there, and the schema says so.
    let unchecked = r#"permit (principal, action in Action::"call", resource) when { context.task.calls < 3 };"#;
    let loaded = Dir::new(&[("github.cedar", unchecked)]).load(None);
    assert!(
        loaded
            .findings
            .iter()
            .any(|finding| finding.severity == Severity::Error),
        "{:#?}",
        loaded.findings
    );
}

#[test]
fn a_case_may_be_on_a_task() {
    let case = json!([{
        "name": "on a task", "agent": "ada", "tool": "github.comment",
        "arguments": { "repository": "a/b", "number": 7, "body": "hi" },
        "task": { "intent": "triage", "labels": ["private"], "calls": 1 },
        "decision": "allow", "policies": ["task"],
    }, {
        "name": "on none", "agent": "ada", "tool": "github.comment",
        "arguments": { "repository": "a/b", "number": 7, "body": "hi" },
        "decision": "refuse", "policies": [],
    }]);
    let dir = Dir::new(&[("github.cedar", RULES), ("cases/t.json", &case.to_string())]);
    let set = dir.load(None).set;
    let results = run_cases(dir.path(), &set);
    assert_eq!(results.len(), 2);
    assert!(results.iter().all(|result| result.passed), "{results:#?}");
}
