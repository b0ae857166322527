//! Where clients learn how to get a token for this server (RFC 9728).
//!
//! Everything in it is the operator's word. Nothing that a client sends is ever fetched.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::response::Response;
use serde_json::json;

use super::backend::Metadata;

/// The document, for a server at the root of its host.
pub(super) const PATH: &str = "/.well-known/oauth-protected-resource";

/// The document, for a server at `/mcp`.
pub(super) const MCP_PATH: &str = "/.well-known/oauth-protected-resource/mcp";

/// The URL of the document for `resource`: its path goes behind the well-known one.
pub(super) fn url(resource: &str) -> String {
    let after_scheme = resource.find("://").map_or(0, |at| at.saturating_add(3));
    let (scheme, rest) = resource
        .split_at_checked(after_scheme)
        .unwrap_or(("", resource));
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = path.split('?').next().unwrap_or_default();
    match path {
        "" => format!("{scheme}{authority}{PATH}"),
        path => format!("{scheme}{authority}{PATH}/{path}"),
    }
}

pub(super) fn document(metadata: &Metadata) -> Response {
    let mut document = json!({
        "resource": metadata.resource,
        "authorization_servers": metadata.issuers,
        "bearer_methods_supported": ["header"],
        "resource_name": "Tollgate",
    });
    if let Some(members) = document.as_object_mut()
        && !metadata.scopes.is_empty()
    {
        members.insert("scopes_supported".to_owned(), json!(metadata.scopes));
    }
    let mut response = Response::new(Body::from(document.to_string()));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_server_goes_last() {
        for (resource, expected) in [
            (
                "https://tools.example/mcp",
                "https://tools.example/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://tools.example/",
                "https://tools.example/.well-known/oauth-protected-resource",
            ),
            (
                "http://[::1]:8787/a/mcp?x=1",
                "http://[::1]:8787/.well-known/oauth-protected-resource/a/mcp",
            ),
        ] {
            assert_eq!(url(resource), expected);
        }
    }
}
