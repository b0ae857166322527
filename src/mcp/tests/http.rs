//! MCP over HTTP: what all of these tests stand on, and a list and a call of each revision.

mod bounds;
mod gate;
mod sessions;
mod strict;

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
