//! A client of MCP over HTTP in a process of its own, as clients are.
//!
//! Within the server's process it would measure itself into the result: each instance that is dropped gives memory
//! back, for which the kernel interrupts every processor that runs a thread of the same process.
//!
//! The bench starts itself again with [`ROLE`] set, and the two talk in lines over pipes: a line with
//! an order goes in, a line with its result comes out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// The variable that makes this program the client.
const ROLE: &str = "TOLLGATE_BENCH_CLIENT";

/// The revision without sessions; all others begin one.
const STATELESS: &str = "2026-07-28";

/// What the client is told to do.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Opens so many connections to a server, and makes one call on each.
    Open {
        address: SocketAddr,
        token: String,
        tool: String,
        version: String,
        connections: usize,
    },
    /// Makes so many calls on each connection of each of these, one after another, all connections of
    /// one server at once. Server by server, again and again, in short turns.
    Run { servers: Vec<usize>, calls: usize },
}

/// The times of single calls, in nanoseconds, per server; and how long each server's turns took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) single: Vec<u64>,
    pub(crate) turns: u64,
}

/// Calls in a turn: what else the machine does meets all servers alike.
const TURN: usize = 100;

/// Becomes the client, if it was started as one. Never returns then.
pub(crate) fn become_it() {
    if std::env::var_os(ROLE).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut servers: Vec<Vec<Connection>> = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let done = match serde_json::from_str(&line.unwrap()).unwrap() {
            Order::Open {
                address,
                token,
                tool,
                version,
                connections,
            } => {
                let mut opened = Vec::new();
                for _ in 0..connections {
                    let one = Connection::open(address, &token, &tool, &version);
                    opened.push(runtime.block_on(one));
                }
                servers.push(opened);
                serde_json::to_string(&(servers.len() - 1))
            }
            Order::Run { servers: of, calls } => {
                let times = of.iter().map(|_| Times {
                    single: Vec::new(),
                    turns: 0,
                });
                let mut times: Vec<Times> = times.collect();
                let mut left = calls;
                while left > 0 {
                    let turn = left.min(TURN);
                    left -= turn;
                    for (server, times) in of.iter().zip(&mut times) {
                        let began = Instant::now();
                        let single = runtime.block_on(calls_of(&mut servers[*server], turn));
                        times.turns += nanos(began.elapsed());
                        times.single.extend(single);
                    }
                }
                serde_json::to_string(&times)
            }
        };
        tell(&done.unwrap());
    }
    std::process::exit(0);
}

#[expect(clippy::print_stdout, reason = "the pipe to the bench")]
fn tell(line: &str) {
    println!("{line}");
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

async fn calls_of(connections: &mut [Connection], calls: usize) -> Vec<u64> {
    let all = connections.iter_mut().map(async |connection| {
        let mut times = Vec::with_capacity(calls);
        for _ in 0..calls {
            let began = Instant::now();
            drop(connection.round_trip().await);
            times.push(nanos(began.elapsed()));
        }
        times
    });
    futures_util::future::join_all(all).await.concat()
}

/// The client, as the bench sees it.
pub(crate) struct Client {
    process: Child,
    orders: ChildStdin,
    results: BufReader<ChildStdout>,
}

impl Client {
    pub(crate) fn start() -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            orders: process.stdin.take().unwrap(),
            results: BufReader::new(process.stdout.take().unwrap()),
            process,
        }
    }

    /// Opens connections; gives the number under which they are run.
    pub(crate) fn open(
        &mut self,
        address: SocketAddr,
        token: &str,
        tool: &str,
        version: &str,
        connections: usize,
    ) -> usize {
        self.order(&Order::Open {
            address,
            token: token.to_owned(),
            tool: tool.to_owned(),
            version: version.to_owned(),
            connections,
        })
    }

    pub(crate) fn run(&mut self, servers: &[usize], calls: usize) -> Vec<Times> {
        self.order(&Order::Run {
            servers: servers.to_vec(),
            calls,
        })
    }

    fn order<T: serde::de::DeserializeOwned>(&mut self, order: &Order) -> T {
        writeln!(self.orders, "{}", serde_json::to_string(order).unwrap()).unwrap();
        let mut line = String::new();
        self.results.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A connection that stays open, and the request that is made on it again and again.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    head: http::request::Parts,
    body: Bytes,
}

impl Connection {
    async fn open(address: SocketAddr, token: &str, tool: &str, version: &str) -> Self {
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
        let mut opened = Self {
            sender,
            head,
            body: Bytes::new(),
        };
        let mut params = json!({ "name": tool, "arguments": {} });
        if version == STATELESS {
            opened.head("mcp-protocol-version", version);
            opened.head("mcp-method", "tools/call");
            opened.head("mcp-name", tool);
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": { "name": "bench", "version": "1" },
            });
        } else {
            opened.begin(version).await;
        }
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
        opened.body = call.to_string().into();
        let answer = message(&opened.round_trip().await);
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        opened
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
