//! What the tests of policy share; the promises stand in the files below.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::*;
use crate::approval::{Approved, Binding, Subject};
use crate::digest::Digest;
use crate::identity::{AgentId, PersonId};
use crate::json::{Arguments, Limits};
use crate::name::ToolName;
use crate::plugin::Description;
use crate::reason::Reason;

mod approve;
mod author;
mod chain;
mod decide;
mod load;
mod may;
mod model;
mod task;

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
                "draft": { "type": "boolean" }, "state": { "type": "string", "enum": ["open", "closed"] },
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
        labels: BTreeSet::from(["private".to_owned()]),
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
    pub(super) approval: Option<Approved>,
    pub(super) chain: Vec<AgentId>,
    pub(super) user: Option<&'static str>,
    pub(super) task: Option<TaskFacts>,
    pub(super) round: Option<RoundFacts>,
}

static NOBODY: BTreeSet<PersonId> = BTreeSet::new();

pub(super) fn call(agent: &str, tool: &str, arguments: serde_json::Value) -> Call {
    Call {
        agent: agent.parse().unwrap(),
        tool: tool.parse().unwrap(),
        arguments: Arguments::parse(arguments.to_string().as_bytes(), &Limits::default()).unwrap(),
        approval: None,
        chain: Vec::new(),
        user: None,
        task: None,
        round: None,
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
    /// As if these people had agreed to exactly this call.
    pub(super) fn agreed(mut self, people: &[&str]) -> Self {
        self.approval = Some(self.approved(Subject::Call {}, people));
        self
    }

    /// As if these people had agreed to this call, or to this host call of it.
    pub(super) fn approved(&self, subject: Subject, people: &[&str]) -> Approved {
        let binding = Binding {
            agent: self.agent.clone(),
            user: self.user.map(str::to_owned),
            task: None,
            chain: self.chain.clone(),
            tool: self.tool.clone(),
            plugin: Digest::of(b"component"),
            arguments: self.arguments.digest(),
            round: self.round.as_ref().map(|round| round.bound),
            deciding: Digest::of(b""),
        };
        Approved::supposed(binding, subject, people)
    }

    pub(super) fn question(&self) -> CallQuestion<'_> {
        CallQuestion {
            call: CallFacts {
                approval: self.approval.as_ref(),
                ..self.facts()
            },
            plugin_digest: Digest::of(b"component"),
            transport: "stdio",
            attempt: 1,
        }
    }

    pub(super) fn facts(&self) -> CallFacts<'_> {
        CallFacts {
            agent: &self.agent,
            chain: &self.chain,
            user: self.user,
            tool: &self.tool,
            tier: "write",
            arguments: &self.arguments,
            round: self.round.as_ref(),
            task: self.task.as_ref(),
            time: Duration::from_millis(1_795_353_728_120),
            approval: None,
        }
    }

    /// Whether `person` may answer it, once; nobody did before.
    pub(super) fn answered_by<'a>(&'a self, person: &'a PersonId) -> ApproveQuestion<'a> {
        ApproveQuestion {
            person,
            call: self.facts(),
            approvers: &NOBODY,
            host_call: false,
            standing: false,
        }
    }

    /// The same call at the end of a chain.
    pub(super) fn handed_on_by(mut self, agents: &[&str]) -> Self {
        self.chain = agents.iter().map(|name| name.parse().unwrap()).collect();
        self
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
            HostAction::Clock | HostAction::Random | HostAction::Ask => Target::Plugin,
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
