//! Tapes: what a call was given, kept so that it can be run again.
//!
//! A component computes; all else comes from the host. So a call is determined by the component, its
//! arguments, its limits, and what each host call gave: responses, times, random bytes, which of
//! several things was ready first. Where the operator asks for it (`tape = true`), exactly that is
//! kept, and `tollgate replay` runs the same component on it. What comes out, and the fuel that it
//! took, are then the same, or the replay names the first host call that differs.
//!
//! What a tape promises, and what not:
//!
//! - It is sealed (`seal`) under a key of the host's own, and its digest stands in the record of the
//!   call's outcome: a tape that is not the one that was written is refused before it is opened.
//! - No value of a secret is in it. Responses are on it as the plugin got them, redacted; the host
//!   puts credentials in behind the plugin's back; and a call that was shown a value has no tape.
//! - It is bounded, in itself and together with all others, and pruned ([`Tapes`]).
//! - A replay reaches nothing. The instance runs without a `capability` context: there is no
//!   network, no secret, no state and no journal behind its imports, only a `Player`.
//!
//! It is an aid and no evidence of its own: what was done stands in the journal, also where a tape is
//! too large, was pruned, or went with the power.

mod form;
mod keep;
mod player;
mod recorder;
mod seal;
mod step;
mod whole;

#[cfg(test)]
mod tests;

pub(crate) use form::{Reader, Taped, Writer};
pub(crate) use keep::LARGEST;
pub use keep::{Settings, TapeError, Tapes};
pub(crate) use player::{Departure, Player};
pub(crate) use recorder::Recorder;
pub use seal::VERSION;
pub(crate) use step::{Asked, Fields, Function, Given, Step, Value};
pub(crate) use whole::{End, Head, Limits, Tape};
