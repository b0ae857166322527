//! What a server owes: each error by its code, an end to how often one may ask, and a word on how it is.

use std::time::Instant;

use serde_json::{Value, json};
use tollgate::reason::Reason;

use super::{Door, NEWEST, OLDER, error, hello, request, until};

/// Every code of the newest revision that a server without further capabilities can give, with its status.
#[tokio::test]
async fn every_error_has_its_code_and_its_status() {
    let door = Door::open().await;
    let alice = door.alice();
    let good = [
        ("mcp-protocol-version", NEWEST),
        ("mcp-method", "tools/list"),
    ];
    let meta = |version: &str| {
        json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        })
    };
    let list = |meta: Value| request(1, "tools/list", json!({"_meta": meta})).to_string();
    let other = [
        ("mcp-protocol-version", "2031-01-01"),
        ("mcp-method", "tools/list"),
    ];
    let no_such = [("mcp-protocol-version", NEWEST), ("mcp-method", "no/such")];
    let gone = [
        ("mcp-protocol-version", NEWEST),
        ("mcp-method", "logging/setLevel"),
    ];
    let call = [
        ("mcp-protocol-version", NEWEST),
        ("mcp-method", "tools/call"),
        ("mcp-name", "probe_none"),
    ];
    let without = json!({"io.modelcontextprotocol/protocolVersion": NEWEST});
    for (heads, body, status, code) in [
        (&good[..], "{".to_owned(), 400, -32700),
        (&good, "[]".to_owned(), 400, -32600),
        (&good, list(without), 400, -32602),
        (
            &good,
            request(1, "tools/list", json!({})).to_string(),
            400,
            -32602,
        ),
        (&good[1..], list(meta(NEWEST)), 400, -32020),
        (&other, list(meta("2031-01-01")), 400, -32022),
        (&other, list(meta(NEWEST)), 400, -32020),
        (
            &no_such,
            request(1, "no/such", json!({"_meta": meta(NEWEST)})).to_string(),
            404,
            -32601,
        ),
        (
            &gone,
            request(
                1,
                "logging/setLevel",
                json!({"_meta": meta(NEWEST), "level": "info"}),
            )
            .to_string(),
            404,
            -32601,
        ),
        (
            &call,
            request(
                1,
                "tools/call",
                json!({"_meta": meta(NEWEST), "name": "probe_none"}),
            )
            .to_string(),
            200,
            -32602,
        ),
    ] {
        let answer = alice.post(heads, body.clone()).await.unwrap();
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert_eq!(error(&answer), code, "{body}: {answer:?}");
        assert_eq!(answer.headers["content-type"], "application/json", "{body}");
    }
    // What this host speaks is told to who speaks something else.
    let answer = alice.post(&other, list(meta("2031-01-01"))).await.unwrap();
    let supported = &answer.messages()[0]["error"]["data"]["supported"];
    assert!(
        supported.as_array().unwrap().contains(&json!(NEWEST)),
        "{answer:?}"
    );

    // Around the messages: methods, types, and where there is nothing.
    for (method, path, heads, status) in [
        ("GET", "/mcp", &[("mcp-protocol-version", NEWEST)][..], 405),
        ("DELETE", "/mcp", &[("mcp-protocol-version", NEWEST)], 405),
        ("PUT", "/mcp", &[], 405),
        ("POST", "/mcp", &[("accept", "application/json")], 406),
        ("POST", "/mcp", &[("content-type", "text/plain")], 415),
        ("POST", "/", &[], 404),
        ("POST", "/sse", &[], 404),
    ] {
        let body = if method == "POST" {
            list(meta(NEWEST))
        } else {
            String::new()
        };
        let answer = alice.send(method, path, heads, body).await.unwrap();
        assert_eq!(
            answer.status, status,
            "{method} {path} {heads:?}: {answer:?}"
        );
    }
    let unknown = door.refused();
    assert_eq!(
        unknown.len(),
        1,
        "only the call of a tool that there is not is one"
    );
    assert_eq!(unknown[0].reason, Reason::NameUnknown);
}

/// `limit.rate`: whoever asks too often is told to wait, over every transport and all of them together;
/// others go on, and the journal grows by a line a minute.
#[tokio::test]
async fn an_agent_that_asks_too_often_is_told_to_wait() {
    let rate = "[rate]\nper_second = 1\nburst = 3\n";
    let door = Door::open_with(rate, tollgate::mcp::HttpConfig::default()).await;
    let began = Instant::now();
    let (mut answered, mut refused) = (0_u64, 0_u64);
    for _ in 0..20 {
        for method in ["tools/list", "server/discover"] {
            let answer = door.alice().request(method, json!({})).await.unwrap();
            match answer.status {
                200 => answered += 1,
                429 => {
                    refused += 1;
                    let wait: u64 = answer.headers["retry-after"]
                        .to_str()
                        .unwrap()
                        .parse()
                        .unwrap();
                    assert!((1..=4).contains(&wait), "{wait}");
                    let told = &answer.messages()[0]["error"];
                    assert_eq!(told["code"], -32000);
                    assert_eq!(told["data"]["code"], "limit.rate");
                    assert!(
                        told["data"]["retryAfterMs"]
                            .as_u64()
                            .is_some_and(|ms| ms > 0 && ms <= 3_001)
                    );
                    assert!(
                        told["message"]
                            .as_str()
                            .unwrap()
                            .contains("limit `rate` reached")
                    );
                }
                other => panic!("{other}: {answer:?}"),
            }
        }
    }
    // The burst, and what the time gave meanwhile.
    assert!(answered <= 3 + began.elapsed().as_secs() + 1, "{answered}");
    assert!(answered >= 3 && refused > 0, "{answered} {refused}");
    let told: Vec<_> = door
        .bench
        .changes_since(0)
        .into_iter()
        .filter(|change| change.change == "request.refused")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].reason, Some(Reason::LimitRate));
    assert_eq!(
        told[0].subject.as_deref(),
        Some("spiffe://tollgate.local/agent/alice")
    );
    assert_eq!(
        door.bob().tools().await,
        ["probe_echo"],
        "another's is its own"
    );

    // Her sessions on other transports draw on the same.
    let mut line = door.line();
    let mut ask = async |message: Value| -> Value {
        line.send(&message).await;
        line.told().await
    };
    // As soon as there is room for one request, the session begins; the next one is too many.
    let mut begun = None;
    until(async || {
        let told = ask(hello(OLDER[0])).await;
        if told.get("result").is_some() {
            begun = Some(told);
        }
        begun.is_some()
    })
    .await;
    let mut last = Value::Null;
    for id in 1..20 {
        last = ask(request(id, "ping", json!({}))).await;
        if last.get("error").is_some() {
            break;
        }
    }
    assert_eq!(last["error"]["code"], -32000, "{last}");
    assert_eq!(last["error"]["data"]["code"], "limit.rate");
    assert!(last["id"].is_u64(), "whose answer it is: {last}");

    // The operator says otherwise, and it is so from then on.
    let config = door.bench.host.home().config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace(rate, "[rate]\nper_second = 1_000_000\n"),
    )
    .unwrap();
    door.bench.refresh().await;
    for _ in 0..20 {
        assert_eq!(
            door.alice()
                .request("tools/list", json!({}))
                .await
                .unwrap()
                .status,
            200
        );
    }
    door.bench.verify();
}

/// A server says whether it lives and whether it can be sent work; those are two things.
#[tokio::test]
async fn it_says_whether_it_lives_and_whether_it_can_work() {
    let door = Door::open().await;
    let look = async |path: &str| {
        let answer = door
            .alice()
            .send("GET", path, &[("authorization", "")], "")
            .await
            .unwrap();
        (answer.status, answer.body)
    };
    assert_eq!(look("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(look("/readyz").await, (200, "ok\n".to_owned()));
    // One connection that is open already is still answered.
    let stream = tokio::net::TcpStream::connect(door.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let ask = |path: &str| {
        http::Request::get(path)
            .header("host", "localhost")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap()
    };
    assert_eq!(
        sender.send_request(ask("/readyz")).await.unwrap().status(),
        200
    );
    door.bench.host.drain();
    // It is closed once it rests: whoever balances load sends the next request elsewhere.
    let refused = sender.send_request(ask("/readyz")).await;
    assert!(refused.is_err() || refused.unwrap().status() == 503);
    drop(connection);
}
