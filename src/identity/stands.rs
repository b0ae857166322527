//! Whether what an agent opened may stay open: a stream has no request that would be looked at.

use super::Authenticated;
use super::identities::{AuthenticateError, Identities, TOKEN_ID, judge, token_id};
use crate::state::AgentRecord;

impl Identities {
    /// Whether what `who` opened may stay open: as `still`, and each token of the host's own that it rests on
    /// is one that its agent has, the one before the present for as long as both are good. From memory.
    ///
    /// # Errors
    ///
    /// As for `still`, or a token was replaced.
    pub fn stands(&self, who: &Authenticated) -> Result<(), AuthenticateError> {
        self.still(who)?;
        let now = self.now();
        for id in who.tokens.iter().filter(|id| id.starts_with(TOKEN_ID)) {
            let is_good =
                |record: &AgentRecord| token_id(&record.token) == *id && judge(record, now).is_ok();
            let held = who.agents().any(|agent| {
                let present = self.state().agent(agent);
                present.is_some_and(|record| is_good(&record))
                    || self
                        .state()
                        .tokens_of(agent)
                        .iter()
                        .any(|record| is_good(record))
            });
            if !held {
                return Err(AuthenticateError::Unknown);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Seconds;
    use crate::entropy::SystemEntropy;
    use crate::state::State;

    #[tokio::test]
    async fn a_replaced_token_stands_for_the_overlap_and_no_longer() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("db")).unwrap();
        let clock = Arc::new(Seconds::at(1_000));
        let identities = Identities::new(state, clock.clone(), Arc::new(SystemEntropy));
        let issued = identities.issue("alice", None).unwrap();
        let bearer = issued.token.expose().to_owned();
        let who = identities.authenticate(&bearer, "here").await.unwrap();
        identities.stands(&who).unwrap();
        let rotated = identities
            .rotate(&issued.agent, None, Duration::from_secs(10))
            .unwrap();
        identities.stands(&who).unwrap();
        clock.set(1_011);
        assert!(identities.stands(&who).is_err());
        // A session goes on all the same: each of its requests shows a token of its own.
        identities.still(&who).unwrap();
        let bearer = rotated.token.expose().to_owned();
        let who = identities.authenticate(&bearer, "here").await.unwrap();
        identities.stands(&who).unwrap();
        identities.revoke(&issued.agent).unwrap();
        assert!(identities.stands(&who).is_err());
        // What the transport established presented nothing, and stands with its agent.
        let local = Authenticated::of(issued.agent);
        assert!(identities.stands(&local).is_err());
    }
}
