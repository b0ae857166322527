//! The admin listener, over real HTTP, in front of a real host: who may ask, who may answer, and what a
//! person sees.

mod pages;

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use tollgate::config::Config;
use tollgate::journal::record::Event;
use tollgate::reason::Reason;

use crate::harness::web::{Browser, Page, send};
use crate::harness::{Bench, Look as _, PROBE_POLICY, Setup};

/// Ada may approve what the probe does; nobody else may.
const APPROVERS: &str = r#"
@id("people.approve")
permit (principal == User::"ada", action in Action::"approve", resource in Plugin::"probe");
"#;

const HELD: &str = "[plugin.probe.tool.echo]\ntier = \"hold\"\n";

struct World {
    bench: Bench,
    address: SocketAddr,
    ada: String,
    bob: String,
    agent: String,
}

async fn world() -> World {
    world_with("").await
}

async fn world_with(admin: &str) -> World {
    let bench = Setup::probe_under(&format!("{PROBE_POLICY}{APPROVERS}"))
        .toml(HELD)
        .start()
        .await;
    let people = bench.host.people();
    let person = |name: &str, admin| {
        let issued = people.add(&name.parse().unwrap(), admin, None).unwrap();
        issued.token.expose().to_owned()
    };
    let (ada, bob) = (person("ada", true), person("bob", false));
    let agent = bench.host.identities().issue("alice", None).unwrap();
    let config = Config::parse(Path::new("/x"), &format!("[admin]\n{admin}")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let bound =
        tollgate::admin::bind(listener, &bench.host, config.admin.as_ref().unwrap()).unwrap();
    tokio::spawn(bound.serve());
    World {
        bench,
        address,
        ada,
        bob,
        agent: agent.token.expose().to_owned(),
    }
}

impl World {
    async fn api(&self, method: &str, path: &str, token: &str, body: Value) -> Page {
        let authorization = format!("Bearer {token}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        send(self.address, method, path, &headers, body).await
    }

    async fn get(&self, path: &str, token: &str) -> Page {
        self.api("GET", path, token, Value::Null).await
    }

    /// An approval, as Ada sees it.
    async fn shown(&self, id: &str) -> Value {
        let page = self.get(&format!("/v1/approvals/{id}"), &self.ada).await;
        page.json()
    }

    async fn answer(&self, id: &str, token: &str, answer: Value) -> Page {
        let path = format!("/v1/approvals/{id}/answer");
        self.api("POST", &path, token, answer).await
    }

    /// A call that is held; gives the approval's id.
    async fn held(&self, arguments: &Value) -> String {
        let reply = self.bench.call("probe_echo", arguments.clone()).await;
        assert_eq!(reply.reason(), Some(Reason::ApprovalRequired));
        assert_eq!(*reply.at("/retry"), "same arguments");
        let id = reply.at("/approvalId").as_str().unwrap().to_owned();
        let url = format!("http://{}/approvals/{id}", self.address);
        assert_eq!(*reply.at("/approvalUrl"), url);
        assert!(reply.text().contains(&url), "{}", reply.text());
        id
    }

    /// How often an identity of the wrong kind was written down.
    fn misplaced(&self) -> Vec<(String, String)> {
        self.bench
            .changes_since(0)
            .into_iter()
            .filter(|changed| changed.change == "identity.refused")
            .map(|changed| {
                assert_eq!(changed.reason, Some(Reason::IdentityKind));
                (changed.subject.unwrap(), changed.detail.unwrap())
            })
            .collect()
    }
}

fn code(page: &Page) -> String {
    page.json()["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_lets_a_call_go_once_and_another_says_no() {
    let world = world().await;
    let arguments = json!({"text": "one"});
    let id = world.held(&arguments).await;
    let listed = world.get("/v1/approvals", &world.ada).await.json();
    assert_eq!(listed["approvals"][0]["id"], id);
    let shown = world.shown(&id).await;
    assert_eq!(shown["arguments"], r#"{"text":"one"}"#);
    assert_eq!(shown["effect"], "call probe.echo");
    let answered = world
        .answer(&id, &world.ada, json!({"answer": "approve"}))
        .await;
    assert_eq!(answered.status, 200, "{answered:?}");
    assert_eq!(answered.json()["status"], "approved");
    assert_eq!(answered.json()["answers"][0]["person"], "ada");
    let reply = world.bench.call("probe_echo", arguments.clone()).await;
    assert_eq!(reply.reason(), None, "{}", reply.text());
    let again = world.held(&arguments).await;
    assert_ne!(again, id, "it is good once");
    let denied = world
        .answer(
            &again,
            &world.ada,
            json!({"answer": "deny", "why": "not today"}),
        )
        .await;
    assert_eq!(denied.json()["status"], "denied");
    let reply = world.bench.call("probe_echo", arguments).await;
    assert_eq!(reply.reason(), Some(Reason::ApprovalDenied));
    let late = world
        .answer(&again, &world.ada, json!({"answer": "approve"}))
        .await;
    assert_eq!(
        (late.status, code(&late).as_str()),
        (409, "approval.denied")
    );
    let all = world
        .get("/v1/approvals?which=all", &world.ada)
        .await
        .json();
    assert_eq!(all["approvals"].as_array().unwrap().len(), 2);
    world.bench.verify();
}

#[tokio::test]
async fn an_agents_token_is_worth_nothing_here_and_is_written_down() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    for _ in 0..3 {
        let page = world
            .answer(&id, &world.agent, json!({"answer": "approve"}))
            .await;
        assert_eq!((page.status, code(&page).as_str()), (403, "identity.kind"));
    }
    let page = world.get("/v1/approvals", &world.agent).await;
    assert_eq!(page.status, 403);
    let mut browser = Browser::at(world.address);
    let page = browser
        .post(&format!("/approvals/{id}"), &[("credential", &world.agent)])
        .await;
    assert_eq!(page.status, 403);
    assert!(browser.cookie.is_none());
    let alice = "spiffe://tollgate.local/agent/alice";
    assert_eq!(
        world.misplaced(),
        [(alice.to_owned(), "presented at the admin API".to_owned())],
        "once, however often it is tried"
    );
    // Nothing was answered, and nobody's token says nothing.
    assert_eq!(world.shown(&id).await["status"], "pending");
    for nobody in ["", "x", "tgp_x"] {
        let page = world.get("/v1/approvals", nobody).await;
        assert_eq!(page.status, 401, "{nobody}");
        assert!(page.header("www-authenticate").starts_with("Bearer"));
    }
    assert_eq!(world.misplaced().len(), 1);
}

#[tokio::test]
async fn a_persons_credential_is_worth_nothing_to_mcp_and_is_written_down() {
    let world = world().await;
    let host = std::sync::Arc::clone(&world.bench.host);
    let backend: std::sync::Arc<dyn tollgate::mcp::Backend> = host;
    let credentials = tollgate::mcp::Credentials {
        bearer: &world.ada,
        handoff: None,
    };
    assert!(backend.authenticate(credentials).await.is_err());
    assert_eq!(
        world.misplaced(),
        [("ada".to_owned(), "presented at MCP".to_owned())]
    );
}

#[tokio::test]
async fn who_may_not_approve_is_refused_and_what_is_asked_wrongly_is_told() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    let refused = world
        .answer(&id, &world.bob, json!({"answer": "approve"}))
        .await;
    assert_eq!(refused.status, 403, "{refused:?}");
    let me = world.get("/v1/me", &world.bob).await.json();
    assert_eq!(me, json!({"person": "bob", "admin": false}));
    for (body, status) in [
        (json!({"answer": "maybe"}), 400),
        (json!({"answer": "approve", "standing": "soon"}), 400),
        (json!({"answer": "approve", "why": "x"}), 400),
        (json!({"answer": "deny", "approve": true}), 400),
        (json!([]), 400),
        (json!({"answer": "deny", "why": "x".repeat(70_000)}), 413),
    ] {
        let page = world.answer(&id, &world.ada, body.clone()).await;
        assert_eq!(page.status, status, "{body}");
    }
    let twice = send(
        world.address,
        "POST",
        &format!("/v1/approvals/{id}/answer"),
        &[
            ("authorization", &format!("Bearer {}", world.ada)),
            ("content-type", "application/json"),
        ],
        r#"{"answer":"deny","answer":"approve"}"#,
    )
    .await;
    assert_eq!(code(&twice), "args.duplicate_key");
    for unknown in ["approval_aaaaaaaaaaaaaaaa", "x", "%00"] {
        let page = world
            .answer(unknown, &world.ada, json!({"answer": "approve"}))
            .await;
        assert_eq!(page.status, 404, "{unknown}");
    }
    let page = world.get("/v1/approvals?which=some", &world.ada).await;
    assert_eq!(page.status, 400);
    assert_eq!(world.get("/v1/nothing", &world.ada).await.status, 404);
    assert_eq!(world.shown(&id).await["status"], "pending");
}

#[tokio::test]
async fn a_standing_approval_is_only_what_was_asked_for() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    let answered = world
        .answer(
            &id,
            &world.ada,
            json!({"answer": "approve", "standing": "2h"}),
        )
        .await;
    assert_eq!(answered.json()["standing"], 7_200);
    for _ in 0..3 {
        let reply = world.bench.call("probe_echo", json!({"text": "x"})).await;
        assert_eq!(reply.reason(), None);
    }
    world.held(&json!({"text": "y"})).await;
}

#[tokio::test]
async fn what_happens_is_told_as_it_happens() {
    use http_body_util::{BodyExt as _, Empty};
    let world = world().await;
    let first = world.held(&json!({"text": "one"})).await;
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::get("/v1/approvals/watch")
        .header("host", world.address.to_string())
        .header("authorization", format!("Bearer {}", world.ada))
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let mut response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut told = String::new();
    let mut until = async |mark: String| {
        while !told.contains(&mark) {
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            told.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
        told.clone()
    };
    // What waits already comes first.
    until(format!("event: asked\ndata: {{\"id\":\"{first}\"")).await;
    let second = world.held(&json!({"text": "two"})).await;
    until(format!("event: asked\ndata: {{\"id\":\"{second}\"")).await;
    world
        .answer(&first, &world.ada, json!({"answer": "approve"}))
        .await;
    until(format!("event: answered\ndata: {{\"id\":\"{first}\"")).await;
    world.bench.call("probe_echo", json!({"text": "one"})).await;
    until(format!("event: used\ndata: {{\"id\":\"{first}\"")).await;
    // Whoever is removed sees no more: the next event ends it.
    let people = world.bench.host.people();
    people.remove(&"ada".parse().unwrap()).unwrap();
    world.held(&json!({"text": "three"})).await;
    loop {
        match response.body_mut().frame().await {
            None => break,
            Some(frame) => {
                let frame = frame.unwrap();
                let text = String::from_utf8_lossy(frame.data_ref().unwrap()).into_owned();
                assert!(!text.contains("three"), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_has_a_record_with_its_person() {
    let world = world().await;
    let id = world.held(&json!({"text": "x"})).await;
    world
        .answer(&id, &world.ada, json!({"answer": "approve"}))
        .await;
    let answered: Vec<_> = world
        .bench
        .records()
        .into_iter()
        .filter_map(|record| match record.event {
            Event::ApprovalAnswered(answered) => Some(answered),
            _ => None,
        })
        .collect();
    assert_eq!(answered.len(), 1);
    assert_eq!(answered[0].by.as_str(), "ada");
    assert_eq!(answered[0].approval.to_string(), id);
}

#[tokio::test]
async fn an_administrator_starts_and_ends_tasks_and_revokes_and_nobody_else_does() {
    let world = world().await;
    let order = json!({
        "agent": "alice", "intent": "look around", "seconds": 600,
        "tools": [{"tool": "probe.*"}], "budgets": {"all": {"calls": 3}},
    });
    for (token, status) in [
        (&world.bob, 403),
        (&world.agent, 403),
        (&String::new(), 401),
    ] {
        for (path, body) in [
            ("/v1/tasks", order.clone()),
            ("/v1/revoke", json!({"kind": "all"})),
        ] {
            let page = world.api("POST", path, token, body).await;
            assert_eq!(page.status, status, "{path}");
        }
        assert_eq!(world.get("/v1/tasks", token).await.status, status);
    }
    let started = world
        .api("POST", "/v1/tasks", &world.ada, order.clone())
        .await;
    assert_eq!(started.status, 200, "{started:?}");
    let id = started.json()["task"].as_str().unwrap().to_owned();
    let listed = world.get("/v1/tasks?agent=alice", &world.ada).await.json();
    assert_eq!(listed["tasks"][0]["task"], id);
    assert_eq!(listed["tasks"][0]["status"], "live");
    let mut wrong = order.clone();
    wrong["tools"] = json!([{"tool": "probe.nothing"}]);
    let page = world.api("POST", "/v1/tasks", &world.ada, wrong).await;
    assert_eq!((page.status, code(&page).as_str()), (400, "task.invalid"));
    let mut more = order;
    more["surprise"] = json!(1);
    let page = world.api("POST", "/v1/tasks", &world.ada, more).await;
    assert_eq!(page.status, 400);
    let end = format!("/v1/tasks/{id}/end");
    let ended = world
        .api("POST", &end, &world.ada, json!({"why": "done"}))
        .await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let shown = world.get(&format!("/v1/tasks/{id}"), &world.ada).await;
    assert_eq!(shown.json()["why"], "done");
    for unknown in ["task_aaaaaaaaaaaaaaaa", "x"] {
        let page = world.get(&format!("/v1/tasks/{unknown}"), &world.ada).await;
        assert_eq!(page.status, 404, "{unknown}");
    }
    let alice = json!({"kind": "agent", "subject": "alice"});
    let revoked = world
        .api("POST", "/v1/revoke", &world.ada, alice.clone())
        .await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_eq!(revoked.json()["kind"], "agent");
    let page = world
        .api("POST", "/v1/revoke", &world.ada, json!({"kind": "moon"}))
        .await;
    assert_eq!(page.status, 400);
    world.bench.verify();
}
