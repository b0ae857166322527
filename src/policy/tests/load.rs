//! Loading: what is in force, and what a broken file does.

use std::path::Path;

use serde_json::json;

use super::*;

#[test]
fn nothing_is_allowed_without_a_policy() {
    let loaded = PolicySet::load(Path::new("/nonexistent"), &[facts(&github())], None);
    assert_eq!(loaded.findings.len(), 1);
    assert_eq!(loaded.findings[0].severity, Severity::Warning);
    assert_eq!(comment("ada").decide(&loaded.set), "policy.default_deny");
    let empty = tempfile::tempdir().unwrap();
    let loaded = PolicySet::load(empty.path(), &[facts(&github())], None);
    assert_eq!(loaded.findings.len(), 1);
    assert_eq!(comment("ada").decide(&loaded.set), "policy.default_deny");
}

#[test]
fn what_has_no_type_is_left_out_and_listed() {
    let set = set(&[("github.cedar", ALL)]);
    let left: Vec<_> = set.unmapped().map(|u| u.path.as_str()).collect();
    assert_eq!(left, ["args.weight", "args.options.any"]);
    assert!(
        set.schema_text()
            .unwrap()
            .contains("\"call:github.comment\"")
    );
}

#[test]
fn a_plugins_file_answers_for_that_plugin_alone() {
    let dir = Dir::new(&[(
        "github.cedar",
        "@id(\"all\") permit(principal, action, resource);",
    )]);
    let (github, other) = (github(), description("gitlab"));
    let loaded = PolicySet::load(dir.path(), &[facts(&github), facts(&other)], None);
    assert_eq!(comment("ada").decide(&loaded.set), "allow all");
    let arguments = json!({ "repository": "a/b", "number": 7, "body": "hi" });
    assert_eq!(
        call("ada", "gitlab.comment", arguments).decide(&loaded.set),
        "policy.default_deny"
    );
}

#[test]
fn a_broken_file_takes_no_other_down() {
    let dir = Dir::new(&[
        (
            "github.cedar",
            "@id(\"all\") permit(principal, action, resource",
        ),
        (
            "gitlab.cedar",
            "@id(\"all\") permit(principal, action, resource);",
        ),
        ("absent.cedar", "permit(principal, action, resource);"),
    ]);
    let (github, other) = (github(), description("gitlab"));
    let loaded = PolicySet::load(dir.path(), &[facts(&github), facts(&other)], None);
    assert_eq!(comment("ada").decide(&loaded.set), "policy.error");
    let arguments = json!({ "repository": "a/b", "number": 7, "body": "hi" });
    assert_eq!(
        call("ada", "gitlab.comment", arguments).decide(&loaded.set),
        "allow all"
    );
    let files: Vec<_> = loaded
        .findings
        .iter()
        .map(|f| (f.severity, f.file.as_str()))
        .collect();
    assert_eq!(
        files,
        [
            (Severity::Warning, "absent.cedar"),
            (Severity::Error, "github.cedar")
        ]
    );
    assert!(loaded.set.broken(&"github".parse().unwrap()).is_some());
}

#[test]
fn a_rule_about_an_argument_that_is_not_there_fails_at_load() {
    let dir = Dir::new(&[(
        "github.cedar",
        "@id(\"r\")\npermit(principal, action == Action::\"call:github.comment\", resource)\nwhen {\n  context.args.bodi == \"x\"\n};",
    )]);
    let loaded = dir.load(None);
    assert_eq!(loaded.findings.len(), 1, "{:#?}", loaded.findings);
    let finding = &loaded.findings[0];
    assert_eq!(
        (finding.severity, finding.line, finding.column),
        (Severity::Error, 4, 3)
    );
    assert!(finding.message.contains("bodi"), "{finding}");
    assert_eq!(comment("ada").decide(&loaded.set), "policy.error");
}

#[test]
fn the_last_good_file_stays_on_a_bad_reload() {
    let dir = Dir::new(&[("github.cedar", ALL), ("shared.cedar", ALL)]);
    let good = dir.load(None).set;
    for (file, text) in [
        ("github.cedar", "@id(\"all\") permit(principal, act"),
        (
            "github.cedar",
            "permit(principal, action, resource) when { context.nothing };",
        ),
        (
            "shared.cedar",
            "permit(principal, action in Action::\"call\", resource) when { conte",
        ),
        ("entities.json", "[{"),
    ] {
        dir.write(file, text);
        let loaded = dir.load(Some(&good));
        assert!(
            loaded
                .findings
                .iter()
                .any(|f| f.severity == Severity::Error),
            "{text}"
        );
        assert_eq!(
            comment("ada").decide(&loaded.set),
            "allow all,all",
            "{file} {text}"
        );
        assert_eq!(loaded.set.digest(), good.digest());
    }
    dir.write("github.cedar", "");
    dir.write("shared.cedar", "");
    dir.write("entities.json", "[]");
    let loaded = dir.load(Some(&good));
    assert_eq!(comment("ada").decide(&loaded.set), "policy.default_deny");
}

#[test]
fn broken_entities_refuse_everything() {
    let dir = Dir::new(&[("github.cedar", ALL)]);
    dir.write(
        "entities.json",
        "[{ \"uid\": { \"type\": \"Tool\", \"id\": \"x\" }, \"attrs\": {}, \"parents\": [] }]",
    );
    let loaded = dir.load(None);
    assert_eq!(loaded.findings[0].file, "entities.json");
    assert_eq!(comment("ada").decide(&loaded.set), "policy.error");
}

#[test]
fn a_shared_rule_concerns_only_the_plugins_it_breaks_for() {
    let github = github();
    let mut other = description("gitlab");
    other.tools.retain(|tool| tool.name.tool() == "search");
    let text = r#"
        @id("a") permit(principal, action in Action::"call", resource);
        @id("b") forbid(principal, action in [Action::"call:jq.filter", Action::"call:github.comment"], resource);
        @id("c") forbid(principal, action == Action::"call:gitlab.search", resource) when { context.args.body == "x" };
    "#;
    let dir = Dir::new(&[("shared.cedar", text)]);
    let loaded = PolicySet::load(dir.path(), &[facts(&github), facts(&other)], None);
    assert_eq!(
        call("ada", "github.search", json!({})).decide(&loaded.set),
        "allow a"
    );
    assert_eq!(comment("ada").decide(&loaded.set), "policy.forbidden b");
    assert_eq!(
        call("ada", "gitlab.search", json!({})).decide(&loaded.set),
        "policy.error"
    );
    let errors: Vec<_> = loaded
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Error)
        .collect();
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert_eq!(errors[0].line, 4);
    assert!(errors[0].message.contains("`gitlab`") && !errors[0].message.contains("`github`"));
    let warned: Vec<_> = loaded
        .findings
        .iter()
        .filter(|f| f.severity == Severity::Warning)
        .collect();
    assert!(
        warned.iter().any(|f| f.message.contains("call:jq.filter")),
        "{warned:#?}"
    );
}

#[test]
fn the_digest_is_of_everything_in_force() {
    let dir = Dir::new(&[("github.cedar", ALL)]);
    let one = dir.load(None).set.digest();
    assert_eq!(dir.load(None).set.digest(), one);
    dir.write("github.cedar", &format!("{ALL}\n"));
    let two = dir.load(None).set.digest();
    assert_ne!(one, two);
    dir.write("entities.json", "[]");
    assert_ne!(dir.load(None).set.digest(), two);
}

#[test]
fn guards_wait_quietly_for_the_plugins_that_they_guard() {
    let dir = Dir::new(&[(
        "shared.cedar",
        r#"@id("https") forbid(principal, action in Action::"http", resource) when { context.scheme != "https" };
           @id("odd") forbid(principal, action in Action::"call", resource is Secret);"#,
    )]);
    let mut quiet = github();
    quiet.requirements.clear();
    quiet.tools.retain(|tool| tool.name.tool() == "search");
    let loaded = PolicySet::load(dir.path(), &[facts(&quiet)], None);
    let lines: Vec<_> = loaded
        .findings
        .iter()
        .map(|f| (f.severity, f.line))
        .collect();
    assert_eq!(lines, [(Severity::Warning, 2)], "{:#?}", loaded.findings);
    assert!(!loaded.findings[0].message.contains("for policy"));
}
