//! The time that the queue waits by.

use std::time::{Duration, Instant};

/// A clock that nobody can set.
#[derive(Debug)]
pub(super) struct Ticker {
    began: Instant,
    /// How many times as fast as the world's it goes: 1, but in tests.
    haste: u32,
}

impl Ticker {
    pub(super) fn new(haste: u32) -> Self {
        Self {
            began: Instant::now(),
            haste,
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed().saturating_mul(self.haste)
    }

    /// How long to sleep for `wait` to pass.
    pub(super) fn sleep(&self, wait: Duration) -> Duration {
        wait / self.haste
    }
}
