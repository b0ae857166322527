//! `/token`: an agent makes narrower tokens of its own right (RFC 8693, token exchange).
//!
//! This is no authorization server: it registers nobody, redirects nobody, and what it gives is worth
//! less than what it was given. An agent needs it because a step token is made under the host's key,
//! which never leaves the host; everything else about a token can be narrowed offline.
//!
//! | parameter | what |
//! | --- | --- |
//! | `grant_type` | `urn:ietf:params:oauth:grant-type:token-exchange` |
//! | `subject_token`, `subject_token_type` | the agent's own token, `urn:ietf:params:oauth:token-type:access_token` |
//! | `scope` | `call:<plugin>.<tool>`: the one tool |
//! | `resource` | this server; may be left out |
//! | `arguments` | a JSON object: exactly these arguments |
//! | `constraints` | a JSON object: values of single arguments, by JSON pointer |
//! | `task` | the task |
//! | `handoff_to` | the agent to hand on to; a token for one step where it is left out |
//! | `lifetime` | seconds, if less than the most |
//!
//! The header `Tollgate-Handoff` goes with it where the agent acts on a hand-off itself.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::backend::{Backend, Credentials, Unauthorized};
use super::gate::handoff;
use super::http::later;
use crate::digest::Digest;
use crate::identity::{MintRequest, Narrowing, StepKind};
use crate::json::{self, Arguments};
use crate::limits::protocol::EXCHANGE;
use crate::reason::Reason;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const KNOWN: [&str; 12] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "scope",
    "resource",
    "arguments",
    "answers",
    "constraints",
    "task",
    "handoff_to",
    "lifetime",
];

/// Within which tokens are counted, so after which there are some again.
const MINUTE: Duration = Duration::from_secs(60);

/// What stands in the way.
struct Fault {
    status: StatusCode,
    /// What OAuth calls it.
    error: &'static str,
    what: String,
    /// When to come again, where that is known.
    wait: Option<Duration>,
}

impl Fault {
    fn new(status: StatusCode, error: &'static str, what: impl Into<String>) -> Self {
        Self {
            status,
            error,
            what: what.into(),
            wait: None,
        }
    }
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_request", what)
}

/// Answers a request for a token.
pub(super) async fn exchange(backend: &dyn Backend, headers: &HeaderMap, body: &[u8]) -> Response {
    let (status, answer, wait) = match granted(backend, headers, body).await {
        Ok(answer) => (StatusCode::OK, answer, None),
        Err(Fault {
            status,
            error,
            what,
            wait,
        }) => (
            status,
            json!({ "error": error, "error_description": what }),
            wait,
        ),
    };
    let mut response = Response::new(Body::from(answer.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    match wait {
        Some(wait) => later(response, wait),
        None => response,
    }
}

async fn granted(backend: &dyn Backend, headers: &HeaderMap, body: &[u8]) -> Result<Value, Fault> {
    let form = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| {
            kind.trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
    if !form {
        return Err(wrong("send a form (application/x-www-form-urlencoded)"));
    }
    let given = read(body)?;
    let text = |name: &str| given.get(name).map(String::as_str);
    if text("grant_type") != Some(GRANT) {
        return Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            format!("only `{GRANT}`"),
        ));
    }
    if text("subject_token_type") != Some(ACCESS_TOKEN) {
        return Err(wrong(format!("`subject_token_type` is `{ACCESS_TOKEN}`")));
    }
    let bearer = text("subject_token").ok_or_else(|| wrong("`subject_token` is missing"))?;
    let handoff = handoff(headers).map_err(|()| wrong("`Tollgate-Handoff` is no token"))?;
    let who = backend
        .authenticate(Credentials { bearer, handoff })
        .await
        .map_err(refused)?;
    // Making a token costs a signature and a record: it counts as any request of its agent.
    backend.admits(&who).map_err(|why| Fault {
        wait: Some(why.wait),
        ..Fault::new(
            StatusCode::TOO_MANY_REQUESTS,
            "temporarily_unavailable",
            format!("{}: {}", Reason::LimitRate, why.message),
        )
    })?;
    let ask = request(&given)?;
    let minted = backend.mint(&who, ask).await.map_err(|refusal| {
        let (status, error) = match refusal.reason {
            Reason::IdentityUnknown
            | Reason::TokenAudience
            | Reason::HandoffDepth
            | Reason::HandoffLoop => (StatusCode::BAD_REQUEST, "invalid_target"),
            Reason::HandoffWidens | Reason::TokenInvalid => {
                (StatusCode::BAD_REQUEST, "invalid_scope")
            }
            Reason::LimitTokens => (StatusCode::TOO_MANY_REQUESTS, "temporarily_unavailable"),
            // Not the asker's doing.
            Reason::JournalUnavailable | Reason::HostInternal => {
                (StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable")
            }
            _ => (StatusCode::BAD_REQUEST, "invalid_request"),
        };
        let what = format!("{}: {}", refusal.reason, refusal.message);
        Fault {
            // Tokens are counted by the minute.
            wait: (refusal.reason == Reason::LimitTokens).then_some(MINUTE),
            ..Fault::new(status, error, what)
        }
    })?;
    let (kind, token_type) = match minted.grant.kind {
        StepKind::Step => ("urn:tollgate:token-type:step", "Bearer"),
        // Worth nothing as a credential.
        StepKind::Handoff => ("urn:tollgate:token-type:handoff", "N_A"),
    };
    let mut answer = json!({
        "access_token": minted.token,
        "issued_token_type": kind,
        "token_type": token_type,
        "expires_in": minted.life.as_secs(),
    });
    if let (Some(members), Some(tool)) = (answer.as_object_mut(), &minted.grant.tool) {
        members.insert("scope".to_owned(), json!(format!("call:{tool}")));
    }
    Ok(answer)
}

fn refused(error: Unauthorized) -> Fault {
    match error {
        Unauthorized::Invalid(reason) => wrong(match reason {
            Some(reason) => format!("the credentials are not good: {reason}"),
            None => String::from("the credentials are not good"),
        }),
        Unauthorized::Scope(scope) => Fault::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!("the token lacks the scope `{scope}`"),
        ),
        Unauthorized::Unavailable => Fault::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "the token can't be verified now",
        ),
    }
}

fn read(body: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    let mut given = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(body) {
        // What is not understood is not silently left out: it may have been meant to narrow.
        if !KNOWN.contains(&name.as_ref()) {
            return Err(wrong("a parameter that is not known here"));
        }
        if given
            .insert(name.into_owned(), value.into_owned())
            .is_some()
        {
            return Err(wrong("a parameter stands twice"));
        }
    }
    Ok(given)
}

fn request(given: &BTreeMap<String, String>) -> Result<MintRequest, Fault> {
    let text = |name: &str| given.get(name).map(String::as_str);
    let mut ask = MintRequest::default();
    if let Some(scope) = text("scope") {
        let tool = scope
            .strip_prefix("call:")
            .and_then(|tool| tool.parse().ok());
        ask.tool = Some(tool.ok_or_else(|| {
            let what = "`scope` is `call:<plugin>.<tool>`, for one tool";
            Fault::new(StatusCode::BAD_REQUEST, "invalid_scope", what)
        })?);
    }
    if let Some(arguments) = text("arguments") {
        let arguments = Arguments::parse(arguments.as_bytes(), &EXCHANGE)
            .map_err(|refusal| wrong(format!("`arguments`: {}", refusal.message)))?;
        ask.narrowing.arguments = Some(arguments.digest());
    }
    if let Some(answers) = text("answers") {
        ask.answers = Some(digest_of(answers)?);
    }
    if let Some(constraints) = text("constraints") {
        ask.narrowing = Narrowing {
            values: values(constraints)?,
            ..ask.narrowing
        };
    }
    ask.audience = text("resource").map(str::to_owned);
    if let Some(task) = text("task") {
        ask.task = Some(task.parse().map_err(|_| wrong("`task` is no task's id"))?);
    }
    if let Some(to) = text("handoff_to") {
        ask.to = Some(to.parse().map_err(|_| {
            let what = "`handoff_to` is an agent";
            Fault::new(StatusCode::BAD_REQUEST, "invalid_target", what)
        })?);
    }
    if let Some(lifetime) = text("lifetime") {
        let seconds = lifetime.parse().ok().filter(|seconds| *seconds > 0);
        let seconds = seconds.ok_or_else(|| wrong("`lifetime` is a number of seconds"))?;
        ask.life = Some(Duration::from_secs(seconds));
    }
    Ok(ask)
}

/// The digest of a round's answers, by the questions' keys: of their canonical text, as of arguments.
fn digest_of(answers: &str) -> Result<Digest, Fault> {
    let answers = json::parse_any_number(answers.as_bytes(), &EXCHANGE)
        .map_err(|fault| wrong(format!("`answers`: {}", fault.message)))?;
    if !answers.is_object() {
        return Err(wrong("`answers` is a JSON object"));
    }
    Ok(Digest::of(json::canonical(&answers).as_bytes()))
}

fn values(text: &str) -> Result<Vec<(String, Value)>, Fault> {
    let all = json::parse(text.as_bytes(), &EXCHANGE)
        .map_err(|fault| wrong(format!("`constraints`: {}", fault.message)))?;
    let Value::Object(all) = all else {
        return Err(wrong("`constraints` is a JSON object"));
    };
    if all.keys().any(|pointer| !pointer.starts_with('/')) {
        return Err(wrong(
            "the names of `constraints` are JSON pointers, such as `/path`",
        ));
    }
    Ok(all.into_iter().collect())
}
