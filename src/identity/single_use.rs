//! The single use of a step token: reserved while its call is on the way, and taken on the disk before
//! anything is done with it.
//!
//! Reserved first, because a call may use up other things before it gets so far: the approval of a
//! person must not be spent on a call whose token then turns out to be used. What is not taken is free
//! again, so a call that was refused on the way has used nothing.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Identities, Step, StepId};
use crate::state::StateError;

/// The uses that are reserved. All clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses(Arc<Mutex<HashSet<StepId>>>);

impl Uses {
    fn lock(&self) -> MutexGuard<'_, HashSet<StepId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The single use of a step token, reserved for one call. Free again where this is dropped before it was
/// taken.
#[derive(Debug)]
pub struct SingleUse {
    uses: Uses,
    id: StepId,
    expires: Duration,
}

impl Drop for SingleUse {
    fn drop(&mut self) {
        self.uses.lock().remove(&self.id);
    }
}

impl Identities {
    /// Reserves the single use of `step`; none where it was taken before, or another call has it. Reads
    /// the disk.
    ///
    /// # Errors
    ///
    /// Whether it was taken can't be told.
    pub fn reserve_use(&self, step: &Step) -> Result<Option<SingleUse>, StateError> {
        let (uses, id) = (self.uses().clone(), step.grant().id);
        if !uses.lock().insert(id) {
            return Ok(None);
        }
        let reserved = SingleUse {
            uses,
            id,
            expires: step.expires(),
        };
        // INVARIANT: looked at once it is reserved, so that nobody takes it in between.
        let taken = self.state().is_used(&id.to_string())?;
        Ok((!taken).then_some(reserved))
    }

    /// Takes a use; false where it was taken before. Waits for the disk.
    ///
    /// # Errors
    ///
    /// It can't be written down; then it was not taken, and nothing may be done.
    pub fn take_use(&self, reserved: &SingleUse) -> Result<bool, StateError> {
        let id = reserved.id.to_string();
        self.state().use_token(&id, reserved.expires, self.now())
    }
}
