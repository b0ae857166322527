//! The time of day, which only goes forward here, and the time that the queue waits by.
//!
//! What was over must not live again because somebody set the clock back. So the latest time that was
//! seen counts on by itself, until the clock has caught up.

use std::time::{Duration, Instant};

/// The time of the queue, by a clock that nobody can set.
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

/// Clocks are corrected by fractions of a second all the time.
const CORRECTION: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Forward {
    latest: Duration,
    seen: Instant,
    is_behind: bool,
}

impl Forward {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            latest: now,
            seen: Instant::now(),
            is_behind: false,
        }
    }

    /// The time, given what the clock reads; and by how much it was set back, once for each time.
    pub(super) fn at(&mut self, read: Duration) -> (Duration, Option<Duration>) {
        self.at_instant(read, Instant::now())
    }

    fn at_instant(&mut self, read: Duration, instant: Instant) -> (Duration, Option<Duration>) {
        let went_on = self.latest + instant.saturating_duration_since(self.seen);
        let behind = went_on.saturating_sub(read);
        let was_behind = self.is_behind;
        self.is_behind = behind >= CORRECTION;
        self.latest = went_on.max(read);
        self.seen = instant;
        let set_back = (self.is_behind && !was_behind).then_some(behind);
        (self.latest, set_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_hour_back_makes_nothing_younger() {
        let start = Instant::now();
        let mut time = Forward::new(secs(10_000));
        assert_eq!(
            time.at_instant(secs(10_010), start + secs(10)),
            (secs(10_010), None)
        );
        // Set back by an hour: it goes on from where it was, and that is said once.
        let (now, back) = time.at_instant(secs(6_420), start + secs(20));
        assert_eq!((now, back), (secs(10_020), Some(secs(3_600))));
        assert_eq!(
            time.at_instant(secs(6_430), start + secs(30)),
            (secs(10_030), None)
        );
        // Set right again.
        assert_eq!(
            time.at_instant(secs(10_040), start + secs(40)),
            (secs(10_040), None)
        );
        assert_eq!(
            time.at_instant(secs(20_000), start + secs(50)),
            (secs(20_000), None)
        );
    }
}
