//! A client that is cut off, again and again: in the middle of a request, of a call, of an answer, of a stream.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::client::{Agent, sends};
use super::reached;
use super::waiting::listens;
use super::wire::Wire;
use crate::harness::Random;

/// It is cut off once for so many calls of others that were answered.
const PACE: u64 = 16;

/// The client, and what it did so far.
pub(super) struct Cut {
    agent: Agent,
    origin: Arc<str>,
    random: Random,
    /// Of an older client, which outlives its connections.
    session: String,
    turn: u64,
    /// Calls that were sent whole: each began, or did not.
    sent: usize,
}

impl Cut {
    pub(super) async fn start(agent: Agent, number: usize, origin: Arc<str>) -> Self {
        let mut wire = Wire::open(agent.address).await;
        Self {
            session: agent.begin(&mut wire).await,
            agent,
            origin,
            random: Random::from(number as u64),
            turn: number as u64,
            sent: 0,
        }
    }

    /// Goes on until all is over, and ends its session then; how many calls it sent whole.
    pub(super) async fn until(
        mut self,
        mut answered: watch::Receiver<u64>,
        over: CancellationToken,
    ) -> usize {
        let mut next = *answered.borrow_and_update();
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = reached(&mut answered, next) => {}
            }
            next += PACE;
            self.turn += 1;
            self.turn().await;
        }
        let mut wire = Wire::open(self.agent.address).await;
        self.agent.end(&mut wire, &self.session).await;
        self.sent
    }

    async fn turn(&mut self) {
        let path = |what: &str| format!("/{what}/{}/{}", self.agent.name, self.turn);
        let sending = |session: Option<&str>, path: &str| {
            let arguments = sends(&self.origin, path);
            self.agent
                .call(session, self.turn, "probe_send", &arguments)
        };
        match self.turn % 7 {
            // In the middle of a request, which never becomes a call.
            0 => {
                let request = sending(None, &path("half"));
                let mut wire = Wire::open(self.agent.address).await;
                wire.send(&request[..request.len() - 10]).await;
                self.wait().await;
                wire.cut();
            }
            // Somewhere in a call, in each of the eras.
            1 | 4 => {
                let session = (self.turn % 7 == 4).then_some(self.session.as_str());
                let request = sending(session, &path("whole"));
                let mut wire = Wire::open(self.agent.address).await;
                wire.send(&request).await;
                self.sent += 1;
                self.wait().await;
                wire.cut();
            }
            // In the middle of an answer.
            2 => {
                let large = json!({"bytes": 300_000, "shape": "text"});
                let request = self.agent.call(None, 1, "probe_big_output", &large);
                let mut wire = Wire::narrow(self.agent.address).await;
                wire.send(&request).await;
                self.sent += 1;
                assert_eq!(wire.head().await.status, 200);
                wire.byte().await;
                wire.cut();
            }
            // In the middle of a subscription.
            3 => {
                let mut wire = Wire::open(self.agent.address).await;
                wire.send(&listens(&self.agent)).await;
                wire.word("acknowledged").await;
                wire.cut();
            }
            // In the middle of an older session's stream.
            5 => {
                let mut wire = Wire::open(self.agent.address).await;
                wire.send(&self.agent.stream(&self.session)).await;
                assert_eq!(wire.head().await.status, 200);
                wire.cut();
            }
            // In order, but in the middle of what a call tells on its way.
            _ => {
                let params = json!({"name": "probe_progress_reports", "arguments": {"n": 50},
                    "_meta": {"progressToken": self.turn}});
                let request = self.agent.newest(self.turn, "tools/call", params);
                let mut wire = Wire::open(self.agent.address).await;
                wire.send(&request).await;
                self.sent += 1;
                wire.word("notifications/progress").await;
            }
        }
    }

    /// Lets others go on for a while: anywhere between two steps of the host.
    async fn wait(&mut self) {
        for _ in 0..self.random.below(64) {
            tokio::task::yield_now().await;
        }
    }
}
