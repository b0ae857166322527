//! MCP over HTTP: the gate, the agent, the strict reading, and then `rmcp`.
//!
//! The order is the point: a request that was not meant for this server, or of no known agent,
//! costs no reading of its body, and `rmcp` sees only what was read strictly. A plain call of the
//! stateless revision, of which `rmcp` would find nothing to say, goes to the host by itself (`direct`).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post as posted};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::backend::{Backend, Credentials, TooOften, Unauthorized};
use super::body;
use super::challenge::challenge;
use super::envelope::{Fault, INVALID_REQUEST, STREAMS};
use super::gate::{Bearer, Gate, GateError, HANDOFF, bearer, handoff};
use super::open::Open;
use super::post::post;
use super::server::{Handler, Shared};
use super::session::{Answering, Sessions};
use super::settings::HttpConfig;
use super::share::Shares;
use super::{metadata, token};
use crate::identity::{Authenticated, Principal};
use crate::limits::protocol::{EXCHANGE, MESSAGE};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");

/// Everything that a request needs.
pub(super) struct Http {
    gate: Gate,
    pub(super) shared: Arc<Shared>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) answering: Arc<Answering>,
    /// What each agent has under way, and of streams that stay.
    pub(super) requests: Arc<Shares>,
    pub(super) streams: Arc<Shares>,
    service: StreamableHttpService<Handler, Sessions>,
    /// Cancelled when what is still open ends.
    pub(super) end: CancellationToken,
    pub(super) body_time: Duration,
    /// Whether plain calls go to the host by themselves; the tests compare both ways.
    pub(super) direct: bool,
}

/// The routes: `/mcp`, `/token`, `/healthz`, `/readyz` and what RFC 9728 asks for. `/token` makes
/// narrower tokens of what an agent has; no route hands out rights or registers clients.
///
/// Cancelling `end` ends every stream and session that is still open.
///
/// # Errors
///
/// The configuration names a host or an origin that is none.
pub fn router(
    backend: Arc<dyn Backend>,
    config: &HttpConfig,
    end: CancellationToken,
) -> Result<Router, GateError> {
    let shared = Shared::new(backend, "http");
    routes(&shared, config, end)
}

pub(super) fn routes(
    shared: &Arc<Shared>,
    config: &HttpConfig,
    end: CancellationToken,
) -> Result<Router, GateError> {
    routes_with(shared, config, end, true)
}

pub(super) fn routes_with(
    shared: &Arc<Shared>,
    config: &HttpConfig,
    end: CancellationToken,
    direct: bool,
) -> Result<Router, GateError> {
    let gate = Gate::new(&config.hosts, &config.origins)?;
    let sessions = Arc::new(Sessions::new(config.sessions, config.sessions_per_agent));
    let handlers = shared.clone();
    let ending = end.clone();
    let service = StreamableHttpService::new(
        // Runs for each request of the stateless revision.
        move || Ok(Handler::new(handlers.clone(), ending.clone())),
        sessions.clone(),
        StreamableHttpServerConfig::default()
            // One JSON answer where nothing else was sent; a stream otherwise.
            .with_json_response(true)
            .with_max_request_body_bytes(MESSAGE + 4_096)
            // The gate has checked both already; a second lock costs nothing.
            .with_allowed_hosts(config.hosts.clone())
            .with_allowed_origins(gate.origins())
            .enforce_origin_validation()
            .with_cancellation_token(end.clone()),
    );
    let http = Arc::new(Http {
        gate,
        shared: shared.clone(),
        sessions,
        answering: Arc::new(Answering::new(config.requests)),
        requests: Arc::new(Shares::new(config.requests_per_agent)),
        streams: Arc::new(Shares::new(config.streams_per_agent)),
        service,
        end,
        body_time: config.body_time,
        direct,
    });
    Ok(Router::new()
        .route("/token", posted(token))
        .route(metadata::PATH, get(resource_metadata))
        .route(metadata::MCP_PATH, get(resource_metadata))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .layer(from_fn_with_state(http.clone(), admit))
        // Behind the layer, and through the same gate by itself: a layer costs each call three boxes.
        .route("/mcp", any(mcp))
        .with_state(http))
}

/// Whether this host can be sent work. That it answers at all is `/healthz`.
async fn ready(State(http): State<Arc<Http>>) -> (StatusCode, String) {
    match http.shared.backend.ready() {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

async fn admit(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    match admitted(&http, &request) {
        Ok(()) => next.run(request).await,
        Err(response) => *response,
    }
}

fn admitted(http: &Http, request: &Request) -> Result<(), Refused> {
    http.gate
        .admits(request.uri(), request.headers())
        .map_err(|why| {
            tracing::warn!(why, "refused a request by its head");
            refuse(StatusCode::FORBIDDEN, &Fault::new(INVALID_REQUEST, why)).into()
        })
}

pub(super) fn refuse(status: StatusCode, fault: &Fault) -> Response {
    let mut response = Response::new(Body::from(fault.to_json()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response in place of going on; boxed, since it is large and rare.
pub(super) type Refused = Box<Response>;

async fn authenticate(http: &Http, headers: &HeaderMap) -> Result<Authenticated, Refused> {
    let malformed = Unauthorized::Invalid(None);
    let bearer = match bearer(headers) {
        Bearer::Absent => return Err(challenge(&*http.shared.backend, None)),
        Bearer::Malformed => return Err(challenge(&*http.shared.backend, Some(&malformed))),
        Bearer::Token(token) => token,
    };
    let handoff =
        handoff(headers).map_err(|()| challenge(&*http.shared.backend, Some(&malformed)))?;
    http.shared
        .backend
        .authenticate(Credentials { bearer, handoff })
        .await
        .map_err(|error| challenge(&*http.shared.backend, Some(&error)))
}

async fn mcp(State(http): State<Arc<Http>>, mut request: Request) -> Response {
    if let Err(response) = admitted(&http, &request) {
        return *response;
    }
    let who = match authenticate(&http, request.headers()).await {
        Ok(who) => Arc::new(who),
        Err(response) => return *response,
    };
    if let Err(why) = http.shared.backend.admits(&who) {
        return too_often(&why);
    }
    // From here on nothing needs the tokens, and what has none can't log or leak them.
    request.headers_mut().remove(AUTHORIZATION);
    request.headers_mut().remove(HANDOFF);
    let session = match session_of(&http, &request, &who.principal()) {
        Ok(session) => session,
        Err(response) => return *response,
    };
    match *request.method() {
        Method::POST => post(&http, request, who, session.as_deref()).await,
        Method::GET => stream(&http, request, who).await,
        Method::DELETE => {
            let mut response = rmcp(&http, bare(request)).await.map(Body::new);
            // The session has ended, and is not about to: the official Python client warns of anything else.
            if response.status() == StatusCode::ACCEPTED {
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            response
        }
        _ => rmcp(&http, bare(request)).await.map(Body::new),
    }
}

/// A request without its body.
fn bare(request: Request) -> http::Request<Full<Bytes>> {
    request.map(|_| Full::new(Bytes::new()))
}

/// The stream of an older session, on which it is told of changes.
async fn stream(http: &Http, request: Request, who: Arc<Authenticated>) -> Response {
    let Some(share) = http.streams.take(&who.agent) else {
        let fault = Fault::too_many("this agent", http.streams.most(), STREAMS);
        return crowded(http, &who, &fault);
    };
    let response = rmcp(http, bare(request)).await;
    if !response.status().is_success() {
        return response.map(Body::new);
    }
    let ends = http.shared.backend.clone().ends(who);
    response.map(|body| Body::new(Open::new(body, ends, share)))
}

/// The answer to who asks too often, before anything of its request is read.
fn too_often(why: &TooOften) -> Response {
    let response = refuse(StatusCode::TOO_MANY_REQUESTS, &Fault::too_often(why));
    later(response, why.wait)
}

/// The answer to who has too much open already.
pub(super) fn crowded(http: &Http, who: &Authenticated, fault: &Fault) -> Response {
    http.shared.backend.crowded(who, &fault.message);
    // It depends on what the agent itself has open, so there is no better word.
    later(refuse(StatusCode::TOO_MANY_REQUESTS, fault), Duration::ZERO)
}

/// The response, with when to come again: in whole seconds, and never too early.
pub(super) fn later(mut response: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs().saturating_add(1);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

async fn token(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match body::read(body, EXCHANGE.bytes, http.body_time).await {
        Ok(text) => token::exchange(&*http.shared.backend, &parts.headers, &text).await,
        Err(response) => *response,
    }
}

async fn resource_metadata(State(http): State<Arc<Http>>) -> Response {
    match http.shared.backend.metadata() {
        Some(found) => metadata::document(&found),
        None => {
            let fault = Fault::new(INVALID_REQUEST, "no issuer of tokens is configured");
            refuse(StatusCode::NOT_FOUND, &fault)
        }
    }
}

/// The session that a request names. One of someone else does not exist for this one.
fn session_of(http: &Http, request: &Request, who: &Principal) -> Result<Option<String>, Refused> {
    let mut named = request.headers().get_all(SESSION).iter();
    let Some(id) = named.next() else {
        return Ok(None);
    };
    match (id.to_str(), named.next()) {
        (Ok(id), None) if http.sessions.owned(id, who) => Ok(Some(id.to_owned())),
        (_, Some(_)) => Err(refuse(
            StatusCode::BAD_REQUEST,
            &Fault::new(INVALID_REQUEST, "more than one session"),
        )
        .into()),
        _ => Err(refuse(
            StatusCode::NOT_FOUND,
            &Fault::new(INVALID_REQUEST, "no such session"),
        )
        .into()),
    }
}

/// Boxed: what `rmcp` keeps while it answers takes kilobytes, which every plain call would carry along.
pub(super) fn rmcp(
    http: &Http,
    request: http::Request<Full<Bytes>>,
) -> BoxFuture<'_, http::Response<BoxBody<Bytes, Infallible>>> {
    Box::pin(http.service.handle(request))
}
