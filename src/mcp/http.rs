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
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER,
    TRANSFER_ENCODING,
};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{any, get, post as posted};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::Full;
use http_body_util::combinators::BoxBody;
use rmcp::model::InitializeRequestParams;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use tokio_util::sync::CancellationToken;

use super::arrived::{self, Arrived};
use super::backend::{Backend, Credentials, TooOften, Unauthorized};
use super::body::{self, Held};
use super::challenge::challenge;
use super::direct;
use super::envelope::{self, Fault, HEADER_MISMATCH, INVALID_PARAMS, INVALID_REQUEST, Kind};
use super::gate::{Bearer, Gate, GateError, HANDOFF, bearer, handoff};
use super::server::{Handler, Shared};
use super::session::{Answering, CREATOR, Sessions};
use super::{metadata, token};
use crate::call::Arrival;
use crate::id::TaskId;
use crate::identity::{Authenticated, Principal};

pub(super) const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const TASK: HeaderName = HeaderName::from_static("tollgate-task");

/// How MCP is served over HTTP.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Hosts that requests may be sent to: a name or address, with `:<port>` where only one will do.
    pub hosts: Vec<String>,
    /// Origins of web pages that may ask, `<scheme>://<host>`, with `:<port>` or `:*`.
    pub origins: Vec<String>,
    /// Connections at once.
    pub connections: usize,
    /// Sessions of older revisions at once.
    pub sessions: usize,
    /// Of these, sessions of one agent.
    pub sessions_per_agent: usize,
    /// How long the head of a request may take, and an idle connection stay open.
    pub head_time: Duration,
    /// How long the body of a request may take.
    pub body_time: Duration,
    /// How long calls under way may take to end once the host is ending.
    pub drain: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            hosts: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into(),
            // A web page has no business here unless the operator says so.
            origins: Vec::new(),
            // Each may hold a message of 4 MiB: 1 GiB at the very worst, all of it from agents with a token.
            connections: 256,
            sessions: 1_024,
            // One agent's clients restart, and each leaves a session behind for five minutes.
            sessions_per_agent: 128,
            head_time: Duration::from_secs(30),
            // 4 MiB at the speed of a bad line.
            body_time: Duration::from_secs(30),
            // A call's own limit, and a little to write its reply.
            drain: Duration::from_secs(35),
        }
    }
}

/// Everything that a request needs.
struct Http {
    gate: Gate,
    shared: Arc<Shared>,
    sessions: Arc<Sessions>,
    answering: Arc<Answering>,
    service: StreamableHttpService<Handler, Sessions>,
    /// Cancelled when what is still open ends.
    end: CancellationToken,
    body_time: Duration,
    /// Whether plain calls go to the host by themselves; the tests compare both ways.
    direct: bool,
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
            .with_max_request_body_bytes(super::MAX_MESSAGE + 4_096)
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
        answering: Arc::default(),
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
    if request.method() == Method::POST {
        post(&http, request, who, session.as_deref()).await
    } else {
        let (parts, _) = request.into_parts();
        let ends = parts.method == Method::DELETE;
        let bare = Request::from_parts(parts, Full::new(Bytes::new()));
        let mut response = rmcp(&http, bare).await.map(Body::new);
        // The session has ended, and is not about to: the official Python client warns of anything else.
        if ends && response.status() == StatusCode::ACCEPTED {
            *response.status_mut() = StatusCode::NO_CONTENT;
        }
        response
    }
}

/// The answer to who asks too often, before anything of its request is read.
fn too_often(why: &TooOften) -> Response {
    let mut response = refuse(StatusCode::TOO_MANY_REQUESTS, &Fault::too_often(why));
    // In whole seconds, and never too early.
    let seconds = why.wait.as_secs().saturating_add(1);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

async fn token(State(http): State<Arc<Http>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    match body::read(body, token::MAX_BODY, http.body_time).await {
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

async fn post(
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
    let text = match body::read(body, super::MAX_MESSAGE, http.body_time).await {
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
    let slot = match (session, message.id_key()) {
        (Some(session), Some(id)) if !matches!(message.kind, Kind::Answer) => {
            let Some(slot) = http.answering.take(session, id) else {
                return refuse(
                    StatusCode::BAD_REQUEST,
                    &message.fault(INVALID_REQUEST, "a request of this id is being answered"),
                );
            };
            Some(Arc::new(slot) as Arc<dyn Send + Sync>)
        }
        _ => None,
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
        _slot: slot,
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
        let response = direct::answer(&http.shared, &http.end, arrival, id).await;
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

/// Boxed: what `rmcp` keeps while it answers takes kilobytes, which every plain call would carry along.
fn rmcp(
    http: &Http,
    request: http::Request<Full<Bytes>>,
) -> BoxFuture<'_, http::Response<BoxBody<Bytes, Infallible>>> {
    Box::pin(http.service.handle(request))
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
