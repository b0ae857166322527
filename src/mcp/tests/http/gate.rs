//! The head of a request: who may ask, from where, and what there is to ask.

use axum::http::StatusCode;
use serde_json::json;

use super::super::{modern, request};
use super::server;

#[tokio::test]
async fn a_request_without_a_token_in_force_is_challenged() {
    let server = server().await;
    let list = request(1, "tools/list", modern(json!({})));
    for bearer in [
        "\0",
        "Bearer nobody",
        "Basic token-a",
        "Bearer",
        "Bearer token-a token-b",
    ] {
        let response = server.post(&[("authorization", bearer)], &list).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{bearer:?}");
        let challenge = response.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(challenge.starts_with("Bearer"), "{challenge}");
        assert!(!challenge.contains("resource_metadata"), "{challenge}");
    }
    let twice = [
        ("authorization", "Bearer token-a"),
        ("authorization", "Bearer token-b"),
    ];
    assert_eq!(
        server.post(&twice, &list).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(server.fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_from_elsewhere_is_refused_before_its_body_is_read() {
    let server = server().await;
    for heads in [
        &[("host", "evil.example")][..],
        &[("host", "localhost.evil.example")],
        &[("origin", "null")],
        &[("origin", "https://evil.example")],
        &[("origin", "http://localhost")],
        &[("origin", "http://a"), ("origin", "http://a")],
        &[("origin", "::")],
    ] {
        // Neither a token nor a body that could be read is needed to be told.
        let mut heads = heads.to_vec();
        heads.push(("authorization", "\0"));
        let response = server.send("POST", &heads, "garbage").await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{heads:?}");
    }
}

#[tokio::test]
async fn there_is_nothing_else_to_find() {
    let server = server().await;
    for path in [
        "/register",
        "/authorize",
        "/.well-known/oauth-authorization-server",
        "/",
        "/sse",
    ] {
        let response = server.send_to(path, "POST", &[], "{}").await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(
        server
            .send_to("/healthz", "GET", &[("authorization", "\0")], "")
            .await
            .status(),
        StatusCode::OK
    );
}
