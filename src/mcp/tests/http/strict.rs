//! Messages that are not what they should be.

use axum::http::StatusCode;
use serde_json::json;

use super::super::{OLDER, modern, request};
use super::{answer, server};

#[tokio::test]
async fn malformed_messages_get_typed_errors() {
    let server = server().await;
    for (text, code) in [
        ("garbage", -32700),
        ("[]", -32600),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":1,"method":"tools/list"}"#,
            -32600,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            -32602,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#,
            -32602,
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#, -32602),
    ] {
        let response = server.send("POST", &[], text).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{text}");
        assert_eq!(answer(response).await["error"]["code"], code, "{text}");
    }
    let session = server.begin("token-a", OLDER[0]).await;
    let heads = [("mcp-session-id", session.as_str())];
    for (method, code) in [("tools/list", -32602), ("no/such", -32601)] {
        let message = request(7, method, json!({"cursor": 5}));
        let told = answer(server.post(&heads, &message).await).await;
        assert_eq!(told["error"]["code"], code, "{method}");
    }
    let large = vec![b' '; crate::mcp::MAX_MESSAGE + 1];
    let response = server.send("POST", &[], large).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(server.fake.log.lock().unwrap().is_empty());
}

#[tokio::test]
async fn headers_must_agree_with_the_body() {
    let server = server().await;
    let call = request(1, "tools/call", modern(json!({"name": "t_echo"})));
    let heads = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t_safe"),
    ];
    let response = server.post(&heads, &call).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(answer(response).await["error"]["code"], -32020);

    let call = request(
        1,
        "tools/call",
        modern(json!({"name": "t_header", "arguments": {"region": "eu"}})),
    );
    let mut heads = vec![
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "t_header"),
        ("mcp-param-region", "us"),
    ];
    assert_eq!(
        server.post(&heads, &call).await.status(),
        StatusCode::BAD_REQUEST
    );
    heads[3].1 = "eu";
    assert_eq!(server.post(&heads, &call).await.status(), StatusCode::OK);
}
