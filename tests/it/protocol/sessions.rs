//! Sessions of the older revisions, in hands that did not begin them.

use std::collections::BTreeSet;

use serde_json::json;
use tollgate::mcp::HttpConfig;

use super::{Door, OLDER, Session, hello, request, send};
use crate::harness::intents;

/// M09. An id of a session proves nothing: it can't be guessed, chosen or taken along, and who asks is told
/// by the token of each request.
#[tokio::test]
pub(crate) async fn an_id_of_a_session_is_no_proof_of_anything() {
    let _row = crate::attacks::stands_for("M09");
    let door = Door::open().await;
    let call = request(
        1,
        "tools/call",
        json!({"name": "probe_send", "arguments": send("taken")}),
    );

    // Guessing: 122 random bits each, and no two alike.
    let mut ids = BTreeSet::new();
    for _ in 0..32 {
        let session = door.session(&door.alice(), OLDER[0]).await;
        let id: uuid::Uuid = session.id.parse().unwrap();
        assert_eq!(id.get_version_num(), 4, "{id}");
        assert!(ids.insert(id));
    }
    let alice = door.session(&door.alice(), OLDER[0]).await;

    // Taking: by another agent, or by none.
    let stolen = |client| Session {
        client,
        id: alice.id.clone(),
        version: OLDER[0].to_owned(),
    };
    let bob = stolen(door.bob());
    assert_eq!(bob.post(&[], &call).await.status, 404);
    for method in ["GET", "DELETE"] {
        let heads = [("mcp-session-id", alice.id.as_str())];
        let answer = door.bob().send(method, "/mcp", &heads, "").await.unwrap();
        assert_eq!(answer.status, 404, "{method}");
    }
    let nobody = [("authorization", "")];
    assert_eq!(alice.post(&nobody, &call).await.status, 401);
    let made_up = [("authorization", "Bearer tg_none")];
    assert_eq!(alice.post(&made_up, &call).await.status, 401);

    // Choosing: an id that a client brings along begins nothing, and makes no session of that name.
    let chosen = "11111111-1111-4111-8111-111111111111";
    let heads = [("mcp-session-id", chosen)];
    for client in [door.alice(), door.bob()] {
        let begun = client
            .post(&heads, hello(OLDER[0]).to_string())
            .await
            .unwrap();
        assert_eq!(begun.status, 404, "{begun:?}");
        let used = client.post(&heads, call.to_string()).await.unwrap();
        assert_eq!(used.status, 404, "{used:?}");
    }
    let twice = [
        ("mcp-session-id", alice.id.as_str()),
        ("mcp-session-id", chosen),
    ];
    assert_eq!(
        door.alice()
            .post(&twice, call.to_string())
            .await
            .unwrap()
            .status,
        400
    );
    door.assert_untouched().await;

    // It is still its own agent's, and worth nothing without that agent's token.
    let answer = alice.post(&[], &call).await;
    assert!(
        answer.messages().pop().unwrap()["result"].is_object(),
        "{answer:?}"
    );
    let ran = intents(door.bench.records());
    assert_eq!(ran.len(), 1);
    assert_eq!(ran[0].caller.agent, crate::harness::agent("alice"));
    assert_eq!(door.bench.upstream.ledger().await.len(), 1);
    let gone = crate::harness::agent("alice");
    door.bench.host.identities().revoke(&gone).unwrap();
    assert_eq!(alice.post(&[], &call).await.status, 401);
    assert_eq!(door.bench.upstream.ledger().await.len(), 1);
}

/// There is an end to sessions, in all and of one agent, and what one agent takes is no other's.
#[tokio::test]
async fn sessions_are_bounded_in_all_and_for_each_agent() {
    let config = HttpConfig {
        sessions: 5,
        sessions_per_agent: 3,
        ..HttpConfig::default()
    };
    let door = Door::open_with("", config).await;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(door.session(&door.alice(), OLDER[0]).await);
    }
    let begin = async |client: crate::harness::mcp::Client| {
        let answer = client.post(&[], hello(OLDER[0]).to_string()).await.unwrap();
        answer.status
    };
    assert_eq!(begin(door.alice()).await, 503);
    for _ in 0..2 {
        kept.push(door.session(&door.bob(), OLDER[0]).await);
    }
    assert_eq!(begin(door.bob()).await, 503, "there are five in all");
    // The revision without sessions needs none.
    assert!(!door.alice().tools().await.is_empty());
    // One that is closed makes room.
    let first = kept.remove(0);
    let heads = [("mcp-session-id", first.id.as_str())];
    let closed = door
        .alice()
        .send("DELETE", "/mcp", &heads, "")
        .await
        .unwrap();
    assert_eq!(closed.status, 204);
    assert_eq!(begin(door.alice()).await, 200);
    assert!(door.refused().is_empty());
}
