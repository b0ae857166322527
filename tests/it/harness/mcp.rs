//! Clients of MCP that do nothing on their own: every byte that they send is a test's.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout};
use tollgate::home::Home;

/// The newest revision, which has no sessions.
const VERSION: &str = "2026-07-28";

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Every message in it: one, or the events of a stream.
    pub(crate) fn messages(&self) -> Vec<Value> {
        if self.body.trim_start().starts_with('{') {
            return vec![serde_json::from_str(&self.body).unwrap()];
        }
        self.body
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .filter(|data| !data.trim().is_empty())
            .map(|data| serde_json::from_str(data.trim()).unwrap())
            .collect()
    }

    /// The last of them: what answers the request.
    pub(crate) fn last(&self) -> Value {
        let last = self.messages().pop();
        last.unwrap_or_else(|| panic!("{self:?}"))
    }
}

/// A client over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    token: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            token: token.to_owned(),
        }
    }

    /// Sends `body` to `/mcp`; the headers given replace those of a good request, and an empty one is left out.
    pub(crate) async fn post(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> std::io::Result<Answer> {
        self.send("POST", "/mcp", headers, body).await
    }

    /// The same, elsewhere.
    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> std::io::Result<Answer> {
        let failed = |error: hyper::Error| std::io::Error::other(error);
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let driver = tokio::spawn(connection);
        let authorization = format!("Bearer {}", self.token);
        let host = self.address.to_string();
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in [
            ("host", host.as_str()),
            ("authorization", &authorization),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ] {
            if !headers.iter().any(|(given, _)| *given == name) {
                request = request.header(name, value);
            }
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let response = sender.send_request(request).await.map_err(failed)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(failed)?.to_bytes();
        drop(sender);
        driver.abort();
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        })
    }

    /// A request of the newest revision.
    pub(crate) async fn request(&self, method: &str, params: Value) -> std::io::Result<Answer> {
        self.request_with(&[], method, params).await
    }

    /// The same, with further headers.
    pub(crate) async fn request_with(
        &self,
        more: &[(&str, &str)],
        method: &str,
        params: Value,
    ) -> std::io::Result<Answer> {
        let mut params = params;
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        });
        if let Some(more) = params["_meta"].as_object() {
            meta.as_object_mut().unwrap().extend(more.clone());
        }
        params["_meta"] = meta;
        // What the revision has a request's head name, by its method.
        let named = ["name", "uri", "taskId"].map(|member| params[member].as_str());
        let name = named.into_iter().flatten().next().unwrap_or_default();
        let name = name.to_owned();
        let mut headers = vec![
            ("mcp-protocol-version", VERSION),
            ("mcp-method", method),
            ("mcp-name", name.as_str()),
        ];
        headers.extend_from_slice(more);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        self.post(&headers, message.to_string()).await
    }

    /// The result of a call, where there is one.
    pub(crate) async fn try_call(&self, tool: &str, arguments: &Value) -> Option<Value> {
        let answer = self
            .request("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
            .ok()?;
        let mut messages = answer.messages();
        messages.pop().map(|mut message| message["result"].take())
    }

    /// The result of a call.
    pub(crate) async fn call(&self, tool: &str, arguments: &Value) -> Value {
        let answer = self
            .request("tools/call", json!({"name": tool, "arguments": arguments}))
            .await
            .unwrap();
        let mut last = answer
            .messages()
            .pop()
            .unwrap_or_else(|| panic!("{answer:?}"));
        assert!(last.get("result").is_some(), "{answer:?}");
        last["result"].take()
    }

    /// The names of the tools that this agent sees.
    pub(crate) async fn tools(&self) -> Vec<String> {
        let answer = self.request("tools/list", json!({})).await.unwrap();
        let last = answer.messages().pop().unwrap();
        names(&last)
    }
}

/// The names in the answer to `tools/list`.
pub(crate) fn names(answer: &Value) -> Vec<String> {
    let tools = answer["result"]["tools"]
        .as_array()
        .unwrap_or_else(|| panic!("{answer}"));
    tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect()
}

/// A client over standard input and output: `tollgate serve --stdio`.
pub(crate) struct Pipe {
    pub(crate) child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    next: u64,
    /// What came without being asked for.
    pub(crate) notes: Vec<Value>,
}

impl Pipe {
    /// Starts the client and shakes hands.
    pub(crate) async fn start(home: &Home, agent: &str) -> Self {
        Self::spawn(home, agent).begun().await
    }

    /// Starts a program as a client does that has these words in its configuration, and shakes hands.
    pub(crate) async fn of(program: &str, arguments: &[&str]) -> Self {
        let mut command = tokio::process::Command::new(program);
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Self::run(command).begun().await
    }

    async fn begun(mut self) -> Self {
        let client = &mut self;
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"},
        });
        let answer = client.request("initialize", hello).await;
        assert_eq!(
            answer["result"]["protocolVersion"], "2025-11-25",
            "{answer}"
        );
        client
            .send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
            .await;
        self
    }

    /// Starts the client.
    pub(crate) fn spawn(home: &Home, agent: &str) -> Self {
        Self::run(super::binary::command(
            home,
            &["serve", "--stdio", "--agent", agent],
        ))
    }

    fn run(mut command: tokio::process::Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            child,
            input,
            output,
            next: 0,
            notes: Vec::new(),
        }
    }

    /// Sends a message.
    pub(crate) async fn send(&mut self, message: &Value) {
        let input = self.input.as_mut().unwrap();
        input
            .write_all(format!("{message}\n").as_bytes())
            .await
            .unwrap();
        input.flush().await.unwrap();
    }

    /// The next line, which must be a message of the protocol.
    pub(crate) async fn receive(&mut self) -> Option<Value> {
        // A minute: a test that waits for what never comes fails, and does not hang.
        let line =
            tokio::time::timeout(std::time::Duration::from_secs(60), self.output.next_line());
        let line = line.await.expect("a message within a minute").unwrap()?;
        let message: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        Some(message)
    }

    /// Sends a request and does not wait; gives its id.
    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> u64 {
        self.next += 1;
        let id = self.next;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        id
    }

    /// The answer to a request; what else comes is kept in `notes`.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        loop {
            let message = self.receive().await.expect("an answer");
            if message["id"] == id && message.get("method").is_none() {
                return message;
            }
            self.notes.push(message);
        }
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.ask(method, params).await;
        self.answer(id).await
    }

    /// The result of a call.
    pub(crate) async fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let mut answer = self
            .request("tools/call", json!({"name": tool, "arguments": arguments}))
            .await;
        assert!(answer.get("result").is_some(), "{answer}");
        answer["result"].take()
    }

    /// Ends its input.
    pub(crate) fn end_input(&mut self) {
        drop(self.input.take());
    }

    /// Everything until the end of its output, and how it ended.
    pub(crate) async fn rest(mut self) -> (Vec<Value>, std::process::ExitStatus) {
        self.end_input();
        let mut all = Vec::new();
        while let Some(message) = self.receive().await {
            all.push(message);
        }
        (all, self.child.wait().await.unwrap())
    }
}
