//! Messages and heads that say two things, or nothing that can be.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tollgate::reason::Reason;

use super::{Door, NEWEST, OLDER, error, request, send};

/// M08. A head that names one tool and a body that names another: refused, in so many words. Where the
/// revision has no such heads they mean nothing, and policy reads the body.
#[tokio::test]
pub(crate) async fn what_the_head_says_and_what_the_body_says_must_be_one() {
    let _row = crate::attacks::stands_for("M08");
    let door = Door::open().await;
    let call = json!({"name": "probe_send", "arguments": send("smuggled")});
    for heads in [
        &[("mcp-name", "probe_echo")][..],
        &[("mcp-name", "")],
        &[("mcp-name", "probe_send"), ("mcp-name", "probe_echo")],
        &[("mcp-name", "PROBE_SEND")],
        &[("mcp-name", "=?base64?cHJvYmVfZWNobw==?=")],
        &[("mcp-name", "=?base64?%%?=")],
        &[("mcp-method", "tools/list")],
        &[("mcp-method", "")],
        &[("mcp-method", "tools/call"), ("mcp-method", "tools/list")],
        &[
            ("mcp-protocol-version", NEWEST),
            ("mcp-protocol-version", "2025-11-25"),
        ],
        &[("mcp-protocol-version", "2025-11-25")],
        &[("mcp-protocol-version", "")],
    ] {
        let mut message = request(1, "tools/call", call.clone());
        message["params"]["_meta"] = meta(NEWEST);
        let mut all = vec![
            ("mcp-protocol-version", NEWEST),
            ("mcp-method", "tools/call"),
            ("mcp-name", "probe_send"),
        ];
        all.retain(|(name, _)| !heads.iter().any(|(given, _)| given == name));
        all.extend_from_slice(heads);
        let answer = door.alice().post(&all, message.to_string()).await.unwrap();
        assert_eq!(answer.status, 400, "{heads:?}: {answer:?}");
        assert_eq!(error(&answer), -32020, "{heads:?}");
    }
    door.assert_untouched().await;

    // By a head alone nobody gets what policy does not give: it asks about the tool in the body.
    let session = door.session(&door.bob(), OLDER[0]).await;
    let heads = [("mcp-name", "probe_echo"), ("mcp-method", "tools/list")];
    let answer = session.post(&heads, &request(1, "tools/call", call)).await;
    let result = &answer.messages().pop().unwrap()["result"];
    assert_eq!(
        result["_meta"]["dev.tollgate/refusal"]["code"], "policy.forbidden",
        "{answer:?}"
    );
    let refused = door.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(refused[0].tool.as_deref(), Some("probe.send"));
    assert_eq!(refused[0].reason, Reason::PolicyForbidden);
    assert_eq!(door.bench.upstream.ledger().await.len(), 0);
}

fn meta(version: &str) -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    })
}

/// What is no message, and the code that says so.
fn malformed() -> Vec<(Vec<u8>, i64)> {
    let call = |id: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"probe_send","arguments":{}}}}}"#,
            send("abused")
        )
    };
    let without_id = call("1").replace("\"id\":1,", "");
    let mut broken = call("1").into_bytes();
    let at = broken.iter().position(|byte| *byte == b'x').unwrap();
    broken[at] = 0xff;
    vec![
        (format!("[{}]", call("1")).into_bytes(), -32600),
        (
            format!("[{},{}]", call("1"), call("2")).into_bytes(),
            -32600,
        ),
        (b"[]".to_vec(), -32600),
        (call("null").into_bytes(), -32600),
        (call("1.5").into_bytes(), -32600),
        (call("{}").into_bytes(), -32600),
        (call("true").into_bytes(), -32600),
        (call(&"9".repeat(60)).into_bytes(), -32600),
        (
            call(&format!("\"{}\"", "i".repeat(300))).into_bytes(),
            -32600,
        ),
        (call("1,\"id\":2").into_bytes(), -32600),
        // A notification does not act.
        (without_id.into_bytes(), -32600),
        (call("1").replace("2.0", "1.0").into_bytes(), -32600),
        (
            call("1")
                .replace(
                    "\"method\":\"tools/call\"",
                    "\"method\":\"tools/list\",\"method\":\"tools/call\"",
                )
                .into_bytes(),
            -32600,
        ),
        (
            call("1")
                .replace(
                    "\"name\":\"probe_send\"",
                    "\"name\":\"probe_echo\",\"name\":\"probe_send\"",
                )
                .into_bytes(),
            -32602,
        ),
        (
            call("1")
                .replace("\"params\":", "\"result\":{},\"params\":")
                .into_bytes(),
            -32600,
        ),
        (format!("{} {}", call("1"), call("2")).into_bytes(), -32700),
        (call("1").replacen('{', "{{", 1).into_bytes(), -32700),
        (broken, -32700),
        (b"\xef\xbb\xbf{}".to_vec(), -32700),
        (b"\x00".to_vec(), -32700),
        (Vec::new(), -32700),
    ]
}

/// M10. Over HTTP, in both eras: a typed error, and nothing done.
#[tokio::test]
pub(crate) async fn what_is_no_message_is_told_so_and_does_nothing() {
    let _row = crate::attacks::stands_for("M10");
    let door = Door::open().await;
    let session = door.session(&door.alice(), OLDER[0]).await;
    let eras = [
        vec![
            ("mcp-protocol-version", NEWEST),
            ("mcp-method", "tools/call"),
            ("mcp-name", "probe_send"),
        ],
        vec![
            ("mcp-protocol-version", OLDER[0]),
            ("mcp-session-id", session.id.as_str()),
        ],
    ];
    for heads in &eras {
        for (text, code) in malformed() {
            let shown = String::from_utf8_lossy(&text).into_owned();
            let answer = door.alice().post(heads, text).await.unwrap();
            assert_eq!(answer.status, 400, "{shown}: {answer:?}");
            assert_eq!(error(&answer), code, "{shown}: {answer:?}");
        }
        let large = vec![b' '; 10 << 20];
        // The answer may come while the rest is still being sent, which then fails.
        match door.alice().post(heads, large).await {
            Ok(answer) => assert_eq!(answer.status, 413),
            Err(error) => eprintln!("a large body was cut off: {error}"),
        }
    }
    door.assert_untouched().await;

    // One id of a session has one effect, and is free again once it was answered.
    let call = request(
        7,
        "tools/call",
        json!({"name": "probe_send", "arguments": send("hold")}),
    );
    let first = async { session.post(&[], &call).await };
    let second = async {
        door.bench.upstream.arrived(1).await;
        let answer = session.post(&[], &call).await;
        door.bench.upstream.release();
        answer
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(second.status, 400);
    assert_eq!(error(&second), -32600);
    assert!(
        first.messages().pop().unwrap()["result"].is_object(),
        "{first:?}"
    );
    assert_eq!(door.bench.upstream.ledger().await.len(), 1);
    door.bench.upstream.release();
    let third = session.post(&[], &call).await;
    assert!(
        third.messages().pop().unwrap()["result"].is_object(),
        "{third:?}"
    );
    assert_eq!(door.bench.upstream.ledger().await.len(), 2);
    door.bench.verify();
}

/// M10, over a stream of bytes: what is wrong is told, and the session goes on behind it.
#[tokio::test]
async fn a_line_that_is_no_message_is_told_so_and_the_session_goes_on() {
    let door = Door::open().await;
    let mut line = door.line();
    line.send(&super::hello(OLDER[0])).await;
    assert_eq!(line.told().await["result"]["protocolVersion"], OLDER[0]);
    line.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
        .await;
    for (text, code) in malformed() {
        // An empty line is none, and what has a line's end in it is two.
        if text.is_empty() {
            continue;
        }
        let shown = String::from_utf8_lossy(&text).into_owned();
        let text = [&text[..], b"\n"].concat();
        line.write.write_all(&text).await.unwrap();
        let told = line.told().await;
        assert_eq!(told["error"]["code"], code, "{shown}: {told}");
    }
    door.assert_untouched().await;
    let ping = request(8, "ping", json!({}));
    let large = vec![b'x'; 10 << 20];
    let super::Line {
        mut read,
        mut write,
        serving,
    } = line;
    let sending = async {
        write.write_all(&large).await.unwrap();
        write
            .write_all(format!("\n{ping}\n").as_bytes())
            .await
            .unwrap();
    };
    let told = async {
        let mut told = Vec::new();
        for _ in 0..2 {
            let line = read.next_line().await.unwrap().unwrap();
            told.push(serde_json::from_str::<Value>(&line).unwrap());
        }
        told
    };
    let ((), told) = tokio::join!(sending, told);
    assert_eq!(told[0]["error"]["code"], -32600, "{told:?}");
    assert!(told[1]["result"].is_object(), "{told:?}");
    write.shutdown().await.unwrap();
    drop(write);
    serving.await.unwrap().unwrap();
    door.assert_untouched().await;
}
