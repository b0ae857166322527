//! What a decision costs, with 10, 100 and 1,000 policies loaded; beside Cedar's own authorizer over
//! the whole set, given the same request and entities ready made.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that can't set up has nothing to measure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Duration;

use cedar_policy::{Authorizer, Context, Entities, Entity, EntityUid, Request};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use serde_json::json;
use tollgate::digest::Digest;
use tollgate::identity::AgentId;
use tollgate::json::{Arguments, Limits};
use tollgate::name::ToolName;
use tollgate::plugin::Description;
use tollgate::policy::{
    CallFacts, CallQuestion, Fact, HostAction, HostQuestion, PluginFacts, PolicySet, Target,
    Verdict,
};

const ORIGIN: &str = "https://api.github.com";

fn description() -> Description {
    serde_json::from_value(json!({
        "plugin": "github", "version": "1", "summary": "s",
        "tools": [{
            "name": "github.comment", "title": null, "description": "d", "output_schema": null,
            "hints": { "read_only": false, "destructive": false, "idempotent": false, "open_world": true },
            "uses": ["api"],
            "input_schema": { "type": "object", "required": ["repository", "number", "body"], "properties": {
                "repository": { "type": "string" }, "number": { "type": "integer" }, "body": { "type": "string" } } },
        }],
        "requirements": [{ "capability": "http", "name": "api", "origin": { "literal": ORIGIN },
            "methods": ["POST"], "paths": ["/repos/"], "why": "w" }],
    }))
    .unwrap()
}

/// Two rules that apply, and others for other agents and repositories.
fn policies(count: usize) -> String {
    let mut text = String::from(
        r#"@id("call") permit(principal, action == Action::"call:github.comment", resource)
           when { context.args.repository like "rust-lang/*" && context.tier == "write" };
           @id("http") permit(principal, action == Action::"http:github.comment", resource == Origin::"https://api.github.com")
           when { context.method == "POST" && context.path like "/repos/*/comments" };
        "#,
    );
    for i in 2..count {
        let _ = writeln!(
            text,
            r#"@id("other{i}") permit(principal == Agent::"spiffe://tollgate.local/agent/a{i}", action == Action::"call:github.comment", resource)
               when {{ context.args.repository == "a/b{i}" }};"#
        );
    }
    text
}

struct Send;

impl HostQuestion for Send {
    fn action(&self) -> HostAction {
        HostAction::Http
    }

    fn target(&self) -> Target<'_> {
        Target::Origin(ORIGIN)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        let text = |text: &str| Fact::Text(text.to_owned());
        vec![
            ("method", text("POST")),
            ("path", text("/repos/rust-lang/rust/issues/1/comments")),
            ("scheme", text("https")),
            ("host", text("api.github.com")),
            ("port", Fact::Whole(443)),
            ("requirement", text("api")),
            ("query", Fact::Truth(false)),
            ("body_bytes", Fact::Whole(64)),
            ("secrets", Fact::Texts(vec![])),
            ("http_calls", Fact::Whole(0)),
        ]
    }
}

fn decision(c: &mut Criterion) {
    let description = description();
    let agent: AgentId = "ada".parse().unwrap();
    let tool: ToolName = "github.comment".parse().unwrap();
    let text = br#"{"repository":"rust-lang/rust","number":1,"body":"Thank you."}"#;
    let arguments = Arguments::parse(text, &Limits::default()).unwrap();
    let time = Duration::from_secs(1_795_353_728);
    let facts = CallFacts {
        agent: &agent,
        chain: &[],
        user: None,
        tool: &tool,
        tier: "write",
        arguments: &arguments,
        round: None,
        task: None,
        time,
        approval: None,
    };
    let question = CallQuestion {
        call: facts,
        plugin_digest: Digest::of(b""),
        transport: "stdio",
        attempt: 1,
    };
    let mut group = c.benchmark_group("decision");
    for count in [10, 100, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("github.cedar"), policies(count)).unwrap();
        let plugin = PluginFacts {
            description: &description,
            digest: Digest::of(b""),
            origins: BTreeMap::from([("api".to_owned(), ORIGIN.to_owned())]),
            tiers: BTreeMap::new(),
            labels: BTreeSet::new(),
        };
        let set = PolicySet::load(dir.path(), &[plugin], None).set;
        assert!(matches!(set.decide_call(&question), Verdict::Allow(_)));
        assert!(matches!(
            set.decide_host_call(&facts, Send),
            Verdict::Allow(_)
        ));
        group.bench_function(BenchmarkId::new("call", count), |b| {
            b.iter(|| black_box(set.decide_call(black_box(&question))));
        });
        group.bench_function(BenchmarkId::new("http", count), |b| {
            b.iter(|| black_box(set.decide_host_call(black_box(&facts), Send)));
        });
        // What a list of tools asks of each: again, and of an agent that never asked before.
        assert!(set.may_call(&agent, None, &tool));
        group.bench_function(BenchmarkId::new("listed", count), |b| {
            b.iter(|| black_box(set.may_call(black_box(&agent), None, &tool)));
        });
        let mut agents = (0_u64..).map(|n| AgentId::local(&format!("new{n}")).unwrap());
        group.bench_function(BenchmarkId::new("listed_first", count), |b| {
            b.iter(|| {
                let agent = agents.next().unwrap();
                black_box(set.may_call(black_box(&agent), None, &tool))
            });
        });
        let (request, entities, bare) = bare(count);
        group.bench_function(BenchmarkId::new("bare_authorizer", count), |b| {
            b.iter(|| black_box(Authorizer::new().is_authorized(&request, &bare, &entities)));
        });
    }
    group.finish();
}

/// The same question for Cedar alone, its request and entities made beforehand.
fn bare(count: usize) -> (Request, Entities, cedar_policy::PolicySet) {
    let uid = |text: &str| text.parse::<EntityUid>().unwrap();
    let agent = uid(r#"Agent::"spiffe://tollgate.local/agent/ada""#);
    let action = uid(r#"Action::"call:github.comment""#);
    let tool = uid(r#"Tool::"github.comment""#);
    let context = json!({
        "args": { "repository": "rust-lang/rust", "number": 1, "body": "Thank you." },
        "tier": "write", "approved": false, "transport": "stdio", "attempt": 1,
    });
    let context = Context::from_json_value(context, None).unwrap();
    let entities = Entities::from_entities(
        [
            Entity::new_no_attrs(agent.clone(), [].into()),
            Entity::new_no_attrs(action.clone(), [uid(r#"Action::"call""#)].into()),
            Entity::new_no_attrs(tool.clone(), [uid(r#"Plugin::"github""#)].into()),
        ],
        None,
    )
    .unwrap();
    let request = Request::new(agent, action, tool, context, None).unwrap();
    (request, entities, policies(count).parse().unwrap())
}

criterion_group!(benches, decision);
criterion_main!(benches);
