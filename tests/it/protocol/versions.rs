//! Which revision a client speaks changes how it is answered, never what it may do.

use serde_json::{Value, json};
use tollgate::journal::record::Refused;
use tollgate::reason::Reason;

use super::{Door, NEWEST, OLDER, error, hello, request, send};
use crate::harness::intents;
use crate::harness::mcp::Client;

/// A call by each revision that there is; the result.
async fn by_every_revision(door: &Door, client: &Client, tool: &str, text: &str) -> Vec<Value> {
    let mut results = Vec::new();
    for version in OLDER {
        let session = door.session(client, version).await;
        let message = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{text}}}}}"#
        );
        let heads = [
            ("mcp-session-id", session.id.as_str()),
            ("mcp-protocol-version", version),
        ];
        let answer = client.post(&heads, message).await.unwrap();
        results.push(answer.last()["result"].take());
    }
    let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"}}"#;
    let message = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","_meta":{meta},"arguments":{text}}}}}"#
    );
    let heads = [
        ("mcp-protocol-version", NEWEST),
        ("mcp-method", "tools/call"),
        ("mcp-name", tool),
    ];
    let answer = client.post(&heads, message).await.unwrap();
    results.push(answer.last()["result"].take());
    results
}

/// M11. An older revision skips nothing: the same questions are asked, the same is refused, the same is
/// written down. A revision that this host does not speak is none.
#[tokio::test]
pub(crate) async fn an_older_revision_skips_no_check() {
    let _row = crate::attacks::stands_for("M11");
    let door = Door::open_with(
        "[plugin.probe.tool.now]\ntier = \"forbid\"\n[plugin.probe.tool.settings_get]\ntier = \"hold\"",
        tollgate::mcp::HttpConfig::default(),
    )
    .await;
    let send = send("downgraded").to_string();
    let twice = r#"{"text":"a","text":"b"}"#;
    let mut known = 0;
    for (client, tool, arguments, reason) in [
        (
            door.bob(),
            "probe_send",
            send.as_str(),
            Reason::PolicyForbidden,
        ),
        (door.alice(), "probe_now", "{}", Reason::PolicyForbidden),
        (
            door.alice(),
            "probe_settings_get",
            r#"{"name":"origin"}"#,
            Reason::ApprovalRequired,
        ),
        (door.alice(), "probe_echo", twice, Reason::ArgsDuplicateKey),
        (
            door.alice(),
            "probe_echo",
            r#"{"unknown":1}"#,
            Reason::ArgsUnknownProperty,
        ),
        (
            door.alice(),
            "probe_echo",
            r#"{"text":1}"#,
            Reason::ArgsSchema,
        ),
    ] {
        let before = door.bench.records().len();
        let results = by_every_revision(&door, &client, tool, arguments).await;
        assert_eq!(results.len(), OLDER.len() + 1);
        for result in &results {
            assert_eq!(result["isError"], true, "{tool}: {result}");
            let code = match reason {
                Reason::ApprovalRequired => "approval_required",
                reason => reason.code(),
            };
            assert_eq!(
                result["_meta"]["dev.tollgate/refusal"]["code"], code,
                "{tool}: {result}"
            );
        }
        // One record for each, and but for the call and the client's own words they are the same.
        let records = door.bench.records();
        let said: Vec<_> = records[before..]
            .iter()
            .filter_map(|record| crate::harness::reason_of(&record.event))
            .collect();
        assert_eq!(said, vec![reason; results.len()], "{tool}");
        if reason != Reason::ApprovalRequired {
            let refused: Vec<Refused> = door.refused().split_off(known);
            known += refused.len();
            for one in &refused {
                assert_eq!(one.tool, refused[0].tool);
                let by = |refused: &Refused| refused.decision.as_ref().map(|d| format!("{d:?}"));
                assert_eq!(by(one), by(&refused[0]), "{tool}");
            }
        }
    }
    assert_eq!(door.bench.upstream.ledger().await.len(), 0);
    assert!(intents(door.bench.records()).is_empty());

    // What is allowed is allowed by every revision, too.
    for result in by_every_revision(&door, &door.bob(), "probe_echo", r#"{"text":"x"}"#).await {
        assert_eq!(result["isError"], false, "{result}");
    }
    assert_eq!(intents(door.bench.records()).len(), OLDER.len() + 1);

    // A revision that nobody speaks: an older client is offered one that there is, and no other is believed.
    for version in ["1999-01-01", "2024-10-07", "2027-01-01", "latest", ""] {
        let answer = door
            .alice()
            .post(&[], hello(version).to_string())
            .await
            .unwrap();
        let offered = answer.messages().pop().unwrap()["result"]["protocolVersion"].take();
        let offered = offered
            .as_str()
            .unwrap_or_else(|| panic!("{version}: {answer:?}"));
        assert!(OLDER.contains(&offered), "{version}: {offered}");
        let heads = [
            ("mcp-protocol-version", version),
            ("mcp-method", "tools/list"),
        ];
        let mut list = request(1, "tools/list", json!({}));
        list["params"]["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        });
        let answer = door.alice().post(&heads, list.to_string()).await.unwrap();
        assert_eq!(answer.status, 400, "{version}: {answer:?}");
        if !version.is_empty() {
            assert_eq!(error(&answer), -32022, "{version}: {answer:?}");
        }
    }
    door.bench.verify();
}
