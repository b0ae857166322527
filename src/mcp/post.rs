//! A message that was posted: read, given its place, and handed to the host or to `rmcp`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, HeaderName, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use rmcp::model::InitializeRequestParams;
use tokio_util::sync::CancellationToken;

use super::arrived::{self, Arrived};
use super::body::{self, Held};
use super::direct;
use super::envelope::{
    self, Fault, HEADER_MISMATCH, IN_USE, INVALID_PARAMS, INVALID_REQUEST, Kind, REQUESTS, STREAMS,
};
use super::http::{Http, Refused, crowded, refuse, rmcp};
use super::pending::NotTaken;
use super::session::CREATOR;
use crate::call::Arrival;
use crate::id::TaskId;
use crate::identity::{Authenticated, Principal};
use crate::limits::protocol::MESSAGE;

const TASK: HeaderName = HeaderName::from_static("tollgate-task");

/// The task that a request's head names, or its credential.
fn task_of(request: &Request, who: &Authenticated) -> Result<Option<TaskId>, Refused> {
    let mut named = request.headers().get_all(TASK).iter();
    let read = match (named.next(), named.next()) {
        (None, _) => return Ok(who.task),
        (Some(id), None) => id.to_str().ok().and_then(|text| text.parse().ok()),
        _ => None,
    };
    let read = read.filter(|named| who.task.is_none_or(|held| held == *named));
    read.map(Some).ok_or_else(|| {
        let fault = Fault::new(
            INVALID_REQUEST,
            "`Tollgate-Task` names no task, or another than the credential is for",
        );
        refuse(StatusCode::BAD_REQUEST, &fault).into()
    })
}

pub(super) async fn post(
    http: &Http,
    request: Request,
    who: Arc<Authenticated>,
    session: Option<&str>,
) -> Response {
    let task = match task_of(&request, &who) {
        Ok(task) => task,
        Err(response) => return *response,
    };
    let (mut parts, body) = request.into_parts();
    let text = match body::read(body, MESSAGE, http.body_time).await {
        Ok(text) => text,
        Err(response) => return *response,
    };
    let mut message = match envelope::read(&text) {
        Ok(message) => message,
        Err(fault) => return refuse(StatusCode::BAD_REQUEST, &fault),
    };
    // `rmcp` goes by the first, and whoever stands before this host may have gone by another.
    if parts
        .headers
        .get_all(direct::VERSION)
        .iter()
        .nth(1)
        .is_some()
    {
        let fault = message.fault(HEADER_MISMATCH, "more than one MCP-Protocol-Version header");
        return refuse(StatusCode::BAD_REQUEST, &fault);
    }
    let slot = match place_of(http, &message, session, &who) {
        Ok(slot) => slot,
        Err(response) => return *response,
    };
    let starts = matches!(message.kind, Kind::Request) && starts_session(&message, &parts.headers);
    let principal = who.principal();
    if starts && let Err(fault) = may_start(http, &message, &principal) {
        let status = if fault.code == INVALID_PARAMS {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        return refuse(status, &fault);
    }
    let (held, keep, lasts) = match &message.kind {
        Kind::Call(call) => {
            let tool = http.shared.backend.tool(&call.name);
            (
                Some(http.shared.calls.token()),
                tool.as_ref().is_some_and(|tool| tool.in_headers()),
                tool.is_some_and(|tool| tool.lasts.is_some()),
            )
        }
        _ => (None, false, false),
    };
    let arrived = Arrived {
        who,
        task,
        arguments: message.arguments(&text),
        slot,
        cancel: CancellationToken::new(),
    };
    if http.direct
        && !keep
        && let (Some(id), Kind::Call(call)) = (message.id(), &mut message.kind)
        && let Some((client, trace)) = direct::client_of(&parts.headers, call, lasts)
    {
        let tool = call.name.to_string();
        let arrival = Arrival {
            trace,
            ..http
                .shared
                .arrival(&arrived, tool, Some(&client), arrived.task)
        };
        let response = direct::answer(&http.shared, &http.end, arrival, arrived.slot, id).await;
        return response.map(|body| Body::new(Held::new(body, held)));
    }
    let rewritten = Bytes::from(message.rewritten(keep));
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, rewritten.len().into());
    parts.extensions.insert(arrived);
    let request = Request::from_parts(parts, Full::new(rewritten));
    let response = if starts {
        CREATOR.scope(principal, rmcp(http, request)).await
    } else {
        rmcp(http, request).await
    };
    match held {
        Some(_) => response.map(|body| Body::new(Held::new(body, held))),
        None => response.map(Body::new),
    }
}

/// The place of a request: its id within its session, and one of what its agent may have under way. A
/// subscription is one of its agent's streams instead, since it stays. Nobody waits for an answer to the rest.
fn place_of(
    http: &Http,
    message: &envelope::Message<'_>,
    session: Option<&str>,
    who: &Authenticated,
) -> Result<Option<Arc<dyn Send + Sync>>, Refused> {
    let id = match message.kind {
        Kind::Call(_) | Kind::Request => message.id_key(),
        Kind::Notification | Kind::Answer => return Ok(None),
    };
    let too_many = |whose, most, what| {
        let fault = Fault::too_many(whose, most, what).with_id(message.id());
        Box::new(crowded(http, who, &fault))
    };
    let listens = session.is_none() && message.method() == Some("subscriptions/listen");
    let (shares, what) = if listens {
        (&http.streams, STREAMS)
    } else {
        (&http.requests, REQUESTS)
    };
    let share = shares
        .take(&who.agent)
        .ok_or_else(|| too_many("this agent", shares.most(), what))?;
    let slot = match (session, id) {
        (Some(session), Some(id)) => {
            let slot = http.answering.take(session, id);
            Some(slot.map_err(|why| match why {
                NotTaken::Again => {
                    let fault = message.fault(INVALID_REQUEST, IN_USE);
                    Box::new(refuse(StatusCode::BAD_REQUEST, &fault))
                }
                NotTaken::Full => too_many("this session", http.answering.most(), REQUESTS),
            })?)
        }
        _ => None,
    };
    Ok(Some(Arc::new((share, slot))))
}

/// Whether it asks for a session of an older revision. The stateless one has no such method: what names that
/// revision and is no handshake either goes on, to be told so.
fn starts_session(message: &envelope::Message<'_>, headers: &HeaderMap) -> bool {
    let stateless = headers
        .get(direct::VERSION)
        .is_some_and(|version| version.as_bytes() >= arrived::STATELESS.as_bytes());
    message.method() == Some("initialize") && (!stateless || is_handshake(message))
}

fn is_handshake(message: &envelope::Message<'_>) -> bool {
    let params = message.params().map_or("null", |params| params.get());
    serde_json::from_str::<InitializeRequestParams>(params).is_ok()
}

fn may_start(http: &Http, message: &envelope::Message<'_>, who: &Principal) -> Result<(), Fault> {
    // Otherwise `rmcp` takes it for another method and asks for a session.
    if !is_handshake(message) {
        return Err(message.fault(INVALID_PARAMS, "malformed parameters"));
    }
    if !http.sessions.room(who) {
        return Err(message.fault(INVALID_REQUEST, "too many sessions; close one or wait"));
    }
    Ok(())
}
