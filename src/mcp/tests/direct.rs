//! The two ways of a stateless call: what goes to the host by itself is answered as `rmcp` answers it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Fake, Seen};
use crate::mcp::HttpConfig;
use crate::mcp::direct::client_of;
use crate::mcp::envelope::{self, Kind};
use crate::mcp::http::routes_with;
use crate::mcp::server::Shared;

struct Way {
    fake: Arc<Fake>,
    seen: mpsc::UnboundedReceiver<Seen>,
    service: TowerToHyperService<Router>,
    end: CancellationToken,
}

fn way(direct: bool) -> Way {
    let (fake, seen) = Fake::new();
    let end = CancellationToken::new();
    let shared = Shared::new(fake.clone(), "http");
    let router = routes_with(&shared, &HttpConfig::default(), end.clone(), direct).unwrap();
    Way {
        fake,
        seen,
        service: TowerToHyperService::new(router),
        end,
    }
}

/// A request, as text: some heads may stand there twice.
#[derive(Debug, Clone)]
struct Asked {
    heads: Vec<(&'static str, String)>,
    body: String,
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"}}"#;

impl Asked {
    /// A good call of `tool` with these parameters beside its name.
    fn call(tool: &str, rest: &str) -> Self {
        let heads = [
            ("mcp-protocol-version", "2026-07-28"),
            ("mcp-method", "tools/call"),
            ("mcp-name", tool),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
        ];
        Self {
            heads: heads.map(|(name, value)| (name, value.to_owned())).into(),
            body: format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}",{rest}}}}}"#
            ),
        }
    }

    fn with(mut self, name: &'static str, values: &[&str]) -> Self {
        self.heads.retain(|(given, _)| *given != name);
        self.heads
            .extend(values.iter().map(|value| (name, (*value).to_owned())));
        self
    }

    fn swap(mut self, from: &str, to: &str) -> Self {
        assert!(self.body.contains(from), "{}", self.body);
        self.body = self.body.replace(from, to);
        self
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.heads {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }

    fn is_direct(&self) -> bool {
        match envelope::read(self.body.as_bytes()).map(|message| message.kind) {
            Ok(Kind::Call(mut call)) => client_of(&self.headers(), &mut call, false).is_some(),
            _ => false,
        }
    }

    async fn send(&self, way: &Way) -> (StatusCode, Option<HeaderValue>, Result<Value, Bytes>) {
        let mut request = Request::post("/mcp")
            .body(Full::new(Bytes::from(self.body.clone())))
            .unwrap();
        *request.headers_mut() = self.headers();
        for (name, value) in [("host", "localhost"), ("authorization", "Bearer token-a")] {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let (parts, body) = way.service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let kind = parts.headers.get("content-type").cloned();
        (
            parts.status,
            kind,
            serde_json::from_slice(&body).map_err(|_| body),
        )
    }
}

/// What both ways answer, after they were found to be the same, and to have asked the host the same.
async fn both(asked: &Asked) -> (StatusCode, Result<Value, Bytes>) {
    let (direct, around) = (way(true), way(false));
    let answered = asked.send(&direct).await;
    assert_eq!(answered, asked.send(&around).await, "{asked:?}");
    let log = |way: &Way| way.fake.log.lock().unwrap().clone();
    assert_eq!(log(&direct), log(&around), "{asked:?}");
    let callers = |way: &Way| way.fake.callers.lock().unwrap().clone();
    assert_eq!(callers(&direct), callers(&around), "{asked:?}");
    (answered.0, answered.2)
}

#[tokio::test]
async fn plain_calls_go_to_the_host_and_are_answered_as_rmcp_does() {
    let good = || Asked::call("t_echo", META);
    let cases = [
        good(),
        Asked::call("t_none", META),
        good().swap(r#""_meta""#, r#""arguments":{"a":[1e400]},"_meta""#),
        good().swap(r#""_meta""#, r#""arguments":[],"unknown":1,"_meta""#),
        good().swap(r#""id":1"#, r#""id":"\u0061\"\n""#),
        good().swap(r#""id":1"#, r#""id":-9223372036854775808"#),
        good().swap(r#""name":"t_echo""#, r#""name":"t\u005fecho""#),
        good().swap(r#""version":"1""#, r#""version":"1","title":"T""#),
        good().swap(r#""name":"test""#, r#""name":"te\u0000st""#),
        good().swap(
            r#"Capabilities":{}"#,
            r#"Capabilities":{"experimental":{"x":{}}}"#,
        ),
        good().swap(r#""_meta":{"#, r#""_meta":{"traceparent":5,"#),
        good().with("accept", &["TEXT/event-stream,application/JSON , */*"]),
        good().with("content-type", &["application/json; charset=utf-8"]),
    ];
    for asked in cases {
        assert!(asked.is_direct(), "{asked:?}");
        let (status, answer) = both(&asked).await;
        assert_eq!(status, StatusCode::OK, "{asked:?}");
        assert!(answer.is_ok());
    }
}

#[tokio::test]
async fn whatever_is_unusual_is_left_to_rmcp() {
    let good = || Asked::call("t_echo", META);
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#;
    let capabilities = r#""io.modelcontextprotocol/clientCapabilities":{},"#;
    let info = r#","io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"}"#;
    let json = "application/json";
    let stream = "text/event-stream";
    let cases = [
        good().with("mcp-protocol-version", &[]),
        good().with("mcp-protocol-version", &["2025-06-18"]),
        good().with("mcp-protocol-version", &["2027-01-01"]),
        good().with("mcp-protocol-version", &["2026-07-28", "2026-07-28"]),
        good().with("mcp-method", &[]),
        good().with("mcp-method", &["tools/list"]),
        good().with("mcp-method", &["tools/call", "tools/call"]),
        good().with("mcp-name", &[]),
        good().with("mcp-name", &["t_other"]),
        good().with("mcp-name", &["t_echo", "t_other"]),
        good().with("mcp-name", &["=?base64?dF9lY2hv?="]),
        good().with("accept", &[]),
        good().with("accept", &[json]),
        good().with("accept", &[json, stream]),
        good().with("accept", &["*/*"]),
        good().with("accept", &["application/json;q=0, text/event-stream"]),
        good().with("accept", &["application/json, text/event-stream;q=0.5"]),
        good().with("accept", &[r#"a;b=",application/json,text/event-stream,""#]),
        good().with("content-type", &[]),
        good().with("content-type", &["text/plain"]),
        good().with("content-type", &[json, json]),
        good().swap(version, ""),
        good().swap("2026-07-28", "2025-06-18"),
        good().swap("2026-07-28", "2027-01-01"),
        good().swap(r#""2026-07-28""#, "7"),
        good().swap(capabilities, ""),
        good().swap(r#"Capabilities":{}"#, r#"Capabilities":[]"#),
        good().swap(r#"Capabilities":{}"#, r#"Capabilities":{"roots":1}"#),
        good().swap(
            r#"Capabilities":{}"#,
            r#"Capabilities":{"elicitation":{"url":{}}}"#,
        ),
        good().swap(info, ""),
        good().swap(r#""version":"1""#, r#""version":1"#),
        good().swap(r#""version":"1""#, r#""version":"1","icons":5"#),
        good().swap(r#""_meta":{"#, r#""_meta":{"progressToken":"p","#),
        good().swap(r#""_meta":{"#, r#""_meta":{"progressToken":{},"#),
        good().swap(r#""_meta":{"#, r#""inputResponses":{},"_meta":{"#),
        good().swap(r#""_meta":{"#, r#""requestState":"s","_meta":{"#),
        good().swap(r#""_meta":{"#, r#""requestState":null,"_meta":{"#),
        Asked::call("t_echo", r#""_meta":null"#),
        Asked::call("t_echo", r#""_meta":[]"#),
        Asked::call("t_echo", r#""arguments":{}"#),
        good().swap("tools/call", "tools/list"),
    ];
    for asked in cases {
        assert!(!asked.is_direct(), "{asked:?}");
        let _same = both(&asked).await;
    }
    // Arguments in heads are checked by `rmcp`, whatever else is plain.
    let header = || {
        Asked::call("t_header", META).swap(r#""_meta""#, r#""arguments":{"region":"eu"},"_meta""#)
    };
    let agreed = both(&header().with("mcp-param-region", &["eu"])).await;
    assert_eq!(agreed.0, StatusCode::OK);
    for other in [&["us"][..], &[]] {
        let (status, _) = both(&header().with("mcp-param-region", other)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
}

/// Mostly the first, so that many requests are good but for one thing.
fn mostly(
    values: &'static [&'static [&'static str]],
) -> impl Strategy<Value = &'static [&'static str]> {
    prop_oneof![6 => Just(values[0]), 1 => select(values)]
}

fn any_call() -> impl Strategy<Value = Asked> {
    let heads = (
        mostly(&[
            &["2026-07-28"],
            &["2025-11-25"],
            &["x"],
            &[],
            &["2026-07-28", "2025-11-25"],
        ]),
        mostly(&[
            &["tools/call"],
            &["Tools/call"],
            &["tools/list"],
            &[],
            &["tools/call", "x"],
        ]),
        mostly(&[
            &["t_echo"],
            &["t_none"],
            &["=?base64?dF9lY2hv?="],
            &["=?base64?!?="],
            &["\u{e9}"],
            &[],
        ]),
        mostly(&[
            &["application/json, text/event-stream"],
            &["text/event-stream,application/json;q=0.1"],
            &["application/json"],
            &["application/json", "text/event-stream"],
            &[],
        ]),
        mostly(&[
            &["application/json"],
            &["application/json;x"],
            &["application/jsonx"],
            &[],
            &["application/json", "text/plain"],
        ]),
    );
    let body = (
        mostly(&[
            &["1"],
            &[r#""a""#],
            &[r#""\u00e9""#],
            &["null"],
            &["1.5"],
            &["9223372036854775808"],
        ]),
        mostly(&[
            &["t_echo"],
            &["t_none"],
            &["=?base64?dF9lY2hv?="],
            &["\u{e9}"],
            &[""],
        ]),
        mostly(&[
            &[r#""2026-07-28""#],
            &[r#""2025-11-25""#],
            &[r#""x""#],
            &["null"],
            &[],
        ]),
        mostly(&[
            &["{}"],
            &[r#"{"sampling":{},"roots":{"listChanged":true}}"#],
            &[r#"{"elicitation":{}}"#],
            &["1"],
            &["null"],
            &[],
        ]),
        mostly(&[
            &[r#"{"name":"n","version":"v"}"#],
            &[r#"{"name":"n","version":"v","icons":[{"src":"s"}],"websiteUrl":"u"}"#],
            &[r#"{"name":"n"}"#],
            &["null"],
            &[],
        ]),
        mostly(&[
            &[],
            &[r#""arguments":{"a":1.0,"a":2},"#],
            &[r#""arguments":"text","#],
            &[r#""requestState":1,"#],
            &[r#""name":"x","#],
        ]),
    );
    (heads, body).prop_map(|(heads, body)| {
        let (version, method, name, accept, kind) = heads;
        let (id, tool, meta_version, capabilities, info, rest) = body;
        let member = |key: &str, value: &[&str]| {
            value
                .first()
                .map(|value| format!(r#""io.modelcontextprotocol/{key}":{value}"#))
        };
        let meta: Vec<_> = [
            member("protocolVersion", meta_version),
            member("clientCapabilities", capabilities),
            member("clientInfo", info),
        ]
        .into_iter()
        .flatten()
        .collect();
        let (id, tool) = (id[0], tool[0]);
        let rest = rest.first().copied().unwrap_or_default();
        let body = format!(
            r#"{{"id":{id},"jsonrpc":"2.0","method":"tools/call","params":{{{rest}"name":"{tool}","_meta":{{{}}}}}}}"#,
            meta.join(",")
        );
        Asked {
            heads: Vec::new(),
            body,
        }
        .with("mcp-protocol-version", version)
        .with("mcp-method", method)
        .with("mcp-name", name)
        .with("accept", accept)
        .with("content-type", kind)
    })
}

proptest! {
    #[test]
    fn both_ways_answer_the_same(asked in any_call()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let _same = runtime.block_on(both(&asked));
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled_and_goes_on_to_its_end() {
    let mut way = way(true);
    let asked = Asked::call("t_wait", META);
    assert!(asked.is_direct());
    {
        let sent = asked.send(&way);
        tokio::pin!(sent);
        // One look starts the call, which waits.
        let looked = poll_fn(|context| Poll::Ready(sent.as_mut().poll(context)));
        assert!(looked.await.is_pending());
    }
    assert!(matches!(way.seen.recv().await, Some(Seen::Started { .. })));
    assert_eq!(
        way.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    assert_eq!(way.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}

#[tokio::test]
async fn the_end_of_the_server_ends_a_call() {
    let mut way = way(true);
    way.end.cancel();
    let (status, _, answer) = Asked::call("t_wait", META).send(&way).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.unwrap()["error"]["code"], -32603);
    assert!(matches!(way.seen.recv().await, Some(Seen::Started { .. })));
    assert_eq!(
        way.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    assert_eq!(way.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}
