//! Approvals as they happen, as server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use super::Admin;
use super::door::{Fault, Person};
use crate::approval::{Approval, ApprovalEvent};
use crate::control::{ApprovalReport, Which, named};
use crate::digest::Digest;
use crate::identity::{PersonId, PersonToken};
use crate::mcp::{Bearer, bearer};

/// A line that says nothing, so that proxies keep the connection and a reader that is gone is noticed.
const QUIET: Duration = Duration::from_secs(15);

/// What one reader needs.
struct Watch {
    admin: Arc<Admin>,
    events: broadcast::Receiver<ApprovalEvent>,
    person: PersonId,
    credential: Digest,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn watch(
    State(admin): State<Arc<Admin>>,
    Person(person): Person,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let credential = match bearer(&headers) {
        Bearer::Token(token) => PersonToken::digest_of(token).ok(),
        _ => None,
    };
    let (Some(credential), Ok(place)) =
        (credential, Arc::clone(&admin.watchers).try_acquire_owned())
    else {
        return Err(Fault::new(
            StatusCode::TOO_MANY_REQUESTS,
            "request.watchers",
            "too many readers of events; close one",
        ));
    };
    // Before the list, so that nothing falls between the two; what is in both comes twice.
    let events = admin.host.approvals().events();
    let waiting = Which::Pending.of(&admin.host);
    // Each is written as it is sent: together they can be far more than one.
    let of = Arc::clone(&admin);
    let waiting = stream::iter(waiting).map(move |approval| event(&of, "asked", &approval));
    let watch = Watch {
        events,
        person: person.person().clone(),
        credential,
        _place: place,
        admin,
    };
    let body = waiting
        .chain(stream::unfold(Some(watch), next))
        .map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok(response)
}

async fn next(watch: Option<Watch>) -> Option<(Bytes, Option<Watch>)> {
    let mut watch = watch?;
    let draining = watch.admin.host.draining();
    let happened = tokio::select! {
        () = draining.cancelled() => return None,
        happened = tokio::time::timeout(QUIET, watch.events.recv()) => happened,
    };
    // Whoever was removed, or got another credential, sees no more.
    let people = watch.admin.host.people();
    people.confirm(&watch.person, &watch.credential).ok()?;
    match happened {
        Err(_) => Some((Bytes::from_static(b": quiet\n\n"), Some(watch))),
        Ok(Ok(happened)) => {
            let (name, approval) = named(&happened);
            Some((event(&watch.admin, name, approval), Some(watch)))
        }
        // It comes back and gets what waits then, which is what matters of what it missed.
        Ok(Err(RecvError::Lagged(_))) => {
            Some((Bytes::from_static(b"event: lagged\ndata: {}\n\n"), None))
        }
        Ok(Err(RecvError::Closed)) => None,
    }
}

fn event(admin: &Admin, name: &str, approval: &Approval) -> Bytes {
    let data = json!(ApprovalReport::of(approval, &admin.host));
    // JSON has no line end but as an escape, so the data is one line.
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
