//! The services of the API; `mod.rs` documents them.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::door::{Fault, Person, Strict, document};
use super::{Admin, watch};
use crate::approval::Approval;
use crate::control::{ApprovalReport, Which, approve, deny};
use crate::reason::Reason;

pub(super) fn routes() -> Router<Arc<Admin>> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/v1/me", get(me))
        .route("/v1/approvals", get(list))
        .route("/v1/approvals/watch", get(watch::watch))
        .route("/v1/approvals/{id}", get(show))
        .route("/v1/approvals/{id}/answer", post(answer))
}

async fn me(State(admin): State<Arc<Admin>>, Person(person): Person) -> Response {
    let is_admin = admin.host.people().is_admin(person.person());
    document(
        StatusCode::OK,
        &json!({"person": person.person(), "admin": is_admin}),
    )
}

async fn list(State(admin): State<Arc<Admin>>, _: Person, uri: Uri) -> Result<Response, Fault> {
    let query = uri.query().unwrap_or_default();
    let mut which = Which::default();
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        which = match (key.as_ref(), value.as_ref()) {
            ("which", "pending") => Which::Pending,
            ("which", "all") => Which::All,
            _ => {
                return Err(Fault::new(
                    StatusCode::BAD_REQUEST,
                    Reason::ArgsUnknownProperty.code(),
                    "the query may have `which`, `pending` or `all`, and nothing else",
                ));
            }
        };
    }
    let all: Vec<_> = which
        .of(&admin.host)
        .iter()
        .map(|approval| ApprovalReport::of(approval, &admin.host))
        .collect();
    Ok(document(StatusCode::OK, &json!({"approvals": all})))
}

async fn show(
    State(admin): State<Arc<Admin>>,
    _: Person,
    Path(id): Path<String>,
) -> Result<Response, Fault> {
    let approval = found(&admin, &id)?;
    Ok(shown(&admin, &approval))
}

/// What is sent to answer an approval.
#[derive(Debug, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase", deny_unknown_fields)]
enum Given {
    Approve {
        #[serde(default)]
        standing: Option<String>,
    },
    Deny {
        #[serde(default)]
        why: Option<String>,
    },
}

async fn answer(
    State(admin): State<Arc<Admin>>,
    Person(person): Person,
    Path(id): Path<String>,
    Strict(given): Strict<Given>,
) -> Result<Response, Fault> {
    let id = found(&admin, &id)?.id;
    let given = match given {
        Given::Approve { standing: None } => approve(None),
        Given::Approve {
            standing: Some(text),
        } => {
            let lifetime = crate::clock::lifetime(&text).map_err(|message| {
                Fault::new(
                    StatusCode::BAD_REQUEST,
                    Reason::ArgsSchema.code(),
                    format!("`standing`: {message}"),
                )
            })?;
            approve(Some(lifetime.as_secs()))
        }
        Given::Deny { why } => deny(why),
    };
    let answered = admin
        .host
        .approvals()
        .answer(id, &person, given)
        .await
        .map_err(|refusal| Fault::of(&refusal))?;
    Ok(shown(&admin, &answered))
}

fn shown(admin: &Admin, approval: &Approval) -> Response {
    document(
        StatusCode::OK,
        &json!(ApprovalReport::of(approval, &admin.host)),
    )
}

/// The approval of that id. One that can't be an id is of an approval that there is not.
pub(super) fn found(admin: &Admin, id: &str) -> Result<Arc<Approval>, Fault> {
    id.parse()
        .ok()
        .and_then(|id| admin.host.approvals().get(id))
        .ok_or_else(|| {
            Fault::new(
                StatusCode::NOT_FOUND,
                "approval.unknown",
                "there is no such approval",
            )
        })
}
