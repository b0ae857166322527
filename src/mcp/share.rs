//! How much of a host one agent may have open at once over HTTP, whatever it has of sessions and connections.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::identity::AgentId;

/// What each agent has open of one kind.
#[derive(Debug)]
pub(super) struct Shares {
    open: Mutex<HashMap<AgentId, usize>>,
    most: usize,
}

/// One of what an agent may have open; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Arc<Shares>,
    agent: AgentId,
}

impl Shares {
    pub(super) fn new(most: usize) -> Self {
        Self {
            open: Mutex::default(),
            most,
        }
    }

    /// How much one agent may have.
    pub(super) const fn most(&self) -> usize {
        self.most
    }

    fn open(&self) -> MutexGuard<'_, HashMap<AgentId, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more for `agent`; none where it has as many as it may.
    pub(super) fn take(self: &Arc<Self>, agent: &AgentId) -> Option<Share> {
        let mut open = self.open();
        let has = open.get(agent).copied().unwrap_or_default();
        if has >= self.most {
            return None;
        }
        open.insert(agent.clone(), has + 1);
        drop(open);
        Some(Share {
            of: Arc::clone(self),
            agent: agent.clone(),
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut open = self.of.open();
        let left = open.get(&self.agent).copied().unwrap_or_default();
        // Nothing is kept of an agent that has nothing open.
        if left > 1 {
            open.insert(self.agent.clone(), left - 1);
        } else {
            open.remove(&self.agent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_agent_has_is_none_of_another() {
        let shares = Arc::new(Shares::new(2));
        let (alice, bob) = (
            AgentId::local("alice").unwrap(),
            AgentId::local("bob").unwrap(),
        );
        let one = shares.take(&alice).unwrap();
        let two = shares.take(&alice).unwrap();
        assert!(shares.take(&alice).is_none());
        let _bobs = shares.take(&bob).unwrap();
        drop(one);
        let three = shares.take(&alice).unwrap();
        assert!(shares.take(&alice).is_none());
        drop((two, three));
        assert_eq!(shares.open().len(), 1, "only bob's is kept");
    }
}
