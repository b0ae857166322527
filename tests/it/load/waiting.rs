//! A stream that is open, and says nothing until something changes.

use std::time::Duration;

use serde_json::json;

use super::client::Agent;
use super::wire::Wire;

/// By when it is told of a change: far beyond what it takes, so that one that was forgotten is named.
const PATIENCE: Duration = Duration::from_secs(60);

/// A subscription, or the stream of an older session.
pub(super) struct Waiting {
    agent: Agent,
    wire: Wire,
    session: Option<String>,
}

impl Waiting {
    pub(super) async fn open(agent: Agent, older: bool) -> Self {
        let mut wire = Wire::open(agent.address).await;
        let session = if older {
            let session = agent.begin(&mut wire).await;
            wire.send(&agent.stream(&session)).await;
            assert_eq!(wire.head().await.status, 200);
            Some(session)
        } else {
            wire.send(&listens(&agent)).await;
            assert_eq!(wire.head().await.status, 200);
            wire.word("acknowledged").await;
            None
        };
        Self {
            agent,
            wire,
            session,
        }
    }

    /// Waits until it is told that there may be other tools.
    pub(super) async fn told(&mut self) {
        tokio::time::timeout(PATIENCE, self.wire.word("tools/list_changed"))
            .await
            .unwrap_or_else(|_| panic!("a stream of {} was not told", self.agent.name));
    }

    pub(super) async fn close(self) {
        drop(self.wire);
        if let Some(session) = self.session {
            let mut wire = Wire::open(self.agent.address).await;
            self.agent.end(&mut wire, &session).await;
        }
    }
}

/// A subscription to changes of the list of tools.
pub(super) fn listens(agent: &Agent) -> Vec<u8> {
    let params = json!({"notifications": {"toolsListChanged": true}});
    agent.newest(1, "subscriptions/listen", params)
}
