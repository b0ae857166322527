//! What an agent is shown, and what it can learn of what it is not shown.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Door, OLDER, error};

/// M14. An agent sees what it could be allowed to call, in one order, for itself alone; nothing in the list,
/// its pages or its errors tells whether there is more.
#[tokio::test]
pub(crate) async fn a_list_tells_of_nothing_that_is_not_in_it() {
    let _row = crate::attacks::stands_for("M14");
    let door = Door::open_with(
        "[plugin.probe.tool.now]\ntier = \"forbid\"",
        tollgate::mcp::HttpConfig::default(),
    )
    .await;
    let list = async |client: crate::harness::mcp::Client, params: Value| {
        client.request("tools/list", params).await.unwrap()
    };
    let bob = list(door.bob(), json!({})).await;
    let message = bob.messages().pop().unwrap();
    let result = &message["result"];
    assert_eq!(crate::harness::mcp::names(&message), ["probe_echo"]);
    assert_eq!(result["cacheScope"], "private");
    assert!(
        result["ttlMs"].as_u64().is_some_and(|ttl| ttl <= 60_000),
        "{result}"
    );
    assert!(result.get("nextCursor").is_none(), "{result}");
    // Alice sees more, never what is forbidden to everyone; in the order of names, however she asks.
    let first = door.alice().tools().await;
    assert!(first.len() > 10 && first.is_sorted(), "{first:?}");
    assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), first.len());
    assert!(!first.contains(&String::from("probe_now")), "{first:?}");
    for hidden in first.iter().filter(|name| *name != "probe_echo") {
        assert!(!bob.body.contains(hidden), "{hidden}: {}", bob.body);
    }
    for _ in 0..3 {
        door.bench.refresh().await;
        assert_eq!(door.alice().tools().await, first);
    }
    for version in OLDER {
        let session = door.session(&door.alice(), version).await;
        let answer = session.request(1, "tools/list", json!({})).await;
        let message = answer.messages().pop().unwrap();
        assert_eq!(crate::harness::mcp::names(&message), first, "{version}");
    }

    // A cursor that somebody made up: the same answer for a hidden tool's name and for one that nothing has.
    let error_of = async |cursor: Value| {
        let answer = list(door.bob(), json!({"cursor": cursor})).await;
        (answer.status, error(&answer), answer.body)
    };
    let hidden = error_of(json!("probe_send")).await;
    assert_eq!(hidden.1, -32602);
    assert_eq!(error_of(json!("probe_nothing")).await, hidden);
    assert_eq!(error_of(json!("probe_now")).await, hidden);
    door.assert_untouched().await;

    // What may be called changes with policy, and the list with it.
    std::fs::remove_file(door.bench.policy_file("probe")).unwrap();
    door.bench.refresh().await;
    assert!(door.alice().tools().await.is_empty());
}
