//! An agent's requests, and a client that stays and goes through every answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;

use super::wire::{Wire, message};
use super::written::{End, Told};

/// The revision without sessions.
const NEWEST: &str = "2026-07-28";

/// The last one with them.
const OLDER: &str = "2025-11-25";

/// How many calls there were, of whom ever.
static WORDS: AtomicU64 = AtomicU64::new(0);

/// Who asks, and where.
#[derive(Clone)]
pub(super) struct Agent {
    pub(super) address: SocketAddr,
    pub(super) name: String,
    token: String,
}

impl Agent {
    pub(super) fn new(address: SocketAddr, name: String, token: String) -> Self {
        Self {
            address,
            name,
            token,
        }
    }

    fn request(&self, method: &str, heads: &[(&str, &str)], body: &str) -> Vec<u8> {
        let mut text = format!(
            "{method} /mcp HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n",
            self.address,
            self.token,
            body.len()
        );
        for (name, value) in heads {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(body);
        text.into_bytes()
    }

    /// A request of the newest revision.
    pub(super) fn newest(&self, id: u64, method: &str, mut params: Value) -> Vec<u8> {
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": NEWEST,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "load", "version": "1"},
        });
        if let Some(more) = params["_meta"].as_object() {
            meta.as_object_mut().unwrap().extend(more.clone());
        }
        params["_meta"] = meta;
        let name = params["name"].as_str().unwrap_or_default().to_owned();
        let body = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let mut heads = vec![("mcp-protocol-version", NEWEST), ("mcp-method", method)];
        if !name.is_empty() {
            heads.push(("mcp-name", &name));
        }
        self.request("POST", &heads, &body.to_string())
    }

    /// A message within an older session.
    pub(super) fn older(&self, session: &str, message: &Value) -> Vec<u8> {
        self.request("POST", &Self::within(session), &message.to_string())
    }

    /// What opens an older session's stream.
    pub(super) fn stream(&self, session: &str) -> Vec<u8> {
        self.request("GET", &Self::within(session), "")
    }

    const fn within(session: &str) -> [(&str, &str); 2] {
        [("mcp-session-id", session), ("mcp-protocol-version", OLDER)]
    }

    /// A call, in an older session or in none.
    pub(super) fn call(
        &self,
        session: Option<&str>,
        id: u64,
        tool: &str,
        arguments: &Value,
    ) -> Vec<u8> {
        let params = json!({"name": tool, "arguments": arguments});
        match session {
            None => self.newest(id, "tools/call", params),
            Some(session) => self.older(
                session,
                &json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}),
            ),
        }
    }

    /// Begins an older session.
    pub(super) async fn begin(&self, wire: &mut Wire) -> String {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": OLDER, "capabilities": {},
            "clientInfo": {"name": "load", "version": "1"}}});
        wire.send(&self.request("POST", &[], &hello.to_string()))
            .await;
        let (head, _) = wire.answer().await;
        let session = head.value("mcp-session-id").unwrap().to_owned();
        let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        wire.send(&self.older(&session, &ready)).await;
        wire.answer().await;
        session
    }

    /// Ends an older session.
    pub(super) async fn end(&self, wire: &mut Wire, session: &str) {
        wire.send(&self.request("DELETE", &Self::within(session), ""))
            .await;
        wire.answer().await;
    }
}

/// The arguments with which the probe sends one request.
pub(super) fn sends(origin: &str, path: &str) -> Value {
    json!({"requirement": "api", "method": "GET", "url": format!("{origin}{path}")})
}

/// A client that calls, one call after the other, on one connection.
pub(super) struct Steady {
    agent: Agent,
    wire: Wire,
    session: Option<String>,
    origin: Arc<str>,
    answered: watch::Sender<u64>,
    made: u64,
    /// What it was told.
    pub(super) told: Vec<Told>,
    /// How long each answer took.
    pub(super) times: Vec<Duration>,
}

impl Steady {
    pub(super) async fn start(
        agent: Agent,
        older: bool,
        origin: Arc<str>,
        answered: watch::Sender<u64>,
    ) -> Self {
        let mut wire = Wire::open(agent.address).await;
        let session = match older {
            true => Some(agent.begin(&mut wire).await),
            false => None,
        };
        Self {
            agent,
            wire,
            session,
            origin,
            answered,
            made: 0,
            told: Vec::new(),
            times: Vec::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.agent.name
    }

    pub(super) async fn calls(&mut self, calls: usize) {
        for _ in 0..calls {
            self.ask().await;
        }
    }

    pub(super) async fn calls_until(&mut self, end: Instant) {
        while Instant::now() < end {
            self.ask().await;
        }
    }

    /// One call: half of them of a pure tool, the others refused, or with a request to the upstream.
    async fn ask(&mut self) {
        self.made += 1;
        // What no other call has in its arguments.
        let word = format!(
            "{}/{}",
            self.agent.name,
            WORDS.fetch_add(1, Ordering::Relaxed)
        );
        let path = format!("/load/{word}");
        let (tool, arguments, end) = match self.made % 4 {
            1 => ("probe_loop", json!({}), End::Refused),
            3 => (
                "probe_send",
                sends(&self.origin, &path),
                End::Sent(path.clone()),
            ),
            _ => ("probe_echo", json!({"text": word}), End::Ran),
        };
        let session = self.session.as_deref();
        let request = self.agent.call(session, self.made, tool, &arguments);
        let began = Instant::now();
        self.wire.send(&request).await;
        let (_, body) = self.wire.answer().await;
        self.times.push(began.elapsed());
        let answer = message(&body);
        let result = &answer["result"];
        let said = &result["structuredContent"];
        // It is the answer to this call, and to no other one's.
        assert_eq!(answer["id"], self.made, "{answer}");
        match &end {
            End::Ran => {
                let raw = said["raw"].as_str().unwrap_or_default();
                assert!(raw.contains(&word), "{word}: {answer}");
            }
            End::Sent(_) => assert_eq!(said["status"], 200, "{word}: {answer}"),
            End::Refused => {
                assert_eq!(result["isError"], true, "{word}: {answer}");
                let code = &result["_meta"]["dev.tollgate/refusal"]["code"];
                assert_eq!(*code, "policy.forbidden", "{word}: {answer}");
            }
        }
        self.told.push(Told::of(result, &self.agent.name, end));
        self.answered.send_modify(|answered| *answered += 1);
    }

    pub(super) async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            self.agent.end(&mut self.wire, &session).await;
        }
    }
}
