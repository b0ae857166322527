//! Who may pass, and in what form: the head of each request, the person behind it, the body, and the
//! form of every error.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Admin;
use crate::daemon::ControlError;
use crate::host::Door;
use crate::identity::Approver;
use crate::json::{Arguments, Limits};
use crate::mcp::{Bearer, bearer};
use crate::reason::{Kind, Reason, Refusal};

/// Bytes of a request's body: an answer with its words is far smaller.
const BODY: usize = 64 << 10;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(10);

/// No script, nothing from elsewhere, in nobody's frame, and forms that go nowhere else.
const CSP: &str = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Looks at the head of every request, and dresses every answer.
pub(super) async fn admit(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let mut response = match admin.gate.admits(request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => {
            tracing::warn!(why, "refused a request to the admin listener by its head");
            Fault::new(StatusCode::FORBIDDEN, "request.head", why).into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (CONTENT_SECURITY_POLICY, CSP),
        // `no-referrer` would make browsers send `Origin: null` with our own forms.
        (REFERRER_POLICY, "same-origin"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The person whose credential came in the `Authorization` header. A cookie is never one: it belongs
/// to the pages, and with it a page elsewhere could ask in a person's name.
#[derive(Debug)]
pub struct Person(pub Approver);

impl FromRequestParts<Arc<Admin>> for Person {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Fault> {
        match bearer(&parts.headers) {
            Bearer::Token(token) => admin
                .host
                .person(token, Door::Admin)
                .map(Self)
                .map_err(|refusal| Fault::of(&refusal)),
            Bearer::Absent | Bearer::Malformed => Err(Fault::new(
                StatusCode::UNAUTHORIZED,
                Reason::IdentityUnknown.code(),
                "a person's credential is needed, as a bearer token",
            )),
        }
    }
}

/// The same for a person who may administer the host: who tasks, people and revocation ask for.
#[derive(Debug)]
pub struct Administrator(pub Approver);

impl FromRequestParts<Arc<Admin>> for Administrator {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Fault> {
        let Person(person) = Person::from_request_parts(parts, admin).await?;
        if admin.host.people().is_admin(person.person()) {
            Ok(Self(person))
        } else {
            Err(Fault::new(
                StatusCode::FORBIDDEN,
                "person.forbidden",
                "this person may not administer this host",
            ))
        }
    }
}

/// A JSON body, read strictly: an object, no key twice, nothing unknown.
#[derive(Debug)]
pub struct Strict<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<Admin>> for Strict<T> {
    type Rejection = Fault;

    async fn from_request(request: Request, _: &Arc<Admin>) -> Result<Self, Fault> {
        media(request.headers(), "application/json")?;
        let text = body(request.into_body()).await?;
        let limits = Limits {
            bytes: BODY,
            // What a task allows may be compared with values of some depth.
            depth: 32,
            nodes: 10_000,
        };
        let read = Arguments::parse(&text, &limits).map_err(|refusal| Fault::of(&refusal))?;
        serde_json::from_value(read.value().clone())
            .map(Self)
            .map_err(|error| {
                Fault::new(
                    StatusCode::BAD_REQUEST,
                    Reason::ArgsSchema.code(),
                    crate::journal::escape(&error.to_string()),
                )
            })
    }
}

/// Makes sure that the body says what it is; a form of another site can't send JSON without asking.
pub(super) fn media(headers: &HeaderMap, wanted: &str) -> Result<(), Fault> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let named = match (given.next(), given.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    };
    let is = named
        .and_then(|text| text.split(';').next())
        .is_some_and(|text| text.trim().eq_ignore_ascii_case(wanted));
    if is {
        return Ok(());
    }
    Err(Fault::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "request.media",
        format!("the body must be `{wanted}`"),
    ))
}

/// The whole body, bounded in size and time.
pub(super) async fn body(body: Body) -> Result<Bytes, Fault> {
    let read = Limited::new(body, BODY).collect();
    match tokio::time::timeout(BODY_TIME, read).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Fault::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Reason::ArgsTooLarge.code(),
            format!("a body has at most {BODY} bytes"),
        )),
        Ok(Err(_)) => Err(Fault::new(
            StatusCode::BAD_REQUEST,
            "request.body",
            "the body could not be read",
        )),
        Err(_) => Err(Fault::new(
            StatusCode::REQUEST_TIMEOUT,
            "request.body",
            "the body took too long",
        )),
    }
}

/// An error, as the API writes it: `{"error": {"code": …, "message": …}}`.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    code: Cow<'static, str>,
    message: String,
    detail: Option<String>,
}

impl Fault {
    /// An error with a stable, dotted code.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: Cow::Borrowed(code),
            message: message.into(),
            detail: None,
        }
    }

    /// Why a command was not done, which the socket and this API do alike.
    #[must_use]
    pub fn of_command(error: &ControlError) -> Self {
        let reason = Reason::ALL.iter().find(|r| r.code() == error.code);
        let status = match (reason, error.code.rsplit('.').next()) {
            (Some(reason), _) => Self::of(&Refusal::new(*reason, "")).status,
            (_, Some("unknown")) => StatusCode::NOT_FOUND,
            (_, Some("invalid" | "ambiguous")) => StatusCode::BAD_REQUEST,
            (_, Some("exists" | "over" | "elsewhere")) => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            status,
            code: Cow::Owned(error.code.clone()),
            message: error.message.clone(),
            // Hints name commands; here they would only puzzle.
            detail: None,
        }
    }

    /// A refusal of the host. People see its detail; but of an identity only what everyone may know.
    #[must_use]
    pub fn of(refusal: &Refusal) -> Self {
        let status = match (refusal.reason, refusal.reason.kind()) {
            (Reason::IdentityUnknown | Reason::TokenExpired | Reason::TokenInvalid, _) => {
                StatusCode::UNAUTHORIZED
            }
            (
                Reason::ApprovalUsed
                | Reason::ApprovalDenied
                | Reason::ApprovalExpired
                | Reason::ApprovalWithdrawn
                | Reason::RevokedApproval
                | Reason::TaskEnded
                | Reason::TaskExpired,
                _,
            ) => StatusCode::CONFLICT,
            (Reason::NameUnknown | Reason::TaskUnknown, _) => StatusCode::NOT_FOUND,
            (
                Reason::ArgsInvalid
                | Reason::ArgsDuplicateKey
                | Reason::ArgsNumber
                | Reason::ArgsUnknownProperty
                | Reason::ArgsSchema
                | Reason::ArgsRejected,
                _,
            ) => StatusCode::BAD_REQUEST,
            (Reason::ArgsTooDeep | Reason::ArgsTooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            (Reason::JournalUnavailable | Reason::HostDraining, _) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            (_, Kind::Refused | Kind::ApprovalRequired) => StatusCode::FORBIDDEN,
            (_, Kind::Limit) => StatusCode::TOO_MANY_REQUESTS,
            (_, Kind::Failed) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let identity = matches!(
            refusal.reason,
            Reason::IdentityUnknown | Reason::IdentityKind
        );
        Self {
            status,
            code: Cow::Borrowed(refusal.reason.code()),
            message: refusal.message.to_string(),
            detail: refusal.detail.clone().filter(|_| !identity),
        }
    }

    /// There is nothing here.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "request.unknown",
            format!("there is no {what} here"),
        )
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// For a page: what happened, and what the operator would want to know.
    pub(super) fn text(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.message),
            None => self.message.clone(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut error = json!({"code": self.code, "message": self.message});
        if let (Some(detail), Some(members)) = (&self.detail, error.as_object_mut()) {
            members.insert(String::from("detail"), detail.as_str().into());
        }
        let mut response = document(self.status, &json!({"error": error}));
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static(r#"Bearer realm="tollgate-admin""#);
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// A JSON document.
pub fn document(status: StatusCode, value: &serde_json::Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
