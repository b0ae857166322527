//! The strict reading by itself.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::mcp::envelope::{INVALID_PARAMS, INVALID_REQUEST, PARSE_ERROR, read};

fn code(text: &str) -> (i32, Option<Value>) {
    let fault = read(text.as_bytes()).unwrap_err();
    (fault.code, fault.id)
}

#[test]
fn what_is_no_message_is_refused_with_its_code() {
    let long = "x".repeat(300);
    for (text, expected, id) in [
        ("", PARSE_ERROR, None),
        ("garbage", PARSE_ERROR, None),
        (r#"{"jsonrpc":"2.0","id":1"#, PARSE_ERROR, None),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"} {}"#,
            PARSE_ERROR,
            None,
        ),
        (
            r#" [{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
            INVALID_REQUEST,
            None,
        ),
        ("5", INVALID_REQUEST, None),
        (
            r#"{"id":1,"method":"ping"}"#,
            INVALID_REQUEST,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"1.0","id":"a","method":"ping"}"#,
            INVALID_REQUEST,
            Some(json!("a")),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            &format!(r#"{{"jsonrpc":"2.0","id":"{long}","method":"ping"}}"#),
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":99999999999999999999,"method":"ping"}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","m\u0065thod":"tools/call"}"#,
            INVALID_REQUEST,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":5}"#,
            INVALID_REQUEST,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1}"#,
            INVALID_REQUEST,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"a","result":{}}"#,
            INVALID_REQUEST,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"t"}}"#,
            INVALID_REQUEST,
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":5}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"safe","name":"danger"}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{},"\u0061rguments":{}}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"a":1,"a":2}}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"a","cursor":"b"}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":1e400}}"#,
            INVALID_PARAMS,
            Some(json!(1)),
        ),
    ] {
        assert_eq!(code(text), (expected, id), "{text}");
    }
    assert_eq!(
        read(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\"}")
            .unwrap_err()
            .code,
        PARSE_ERROR
    );
    // Depth costs no stack.
    let deep = format!("{{\"params\":{}", "[".repeat(1 << 20));
    assert_eq!(code(&deep).0, PARSE_ERROR);
}

#[test]
fn arguments_come_through_byte_for_byte_and_rmcp_does_not_see_them() {
    for arguments in [
        r#"{"a":1,"a":2}"#,
        r#"{ "n" : 1e400 }"#,
        "[1,2]",
        "null",
        r#"{"s":"\ud800"}"#,
        r#"{"b":"},\"id\":7,\"method\":\"x\""}"#,
    ] {
        let text = Bytes::from(format!(
            r#"{{"params":{{"arguments":{arguments},"name":"t"}},"method":"tools/call","id":"x","jsonrpc":"2.0"}}"#
        ));
        let message = read(&text).unwrap();
        assert_eq!(message.arguments(&text), arguments.as_bytes());
        for keep in [false, true] {
            let seen: Value = serde_json::from_slice(&message.rewritten(keep)).unwrap();
            let expected = if keep && arguments.contains("method") {
                serde_json::from_str(arguments).unwrap()
            } else {
                json!({})
            };
            assert_eq!(seen["params"]["arguments"], expected, "{arguments}");
            assert_eq!(seen["params"]["name"], "t");
            assert_eq!(seen["id"], "x");
        }
    }
    let text = Bytes::from_static(
        br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#,
    );
    assert!(read(&text).unwrap().arguments(&text).is_empty());
}

proptest! {
    #[test]
    fn reading_never_fails_otherwise_than_by_a_fault(text in ".{0,200}") {
        let _ = read(text.as_bytes());
    }

    #[test]
    fn what_is_passed_on_says_the_same(id in any::<i64>(), method in "[ -~]{1,20}", text in ".{0,40}") {
        prop_assume!(method != "tools/call");
        let sent = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"t": text}});
        let bytes = serde_json::to_vec(&sent).unwrap();
        let passed: Value = serde_json::from_slice(&read(&bytes).unwrap().rewritten(false)).unwrap();
        prop_assert_eq!(passed, sent);
    }
}
