//! What one session and one agent may have open at once, and for how long.

use std::time::Duration;

use axum::http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::super::{OLDER, Seen, request};
use super::{Server, answer, server, server_with, until};
use crate::mcp::HttpConfig;

/// A call that waits until it is let go.
fn waits(id: u64) -> Value {
    request(id, "tools/call", json!({"name": "t_wait"}))
}

/// The stream of an older session.
async fn stream(server: &Server, session: &str) -> Response<Incoming> {
    let heads = [("mcp-session-id", session), ("accept", "text/event-stream")];
    server.send("GET", &heads, "").await
}

/// A subscription of the newest revision.
async fn listen(server: &Server, token: &str) -> Response<Incoming> {
    let what = json!({"notifications": {"toolsListChanged": true}});
    server.modern(token, 1, "subscriptions/listen", what).await
}

/// Asserts that a response says that there is too much of something.
async fn assert_too_many(response: Response<Incoming>, id: Option<u64>) {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "1");
    let told = answer(response).await;
    assert_eq!(told["error"]["code"], -32000, "{told}");
    assert_eq!(told["error"]["data"]["code"], "limit.concurrency");
    assert_eq!(told["id"].as_u64(), id, "{told}");
}

#[tokio::test]
async fn a_session_has_so_many_requests_under_way_and_a_closed_stream_ends_none() {
    let mut server = server_with(HttpConfig {
        requests: 2,
        ..HttpConfig::default()
    })
    .await;
    let session = server.begin("token-a", OLDER[0]).await;
    let heads = [("mcp-session-id", session.as_str())];
    for id in [1, 2] {
        // Whoever reads no answer has its call under way all the same.
        drop(server.post(&heads, &waits(id)).await);
        assert!(matches!(
            server.seen.recv().await,
            Some(Seen::Started { .. })
        ));
    }
    assert_too_many(server.post(&heads, &waits(3)).await, Some(3)).await;
    assert_eq!(server.fake.crowded.lock().unwrap().len(), 1);
    // Another session of the same agent has its own.
    let other = server.begin("token-a", OLDER[0]).await;
    let ping = |id| request(id, "ping", json!({}));
    let response = server.post(&[("mcp-session-id", &other)], &ping(1)).await;
    assert_eq!(response.status(), StatusCode::OK);
    server.fake.release.notify_one();
    assert_eq!(server.seen.recv().await, Some(Seen::Ended("t_wait".into())));
    // Free once what carried it out is gone, which nothing tells.
    loop {
        match server.post(&heads, &ping(4)).await.status() {
            StatusCode::OK => break,
            StatusCode::TOO_MANY_REQUESTS => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    }
    let begun = server.fake.log.lock().unwrap().clone();
    let started = |seen: &&Seen| matches!(seen, Seen::Started { .. });
    assert_eq!(begun.iter().filter(started).count(), 2);
}

#[tokio::test]
async fn an_agent_has_so_many_requests_under_way_in_all() {
    let mut server = server_with(HttpConfig {
        requests_per_agent: 1,
        ..HttpConfig::default()
    })
    .await;
    let mut seen = std::mem::replace(&mut server.seen, mpsc::unbounded_channel().1);
    let call = server.modern("token-a", 1, "tools/call", json!({"name": "t_wait"}));
    let meanwhile = async {
        assert!(matches!(seen.recv().await, Some(Seen::Started { .. })));
        let list = server.modern("token-a", 2, "tools/list", json!({})).await;
        assert_too_many(list, Some(2)).await;
        // The same agent for a person is the same agent; another one is not.
        let list = server
            .modern("token-a-for-eve", 3, "tools/list", json!({}))
            .await;
        assert_too_many(list, Some(3)).await;
        let list = server.modern("token-b", 4, "tools/list", json!({})).await;
        assert_eq!(list.status(), StatusCode::OK);
        server.fake.release.notify_one();
    };
    let (response, ()) = tokio::join!(call, meanwhile);
    assert_eq!(answer(response).await["result"]["isError"], false);
    let list = server.modern("token-a", 5, "tools/list", json!({})).await;
    assert_eq!(list.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_agent_has_so_many_streams_of_both_eras() {
    let server = server_with(HttpConfig {
        streams_per_agent: 1,
        ..HttpConfig::default()
    })
    .await;
    let session = server.begin("token-a", OLDER[0]).await;
    let mut first = listen(&server, "token-a").await.into_body();
    until(&mut first, "acknowledged").await;
    assert_too_many(listen(&server, "token-a").await, Some(1)).await;
    assert_too_many(stream(&server, &session).await, None).await;
    assert_eq!(server.fake.crowded.lock().unwrap().len(), 2);
    // Who only asks is not kept from it, and another agent has its own.
    let list = server.modern("token-a", 2, "tools/list", json!({})).await;
    assert_eq!(list.status(), StatusCode::OK);
    assert_eq!(listen(&server, "token-b").await.status(), StatusCode::OK);
    // One that was closed makes room.
    drop(first);
    let older = loop {
        let older = stream(&server, &session).await;
        match older.status() {
            StatusCode::OK => break older,
            StatusCode::TOO_MANY_REQUESTS => tokio::task::yield_now().await,
            other => panic!("{other}"),
        }
    };
    assert_too_many(listen(&server, "token-a").await, Some(1)).await;
    drop(older);
}

#[tokio::test]
async fn a_stream_ends_with_its_credential_though_nothing_is_told() {
    let server = server().await;
    let session = server.begin("token-a", OLDER[0]).await;
    let mut newest = listen(&server, "token-a").await.into_body();
    until(&mut newest, "acknowledged").await;
    let older = stream(&server, &session).await;
    assert_eq!(older.status(), StatusCode::OK);
    let mut older = older.into_body();
    server.fake.ended.cancel();
    for body in [&mut newest, &mut older] {
        while body.frame().await.is_some_and(|frame| frame.is_ok()) {}
    }
}

#[tokio::test]
async fn who_asks_for_tokens_too_often_is_told_to_wait() {
    let server = server().await;
    let form = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
                &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
                &subject_token=token-a";
    let heads = [("content-type", "application/x-www-form-urlencoded")];
    let ask = async || server.send_to("/token", "POST", &heads, form).await;
    // This host makes none, but it was asked.
    assert_eq!(ask().await.status(), StatusCode::BAD_REQUEST);
    *server.fake.too_often.lock().unwrap() = Some(Duration::from_millis(2_500));
    let response = ask().await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "3");
    let told = answer(response).await;
    assert_eq!(told["error"], "temporarily_unavailable", "{told}");
    let what = told["error_description"].as_str().unwrap();
    assert!(what.starts_with("limit.rate: "), "{what}");
    assert_eq!(*server.fake.minted.lock().unwrap(), 1);
}
