//! Decisions, as promises.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::digest::Digest;
use crate::identity::AgentId;
use crate::json::{Arguments, Limits};
use crate::name::ToolName;
use crate::plugin::Description;
use crate::reason::Reason;

pub(super) const ORIGIN: &str = "https://api.github.com";

/// A description like that of the shipped `github` plugin.
pub(super) fn github() -> Description {
    description("github")
}

pub(super) fn description(plugin: &str) -> Description {
    serde_json::from_value(json!({
        "plugin": plugin, "version": "1", "summary": "s",
        "tools": [
            { "name": format!("{plugin}.comment"), "title": null, "description": "d", "output_schema": null,
              "hints": { "read_only": false, "destructive": false, "idempotent": false, "open_world": true },
              "uses": ["api", "token", "clock"],
              "input_schema": { "type": "object", "required": ["repository", "number", "body"], "properties": {
                "repository": { "type": "string" }, "number": { "type": "integer" }, "body": { "type": "string" },
                "labels": { "type": "array", "items": { "type": "string" } },
                "note": { "type": ["string", "null"] },
                "draft": { "type": "boolean" },
                "weight": { "type": "number" },
                "__entity": { "type": "object", "properties": { "type": { "type": "string" }, "id": { "type": "string" } } },
                "options": { "$ref": "#/$defs/options" },
              }, "$defs": { "options": { "type": "object", "required": ["deep"], "properties": {
                "deep": { "type": "string", "enum": ["a", "b"] }, "any": true } } } } },
            { "name": format!("{plugin}.search"), "title": null, "description": "d", "output_schema": null,
              "hints": { "read_only": true, "destructive": false, "idempotent": true, "open_world": true },
              "uses": ["api"],
              "input_schema": { "type": "object", "properties": { "query": { "type": "string" } } } },
        ],
        "requirements": [
            { "capability": "http", "name": "api", "origin": { "literal": ORIGIN },
              "methods": ["GET", "POST"], "paths": ["/repos/", "/search/issues"], "why": "the API" },
            { "capability": "secret", "name": "token", "reveal": false, "origin": { "literal": ORIGIN }, "why": "to sign in" },
            { "capability": "clock", "why": "dates" },
        ],
    }))
    .unwrap()
}

pub(super) fn facts(description: &Description) -> PluginFacts<'_> {
    PluginFacts {
        description,
        digest: Digest::of(b"component"),
        origins: BTreeMap::from([
            ("api".to_owned(), ORIGIN.to_owned()),
            ("token".to_owned(), ORIGIN.to_owned()),
        ]),
        tiers: BTreeMap::new(),
    }
}

pub(super) const ENTITIES: &str = r#"[
  { "uid": { "type": "Agent", "id": "spiffe://tollgate.local/agent/ada" }, "attrs": {}, "parents": [{ "type": "Group", "id": "writers" }] },
  { "uid": { "type": "Group", "id": "writers" }, "attrs": {}, "parents": [{ "type": "Group", "id": "staff" }] },
  { "uid": { "type": "Group", "id": "staff" }, "attrs": {}, "parents": [] },
  { "uid": { "type": "User", "id": "eve" }, "attrs": {}, "parents": [{ "type": "Group", "id": "staff" }] }
]"#;

pub(super) struct Dir(tempfile::TempDir);

impl Dir {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        dir.write("entities.json", ENTITIES);
        for (name, text) in files {
            dir.write(name, text);
        }
        dir
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn load(&self, previous: Option<&PolicySet>) -> Loaded {
        PolicySet::load(self.path(), &[facts(&github())], previous)
    }
}

pub(super) fn set(files: &[(&str, &str)]) -> PolicySet {
    let loaded = Dir::new(files).load(None);
    assert!(loaded.findings.is_empty(), "{:#?}", loaded.findings);
    loaded.set
}

pub(super) struct Call {
    pub(super) agent: AgentId,
    pub(super) tool: ToolName,
    pub(super) arguments: Arguments,
    pub(super) approved: bool,
    pub(super) user: Option<&'static str>,
}

pub(super) fn call(agent: &str, tool: &str, arguments: serde_json::Value) -> Call {
    Call {
        agent: agent.parse().unwrap(),
        tool: tool.parse().unwrap(),
        arguments: Arguments::parse(arguments.to_string().as_bytes(), &Limits::default()).unwrap(),
        approved: false,
        user: None,
    }
}

pub(super) fn comment(agent: &str) -> Call {
    call(
        agent,
        "github.comment",
        json!({ "repository": "a/b", "number": 7, "body": "hi" }),
    )
}

impl Call {
    pub(super) fn question(&self) -> CallQuestion<'_> {
        CallQuestion {
            agent: &self.agent,
            user: self.user,
            tool: &self.tool,
            plugin_digest: Digest::of(b"component"),
            tier: "write",
            arguments: &self.arguments,
            transport: "stdio",
            time: Duration::from_millis(1_795_353_728_120),
            attempt: 1,
            approved: self.approved,
        }
    }

    pub(super) fn facts(&self) -> CallFacts<'_> {
        CallFacts {
            agent: &self.agent,
            user: self.user,
            tool: &self.tool,
            tier: "write",
            arguments: &self.arguments,
            time: Duration::from_millis(1_795_353_728_120),
            approved: self.approved,
        }
    }

    fn decide(&self, set: &PolicySet) -> String {
        said(set.decide_call(&self.question()))
    }
}

/// `allow <ids>`, `hold <ids>` or `<reason> <ids>`.
pub(super) fn said<P>(verdict: Verdict<P>) -> String
where
    P: HasGround,
{
    let ids = |ground: &Ground| {
        let ids: Vec<_> = ground.policies.iter().map(|p| p.id.as_str()).collect();
        ids.join(",")
    };
    let text = match verdict {
        Verdict::Allow(proof) => format!("allow {}", ids(proof.of())),
        Verdict::Hold(ground) => format!("hold {}", ids(&ground)),
        Verdict::Refuse(refusal) => {
            format!(
                "{} {}",
                refusal.reason,
                ids(refusal.ground.as_ref().unwrap())
            )
        }
    };
    text.trim_end().to_owned()
}

pub(super) trait HasGround {
    fn of(&self) -> &Ground;
}

impl HasGround for Permit {
    fn of(&self) -> &Ground {
        self.ground()
    }
}

impl<T> HasGround for Checked<T> {
    fn of(&self) -> &Ground {
        self.ground()
    }
}

#[derive(Debug, Clone)]
pub(super) struct Asks(HostAction, &'static str, Vec<(&'static str, Fact)>);

impl HostQuestion for Asks {
    fn action(&self) -> HostAction {
        self.0
    }

    fn target(&self) -> Target<'_> {
        match self.0 {
            HostAction::Http | HostAction::Connect => Target::Origin(self.1),
            HostAction::UseSecret | HostAction::RevealSecret => Target::Secret(self.1),
            HostAction::Clock | HostAction::Random => Target::Plugin,
        }
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        self.2.clone()
    }
}

pub(super) fn http(origin: &'static str, method: &str, path: &str) -> Asks {
    let text = |text: &str| Fact::Text(text.to_owned());
    Asks(
        HostAction::Http,
        origin,
        vec![
            ("method", text(method)),
            ("path", text(path)),
            ("scheme", text("https")),
            ("host", text("api.github.com")),
            ("port", Fact::Whole(443)),
            ("requirement", text("api")),
            ("query", Fact::Truth(false)),
            ("body_bytes", Fact::Whole(12)),
            ("secrets", Fact::Texts(vec!["token".to_owned()])),
            ("http_calls", Fact::Whole(0)),
        ],
    )
}

fn connect(address: &str) -> Asks {
    Asks(
        HostAction::Connect,
        ORIGIN,
        vec![
            ("address", Fact::Address(address.parse().unwrap())),
            ("port", Fact::Whole(443)),
            ("host", Fact::Text("api.github.com".to_owned())),
        ],
    )
}

const ALL: &str = r#"@id("all") permit(principal, action in Action::"call", resource);"#;

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
    let mut asked = comment("ada");
    assert_eq!(asked.decide(&set), "hold ask");
    asked.approved = true;
    assert_eq!(asked.decide(&set), "allow ask");
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
    let mut asked = comment("ada");
    assert_eq!(asked.decide(&set), "policy.forbidden no");
    asked.approved = true;
    assert_eq!(asked.decide(&set), "policy.forbidden no");
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
    let explanation = set.explain_call(&comment("bob").question());
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
    let allowed = set.explain_call(&comment("ada").question());
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

mod model {
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
}
