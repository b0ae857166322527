//! A host with work that lasts, and clients that have jobs.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate::journal::record::{Changed, Event, Intent, Record};
use tollgate::reason::Reason;

use crate::harness::mcp::{Answer, Client};
use crate::harness::served::Served;
use crate::harness::{Setup, assert_verifies, intents, reason_of};
use crate::upstream::Upstream;

/// What a client declares that has jobs.
pub(super) const JOBS: &str = "io.modelcontextprotocol/tasks";

/// The fixtures of the suite may be called, and ask.
pub(super) const FIXTURES: &str = r#"
@id("fixture.calls")
permit (principal in Group::"everyone", action in Action::"call", resource in Plugin::"conformance");
@id("fixture.asks")
permit (principal in Group::"everyone", action in Action::"ask", resource in Plugin::"conformance");
"#;

/// Requests that would go on for an hour.
pub(super) const LONG: &str = "[limits.http]\nfirst_byte = \"1h\"\ntotal = \"1h\"\nidle = \"1h\"";

/// A host over HTTP with the probe, which sends to an upstream, and the fixtures of the suite.
pub(super) struct Desk {
    pub(super) served: Served,
    pub(super) upstream: Upstream,
    /// Alice's own.
    pub(super) token: String,
    pub(super) alice: Asks,
    pub(super) bob: Asks,
}

impl Desk {
    pub(super) async fn start(policy: &str, toml: &str) -> Self {
        let upstream = Upstream::start().await;
        let setup = Setup::probe_at(&upstream.origin(), policy)
            .component("conformance", guests::CONFORMANCE)
            .policy("conformance", FIXTURES)
            .shared_rules()
            .toml("[plugin.conformance]\nprefix = \"\"")
            .toml(toml);
        let served = Served::start(setup).await;
        let token = served.agent("alice");
        let alice = Asks::of(served.client(&token));
        let bob = Asks::of(served.client(&served.agent("bob")));
        Self {
            served,
            upstream,
            token,
            alice,
            bob,
        }
    }

    pub(super) fn get(&self, path: &str) -> Value {
        request(self.upstream.plain, path)
    }

    pub(super) fn records(&self) -> Vec<Record> {
        self.served.records()
    }

    pub(super) fn intents(&self) -> Vec<Intent> {
        intents(self.records())
    }

    /// What was written down of jobs.
    pub(super) fn changes(&self) -> Vec<Changed> {
        changes(self.records())
    }

    /// How the call of this intent ended: its status, and why.
    #[track_caller]
    pub(super) fn outcome(&self, of: &Intent) -> (String, Option<Reason>) {
        let mut outcomes = self
            .records()
            .into_iter()
            .filter_map(|record| match record.event {
                Event::Outcome(outcome) if outcome.call == of.call => {
                    Some((outcome.status, outcome.reason))
                }
                _ => None,
            });
        let outcome = outcomes.next().expect("an outcome");
        assert_eq!(outcomes.next(), None);
        outcome
    }

    /// The reasons of all that was refused.
    pub(super) fn refusals(&self) -> Vec<Reason> {
        let refused = |record: &Record| match &record.event {
            event @ Event::Refusal(_) => reason_of(event),
            _ => None,
        };
        self.records().iter().filter_map(refused).collect()
    }

    pub(super) fn verify(&self) {
        assert_verifies(&self.served.host.home().journal());
    }
}

pub(super) fn request(to: SocketAddr, path: &str) -> Value {
    json!({"requirement": "api", "method": "GET", "url": format!("http://{to}{path}")})
}

pub(super) fn changes(records: Vec<Record>) -> Vec<Changed> {
    let changed = |record: Record| match record.event {
        Event::Changed(changed) if changed.change.starts_with("job.") => Some(changed),
        _ => None,
    };
    records.into_iter().filter_map(changed).collect()
}

/// What a result says of a refusal, wherever it stands.
pub(super) fn told(answer: &Value) -> &Value {
    let result = &answer["result"];
    assert_eq!(result["isError"], true, "{answer}");
    match &result["_meta"]["dev.tollgate/refusal"] {
        Value::Null => &result["structuredContent"],
        told => told,
    }
}

pub(super) fn words(changes: &[Changed]) -> Vec<&str> {
    changes
        .iter()
        .map(|change| change.change.as_str())
        .collect()
}

/// A client that has jobs.
#[derive(Debug, Clone)]
pub(super) struct Asks {
    pub(super) client: Client,
    pub(super) capabilities: Value,
}

impl Asks {
    pub(super) fn of(client: Client) -> Self {
        Self {
            client,
            capabilities: json!({"extensions": {JOBS: {}}, "elicitation": {}}),
        }
    }

    /// The same, with other capabilities.
    pub(super) fn with(&self, capabilities: Value) -> Self {
        Self {
            capabilities,
            ..self.clone()
        }
    }

    pub(super) async fn said(&self, method: &str, params: Value) -> (Answer, Value) {
        let mut params = params;
        params["_meta"] = json!({"io.modelcontextprotocol/clientCapabilities": self.capabilities});
        let answer = self.client.request(method, params).await.unwrap();
        let message = answer.last();
        (answer, message)
    }

    pub(super) async fn ask(&self, method: &str, params: Value) -> Value {
        self.said(method, params).await.1
    }

    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", params).await
    }

    /// Calls a tool, and gives the handle that comes.
    pub(super) async fn begin(&self, tool: &str, arguments: Value) -> String {
        let answer = self.call(tool, arguments).await;
        assert_eq!(answer["result"]["resultType"], "task", "{answer}");
        answer["result"]["taskId"].as_str().unwrap().to_owned()
    }

    pub(super) async fn get(&self, id: &str) -> Value {
        self.ask("tasks/get", json!({"taskId": id})).await
    }

    /// How far it is, once that is one of these.
    pub(super) async fn until(&self, id: &str, wanted: &[&str]) -> Value {
        loop {
            let answer = self.get(id).await;
            let status = answer["result"]["status"]
                .as_str()
                .unwrap_or_else(|| panic!("{answer}"));
            if wanted.contains(&status) {
                return answer["result"].clone();
            }
            tokio::task::yield_now().await;
        }
    }

    /// What came of it.
    pub(super) async fn over(&self, id: &str) -> Value {
        self.until(id, &["completed", "failed", "cancelled"]).await
    }

    pub(super) async fn cancel(&self, id: &str) {
        let answer = self.ask("tasks/cancel", json!({"taskId": id})).await;
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        assert_eq!(answer["result"].get("status"), None, "{answer}");
    }

    pub(super) async fn update(&self, id: &str, answers: Value) -> Value {
        let params = json!({"taskId": id, "inputResponses": answers});
        self.ask("tasks/update", params).await
    }
}
