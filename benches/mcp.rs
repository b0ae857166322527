//! A warm pure call over MCP and HTTP, beside the same server library with a tool that does nothing:
//! a round trip on a connection that stays open, in both eras of the protocol.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench that can't set up has nothing to measure"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tollgate::mcp::HttpConfig;

use support::{home, percentiles, start};

const NEWEST: &str = "2026-07-28";
const OLDER: &str = "2025-06-18";

/// A tool that does nothing.
struct Native;

impl ServerHandler for Native {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("native", "1"))
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let result = CallToolResult::success(vec![ContentBlock::text("acted")]);
        Ok(CallToolResponse::Complete(result))
    }
}

/// Served as `tollgate::mcp::serve` does, without all that it adds.
async fn native() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = StreamableHttpService::new(
        || Ok(Native),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default().with_json_response(true),
    );
    let router = axum::Router::new().route_service("/mcp", service);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(
                    TokioIo::new(stream),
                    TowerToHyperService::new(router.clone()),
                );
            tokio::spawn(connection);
        }
    });
    address
}

/// A connection of one client, and the request that it makes again and again.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    head: http::request::Parts,
    body: Bytes,
}

impl Client {
    async fn new(address: SocketAddr, token: &str, tool: &str, version: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let (mut head, ()) = hyper::Request::post("/mcp").body(()).unwrap().into_parts();
        for (name, value) in [
            ("host", "localhost"),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("authorization", &format!("Bearer {token}")),
        ] {
            head.headers.insert(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        let mut client = Self {
            sender,
            head,
            body: Bytes::new(),
        };
        let mut params = json!({ "name": tool, "arguments": {} });
        if version == NEWEST {
            client.head("mcp-protocol-version", NEWEST);
            client.head("mcp-method", "tools/call");
            client.head("mcp-name", tool);
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": NEWEST,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            });
        } else {
            client.begin(version).await;
        }
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        client.body = call.to_string().into();
        let answer = message(&client.round_trip().await);
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        client
    }

    fn head(&mut self, name: &'static str, value: &str) {
        self.head.headers.insert(name, value.parse().unwrap());
    }

    /// Begins an older session.
    async fn begin(&mut self, version: &str) {
        let initialize = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {},
            "clientInfo": { "name": "bench", "version": "1" } } });
        self.body = initialize.to_string().into();
        let response = self.send().await;
        let session = response.headers()["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        response.into_body().collect().await.unwrap();
        self.head("mcp-session-id", &session);
        self.head("mcp-protocol-version", version);
        let note = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        self.body = note.to_string().into();
        self.round_trip().await;
    }

    async fn send(&mut self) -> hyper::Response<hyper::body::Incoming> {
        let body = Full::new(self.body.clone());
        let request = hyper::Request::from_parts(self.head.clone(), body);
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request).await.unwrap();
        assert!(response.status().is_success(), "{response:?}");
        response
    }

    async fn round_trip(&mut self) -> Bytes {
        let body = self.send().await.into_body();
        body.collect().await.unwrap().to_bytes()
    }
}

/// The last message of a body: `rmcp` answers within an older session with a stream of events.
fn message(body: &[u8]) -> Value {
    let text = std::str::from_utf8(body).unwrap();
    let last = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .next_back()
        .unwrap_or(text);
    serde_json::from_str(last).unwrap_or_else(|_| panic!("{text}"))
}

/// All clients at once, each so many times.
async fn rounds(clients: Vec<Client>, iterations: u64) -> (Vec<Client>, Duration) {
    let began = Instant::now();
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            tokio::spawn(async move {
                for _ in 0..iterations {
                    drop(client.round_trip().await);
                }
                client
            })
        })
        .collect();
    let mut clients = Vec::with_capacity(tasks.len());
    for task in tasks {
        clients.push(task.await.unwrap());
    }
    (clients, began.elapsed())
}

fn round_trip(c: &mut Criterion) {
    let runtime = support::runtime();
    // A thread of its own, as a client is a process of its own: one that shared the server's threads
    // would now and then find its answer without waking anyone.
    let far = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let folder = home(&[("plain", guests::MISFIT_PLAIN)], "");
    let host = runtime.block_on(start(folder.path()));
    let issued = host.identities().issue("bench", None).unwrap();
    let token = issued.token.expose();
    let (native, served) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tollgate::mcp::serve(listener, host.clone(), HttpConfig::default());
        tokio::spawn(async move { serving.await.unwrap() });
        (native().await, address)
    });
    let mut group = c.benchmark_group("mcp");
    for version in [NEWEST, OLDER] {
        for count in [1, 8] {
            group.throughput(Throughput::Elements(count));
            for (server, address) in [("native", native), ("tollgate", served)] {
                let mut clients = Vec::new();
                for _ in 0..count {
                    let client = Client::new(address, token, "plain_act", version);
                    clients.push(far.block_on(client));
                }
                let id = BenchmarkId::new(format!("{server}/{version}"), count);
                group.bench_function(id, |b| {
                    b.iter_custom(|iterations| {
                        let all = std::mem::take(&mut clients);
                        let (all, time) = far.block_on(rounds(all, iterations));
                        clients = all;
                        time
                    });
                });
                if let (1, Some(client)) = (count, clients.first_mut()) {
                    far.block_on(percentiles(
                        &format!("mcp/{server}/{version}"),
                        async || client.round_trip().await,
                    ));
                }
            }
        }
    }
    group.finish();
    runtime.block_on(host.stop());
}

criterion_group!(benches, round_trip);
criterion_main!(benches);
