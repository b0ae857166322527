//! MCP against a host that is made up, over real sockets.

mod direct;
mod envelope;
mod http;
mod stream;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Backend, Credentials, ListedTool, Metadata, TooOften, Unauthorized};
use crate::call::{Arrival, Completion, Content, Progress, Reply};
use crate::identity::{AgentId, Authenticated, MintRequest, Minted};
use crate::journal::record::{CallId, Caller};
use crate::reason::{Reason, Refusal};

/// What the made-up host saw of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Started {
        tool: String,
        arguments: Bytes,
        agent: String,
        transport: String,
    },
    Cancelled(String),
    Ended(String),
}

#[derive(Debug)]
pub(crate) struct Fake {
    changed: watch::Sender<u64>,
    pub(crate) draining: CancellationToken,
    seen: mpsc::UnboundedSender<Seen>,
    pub(crate) release: Notify,
    pub(crate) log: Mutex<Vec<Seen>>,
    /// Who asked, of each call.
    pub(crate) callers: Mutex<Vec<Caller>>,
    pub(crate) metadata: Mutex<Option<Metadata>>,
    /// Cancelled once nobody's credential is good any more.
    pub(crate) ended: CancellationToken,
    /// What was said to whoever had too much open.
    pub(crate) crowded: Mutex<Vec<String>>,
    /// Set where everybody asks too often.
    pub(crate) too_often: Mutex<Option<Duration>>,
    /// How often a token was asked for.
    pub(crate) minted: Mutex<u32>,
}

impl Fake {
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Seen>) {
        let (seen, watched) = mpsc::unbounded_channel();
        let fake = Self {
            changed: watch::Sender::new(0),
            draining: CancellationToken::new(),
            seen,
            release: Notify::new(),
            log: Mutex::default(),
            callers: Mutex::default(),
            metadata: Mutex::default(),
            ended: CancellationToken::new(),
            crowded: Mutex::default(),
            too_often: Mutex::default(),
            minted: Mutex::default(),
        };
        (Arc::new(fake), watched)
    }

    fn saw(&self, seen: Seen) {
        self.log.lock().unwrap().push(seen.clone());
        let _ = self.seen.send(seen);
    }

    fn change(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

fn schema(value: Value) -> serde_json::Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[async_trait::async_trait]
impl Backend for Fake {
    fn tools(&self, who: &Authenticated, _: Option<crate::id::TaskId>) -> Vec<Arc<ListedTool>> {
        let mut tools = vec![self.tool("t_echo").unwrap(), self.tool("t_header").unwrap()];
        if who.agent.name() == "alice" {
            tools.push(self.tool("t_wait").unwrap());
        }
        tools
    }

    fn tool(&self, wire: &str) -> Option<Arc<ListedTool>> {
        let plain = json!({"type": "object"});
        let header = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"}}});
        match wire {
            "t_echo" | "t_wait" | "t_stays" | "t_progress" => {
                Some(Arc::new(ListedTool::new(wire, "A tool.", schema(plain))))
            }
            "t_header" => Some(Arc::new(ListedTool::new(wire, "A tool.", schema(header)))),
            _ => None,
        }
    }

    async fn refuse(self: Arc<Self>, _: Arrival, refusal: Refusal) -> Reply {
        Reply {
            call: CallId(uuid::Uuid::nil()),
            completion: Completion::default(),
            refusal: Some(refusal),
            asks: None,
        }
    }

    async fn call(self: Arc<Self>, arrival: Arrival, cancel: CancellationToken) -> Reply {
        self.saw(Seen::Started {
            tool: arrival.tool.clone(),
            arguments: arrival.arguments.clone(),
            agent: arrival.caller.agent.name().to_owned(),
            transport: arrival.caller.transport.clone(),
        });
        self.callers.lock().unwrap().push(arrival.caller.clone());
        let mut refusal = None;
        let mut completion = Completion {
            content: vec![Content::Text {
                text: String::from_utf8_lossy(&arrival.arguments).into_owned(),
                annotations: None,
            }],
            structured: Some(json!({"agent": arrival.caller.agent.name()})),
            ..Completion::default()
        };
        completion
            .meta
            .insert("dev.tollgate/call".into(), json!("forged"));
        completion.meta.insert("plugin/key".into(), json!(1));
        match arrival.tool.as_str() {
            "t_echo" | "t_header" => {}
            "t_wait" => tokio::select! {
                () = cancel.cancelled() => self.saw(Seen::Cancelled(arrival.tool.clone())),
                () = self.release.notified() => {}
            },
            // It takes its time to end.
            "t_stays" => {
                cancel.cancelled().await;
                self.saw(Seen::Cancelled(arrival.tool.clone()));
                self.release.notified().await;
            }
            "t_progress" => {
                for value in [1.0, 2.0, 1.5, f64::NAN, 3.0] {
                    if let Some(sink) = &arrival.progress {
                        (sink.0)(Progress {
                            value,
                            total: Some(3.0),
                            message: None,
                        });
                    }
                }
            }
            _ => refusal = Some(Refusal::new(Reason::NameUnknown, "no such tool")),
        }
        self.saw(Seen::Ended(arrival.tool));
        Reply {
            call: CallId(uuid::Uuid::nil()),
            completion,
            refusal,
            asks: None,
        }
    }

    fn tools_changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Authenticated, Unauthorized> {
        let who = |name: &str, user: Option<&str>| Authenticated {
            user: user.map(str::to_owned),
            ..Authenticated::of(AgentId::local(name).unwrap())
        };
        match credentials.bearer {
            "token-a" => Ok(who("alice", None)),
            "token-a-for-eve" => Ok(who("alice", Some("eve"))),
            "token-b" => Ok(who("bob", None)),
            "token-scope" => Err(Unauthorized::Scope("tools".into())),
            "token-aud" => Err(Unauthorized::Invalid(Some(Reason::TokenAudience))),
            "token-later" => Err(Unauthorized::Unavailable),
            _ => Err(Unauthorized::Invalid(None)),
        }
    }

    fn metadata(&self) -> Option<Metadata> {
        self.metadata.lock().unwrap().clone()
    }

    fn admits(&self, _who: &Authenticated) -> Result<(), TooOften> {
        match *self.too_often.lock().unwrap() {
            None => Ok(()),
            Some(wait) => Err(TooOften {
                wait,
                message: "too often".to_owned(),
            }),
        }
    }

    fn crowded(&self, _who: &Authenticated, why: &str) {
        self.crowded.lock().unwrap().push(why.to_owned());
    }

    fn ends(self: Arc<Self>, _who: Arc<Authenticated>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.ended.cancelled().await })
    }

    async fn mint(&self, _who: &Authenticated, _ask: MintRequest) -> Result<Minted, Refusal> {
        *self.minted.lock().unwrap() += 1;
        Err(Refusal::new(
            Reason::HandoffWidens,
            "this host makes no tokens",
        ))
    }

    fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }
}

/// `params` with the metadata that each request of the newest revision carries.
pub(crate) fn modern(mut params: Value) -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    let given = params.as_object_mut().unwrap().remove("_meta");
    let mut meta = schema(meta);
    if let Some(Value::Object(given)) = given {
        meta.extend(given);
    }
    params["_meta"] = Value::Object(meta);
    params
}

pub(crate) fn request(id: u64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

pub(crate) fn initialize(version: &str) -> Value {
    request(
        0,
        "initialize",
        json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "old", "version": "1"}}),
    )
}

pub(crate) const OLDER: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];
