//! What is known of a request beside what it asks: who sent it, on which task, by what client, in which trace.

use std::sync::Arc;

use axum::http::request::Parts;
use bytes::Bytes;
use rmcp::model::Implementation;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::id::TaskId;
use crate::identity::Authenticated;
use crate::telemetry::TraceParent;

/// The first revision without sessions. A later one may ask for more.
pub(super) const STATELESS: &str = "2026-07-28";

/// Whether it speaks the revision that has no sessions, and asks by its results.
pub(super) fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= STATELESS)
}

/// What the transport knows of a request, beside its text.
#[derive(Clone)]
pub(super) struct Arrived {
    pub(super) who: Arc<Authenticated>,
    /// The task that the transport named: a header, the credential, or the session's own.
    pub(super) task: Option<TaskId>,
    /// The text of a call's arguments.
    pub(super) arguments: Bytes,
    /// Keeps the request's id and its place taken until what carries it out is gone.
    pub(super) slot: Option<Arc<dyn Send + Sync>>,
    /// Cancelled once its client gave it up, where that is not left to `rmcp`.
    pub(super) cancel: CancellationToken,
}

/// Waits until the client of a request gives it up, or is gone.
pub(super) async fn given_up(context: &RequestContext<RoleServer>) {
    match arrived(context) {
        Ok(arrived) => tokio::select! {
            () = arrived.cancel.cancelled() => {}
            () = context.ct.cancelled() => {}
        },
        Err(_) => context.ct.cancelled().await,
    }
}

/// What the client calls itself: for the record, never for a decision.
pub(super) fn client_name(client: &Implementation) -> String {
    let shown =
        |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(64).collect() };
    format!("{} {}", shown(&client.name), shown(&client.version))
}

/// The trace that the client says a call is a part of, by members of `_meta`.
pub(super) fn parent_of<'a>(member: impl Fn(&str) -> Option<&'a Value>) -> Option<TraceParent> {
    let text = |key: &str| member(key).and_then(Value::as_str);
    TraceParent::read(text("traceparent")?, text("tracestate"))
}

/// A text that the client put into `_meta`. It names something; it never gives anything.
pub(super) fn named(context: &RequestContext<RoleServer>, key: &str) -> Option<String> {
    let text = context.meta.get(key)?.as_str()?;
    Some(text.chars().take(128).collect())
}

pub(super) fn arrived(context: &RequestContext<RoleServer>) -> Result<&Arrived, ErrorData> {
    context
        .extensions
        .get::<Parts>()
        .and_then(|parts| parts.extensions.get::<Arrived>())
        .or_else(|| context.extensions.get::<Arrived>())
        .ok_or_else(|| {
            tracing::error!("a request came without an agent");
            ErrorData::internal_error("no agent", None)
        })
}

/// The key of `_meta` that names a task.
const TASK: &str = "dev.tollgate/task";

/// The task that a request names, in `_meta` or by its transport. It selects among the agent's own
/// tasks, no more.
pub(super) fn task_of(
    arrived: &Arrived,
    context: &RequestContext<RoleServer>,
) -> Result<Option<TaskId>, ErrorData> {
    let wrong = |what: &'static str| ErrorData::invalid_params(what, None);
    let Some(named) = context.meta.0.get(TASK) else {
        return Ok(arrived.task);
    };
    let named: TaskId = named
        .as_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| wrong("`dev.tollgate/task` is no identifier of a task"))?;
    match arrived.task {
        Some(task) if task != named => Err(wrong("the request names two tasks")),
        _ => Ok(Some(named)),
    }
}
