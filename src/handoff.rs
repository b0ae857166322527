//! Handing work on from agent to agent: what a chain may be.
//!
//! A hand-off gives no rights. Whoever acts at the end of a chain may do what every agent of it may
//! do: policy is asked for each of them, and the strictest answer counts (`policy/chain.rs`). What is
//! decided here is only whether a chain may be as it is.

use crate::identity::AgentId;
use crate::reason::{Reason, Refusal};

/// The most hand-offs between the first agent and the one that acts. Each costs a policy decision per
/// question, and longer chains are loops that have not closed yet.
pub const MAX_DEPTH: usize = 5;

/// Whether `agent` may act at the end of `chain`.
///
/// # Errors
///
/// The chain is too long, or some agent stands in it twice.
pub fn check(chain: &[AgentId], agent: &AgentId) -> Result<(), Refusal> {
    if chain.len() > MAX_DEPTH {
        return Err(Refusal::new(
            Reason::HandoffDepth,
            format!("work is handed on at most {MAX_DEPTH} times"),
        ));
    }
    let mut rest = chain;
    while let Some((first, after)) = rest.split_first() {
        if first == agent || after.contains(first) {
            return Err(Refusal::new(
                Reason::HandoffLoop,
                "an agent gets back what it handed on",
            ));
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent(number: usize) -> AgentId {
        AgentId::local(&format!("a{number}")).unwrap()
    }

    #[test]
    fn the_sixth_hand_off_is_one_too_many() {
        let chain: Vec<_> = (0..MAX_DEPTH).map(agent).collect();
        assert!(check(&chain, &agent(9)).is_ok());
        let chain: Vec<_> = (0..=MAX_DEPTH).map(agent).collect();
        let refusal = check(&chain, &agent(9)).unwrap_err();
        assert_eq!(refusal.reason, Reason::HandoffDepth);
    }

    proptest! {
        #[test]
        fn a_chain_is_good_exactly_where_all_differ(chain in proptest::collection::vec(0_usize..8, 0..=MAX_DEPTH), last in 0_usize..8) {
            let agents: Vec<_> = chain.iter().copied().map(agent).collect();
            let mut all = chain.clone();
            all.push(last);
            let total = all.len();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(check(&agents, &agent(last)).is_ok(), all.len() == total);
        }
    }
}
