//! What a client carries from one round of a call to the next: sealed, so that it can be neither read nor
//! changed, bound to who asked for what on which task, good once and for five minutes.
//!
//! The key is this process's own and is kept nowhere: what an earlier one sealed is not opened any more,
//! and the call begins anew.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use rmcp::ErrorData;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::used::Used;
use crate::call::Round;
use crate::digest::Digest;
use crate::entropy::{Entropy, SystemEntropy};
use crate::id::{ApprovalId, TaskId};
use crate::identity::{AgentId, Authenticated};
use crate::journal::record::CallId;
use crate::json::{Arguments, Limits};
use crate::plugin::{Kind, QuestionKind};

/// How long a state is good.
pub(super) const LIFE: Duration = Duration::from_secs(5 * 60);

/// What a state begins with; another form would begin otherwise.
const FORM: &str = "t1.";

/// Bytes of a nonce. It is random, and the word by which a state is known to have been used.
pub(super) const NONCE: usize = 24;

/// What a state is bound to.
pub(super) struct Bound(Digest);

impl Bound {
    pub(super) fn new(
        who: &Authenticated,
        task: Option<TaskId>,
        kind: Kind,
        name: &str,
        arguments: &[u8],
    ) -> Self {
        // By their canonical text, where they have one: a client may write the same object anew.
        let digest = match arguments {
            [] => Arguments::empty().digest(),
            text => Arguments::parse(text, &Limits::default())
                .map_or_else(|_| Digest::of(text), |arguments| arguments.digest()),
        };
        let chain: Vec<_> = who
            .agents()
            .map(|agent| agent.as_str().as_bytes())
            .collect();
        let chain = Digest::of_parts(chain);
        let user = who
            .user
            .as_deref()
            .map_or_else(String::new, |user| format!("u{user}"));
        let task = task.map_or_else(String::new, |task| task.to_string());
        Self(Digest::of_parts([
            who.agent.as_str().as_bytes(),
            chain.as_bytes(),
            user.as_bytes(),
            task.as_bytes(),
            kind.as_str().as_bytes(),
            name.as_bytes(),
            digest.as_bytes(),
        ]))
    }
}

/// What a state holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Carried {
    /// The approval that the call waits for.
    pub(super) approval: Option<ApprovalId>,
    /// The round that the call is in; with what was asked, where answers are to come.
    pub(super) round: Option<(Round, Vec<Asked>)>,
}

/// A state that was opened, and not used: what it holds can be looked at.
#[derive(Debug)]
pub(super) struct Opened {
    nonce: [u8; NONCE],
    carried: Carried,
}

impl Opened {
    /// The round, and what was asked, to hold answers against.
    pub(super) fn round(&self) -> Option<&(Round, Vec<Asked>)> {
        self.carried.round.as_ref()
    }
}

/// A question that was put to the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) key: String,
    pub(super) kind: QuestionKind,
    /// What is filled in conforms to this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Value>,
}

/// A state as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Milliseconds since the key was made.
    until: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<WrittenRound>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRound {
    number: u32,
    first: Option<CallId>,
    answers: Vec<(String, Value)>,
    /// Base64.
    state: Option<String>,
    asked: Vec<Asked>,
    /// Bytes of the answers of all rounds so far.
    answered: usize,
}

/// Seals states, and opens each of them once.
pub(super) struct Seals {
    /// None where there were no random bytes for a key; then no client is asked.
    cipher: Option<XChaCha20Poly1305>,
    began: Instant,
    used: Used,
}

impl Seals {
    pub(super) fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let cipher = SystemEntropy
            .fill(&mut *key)
            .ok()
            .and_then(|()| XChaCha20Poly1305::new_from_slice(&*key).ok());
        Self {
            cipher,
            began: Instant::now(),
            used: Used::default(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A state that holds `carried`; none where there is no key.
    pub(super) fn seal(&self, bound: &Bound, carried: &Carried) -> Option<String> {
        let life = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
        let written = Written {
            until: self.now().saturating_add(life),
            approval: carried.approval,
            round: carried.round.as_ref().map(|(round, asked)| WrittenRound {
                number: round.number,
                first: round.first,
                answers: round.answers.clone(),
                state: round
                    .state
                    .as_ref()
                    .map(|state| STANDARD_NO_PAD.encode(state)),
                asked: asked.clone(),
                answered: round.answered,
            }),
        };
        let text = zeroize::Zeroizing::new(serde_json::to_vec(&written).ok()?);
        let mut nonce = [0; NONCE];
        SystemEntropy.fill(&mut nonce).ok()?;
        let payload = Payload {
            msg: &text,
            aad: bound.0.as_bytes(),
        };
        let sealed = self
            .cipher
            .as_ref()?
            .encrypt(XNonce::from_slice(&nonce), payload)
            .ok()?;
        let mut whole = nonce.to_vec();
        whole.extend_from_slice(&sealed);
        Some(format!("{FORM}{}", URL_SAFE_NO_PAD.encode(whole)))
    }

    /// What a state holds, if it was given for this. It is not used by that, and worth nothing until it is.
    pub(super) fn open(&self, bound: &Bound, state: &str) -> Result<Opened, ErrorData> {
        self.opened_at(bound, state, self.now()).ok_or_else(none)
    }

    /// Uses a state, which goes once. What comes with it was looked at before: a state whose answers were
    /// refused is still good.
    pub(super) fn take(&self, opened: Opened, agent: &AgentId) -> Result<Carried, ErrorData> {
        let Opened { nonce, carried } = opened;
        if !self.used.take(agent, nonce, Instant::now()) {
            return Err(none());
        }
        Ok(carried)
    }

    fn opened_at(&self, bound: &Bound, state: &str, now: u64) -> Option<Opened> {
        let whole = URL_SAFE_NO_PAD.decode(state.strip_prefix(FORM)?).ok()?;
        let (nonce, sealed) = whole.split_first_chunk::<NONCE>()?;
        let payload = Payload {
            msg: sealed,
            aad: bound.0.as_bytes(),
        };
        let text = self
            .cipher
            .as_ref()?
            .decrypt(XNonce::from_slice(nonce), payload)
            .ok()?;
        let written: Written = serde_json::from_slice(&text).ok()?;
        if written.until <= now {
            return None;
        }
        let round = match written.round {
            None => None,
            Some(round) => {
                let state = match round.state {
                    None => None,
                    Some(state) => Some(STANDARD_NO_PAD.decode(state).ok()?),
                };
                let read = Round {
                    number: round.number,
                    first: round.first,
                    answers: round.answers,
                    state,
                    answered: round.answered,
                };
                Some((read, round.asked))
            }
        };
        Some(Opened {
            nonce: *nonce,
            carried: Carried {
                approval: written.approval,
                round,
            },
        })
    }
}

/// The same for one that was used, touched, given for another call, or is over: who guesses learns nothing.
fn none() -> ErrorData {
    tracing::warn!("a call came with a request state that was not given for it");
    ErrorData::invalid_params(
        "the request state is not one for this call, or not any more; call again without it",
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(agent: &str, name: &str, arguments: &str) -> Bound {
        let who = Authenticated::of(AgentId::local(agent).unwrap());
        Bound::new(&who, None, Kind::Tool, name, arguments.as_bytes())
    }

    /// What a state holds, used.
    fn used(seals: &Seals, bound: &Bound, state: &str) -> Option<Carried> {
        let opened = seals.open(bound, state).ok()?;
        seals.take(opened, &AgentId::local("alice").unwrap()).ok()
    }

    fn carried() -> Carried {
        let round = Round {
            number: 3,
            first: Some(CallId(uuid::Uuid::nil())),
            answers: vec![("a".into(), serde_json::json!({"action": "accept"}))],
            state: Some(vec![0, 255]),
            answered: 20,
        };
        Carried {
            approval: Some("approval_aaaaaaaaaaaaaaaa".parse().unwrap()),
            round: Some((
                round,
                vec![Asked {
                    key: "a".into(),
                    kind: QuestionKind::Form,
                    schema: Some(serde_json::json!({"type": "object"})),
                }],
            )),
        }
    }

    #[test]
    fn a_state_is_for_one_call_of_one_agent_once() {
        let seals = Seals::new();
        let own = || bound("alice", "p_t", r#"{"a":1,"b":2}"#);
        let eve = Authenticated {
            user: Some("eve".into()),
            ..Authenticated::of(AgentId::local("alice").unwrap())
        };
        let arguments = br#"{"a":1,"b":2}"#;
        for other in [
            bound("bob", "p_t", r#"{"a":1,"b":2}"#),
            bound("alice", "p_u", r#"{"a":1,"b":2}"#),
            bound("alice", "p_t", r#"{"a":1,"b":3}"#),
            bound("alice", "p_t", ""),
            Bound::new(&eve, None, Kind::Tool, "p_t", arguments),
            Bound::new(
                &Authenticated::of(AgentId::local("alice").unwrap()),
                Some("task_aaaaaaaaaaaaaaaa".parse().unwrap()),
                Kind::Tool,
                "p_t",
                arguments,
            ),
            Bound::new(
                &Authenticated::of(AgentId::local("alice").unwrap()),
                None,
                Kind::Prompt,
                "p_t",
                arguments,
            ),
        ] {
            let state = seals.seal(&own(), &carried()).unwrap();
            assert_eq!(used(&seals, &other, &state), None);
        }
        let state = seals.seal(&own(), &carried()).unwrap();
        assert!(!state.contains("approval"));
        let same = bound("alice", "p_t", r#"{ "b":2, "a":1 }"#);
        // To look at it uses nothing.
        assert!(seals.open(&own(), &state).is_ok());
        let (one, other) = (seals.open(&own(), &state), seals.open(&own(), &state));
        let alice = AgentId::local("alice").unwrap();
        let one = seals.take(one.unwrap(), &alice);
        assert_eq!(one.unwrap(), carried());
        assert!(seals.take(other.unwrap(), &alice).is_err(), "of two, one");
        assert_eq!(used(&seals, &same, &state), None, "once");
        let elsewhere = Seals::new();
        let state = seals.seal(&own(), &carried()).unwrap();
        assert_eq!(used(&elsewhere, &own(), &state), None, "another key");
        assert_eq!(used(&seals, &same, &state), Some(carried()));
    }

    #[test]
    fn a_state_that_was_touched_is_none() {
        let seals = Seals::new();
        let own = bound("alice", "p_t", "{}");
        let state = seals.seal(&own, &Carried::default()).unwrap();
        for at in 0..state.len() {
            let mut touched = state.clone().into_bytes();
            touched[at] = if touched[at] == b'x' { b'y' } else { b'x' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(used(&seals, &own, &touched), None, "{at}");
        }
        assert!(seals.open(&own, "").is_err());
        assert!(seals.open(&own, &format!("{state}-TAMPERED")).is_err());
        assert_eq!(used(&seals, &own, &state), Some(Carried::default()));
    }

    #[test]
    fn a_state_is_good_for_five_minutes() {
        let seals = Seals::new();
        let own = bound("alice", "p_t", "{}");
        let state = seals.seal(&own, &Carried::default()).unwrap();
        let life = u64::try_from(LIFE.as_millis()).unwrap();
        let late = seals.now() + life;
        assert!(seals.opened_at(&own, &state, late).is_none());
        assert!(seals.opened_at(&own, &state, late - 2 * life / 3).is_some());
    }
}
