//! The question of a chain: asked for each agent of it, and the strictest answer counts.

use crate::identity::AgentId;

use super::Ground;
use super::decide::Answer;

/// The agents that a question is asked for: the one that acts, and those before it.
pub(super) fn each<'a>(
    chain: &'a [AgentId],
    last: &'a AgentId,
) -> impl Iterator<Item = &'a AgentId> {
    std::iter::once(last).chain(chain)
}

/// Asks for the agents of `chain` and for `last`, which acts. Nobody gains by a hand-off: it is
/// allowed what each of them is, held where one is held, and refused where one is refused.
pub(super) fn strictest(
    chain: &[AgentId],
    last: &AgentId,
    mut ask: impl FnMut(&AgentId) -> Result<Answer, String>,
) -> Result<Answer, String> {
    let mut strictest = ask(last)?;
    for agent in chain {
        if matches!(strictest, Answer::Refuse(..)) {
            break;
        }
        strictest = stricter(strictest, ask(agent)?);
    }
    Ok(strictest)
}

fn stricter(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (refused @ Answer::Refuse(..), _) | (_, refused @ Answer::Refuse(..)) => refused,
        (Answer::Hold(one) | Answer::Allow(one), Answer::Hold(other))
        | (Answer::Hold(one), Answer::Allow(other)) => Answer::Hold(both(one, other)),
        (Answer::Allow(one), Answer::Allow(other)) => Answer::Allow(both(one, other)),
    }
}

/// What the answer rests on is what both rest on.
fn both(mut one: Ground, other: Ground) -> Ground {
    for policy in other.policies {
        if !one.policies.contains(&policy) {
            one.policies.push(policy);
        }
    }
    one.policies
        .sort_by(|a, b| (&a.file, a.line, &a.id).cmp(&(&b.file, b.line, &b.id)));
    one
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::Digest;
    use crate::reason::Reason;

    fn answer(kind: u8) -> Result<Answer, String> {
        let ground = Ground {
            policies: Vec::new(),
            set: Digest::of(b"set"),
            errors: Vec::new(),
        };
        match kind {
            0 => Ok(Answer::Allow(ground)),
            1 => Ok(Answer::Hold(ground)),
            2 => Ok(Answer::Refuse(Reason::PolicyDefault, ground)),
            _ => Err(String::from("error")),
        }
    }

    fn rank(answer: &Result<Answer, String>) -> u8 {
        match answer {
            Ok(Answer::Allow(_)) => 0,
            Ok(Answer::Hold(_)) => 1,
            Ok(Answer::Refuse(..)) | Err(_) => 2,
        }
    }

    proptest! {
        #[test]
        fn a_hand_off_never_widens(kinds in proptest::collection::vec(0_u8..4, 1..7)) {
            let agents: Vec<_> = (0..kinds.len())
                .map(|number| AgentId::local(&format!("a{number}")).unwrap())
                .collect();
            let (last, chain) = agents.split_last().unwrap();
            let given = strictest(chain, last, |agent| {
                let at = agents.iter().position(|known| known == agent).unwrap();
                answer(kinds[at])
            });
            let strictest_alone = kinds.iter().map(|kind| rank(&answer(*kind))).max().unwrap();
            prop_assert_eq!(rank(&given), strictest_alone);
        }
    }
}
