//! Tasks and revocation, for administrators: what `tollgate task`, `revoke` and `lift` do, by the name of
//! the person who asks instead of the operator's.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::Value;

use super::Admin;
use super::door::{Administrator, Fault, Strict, document};
use crate::control::{revoking, tasks};
use crate::daemon::{ControlError, TaskOrder};
use crate::id::TaskId;
use crate::reason::Reason;

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/v1/tasks", get(list).post(start))
        .route("/v1/tasks/{id}", get(show))
        .route("/v1/tasks/{id}/end", post(end))
        .route("/v1/revoke", post(revoke))
        .route("/v1/lift", post(lift))
}

fn told(done: Result<Value, ControlError>) -> Result<Response, Fault> {
    done.map(|value| document(StatusCode::OK, &value))
        .map_err(|error| Fault::of_command(&error))
}

/// An id that can't be one is of a task that there is not.
fn id_of(text: &str) -> Result<TaskId, Fault> {
    text.parse().map_err(|_| {
        Fault::new(
            StatusCode::NOT_FOUND,
            Reason::TaskUnknown.code(),
            "there is no such task",
        )
    })
}

async fn list(
    State(admin): State<Arc<Admin>>,
    _: Administrator,
    uri: Uri,
) -> Result<Response, Fault> {
    let query = uri.query().unwrap_or_default();
    let (mut agent, mut all) = (None, false);
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (key.as_ref(), value.as_ref()) {
            ("agent", name) => agent = Some(name.to_owned()),
            ("which", "live") => all = false,
            ("which", "all") => all = true,
            _ => {
                return Err(Fault::new(
                    StatusCode::BAD_REQUEST,
                    Reason::ArgsUnknownProperty.code(),
                    "the query may have `agent` and `which`, `live` or `all`, and nothing else",
                ));
            }
        }
    }
    told(
        tasks::list(&admin.host, agent.as_deref(), all)
            .map(|tasks| serde_json::json!({ "tasks": tasks })),
    )
}

async fn start(
    State(admin): State<Arc<Admin>>,
    Administrator(person): Administrator,
    Strict(order): Strict<TaskOrder>,
) -> Result<Response, Fault> {
    told(tasks::start(&admin.host, order, person.person().as_str()).await)
}

async fn show(
    State(admin): State<Arc<Admin>>,
    _: Administrator,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    told(tasks::show(&admin.host, id_of(&id)?))
}

/// What is sent to end a task.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ending {
    #[serde(default)]
    why: Option<String>,
}

async fn end(
    State(admin): State<Arc<Admin>>,
    Administrator(person): Administrator,
    Path(id): Path<String>,
    Strict(Ending { why }): Strict<Ending>,
) -> Result<Response, Fault> {
    let by = person.person().as_str();
    told(tasks::end(&admin.host, id_of(&id)?, why, by).await)
}

/// What is sent to take power back, and to give it back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    kind: String,
    #[serde(default)]
    subject: String,
}

async fn revoke(
    State(admin): State<Arc<Admin>>,
    Administrator(person): Administrator,
    Strict(Scope { kind, subject }): Strict<Scope>,
) -> Result<Response, Fault> {
    let by = person.person().as_str();
    told(revoking::revoke(&admin.host, &kind, &subject, by).await)
}

async fn lift(
    State(admin): State<Arc<Admin>>,
    Administrator(person): Administrator,
    Strict(Scope { kind, subject }): Strict<Scope>,
) -> Result<Response, Fault> {
    let by = person.person().as_str();
    told(revoking::lift(&admin.host, &kind, &subject, by).await)
}
