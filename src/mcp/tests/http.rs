//! MCP over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Fake, OLDER, Seen, initialize, modern, request};
use crate::mcp::{HttpConfig, serve};

struct Server {
    fake: Arc<Fake>,
    seen: mpsc::UnboundedReceiver<Seen>,
    address: SocketAddr,
    task: JoinHandle<()>,
}

async fn server_with(config: HttpConfig) -> Server {
    let (fake, seen) = Fake::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = fake.clone();
    let task = tokio::spawn(async move { serve(listener, backend, config).await.unwrap() });
    Server {
        fake,
        seen,
        address,
        task,
    }
}

async fn server() -> Server {
    server_with(HttpConfig::default()).await
}

impl Server {
    /// Sends a request on a connection of its own. The heads given replace those of a good request.
    async fn send(
        &self,
        method: &str,
        heads: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        self.send_to("/mcp", method, heads, body).await
    }

    async fn send_to(
        &self,
        path: &str,
        method: &str,
        heads: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut builder = Request::builder().method(method).uri(path);
        for (name, value) in [
            ("host", "localhost"),
            ("authorization", "Bearer token-a"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ] {
            if !heads.iter().any(|(given, _)| *given == name) {
                builder = builder.header(name, value);
            }
        }
        for (name, value) in heads {
            if !value.starts_with('\0') {
                builder = builder.header(*name, *value);
            }
        }
        let request = builder.body(Full::new(body.into())).unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn post(&self, heads: &[(&str, &str)], message: &Value) -> Response<Incoming> {
        self.send("POST", heads, message.to_string()).await
    }

    /// A request of the newest revision, as its clients send it.
    async fn modern(
        &self,
        token: &str,
        id: u64,
        method: &str,
        params: Value,
    ) -> Response<Incoming> {
        let bearer = format!("Bearer {token}");
        let mut heads = vec![
            ("authorization", bearer.as_str()),
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", method),
        ];
        let name = params["name"].as_str().map(str::to_owned);
        if let Some(name) = &name {
            heads.push(("mcp-name", name));
        }
        self.post(&heads, &request(id, method, modern(params)))
            .await
    }

    /// Begins an older session and returns its id.
    async fn begin(&self, token: &str, version: &str) -> String {
        let bearer = format!("Bearer {token}");
        let response = self
            .post(&[("authorization", &bearer)], &initialize(version))
            .await;
        assert_eq!(response.status(), StatusCode::OK);
        let session = response.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let answer = answer(response).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        let noted = self
            .post(
                &[("authorization", &bearer), ("mcp-session-id", &session)],
                &json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
            )
            .await;
        assert_eq!(noted.status(), StatusCode::ACCEPTED);
        session
    }
}

/// The messages of a body, whether it is JSON or a stream of events.
fn messages(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    if text.starts_with('{') {
        return vec![serde_json::from_str(text).unwrap()];
    }
    text.lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .filter(|data| !data.trim().is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

async fn all(response: Response<Incoming>) -> Vec<Value> {
    messages(&response.into_body().collect().await.unwrap().to_bytes())
}

async fn answer(response: Response<Incoming>) -> Value {
    all(response).await.pop().unwrap()
}

/// Reads a stream of events until one of them holds `text`.
async fn until(body: &mut Incoming, text: &str) -> String {
    let mut read = String::new();
    while !read.contains(text) {
        let frame = body.frame().await.expect("the stream goes on").unwrap();
        if let Ok(data) = frame.into_data() {
            read.push_str(std::str::from_utf8(&data).unwrap());
        }
    }
    read
}

fn names(answer: &Value) -> Vec<&str> {
    let tools = answer["result"]["tools"].as_array().unwrap();
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn the_newest_revision_lists_and_calls() {
    let mut server = server().await;
    let list = answer(server.modern("token-a", 1, "tools/list", json!({})).await).await;
    assert_eq!(names(&list), ["t_echo", "t_header", "t_wait"]);
    assert_eq!(list["result"]["cacheScope"], "private");
    let list = answer(server.modern("token-b", 1, "tools/list", json!({})).await).await;
    assert_eq!(names(&list), ["t_echo", "t_header"]);

    let arguments = r#"{"k":1e400,"k":2}"#;
    let params = modern(json!({"name": "t_echo"})).to_string();
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{},"arguments":{arguments}}}}}"#,
        params.strip_suffix('}').unwrap()
    );
    let heads = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t_echo"),
    ];
    let response = server.send("POST", &heads, text).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    let called = answer(response).await;
    assert_eq!(called["id"], "a");
    let result = &called["result"];
    assert_eq!(result["content"][0]["text"], arguments);
    assert_eq!(result["structuredContent"]["agent"], "alice");
    assert_eq!(result["isError"], false);
    let meta = &result["_meta"];
    assert_eq!(
        meta["dev.tollgate/call"],
        "00000000-0000-0000-0000-000000000000"
    );
    assert_eq!(meta["plugin/key"], 1);
    assert_eq!(
        meta["io.modelcontextprotocol/serverInfo"]["name"],
        "tollgate"
    );
    let Some(Seen::Started { transport, .. }) = server.seen.recv().await else {
        panic!("no call");
    };
    assert_eq!(transport, "http");
}

#[tokio::test]
async fn older_revisions_list_and_call() {
    let server = server().await;
    for version in OLDER {
        let session = server.begin("token-a", version).await;
        let heads = [("mcp-session-id", session.as_str())];
        let list = answer(
            server
                .post(&heads, &request(1, "tools/list", json!({})))
                .await,
        )
        .await;
        assert_eq!(names(&list), ["t_echo", "t_header", "t_wait"], "{version}");
        let call = request(
            2,
            "tools/call",
            json!({"name": "t_echo", "arguments": {"a": [1]}}),
        );
        let called = answer(server.post(&heads, &call).await).await;
        assert_eq!(
            called["result"]["content"][0]["text"], r#"{"a":[1]}"#,
            "{version}"
        );
        // An id that was answered is free again.
        assert!(answer(server.post(&heads, &call).await).await["result"].is_object());
        let call = request(3, "tools/call", json!({"name": "t_none"}));
        let unknown = answer(server.post(&heads, &call).await).await;
        assert_eq!(unknown["error"]["code"], -32602, "{version}");
    }
}

#[tokio::test]
async fn a_request_without_a_token_in_force_is_challenged() {
    let server = server().await;
    let list = request(1, "tools/list", modern(json!({})));
    for bearer in [
        "\0",
        "Bearer nobody",
        "Basic token-a",
        "Bearer",
        "Bearer token-a token-b",
    ] {
        let response = server.post(&[("authorization", bearer)], &list).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{bearer:?}");
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert!(!challenge.contains("resource_metadata"), "{challenge}");
    }
    let twice = [
        ("authorization", "Bearer token-a"),
        ("authorization", "Bearer token-b"),
    ];
    assert_eq!(
        server.post(&twice, &list).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(server.fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_from_elsewhere_is_refused_before_its_body_is_read() {
    let server = server().await;
    for heads in [
        &[("host", "evil.example")][..],
        &[("host", "localhost.evil.example")],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://localhost")],
        &[("origin", "http://a"), ("origin", "http://a")],
        &[("origin", "::")],
    ] {
        // Neither a token nor a body that could be read is needed to be told.
        let mut heads = heads.to_vec();
        heads.push(("authorization", "\0"));
        let response = server.send("POST", &heads, "garbage").await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{heads:?}");
    }
}

#[tokio::test]
async fn malformed_messages_get_typed_errors() {
    let server = server().await;
    for (text, code) in [
        ("garbage", -32700),
        ("[]", -32600),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"tools/list"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#,
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, -32602),
    ] {
        let response = server.send("POST", &[], text).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{text}");
        assert_eq!(answer(response).await["error"]["code"], code, "{text}");
    }
    let session = server.begin("token-a", OLDER[0]).await;
    let heads = [("mcp-session-id", session.as_str())];
    for (method, code) in [("tools/list", -32602), ("no/such", -32601)] {
        let message = request(7, method, json!({"cursor": 5}));
        let told = answer(server.post(&heads, &message).await).await;
        assert_eq!(told["error"]["code"], code, "{method}");
    }
    let large = vec![b' '; crate::mcp::MAX_MESSAGE + 1];
    let response = server.send("POST", &[], large).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(server.fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn headers_must_agree_with_the_body() {
    let server = server().await;
    let call = request(1, "tools/call", modern(json!({"name": "t_echo"})));
    let heads = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t_safe"),
    ];
    let response = server.post(&heads, &call).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer(response).await["error"]["code"], -32020);

    let call = request(
        1,
        "tools/call",
        modern(json!({"name": "t_header", "arguments": {"region": "eu"}})),
    );
    let mut heads = vec![
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t_header"),
        ("mcp-param-region", "us"),
    ];
    assert_eq!(
        server.post(&heads, &call).await.status(),
        StatusCode::BAD_REQUEST
    );
    heads[3].1 = "eu";
    assert_eq!(server.post(&heads, &call).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_session_is_nobody_elses() {
    let server = server_with(HttpConfig {
        sessions_per_agent: 2,
        ..HttpConfig::default()
    })
    .await;
    let session = server.begin("token-a", OLDER[0]).await;
    let list = request(1, "tools/list", json!({}));
    let bob = [
        ("authorization", "Bearer token-b"),
        ("mcp-session-id", session.as_str()),
    ];
    assert_eq!(
        server.post(&bob, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    for method in ["GET", "DELETE"] {
        assert_eq!(
            server.send(method, &bob, "").await.status(),
            StatusCode::NOT_FOUND,
            "{method}"
        );
    }
    let guessed = [("mcp-session-id", "00000000-0000-0000-0000-000000000000")];
    assert_eq!(
        server.post(&guessed, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    let own = [("mcp-session-id", session.as_str())];
    assert_eq!(server.post(&own, &list).await.status(), StatusCode::OK);

    let _second = server.begin("token-a", OLDER[0]).await;
    let full = server.post(&[], &initialize(OLDER[0])).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    // One agent's sessions take no place from another.
    let _other = server.begin("token-b", OLDER[0]).await;
    assert_eq!(
        server.send("DELETE", &own, "").await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        server.post(&own, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    let _third = server.begin("token-a", OLDER[0]).await;
}

#[tokio::test]
async fn a_closed_stream_cancels_in_the_newest_revision() {
    let mut server = server().await;
    let params = modern(json!({"name": "t_wait"}));
    let call = request(1, "tools/call", params).to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token-a\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: t_wait\r\ncontent-length: {}\r\n\r\n{call}",
        call.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .unwrap();
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    drop(stream);
    assert_eq!(
        server.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    // The host is waited for, so that it records the outcome.
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}

#[tokio::test]
async fn an_older_session_is_cancelled_by_a_notification_and_not_by_a_closed_stream() {
    let mut server = server().await;
    let session = server.begin("token-a", OLDER[0]).await;
    let heads = [("mcp-session-id", session.as_str())];
    let call = |id| request(id, "tools/call", json!({"name": "t_wait"}));
    let response = server.post(&heads, &call(5)).await;
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    // One id, one effect.
    assert_eq!(
        server.post(&heads, &call(5)).await.status(),
        StatusCode::BAD_REQUEST
    );
    drop(response);
    server.fake.release.notify_one();
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));

    let _response = server.post(&heads, &call(6)).await;
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 6}});
    assert_eq!(
        server.post(&heads, &cancel).await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        server.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}

#[tokio::test]
async fn progress_goes_only_to_who_asked_and_only_forward() {
    let server = server().await;
    let asked = json!({"name": "t_progress", "_meta": {"progressToken": "p"}});
    let told = all(server.modern("token-a", 1, "tools/call", asked).await).await;
    let values: Vec<_> = told
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| message["params"]["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    assert!(told.last().unwrap()["result"].is_object());
    let told = all(server
        .modern("token-a", 1, "tools/call", json!({"name": "t_progress"}))
        .await)
    .await;
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn both_eras_are_told_of_changed_tools() {
    let server = server().await;
    let listen = json!({"notifications": {"toolsListChanged": true}});
    let mut newest = server
        .modern("token-a", 1, "subscriptions/listen", listen)
        .await
        .into_body();
    until(&mut newest, "acknowledged").await;
    let session = server.begin("token-a", OLDER[0]).await;
    let get = server
        .send(
            "GET",
            &[
                ("mcp-session-id", session.as_str()),
                ("accept", "text/event-stream"),
            ],
            "",
        )
        .await;
    assert_eq!(get.status(), StatusCode::OK);
    let mut older = get.into_body();
    // The watch of an older session begins with its `initialized`, which is handled concurrently.
    let told = async {
        loop {
            server.fake.change();
            tokio::select! {
                told = until(&mut older, "tools/list_changed") => break told,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    told.await;
    until(&mut newest, "tools/list_changed").await;
    // The end of the host is the end of what streams.
    server.fake.draining.cancel();
    while newest.frame().await.is_some_and(|frame| frame.is_ok()) {}
    server.task.await.unwrap();
}

#[tokio::test]
async fn draining_answers_what_is_under_way() {
    let mut server = server().await;
    assert_eq!(
        server.send_to("/readyz", "GET", &[], "").await.status(),
        StatusCode::OK
    );
    let (fake, address) = (server.fake.clone(), server.address);
    let mut seen = std::mem::replace(&mut server.seen, mpsc::unbounded_channel().1);
    let call = server.modern("token-a", 1, "tools/call", json!({"name": "t_wait"}));
    let drained = async {
        assert!(matches!(seen.recv().await, Some(Seen::Started { .. })));
        fake.draining.cancel();
        // Nothing new is taken: the listener goes before the call ends.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        fake.release.notify_one();
    };
    let (response, ()) = tokio::join!(call, drained);
    assert_eq!(answer(response).await["result"]["isError"], false);
    server.task.await.unwrap();
}

#[tokio::test]
async fn there_is_nothing_else_to_find() {
    let server = server().await;
    for path in [
        "/register",
        "/authorize",
        "/token",
        "/.well-known/oauth-authorization-server",
        "/",
        "/sse",
    ] {
        let response = server.send_to(path, "POST", &[], "{}").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        server
            .send_to("/healthz", "GET", &[("authorization", "\0")], "")
            .await
            .status(),
        StatusCode::OK
    );
}
