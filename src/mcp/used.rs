//! The states that were used, so that none is used twice.
//!
//! Each agent's are counted by themselves: one that uses up its own number keeps nobody else from going on, and
//! can't push another's out so that it would be good again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::seal::{LIFE, NONCE};
use crate::identity::AgentId;

/// Used states of one agent that are not over, at once. Each took a call and an answer, so that within the five
/// minutes nobody comes near who means well.
const MOST: usize = 4_096;

/// The states that were used and could come again.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<HashMap<AgentId, HashMap<[u8; NONCE], Instant>>>);

impl Used {
    /// Takes the one use of a state; false where it was used, or where this agent used too many.
    ///
    /// INVARIANT: looked at and written down under one lock, so that of two that come at once one goes on.
    pub(super) fn take(&self, agent: &AgentId, nonce: [u8; NONCE], now: Instant) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(own) = all.get_mut(agent) else {
            // A further agent: those whose states are all over make room.
            all.retain(|_, own| own.values().any(|over| *over > now));
            let first = HashMap::from([(nonce, now + LIFE)]);
            all.insert(agent.clone(), first);
            return true;
        };
        if own.len() >= MOST {
            own.retain(|_, over| *over > now);
        }
        if own.len() >= MOST || own.contains_key(&nonce) {
            return false;
        }
        // As long as it could come again.
        own.insert(nonce, now + LIFE).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(number: usize) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce[..4].copy_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
        nonce
    }

    fn agent(name: &str) -> AgentId {
        AgentId::local(name).unwrap()
    }

    #[test]
    fn an_agent_has_its_own_number_and_pushes_nobody_out() {
        let (used, now) = (Used::default(), Instant::now());
        let (alice, bob) = (agent("alice"), agent("bob"));
        assert!(used.take(&bob, nonce(0), now));
        for number in 0..MOST {
            assert!(used.take(&alice, nonce(number), now));
        }
        assert!(!used.take(&alice, nonce(MOST), now));
        assert!(!used.take(&bob, nonce(0), now), "it was used");
        assert!(
            used.take(&bob, nonce(1), now),
            "another's number is its own"
        );
        // What is over makes room.
        assert!(used.take(&alice, nonce(MOST), now + LIFE));
    }

    #[test]
    fn of_many_at_once_one_goes_on() {
        let (used, now) = (Used::default(), Instant::now());
        let alice = agent("alice");
        let took = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| used.take(&alice, nonce(7), now)))
                .collect();
            all.into_iter()
                .map(|one| usize::from(one.join().unwrap()))
                .sum::<usize>()
        });
        assert_eq!(took, 1);
    }

    #[test]
    fn agents_whose_states_are_over_are_forgotten() {
        let (used, now) = (Used::default(), Instant::now());
        for number in 0..10 {
            assert!(used.take(&agent(&format!("a{number}")), nonce(number), now));
        }
        assert!(used.take(&agent("new"), nonce(0), now + LIFE));
        assert_eq!(used.0.lock().unwrap().len(), 1);
    }
}
