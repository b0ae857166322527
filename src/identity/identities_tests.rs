//! An agent's own tokens.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::clock::Seconds;
use crate::entropy::SeededEntropy;

fn identities() -> (tempfile::TempDir, Arc<Seconds>, Identities) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("db")).unwrap();
    let clock = Arc::new(Seconds::default());
    let identities = Identities::new(
        state,
        Arc::clone(&clock) as SharedClock,
        Arc::new(SeededEntropy::default()),
    );
    (dir, clock, identities)
}

const HERE: &str = "https://tools.example/mcp";

async fn who(identities: &Identities, token: &str) -> Result<AgentId, AuthenticateError> {
    identities
        .authenticate(token, HERE)
        .await
        .map(|who| who.agent)
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    let (_dir, clock, identities) = identities();
    let issued = identities
        .issue("claude", Some(Duration::from_secs(60)))
        .unwrap();
    let token = issued.token.expose();
    assert_eq!(who(&identities, token).await, Ok(issued.agent.clone()));
    clock.set(59);
    assert_eq!(identities.confirm(&issued.agent), Ok(issued.agent.clone()));
    clock.set(60);
    let expired = Err(AuthenticateError::Expired(issued.agent.clone()));
    assert_eq!(who(&identities, token).await, expired);
    assert_eq!(identities.confirm(&issued.agent), expired);
}

#[tokio::test]
async fn a_token_is_good_until_it_is_revoked() {
    let (_dir, _clock, identities) = identities();
    let one = identities.issue("one", None).unwrap();
    let two = identities.issue("two", None).unwrap();
    assert_ne!(one.token.expose(), two.token.expose());
    identities.revoke(&one.agent).unwrap();
    let revoked = Err(AuthenticateError::Revoked(one.agent.clone()));
    assert_eq!(who(&identities, one.token.expose()).await, revoked);
    assert_eq!(who(&identities, two.token.expose()).await, Ok(two.agent));
    assert_eq!(identities.list().len(), 2);
    let again = identities.issue("one", None).unwrap();
    assert_eq!(
        who(&identities, one.token.expose()).await,
        Err(AuthenticateError::Unknown)
    );
    assert_eq!(
        who(&identities, again.token.expose()).await,
        Ok(again.agent)
    );
}

#[tokio::test]
async fn the_far_side_hears_the_same_of_every_bad_token() {
    let (_dir, _clock, identities) = identities();
    let one = identities.issue("one", None).unwrap();
    identities.revoke(&one.agent).unwrap();
    let foreign = AgentToken::generate(&SeededEntropy(AtomicU64::new(900))).unwrap();
    // One that is established otherwise (stdio, the terminal) is told that it was revoked; over HTTP
    // all of these are a 401 without a reason.
    let error = who(&identities, one.token.expose()).await.unwrap_err();
    assert_eq!(error.reason(), None);
    assert_eq!(Refusal::from(error).reason, Reason::RevokedAgent);
    let mut said = Vec::new();
    for token in ["", "Bearer x", foreign.expose()] {
        let error = who(&identities, token).await.unwrap_err();
        assert_eq!(error.reason(), None);
        said.push(Refusal::from(error).to_string());
    }
    assert!(said.iter().all(|s| *s == said[0]), "{said:?}");
}

#[test]
fn an_agent_has_one_token_at_a_time() {
    let (_dir, _clock, identities) = identities();
    identities.issue("one", None).unwrap();
    let error = identities.issue("one", None).unwrap_err();
    insta::assert_snapshot!(error, @"the agent `spiffe://tollgate.local/agent/one` has a token already: remove it first (`tollgate agent remove`), or use another name");
    assert!(identities.issue("One", None).is_err());
}

#[test]
fn no_debug_text_shows_a_token() {
    let (_dir, _clock, identities) = identities();
    let issued = identities.issue("one", None).unwrap();
    let shown = format!("{identities:?} {issued:?} {:?}", identities.list());
    assert!(!shown.contains(issued.token.expose()));
}
