//! A plain call of the stateless revision, answered without `rmcp`'s service.
//!
//! Such a request stands alone: nothing is sent beside its one answer, and nothing of it lasts. `rmcp`
//! reads it a second time, starts a service and two tasks for it, and passes its answer through three
//! queues; that costs as much as a call itself. Here the host is asked at once, within the request.
//!
//! What is taken is only what `rmcp` would take as well, decided on rules that are at most as wide as
//! its own (`handle_post` of its HTTP transport), with its own readers of `_meta`. Whatever is left
//! over, wrong or merely unusual goes to `rmcp`, which is the one that refuses.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use rmcp::ErrorData;
use rmcp::model::{CallToolResult, ErrorCode, Implementation, MetaObject, RequestMetaObject};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arrived::{STATELESS, parent_of};
use super::declared;
use super::envelope::Call;
use super::http::SESSION;
use super::jobs::has_jobs;
use super::server::Shared;
use crate::call::{Arrival, Reply};
use crate::telemetry::TraceParent;

pub(super) const VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// A value of `Mcp-Name` that begins so is the name in base64.
const ENCODED: &str = "=?base64?";

/// What keys of `_meta` that belong to this host begin with.
const OWN: &str = "dev.tollgate/";

/// The client of a call that can be answered here, and the trace that it says the call is a part of; `None`
/// for one that `rmcp` has to look at. A call of a tool that does long work (`lasts`) may be answered with a job.
pub(super) fn client_of(
    headers: &HeaderMap,
    call: &mut Call<'_>,
    lasts: bool,
) -> Option<(Implementation, Option<TraceParent>)> {
    let name = sole(headers, &NAME)?;
    let plain = sole(headers, &VERSION)? == STATELESS
        && sole(headers, &METHOD)? == "tools/call"
        && name == call.name
        && !name.starts_with(ENCODED)
        && accepts_both(sole(headers, &ACCEPT)?)
        && is_json(sole(headers, &CONTENT_TYPE)?)
        && !headers.contains_key(&SESSION)
        && !call.continues();
    if !plain {
        return None;
    }
    let Some(Value::Object(meta)) = call.take_meta() else {
        return None;
    };
    let meta = RequestMetaObject(MetaObject(meta));
    if meta.protocol_version()?.as_str() != STATELESS || meta.0.0.contains_key("progressToken") {
        return None;
    }
    // What names a task or an approval is read in one place only.
    if meta.0.0.keys().any(|key| key.starts_with(OWN)) {
        return None;
    }
    // Who can be asked something may get a question for an answer, and who wants lines gets a stream.
    let capabilities = meta.client_capabilities()?;
    if !declared::offers(Some(&capabilities)).is_empty()
        || meta.0.0.contains_key("io.modelcontextprotocol/logLevel")
    {
        return None;
    }
    if lasts && has_jobs(Some(&capabilities)) {
        return None;
    }
    let parent = parent_of(|key| meta.0.0.get(key));
    Some((meta.client_info()?, parent))
}

/// The value of a header that stands there once.
fn sole<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Whether both forms of an answer are accepted, in so many words: weights, parameters and quoted
/// strings are left to `rmcp`.
fn accepts_both(accept: &str) -> bool {
    let lists = |wanted: &str| {
        accept
            .split(',')
            .any(|entry| entry.trim().eq_ignore_ascii_case(wanted))
    };
    !accept.contains([';', '"', '\\']) && lists("application/json") && lists("text/event-stream")
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type
        .split_once(';')
        .map_or(content_type, |(essence, _)| essence);
    essence.trim().eq_ignore_ascii_case("application/json")
}

#[derive(Serialize)]
struct Answer<'a> {
    jsonrpc: &'static str,
    id: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<CallToolResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorData>,
}

/// Passes the call to the host and writes its answer. When this is dropped, the call is cancelled, and
/// goes on to its recorded end by itself.
pub(super) async fn answer(
    shared: &Shared,
    end: &CancellationToken,
    arrival: Arrival,
    slot: Option<Arc<dyn Send + Sync>>,
    id: &RawValue,
) -> Response<Full<Bytes>> {
    let tool = arrival.tool.clone();
    let cancel = CancellationToken::new();
    let running = Running {
        call: Some(shared.backend.clone().call(arrival, cancel.clone())),
        cancel,
        calls: &shared.calls,
        slot,
    };
    let ended = tokio::select! {
        biased;
        reply = running => Some(shared.result(reply, &tool)),
        () = end.cancelled() => None,
    };
    let (status, result, error) = match ended {
        Some(Ok(result)) => (StatusCode::OK, Some(result), None),
        Some(Err(error)) if error.code == ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY => {
            (StatusCode::BAD_REQUEST, None, Some(error))
        }
        Some(Err(error)) => (StatusCode::OK, None, Some(error)),
        None => {
            let error = ErrorData::internal_error("the host ended before the call", None);
            (StatusCode::INTERNAL_SERVER_ERROR, None, Some(error))
        }
    };
    let answer = Answer {
        jsonrpc: "2.0",
        id,
        result,
        error,
    };
    // Text, numbers and maps with text for keys: nothing that can fail to be written.
    let body = serde_json::to_vec(&answer).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A call under way, within the request that asked for it.
struct Running<'a> {
    call: Option<Pin<Box<dyn Future<Output = Reply> + Send>>>,
    cancel: CancellationToken,
    calls: &'a TaskTracker,
    /// The request's place, which a call that goes on by itself takes along.
    slot: Option<Arc<dyn Send + Sync>>,
}

impl Future for Running<'_> {
    type Output = Reply;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Reply> {
        let Some(call) = &mut self.call else {
            return Poll::Pending;
        };
        let reply = ready!(call.as_mut().poll(context));
        self.call = None;
        Poll::Ready(reply)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Some(call) = self.call.take() else {
            return;
        };
        self.cancel.cancel();
        // A call that panicked has nowhere to go on; its entry is closed as it is dropped.
        if !std::thread::panicking()
            && let Ok(runtime) = Handle::try_current()
        {
            let slot = self.slot.take();
            let goes_on = async move {
                let _reply = call.await;
                drop(slot);
            };
            self.calls.spawn_on(goes_on, &runtime);
        }
    }
}
