//! The protocol as an attacker uses it: a real host over real HTTP, in both eras, with an upstream that
//! keeps a ledger. A request that was refused leaves no effect upstream and no call in the journal.

pub(crate) mod bounds;
mod duties;
pub(crate) mod gate;
pub(crate) mod lists;
pub(crate) mod messages;
pub(crate) mod sessions;
mod transports;
pub(crate) mod versions;
pub(crate) mod words;

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{
    AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines,
    ReadHalf, WriteHalf,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tollgate::journal::record::{Event, Refused};
use tollgate::mcp::HttpConfig;

use crate::harness::mcp::{Answer, Client};
use crate::harness::{Bench, PROBE_POLICY, PROBE_TOML, Setup, agent};

/// Everyone may do what the probe does but `bob`, who may have it echo.
const POLICY: &str = r#"
@id("bob.only.echoes")
forbid (principal == Agent::"spiffe://tollgate.local/agent/bob", action in Action::"call", resource in Plugin::"probe")
unless { resource == Tool::"probe.echo" };
"#;

/// The revision without sessions.
const NEWEST: &str = "2026-07-28";

/// Those with sessions, the latest first.
const OLDER: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// A host that serves agents over HTTP, and all that is around it.
struct Door {
    bench: Bench,
    address: SocketAddr,
    alice: String,
    bob: String,
}

/// A session of alice's over a stream of bytes.
struct Line {
    read: Lines<BufReader<ReadHalf<DuplexStream>>>,
    write: WriteHalf<DuplexStream>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Line {
    async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.write.write_all(line.as_bytes()).await.unwrap();
    }

    async fn told(&mut self) -> Value {
        let line = self.read.next_line().await.unwrap().unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Door {
    /// A new session; some MiB may be under way on it.
    fn line(&self) -> Line {
        let (near, far) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(tollgate::mcp::serve_stream(
            self.bench.host.clone(),
            agent("alice"),
            None,
            far,
            "stdio",
        ));
        let (read, write) = tokio::io::split(near);
        Line {
            read: BufReader::new(read).lines(),
            write,
            serving,
        }
    }

    async fn open() -> Self {
        Self::open_with("", HttpConfig::default()).await
    }

    /// The same, with more in `tollgate.toml`.
    async fn open_with(toml: &str, config: HttpConfig) -> Self {
        let bench = Setup::empty()
            .component("probe", guests::PROBE)
            .policy("probe", &format!("{PROBE_POLICY}{POLICY}"))
            .toml(PROBE_TOML)
            .toml(toml)
            .start()
            .await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(tollgate::mcp::serve(listener, bench.host.clone(), config));
        let token = |name: &str| {
            let issued = bench.host.identities().issue(name, None).unwrap();
            issued.token.expose().to_owned()
        };
        Self {
            alice: token("alice"),
            bob: token("bob"),
            bench,
            address,
        }
    }

    fn alice(&self) -> Client {
        Client::new(self.address, &self.alice)
    }

    fn bob(&self) -> Client {
        Client::new(self.address, &self.bob)
    }

    /// Begins an older session of `client`.
    async fn session(&self, client: &Client, version: &str) -> Session {
        let answer = client.post(&[], hello(version).to_string()).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = answer.headers["mcp-session-id"]
            .to_str()
            .unwrap()
            .to_owned();
        let session = Session {
            client: client.clone(),
            id,
            version: version.to_owned(),
        };
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(session.post(&[], &ready).await.status, 202);
        session
    }

    /// Sends bytes on a connection of its own, and gives what came back up to the end of a head.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Every refusal of a call so far.
    fn refused(&self) -> Vec<Refused> {
        let refused = |event| match event {
            Event::Refusal(refused) => Some(refused),
            _ => None,
        };
        let records = self.bench.records();
        records
            .into_iter()
            .filter_map(|r| refused(r.event))
            .collect()
    }

    /// How many records of calls there are, of every kind.
    fn calls(&self) -> usize {
        let records = self.bench.records();
        records
            .iter()
            .filter(|record| record.event.call().is_some())
            .count()
    }

    /// Nothing reached the upstream, no call began or was refused, and the journal is whole.
    async fn assert_untouched(&self) {
        assert_eq!(self.calls(), 0);
        assert_eq!(self.bench.upstream.ledger().await.len(), 0);
        assert!(self.bench.connector.dialled().is_empty());
        assert!(self.bench.resolver.asked().is_empty());
        self.bench.verify();
    }
}

/// A session of an older revision.
struct Session {
    client: Client,
    id: String,
    version: String,
}

impl Session {
    async fn post(&self, more: &[(&str, &str)], message: &Value) -> Answer {
        let mut headers = vec![
            ("mcp-session-id", self.id.as_str()),
            ("mcp-protocol-version", self.version.as_str()),
        ];
        headers.extend_from_slice(more);
        self.client
            .post(&headers, message.to_string())
            .await
            .unwrap()
    }

    async fn request(&self, id: u64, method: &str, params: Value) -> Answer {
        self.post(&[], &request(id, method, params)).await
    }
}

fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

fn hello(version: &str) -> Value {
    let client = json!({"name": "test", "version": "1"});
    let params = json!({"protocolVersion": version, "capabilities": {}, "clientInfo": client});
    request(0, "initialize", params)
}

/// What makes the probe send something.
fn send(path: &str) -> Value {
    let url = format!("https://granted.example/{path}");
    json!({"requirement": "api", "method": "POST", "url": url, "body": "x"})
}

/// The error's code in an answer.
fn error(answer: &Answer) -> i64 {
    let last = answer.messages().pop();
    last.and_then(|message| message["error"]["code"].as_i64())
        .unwrap_or_else(|| panic!("{answer:?}"))
}

/// Waits, by looking, until something holds; for what has no signal of its own.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking)
        .await
        .expect("it holds in the end");
}
