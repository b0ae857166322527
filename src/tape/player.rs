//! What a replay is given in the place of the host: the answers of a tape, in their order.

use super::form::{Reader, Taped};
use super::step::{Asked, Given, Step};
use crate::reason::{Reason, Refusal};

/// Plays a tape.
#[derive(Debug)]
pub(crate) struct Player {
    steps: std::vec::IntoIter<Step>,
    /// Host calls played.
    played: usize,
    departure: Option<Departure>,
}

/// Where a replay left the tape.
#[derive(Debug, Clone)]
pub(crate) enum Departure {
    /// Another host call than the one on the tape.
    Other {
        /// From 1.
        number: usize,
        taped: Asked,
        asked: Asked,
    },
    /// A host call behind the last one on the tape.
    Further { number: usize, asked: Asked },
    /// The call was stopped from outside while it waited for this host call.
    Stopped { number: usize },
    /// The answer on the tape is none to this host call.
    Unreadable { number: usize, asked: Asked },
}

impl Player {
    pub(crate) fn new(steps: Vec<Step>) -> Self {
        Self {
            steps: steps.into_iter(),
            played: 0,
            departure: None,
        }
    }

    /// The tape's answer to `asked`.
    ///
    /// # Errors
    ///
    /// The instance must end: because it did so then, or because it left the tape.
    pub(crate) fn answer<T: Taped>(&mut self, asked: Asked) -> Result<T, Refusal> {
        let number = self.played + 1;
        if self.departure.is_some() {
            return Err(left());
        }
        let Some(step) = self.steps.next() else {
            return Err(self.leaves(Departure::Further { number, asked }));
        };
        if step.asked != asked {
            let taped = step.asked;
            return Err(self.leaves(Departure::Other {
                number,
                taped,
                asked,
            }));
        }
        self.played = number;
        match step.given {
            Given::End(refusal) => Err(refusal),
            Given::Nothing => Err(self.leaves(Departure::Stopped { number })),
            Given::Answer(bytes) => {
                let mut from = Reader::new(&bytes);
                match T::read(&mut from).filter(|_| from.is_over()) {
                    Some(answer) => Ok(answer),
                    None => Err(self.leaves(Departure::Unreadable { number, asked })),
                }
            }
        }
    }

    fn leaves(&mut self, departure: Departure) -> Refusal {
        self.departure = Some(departure);
        left()
    }

    /// Host calls that were answered as on the tape.
    pub(crate) const fn played(&self) -> usize {
        self.played
    }

    /// Where the replay left the tape, if it did.
    pub(crate) const fn departure(&self) -> Option<&Departure> {
        self.departure.as_ref()
    }

    /// The host calls of the tape that were not asked for.
    pub(crate) fn rest(&self) -> &[Step] {
        self.steps.as_slice()
    }
}

fn left() -> Refusal {
    Refusal::new(Reason::HostInternal, "the replay left the tape")
}
