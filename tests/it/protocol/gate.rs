//! The head of a request, as a browser under an attacker's page sends it.

use serde_json::json;

use super::{Door, request, send};

/// M01. A name that was rebound to loopback: refused by its head, before a token or a body is looked at.
#[tokio::test]
pub(crate) async fn a_rebound_name_is_refused_before_the_body_is_read() {
    let _row = crate::attacks::stands_for("M01");
    let door = Door::open().await;
    let call = json!({"name": "probe_send", "arguments": send("rebound")});
    let evil = [
        "evil.example",
        "localhost.evil.example",
        "localhost@evil.example",
        "169.254.169.254",
    ];
    for host in evil {
        let port = door.address.port();
        for host in [host.to_owned(), format!("{host}:{port}")] {
            // With everything else as it should be, even the token.
            let answer = door
                .alice()
                .request_with(&[("host", host.as_str())], "tools/call", call.clone())
                .await
                .unwrap();
            assert_eq!(answer.status, 403, "{host}");
            for path in [
                "/mcp",
                "/token",
                "/healthz",
                "/.well-known/oauth-protected-resource",
            ] {
                let answer = door
                    .alice()
                    .send("POST", path, &[("host", host.as_str())], "garbage")
                    .await
                    .unwrap();
                assert_eq!(answer.status, 403, "{host} {path}");
            }
            // It is answered before a byte of the body that it announces.
            let head = format!(
                "POST /mcp HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"
            );
            let answer = door.raw(head.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 403"), "{host}: {answer}");
        }
    }
    // Two hosts in one head: which of them a proxy before this one took is anybody's guess.
    let port = door.address.port();
    for head in [
        format!("POST /mcp HTTP/1.1\r\nhost: localhost:{port}\r\nhost: evil.example\r\n\r\n"),
        format!("POST http://evil.example/mcp HTTP/1.1\r\nhost: localhost:{port}\r\n\r\n"),
        "POST /mcp HTTP/1.0\r\n\r\n".to_owned(),
    ] {
        let answer = door.raw(head.as_bytes()).await;
        let refused = answer
            .split(' ')
            .nth(1)
            .is_some_and(|status| status.starts_with('4'));
        assert!(refused, "{head}: {answer}");
        assert!(
            !answer.contains(" 401 "),
            "its token was not asked for: {answer}"
        );
    }
    door.assert_untouched().await;
    let good = door.alice().request("tools/call", call).await.unwrap();
    assert_eq!(good.status, 200, "{good:?}");
    assert_eq!(door.bench.upstream.ledger().await.len(), 1);
}

/// M02. A page of another origin, in every way in which a browser names it.
#[tokio::test]
pub(crate) async fn a_page_of_another_origin_is_refused() {
    let _row = crate::attacks::stands_for("M02");
    let config = tollgate::mcp::HttpConfig {
        origins: vec!["https://app.example".into(), "http://localhost:*".into()],
        ..tollgate::mcp::HttpConfig::default()
    };
    let door = Door::open_with("", config).await;
    let call = json!({"name": "probe_send", "arguments": send("crossed")});
    let session = door.session(&door.alice(), super::OLDER[0]).await;
    for origins in [
        &["https://evil.example"][..],
        &["null"],
        &["https://app.example.evil.example"],
        &["http://app.example"],
        &["https://app.example:444"],
        &["https://app.example/"],
        &["https://user@app.example"],
        &["app.example"],
        &["::"],
        &["https://"],
        &["https://app.example", "https://evil.example"],
        &["https://app.example", "https://app.example"],
        &["https://app.example, https://evil.example"],
    ] {
        let heads: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
        let newest = door
            .alice()
            .request_with(&heads, "tools/call", call.clone())
            .await
            .unwrap();
        assert_eq!(newest.status, 403, "{origins:?}");
        let older = session
            .post(&heads, &request(1, "tools/call", call.clone()))
            .await;
        assert_eq!(older.status, 403, "{origins:?}");
        for (method, path) in [
            ("GET", "/mcp"),
            ("DELETE", "/mcp"),
            ("OPTIONS", "/mcp"),
            ("POST", "/token"),
        ] {
            let answer = door.alice().send(method, path, &heads, "").await.unwrap();
            assert_eq!(answer.status, 403, "{method} {path} {origins:?}");
            // No page is told that it may ask.
            assert!(!answer.headers.contains_key("access-control-allow-origin"));
        }
    }
    door.assert_untouched().await;
    for origin in [
        "https://app.example",
        "https://APP.example:443",
        "http://localhost:3000",
    ] {
        let answer = door
            .alice()
            .request_with(&[("origin", origin)], "tools/list", json!({}))
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{origin}");
    }
}
