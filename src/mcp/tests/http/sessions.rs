//! Sessions and streams: whose they are, what ends them, what goes over them.

use axum::http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::super::{OLDER, Seen, initialize, modern, request};
use super::{all, answer, server, server_with, until};
use crate::mcp::HttpConfig;

#[tokio::test]
async fn a_session_is_nobody_elses() {
    let server = server_with(HttpConfig {
        sessions_per_agent: 2,
        ..HttpConfig::default()
    })
    .await;
    let session = server.begin("token-a", OLDER[0]).await;
    let list = request(1, "tools/list", json!({}));
    let bob = [
        ("authorization", "Bearer token-b"),
        ("mcp-session-id", session.as_str()),
    ];
    assert_eq!(
        server.post(&bob, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    for method in ["GET", "DELETE"] {
        assert_eq!(
            server.send(method, &bob, "").await.status(),
            StatusCode::NOT_FOUND,
            "{method}"
        );
    }
    let guessed = [("mcp-session-id", "00000000-0000-0000-0000-000000000000")];
    assert_eq!(
        server.post(&guessed, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    let own = [("mcp-session-id", session.as_str())];
    assert_eq!(server.post(&own, &list).await.status(), StatusCode::OK);

    let _second = server.begin("token-a", OLDER[0]).await;
    let full = server.post(&[], &initialize(OLDER[0])).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    // One agent's sessions take no place from another.
    let _other = server.begin("token-b", OLDER[0]).await;
    assert_eq!(
        server.send("DELETE", &own, "").await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        server.post(&own, &list).await.status(),
        StatusCode::NOT_FOUND
    );
    let _third = server.begin("token-a", OLDER[0]).await;
}

#[tokio::test]
async fn a_closed_stream_cancels_in_the_newest_revision() {
    let mut server = server().await;
    let params = modern(json!({"name": "t_wait"}));
    let call = request(1, "tools/call", params).to_string();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer token-a\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: t_wait\r\ncontent-length: {}\r\n\r\n{call}",
        call.len()
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .unwrap();
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    drop(stream);
    assert_eq!(
        server.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    // The host is waited for, so that it records the outcome.
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}

#[tokio::test]
async fn an_older_session_is_cancelled_by_a_notification_and_not_by_a_closed_stream() {
    let mut server = server().await;
    let session = server.begin("token-a", OLDER[0]).await;
    let heads = [("mcp-session-id", session.as_str())];
    let call = |id| request(id, "tools/call", json!({"name": "t_wait"}));
    let response = server.post(&heads, &call(5)).await;
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    // One id, one effect.
    assert_eq!(
        server.post(&heads, &call(5)).await.status(),
        StatusCode::BAD_REQUEST
    );
    drop(response);
    server.fake.release.notify_one();
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));

    let _response = server.post(&heads, &call(6)).await;
    assert!(matches!(
        server.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    let cancel =
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 6}});
    assert_eq!(
        server.post(&heads, &cancel).await.status(),
        StatusCode::ACCEPTED
    );
    assert_eq!(
        server.seen.recv().await,
        Some(Seen::Cancelled("t_wait".into()))
    );
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));
}

#[tokio::test]
async fn progress_goes_only_to_who_asked_and_only_forward() {
    let server = server().await;
    let asked = json!({"name": "t_progress", "_meta": {"progressToken": "p"}});
    let told = all(server.modern("token-a", 1, "tools/call", asked).await).await;
    let values: Vec<_> = told
        .iter()
        .filter(|message| message["method"] == "notifications/progress")
        .map(|message| message["params"]["progress"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    assert!(told.last().unwrap()["result"].is_object());
    let told = all(server
        .modern("token-a", 1, "tools/call", json!({"name": "t_progress"}))
        .await)
    .await;
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn both_eras_are_told_of_changed_tools() {
    let server = server().await;
    let listen = json!({"notifications": {"toolsListChanged": true}});
    let mut newest = server
        .modern("token-a", 1, "subscriptions/listen", listen)
        .await
        .into_body();
    until(&mut newest, "acknowledged").await;
    let session = server.begin("token-a", OLDER[0]).await;
    let get = server
        .send(
            "GET",
            &[
                ("mcp-session-id", session.as_str()),
                ("accept", "text/event-stream"),
            ],
            "",
        )
        .await;
    assert_eq!(get.status(), StatusCode::OK);
    let mut older = get.into_body();
    // The watch of an older session begins with its `initialized`, which is handled concurrently.
    let told = async {
        loop {
            server.fake.change();
            tokio::select! {
                told = until(&mut older, "tools/list_changed") => break told,
                () = tokio::task::yield_now() => {}
            }
        }
    };
    told.await;
    until(&mut newest, "tools/list_changed").await;
    // The end of the host is the end of what streams.
    server.fake.draining.cancel();
    while newest.frame().await.is_some_and(|frame| frame.is_ok()) {}
    server.task.await.unwrap();
}

#[tokio::test]
async fn draining_answers_what_is_under_way() {
    let mut server = server().await;
    assert_eq!(
        server.send_to("/readyz", "GET", &[], "").await.status(),
        StatusCode::OK
    );
    let (fake, address) = (server.fake.clone(), server.address);
    let mut seen = std::mem::replace(&mut server.seen, mpsc::unbounded_channel().1);
    let call = server.modern("token-a", 1, "tools/call", json!({"name": "t_wait"}));
    let drained = async {
        assert!(matches!(seen.recv().await, Some(Seen::Started { .. })));
        fake.draining.cancel();
        // Nothing new is taken: the listener goes before the call ends.
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        fake.release.notify_one();
    };
    let (response, ()) = tokio::join!(call, drained);
    assert_eq!(answer(response).await["result"]["isError"], false);
    server.task.await.unwrap();
}
