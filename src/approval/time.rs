//! Time that only goes forward, for what expires.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock::SharedClock;

/// The later of the wall clock and what the monotonic clock adds to the last answer. So a wall clock
/// that is set back stops nothing from expiring, and one that stands still neither.
#[derive(Debug)]
pub(super) struct Forward {
    clock: SharedClock,
    last: Mutex<(Instant, Duration)>,
}

impl Forward {
    /// Starts no earlier than `seen`, the latest time that is known of: also what a clock did while
    /// no host ran revives nothing.
    pub(super) fn new(clock: SharedClock, seen: Duration) -> Self {
        Self {
            clock,
            last: Mutex::new((Instant::now(), seen)),
        }
    }

    /// Since 1970; never less than before.
    pub(super) fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> Duration {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let (then, time) = *last;
        let now = (time + instant.saturating_duration_since(then)).max(self.clock.now());
        *last = (instant, now);
        now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::clock::Clock;

    #[derive(Debug)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    #[test]
    fn neither_clock_can_hold_it_back() {
        let hand = Arc::new(Hand(AtomicU64::new(1_000)));
        let time = Forward::new(hand.clone(), Duration::ZERO);
        let start = Instant::now();
        let at = |seconds| time.at(start + Duration::from_secs(seconds)).as_secs();
        assert_eq!(at(1), 1_000);
        assert_eq!(at(6), 1_005, "the wall stood still");
        hand.0.store(2_000, Ordering::SeqCst);
        assert_eq!(at(6), 2_000, "the wall went ahead");
        hand.0.store(10, Ordering::SeqCst);
        assert_eq!(at(7), 2_001, "the wall was set back");
        assert_eq!(at(3), 2_001, "never less than before");
        let after = Forward::new(hand, Duration::from_secs(2_001));
        assert!(after.now() >= Duration::from_secs(2_001), "a new start");
    }
}
