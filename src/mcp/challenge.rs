//! What a request hears whose credential is not believed.

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};

use super::backend::{Backend, Unauthorized};
use super::envelope::{Fault, INVALID_REQUEST};
use super::http::{Refused, refuse};
use super::metadata;

/// The answer to a credential that is not believed, with what RFC 6750 and RFC 9728 ask of it.
pub(super) fn challenge(backend: &dyn Backend, error: Option<&Unauthorized>) -> Refused {
    let mut challenge = String::from("Bearer realm=\"tollgate\"");
    if let Some(metadata) = backend.metadata() {
        let url = metadata::url(&metadata.resource);
        challenge.push_str(&format!(", resource_metadata=\"{url}\""));
    }
    let (status, message) = match error {
        None => (
            StatusCode::UNAUTHORIZED,
            "a bearer token of an agent is needed",
        ),
        Some(Unauthorized::Invalid(reason)) => {
            challenge.push_str(", error=\"invalid_token\"");
            if let Some(reason) = reason {
                challenge.push_str(&format!(", error_description=\"{reason}\""));
            }
            (
                StatusCode::UNAUTHORIZED,
                "a bearer token of an agent is needed",
            )
        }
        Some(Unauthorized::Scope(scope)) => {
            challenge.push_str(", error=\"insufficient_scope\"");
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
            if scope.chars().all(plain) {
                challenge.push_str(&format!(", scope=\"{scope}\""));
            }
            (StatusCode::FORBIDDEN, "the token lacks a scope")
        }
        Some(Unauthorized::Unavailable) => {
            let fault = Fault::new(INVALID_REQUEST, "the token can't be verified now");
            return refuse(StatusCode::SERVICE_UNAVAILABLE, &fault).into();
        }
    };
    let mut response = refuse(status, &Fault::new(INVALID_REQUEST, message));
    // Of plain letters by construction; a metadata URL is one, and reasons and scopes are looked at.
    if let Ok(value) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
    response.into()
}
