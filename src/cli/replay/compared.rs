//! A tape and its replay, side by side: what is the same, and what can be held against what.

use crate::call::{name_refusals, of_replay};
use crate::capability::taped;
use crate::digest::Digest;
use crate::journal::record::Outcome;
use crate::limits::CallLimits;
use crate::reason::{Reason, Refusal};
use crate::runtime::{Answer, Replayed};
use crate::tape::{Asked, Departure, End, Given, Step, Tape};

/// A tape and its replay, side by side.
#[derive(Debug)]
pub(super) struct Compared {
    /// Host calls on the tape, and those that the replay made alike.
    pub(super) taped: usize,
    pub(super) played: usize,
    pub(super) departure: Option<Departure>,
    /// The first host call of the tape that the replay did not make.
    pub(super) missing: Option<Asked>,
    pub(super) output: Pair,
    /// None where a call that was stopped from outside can't be held against anything.
    pub(super) fuel: Option<(u64, u64)>,
    /// Why the call was stopped from outside, where it was.
    pub(super) stopped: Option<Reason>,
}

/// What the record and the replay have of the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) recorded: String,
    pub(super) replayed: String,
}

impl Compared {
    pub(super) fn of(
        tape: &Tape,
        outcome: &Outcome,
        limits: &CallLimits,
        replayed: Replayed,
    ) -> Self {
        let Replayed {
            answer,
            fuel,
            player,
        } = replayed;
        let played = player.as_ref().map_or(0, |player| player.played());
        let departure = player.as_ref().and_then(|player| player.departure());
        let missing = player.as_ref().and_then(|player| player.rest().first());
        let stopped = stopped(tape);
        let at_the_stop = match departure {
            Some(Departure::Stopped { .. }) => true,
            // It computed when it was stopped: what it would have asked next is behind the stop.
            Some(Departure::Further { .. }) | None => missing.is_none(),
            Some(_) => false,
        };
        if stopped.is_some() && at_the_stop {
            let exact = matches!(departure, Some(Departure::Stopped { .. }));
            let said = said(&tape.end.answer);
            return Self {
                taped: tape.steps.len(),
                played,
                departure: None,
                missing: None,
                output: Pair {
                    recorded: said.clone(),
                    replayed: said,
                },
                fuel: exact.then_some((outcome.fuel, fuel)),
                stopped,
            };
        }
        Self {
            taped: tape.steps.len(),
            played,
            departure: departure.cloned(),
            missing: missing.map(|step| step.asked.clone()),
            output: Pair::of(&tape.end, outcome, limits, answer),
            fuel: Some((outcome.fuel, fuel)),
            stopped,
        }
    }

    pub(super) fn is_identical(&self) -> bool {
        self.departure.is_none()
            && self.missing.is_none()
            && self.output.is_same()
            && self
                .fuel
                .is_none_or(|(recorded, replayed)| recorded == replayed)
    }
}

/// Why the call was stopped by something that no tape has: its time was over, or it was cancelled.
fn stopped(tape: &Tape) -> Option<Reason> {
    let reason = tape.end.answer.as_ref().err()?.reason;
    let inside = matches!(
        tape.steps.last(),
        Some(Step {
            given: Given::End(_),
            ..
        })
    );
    matches!(reason, Reason::TrapDeadline | Reason::CallCancelled)
        .then_some(reason)
        .filter(|_| !inside)
}

fn said(answer: &Result<Digest, Refusal>) -> String {
    match answer {
        Ok(digest) => digest.to_string(),
        Err(refusal) => refusal.to_string(),
    }
}

impl Pair {
    /// The result as the agent got it, where the replay can make the same; else what the plugin gave:
    /// values that were lent and redacted are not there in a replay, and a refusal is the host's own text.
    fn of(
        end: &End,
        outcome: &Outcome,
        limits: &CallLimits,
        answer: Result<Answer, Refusal>,
    ) -> Self {
        let raw = answer.as_ref().map(taped::digest).map_err(Refusal::clone);
        let plugin = Self {
            recorded: said(&end.answer),
            replayed: said(&raw),
        };
        let (Some(result), Ok(answer), true) = (
            outcome.result,
            answer,
            as_it_was_given(outcome) && plugin.is_same(),
        ) else {
            return plugin;
        };
        let replayed = of_replay(answer, limits).map(|mut completion| {
            name_refusals(&mut completion, &outcome.refused);
            Digest::of(completion.canonical().as_bytes())
        });
        Self {
            recorded: result.to_string(),
            replayed: said(&replayed),
        }
    }

    pub(super) fn is_same(&self) -> bool {
        self.recorded == self.replayed
    }
}

/// Whether the record's result is the plugin's own, with nothing taken out of it.
fn as_it_was_given(outcome: &Outcome) -> bool {
    outcome.status != "failed" && outcome.redacted == 0
}
