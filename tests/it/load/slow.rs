//! A reader that takes a byte of a large answer now and then.

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::Agent;
use super::reached;
use super::wire::{Head, Wire, message};
use super::written::{End, Told};

/// More than Linux keeps for a connection at most on the way out (`tcp_wmem`, 4 MiB unless it is set): the host has
/// the rest, and a write that does not end.
const BYTES: usize = 6 << 20;

/// A byte is taken each time so many calls were answered.
const PACE: u64 = 25;

/// A call whose answer has begun, and is not being read.
pub(super) struct Slow {
    agent: Agent,
    wire: Wire,
    head: Head,
}

impl Slow {
    pub(super) async fn start(agent: Agent) -> Self {
        let mut wire = Wire::narrow(agent.address).await;
        let large = json!({"bytes": BYTES, "shape": "text"});
        wire.send(&agent.call(None, 1, "probe_big_output", &large))
            .await;
        let head = wire.head().await;
        // An answer that is not large says why.
        if head.length().is_none_or(|length| length < BYTES) {
            let body = wire.body(&head).await;
            panic!("{}: {}", head.status, String::from_utf8_lossy(&body));
        }
        Self { agent, wire, head }
    }

    /// Takes its time until all is over, and then the rest: which is whole, however long it took.
    pub(super) async fn until(
        mut self,
        mut answered: watch::Receiver<u64>,
        over: CancellationToken,
    ) -> Told {
        let mut next = *answered.borrow_and_update() + PACE;
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = reached(&mut answered, next) => {}
            }
            next += PACE;
            let taken = self.wire.byte().await;
            assert!(taken < BYTES / 2, "it was no slow reader");
        }
        self.wire.widen();
        let body = self.wire.body(&self.head).await;
        let answer = message(&body);
        let result = &answer["result"];
        let text = result["content"][0]["text"].as_str().unwrap_or_default();
        assert_eq!(text.len(), BYTES, "the whole answer");
        Told::of(result, &self.agent.name, End::Ran)
    }
}
