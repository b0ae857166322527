//! The rounds of a call: what came back of what its plugin asked, and what that binds.
//!
//! Each round is a call of its own: decided, recorded and run in a fresh instance. An agent that may make
//! the first round may not make any other: the answers are data that the plugin acts on, like the arguments.
//! So policy is asked about them, an approval and a step token are for them, and a permit is for them. Answers
//! that the host never asked for are refused before any of that: nobody would know what they answer.

use serde_json::{Map, Value};

use crate::approval::RoundBinding;
use crate::digest::Digest;
use crate::journal::record::CallId;
use crate::json;
use crate::limits::protocol::ANSWER_BYTES;
use crate::policy::RoundFacts;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::types as wit;

/// The round that a call is, where it is not the first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Round {
    /// 2 for the first that brings answers.
    pub number: u32,
    /// The call of the first round. None where the host asked nothing: then the round is refused.
    pub first: Option<CallId>,
    /// What came back, by the questions' keys.
    pub answers: Vec<(String, Value)>,
    /// What the plugin wanted back.
    pub state: Option<Vec<u8>>,
    /// Bytes of the answers of all rounds so far, this one's included.
    pub answered: usize,
}

/// The answers of a call are more than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMuch;

impl std::fmt::Display for TooMuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the answers of all rounds of the call have more than {ANSWER_BYTES} bytes"
        )
    }
}

impl Round {
    /// Takes the answers that this round brings.
    ///
    /// # Errors
    ///
    /// With those of the rounds before they are too many bytes; none is taken then.
    pub(crate) fn answer(&mut self, answers: Vec<(String, Value)>) -> Result<(), TooMuch> {
        let bytes: usize = answers
            .iter()
            .map(|(key, value)| key.len().saturating_add(json::canonical(value).len()))
            .fold(0, usize::saturating_add);
        let answered = self.answered.saturating_add(bytes);
        if answered > ANSWER_BYTES {
            return Err(TooMuch);
        }
        self.answered = answered;
        self.answers = answers;
        Ok(())
    }

    /// The answers, as one object.
    fn object(&self) -> Map<String, Value> {
        self.answers.iter().cloned().collect()
    }

    /// SHA-256 of the canonical text of the answers, as one object.
    pub(crate) fn digest(&self) -> Digest {
        digest(self.object())
    }

    /// As policy is asked about it, and as approvals, tokens and permits are bound to it.
    #[must_use]
    pub fn facts(&self) -> RoundFacts {
        let answers = self.object();
        RoundFacts {
            bound: RoundBinding {
                number: self.number,
                answers: digest(answers.clone()),
                state: self.state.as_deref().map(Digest::of),
            },
            answers,
        }
    }

    /// As the contract has them.
    pub(crate) fn to_wit(&self) -> (Vec<wit::Answer>, Option<Vec<u8>>) {
        let answers = self.answers.iter().map(|(key, value)| wit::Answer {
            key: key.clone(),
            value: json::canonical(value),
        });
        (answers.collect(), self.state.clone())
    }
}

fn digest(answers: Map<String, Value>) -> Digest {
    Digest::of(json::canonical(&Value::Object(answers)).as_bytes())
}

/// Refuses a round that is an answer to nothing.
pub(super) fn was_asked(round: Option<&Round>) -> Result<(), Refusal> {
    if round.is_some_and(|round| round.first.is_none()) {
        return Err(Refusal::new(
            Reason::InputUnasked,
            "answers came that this host did not ask for in this call; call again without them",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_round_is_bound_to_its_number_its_answers_and_its_state() {
        let answers = |ok: bool| vec![("confirm".to_owned(), json!({"ok": ok}))];
        let round = Round {
            number: 2,
            answers: answers(true),
            state: Some(b"s".to_vec()),
            ..Round::default()
        };
        let bound = round.facts().bound;
        assert_eq!(bound, round.facts().bound);
        assert_eq!(bound.answers, round.digest());
        for other in [
            Round {
                number: 3,
                ..round.clone()
            },
            Round {
                answers: answers(false),
                ..round.clone()
            },
            Round {
                state: None,
                ..round.clone()
            },
        ] {
            assert_ne!(other.facts().bound, bound, "{other:?}");
        }
        // In whatever order they came.
        let two = |keys: [&str; 2]| Round {
            answers: keys.map(|key| (key.to_owned(), json!(key))).into(),
            ..Round::default()
        };
        assert_eq!(two(["a", "b"]).digest(), two(["b", "a"]).digest());
    }

    #[test]
    fn all_rounds_together_are_bounded() {
        let half = || vec![("a".to_owned(), json!("x".repeat(ANSWER_BYTES / 2)))];
        let mut first = Round::default();
        assert_eq!(first.answer(half()), Ok(()));
        let mut second = Round {
            answered: first.answered,
            ..Round::default()
        };
        assert_eq!(second.answer(half()), Err(TooMuch));
        assert!(second.answers.is_empty());
        assert_eq!(second.answer(vec![("a".to_owned(), json!("x"))]), Ok(()));
        assert_eq!(second.answered, first.answered + 4);
    }

    #[test]
    fn answers_to_nothing_are_refused() {
        assert!(was_asked(None).is_ok());
        let asked = Round {
            number: 2,
            first: Some(CallId(uuid::Uuid::nil())),
            ..Round::default()
        };
        assert!(was_asked(Some(&asked)).is_ok());
        let unasked = Round {
            first: None,
            ..asked
        };
        let refusal = was_asked(Some(&unasked)).unwrap_err();
        assert_eq!(refusal.reason, Reason::InputUnasked);
    }
}
