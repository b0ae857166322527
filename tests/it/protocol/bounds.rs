//! What an agent may have open at once, and what is left of it once its credential is worth nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate::journal::record::{Event, Record};
use tollgate::mcp::{HttpConfig, Listener};
use tollgate::reason::Reason;

use super::{Door, NEWEST, OLDER, Session, hello, request, until};
use crate::harness::{NOW, agent};

/// By when a stream has ended that is to end: far beyond what it takes, so that one that stays is named.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whoever was refused for having too much open, as the journal has it.
fn crowded(door: &Door) -> Vec<String> {
    let of = |record: Record| match record.event {
        Event::Changed(changed) if changed.change == "request.refused" => {
            assert_eq!(changed.reason, Some(Reason::LimitConcurrency));
            changed.subject
        }
        _ => None,
    };
    door.bench.records().into_iter().filter_map(of).collect()
}

/// A call that waits upstream until it is let go.
fn waits(id: u64) -> Value {
    let arguments =
        json!({"requirement": "api", "method": "GET", "url": "https://granted.example/hold"});
    request(
        id,
        "tools/call",
        json!({"name": "probe_send", "arguments": arguments}),
    )
}

impl Door {
    /// Asks in a session, and goes once the answer begins.
    async fn ask_and_leave(&self, session: &Session, message: &Value) {
        let (address, token, id) = (self.address, &self.alice, &session.id);
        let body = message.to_string();
        let length = body.len();
        let head = self
            .raw(
                format!(
                    "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nmcp-session-id: {id}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
                )
                .as_bytes(),
            )
            .await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }

    /// Sends a request that opens a stream; the status, and the stream behind its head.
    async fn open_stream(&self, request: String) -> (String, TcpStream) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        (status, stream)
    }

    /// The stream of an older session.
    async fn older(&self, token: &str, session: &Session) -> (String, TcpStream) {
        let (address, id) = (self.address, &session.id);
        self.open_stream(format!(
            "GET /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\nmcp-session-id: {id}\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n"
        ))
        .await
    }

    /// A subscription of the newest revision.
    async fn newest(&self, token: &str) -> (String, TcpStream) {
        let address = self.address;
        let body = request(
            1,
            "subscriptions/listen",
            json!({
                "notifications": {"toolsListChanged": true},
                "_meta": {
                    "io.modelcontextprotocol/protocolVersion": NEWEST,
                    "io.modelcontextprotocol/clientCapabilities": {},
                    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
                },
            }),
        )
        .to_string();
        let length = body.len();
        self.open_stream(format!(
            "POST /mcp HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\naccept: application/json, text/event-stream\r\ncontent-type: application/json\r\nmcp-protocol-version: {NEWEST}\r\nmcp-method: subscriptions/listen\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

/// Asserts that a stream ends by itself.
async fn assert_ends(mut stream: TcpStream, what: &str) {
    let mut rest = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "{what}: the stream stays open");
}

/// M16. Requests under way are bounded in each session, on each byte stream and for each agent, also where
/// nobody waits for their answers; what is beyond has no effect, and others go on.
#[tokio::test]
pub(crate) async fn a_flood_of_requests_that_wait_is_cut_off_and_harms_nobody() {
    let _row = crate::attacks::stands_for("M16");
    let config = HttpConfig {
        requests: 2,
        requests_per_agent: 3,
        ..HttpConfig::default()
    };
    let slow = "[concurrency]\nplugin = 128\nagent = 128\n[limits.http]\nfirst_byte = \"60s\"\ntotal = \"60s\"\n[limits]\ntime = \"60s\"\n";
    let door = Door::open_with(slow, config).await;
    let alice = door.alice();

    // In a session: each of these is under way though nobody reads its answer.
    let one = door.session(&alice, OLDER[0]).await;
    door.ask_and_leave(&one, &waits(1)).await;
    door.ask_and_leave(&one, &waits(2)).await;
    door.bench.upstream.arrived(2).await;
    let told = one.request(3, "ping", json!({})).await;
    assert_eq!(told.status, 429, "{told:?}");
    assert_eq!(told.headers["retry-after"], "1");
    let told = told.last();
    assert_eq!(told["error"]["data"]["code"], "limit.concurrency", "{told}");
    assert_eq!(told["id"], 3, "whose answer it is");

    // Of the agent, whatever session it is in and whether it has one.
    let two = door.session(&alice, OLDER[0]).await;
    door.ask_and_leave(&two, &waits(1)).await;
    door.bench.upstream.arrived(3).await;
    assert_eq!(two.request(2, "ping", json!({})).await.status, 429);
    let list = alice.request("tools/list", json!({})).await.unwrap();
    assert_eq!(list.status, 429, "{list:?}");
    assert_eq!(
        crowded(&door),
        [agent("alice").to_string()],
        "once a minute"
    );
    assert_eq!(door.bob().tools().await, ["probe_echo"]);

    // On a byte stream.
    let mut line = door.line();
    line.send(&hello(OLDER[0])).await;
    assert!(line.told().await["result"].is_object());
    for id in 1..=64 {
        line.send(&waits(id)).await;
    }
    line.send(&request(65, "ping", json!({}))).await;
    let told = line.told().await;
    assert_eq!(told["id"], 65, "{told}");
    assert_eq!(told["error"]["data"]["code"], "limit.concurrency", "{told}");

    // Once they are over there is room again, and nothing but them has run.
    for _ in 0..67 {
        door.bench.upstream.release();
    }
    for _ in 0..64 {
        assert_eq!(line.told().await["result"]["isError"], false);
    }
    until(async || two.request(9, "ping", json!({})).await.status == 200).await;
    let list = alice.request("tools/list", json!({})).await.unwrap();
    assert_eq!(list.status, 200, "{list:?}");
    assert_eq!(door.bench.upstream.ledger().await.len(), 67);
    door.bench.verify();
}

/// M17. A stream is open for as long as what opened it is in force, also where nothing is told, and one
/// agent's are so many.
#[tokio::test]
pub(crate) async fn a_stream_ends_with_its_credential() {
    let _row = crate::attacks::stands_for("M17");
    let config = HttpConfig {
        streams_per_agent: 2,
        ..HttpConfig::default()
    };
    let door = Door::open_with("", config).await;
    let identities = door.bench.host.identities().clone();

    // So many of one agent, of both eras, and others have their own.
    let session = door.session(&door.alice(), OLDER[0]).await;
    let (status, older) = door.older(&door.alice, &session).await;
    assert_eq!(status, "200");
    let (status, newest) = door.newest(&door.alice).await;
    assert_eq!(status, "200");
    assert_eq!(door.older(&door.alice, &session).await.0, "429");
    assert_eq!(door.newest(&door.alice).await.0, "429");
    assert_eq!(crowded(&door), [agent("alice").to_string()]);
    let bobs = door.session(&door.bob(), OLDER[0]).await;
    let (status, bobs_older) = door.older(&door.bob, &bobs).await;
    assert_eq!(status, "200");
    let (status, bobs_newest) = door.newest(&door.bob).await;
    assert_eq!(status, "200");

    // Replaced, and the time is over for which both are good.
    let overlap = Duration::from_secs(60);
    identities.rotate(&agent("alice"), None, overlap).unwrap();
    door.bench.clock.set(NOW + overlap + Duration::from_secs(1));
    assert_ends(older, "a session's, replaced").await;
    assert_ends(newest, "a subscription, replaced").await;

    // Expired.
    let issued = identities
        .issue("carol", Some(Duration::from_secs(60)))
        .unwrap();
    let token = issued.token.expose();
    let (status, carols) = door.newest(token).await;
    assert_eq!(status, "200");
    door.bench.clock.set(NOW + Duration::from_secs(300));
    assert_ends(carols, "a subscription, expired").await;

    // Revoked.
    identities.revoke(&agent("bob")).unwrap();
    assert_ends(bobs_older, "a session's, revoked").await;
    assert_ends(bobs_newest, "a subscription, revoked").await;
    door.assert_untouched().await;
}

/// M18. A socket that somebody may have is taken from nobody.
#[tokio::test]
pub(crate) async fn a_socket_in_use_is_not_taken_over() {
    let _row = crate::attacks::stands_for("M18");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mcp.sock");
    // Connecting to one of another kind fails, and not for want of somebody who listens.
    let other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let error = Listener::socket(&path, 0o600).unwrap_err();
    assert!(error.to_string().contains("remove it if nobody does"));
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    sender.send_to(b"x", &path).unwrap();
    let mut read = [0; 1];
    assert_eq!(other.recv(&mut read).unwrap(), 1, "it is still there");
    // What a process left behind is.
    drop(other);
    std::fs::remove_file(&path).unwrap();
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let _listener = Listener::socket(&path, 0o600).unwrap();
}
