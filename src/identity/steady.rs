//! Time as tokens see it: it never goes back.
//!
//! A clock that is set back would bring expired tokens to life, and give a used one a second life
//! once its use is forgotten. So the time here is the later of the clock and of what was seen
//! before, carried on by a clock that nobody can set; over a restart the latest time that was
//! written down holds.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::SharedClock;

/// Beyond this a step is worth a record; below it, clocks are slewed all the time.
const STEP: Duration = Duration::from_secs(2);

/// A clock that never goes back. All clones are one.
#[derive(Debug, Clone)]
pub(super) struct Steady {
    clock: SharedClock,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
struct Seen {
    /// The latest time, and where the clock that nobody sets stood then.
    latest: Duration,
    elapsed: Duration,
    /// Whether the clock is behind, as far as it was told.
    is_behind: bool,
}

/// The clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stepped {
    /// By how much.
    pub(super) by: Duration,
}

impl Steady {
    /// From the time that was seen last, or the clock's, whichever is later.
    pub(super) fn new(clock: SharedClock, floor: Duration) -> Self {
        let seen = Seen {
            latest: floor,
            elapsed: clock.elapsed(),
            is_behind: false,
        };
        Self {
            clock,
            seen: Arc::new(Mutex::new(seen)),
        }
    }

    /// The time.
    #[cfg(test)]
    fn now(&self) -> Duration {
        self.look().0
    }

    /// The time; and where the clock was found to be set back, that, once.
    pub(super) fn look(&self) -> (Duration, Option<Stepped>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, elapsed) = (self.clock.now(), self.clock.elapsed());
        let carried = seen
            .latest
            .saturating_add(elapsed.saturating_sub(seen.elapsed));
        seen.elapsed = elapsed;
        seen.latest = now.max(carried);
        let by = carried.saturating_sub(now);
        let is_behind = by > STEP;
        let stepped = (is_behind && !seen.is_behind).then_some(Stepped { by });
        seen.is_behind = is_behind;
        (seen.latest, stepped)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    #[derive(Debug, Default)]
    struct Two(AtomicU64, AtomicU64);

    impl Clock for Two {
        fn now(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.1.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_where_it_was() {
        let clock = Arc::new(Two::default());
        let steady = Steady::new(clock.clone(), Duration::ZERO);
        clock.0.store(10_000, Ordering::Relaxed);
        assert_eq!(steady.look(), (Duration::from_secs(10_000), None));
        clock.0.store(6_400, Ordering::Relaxed);
        clock.1.store(5, Ordering::Relaxed);
        let (now, stepped) = steady.look();
        assert_eq!(now, Duration::from_secs(10_005));
        assert_eq!(stepped.unwrap().by, Duration::from_secs(3_605));
        // Said once.
        assert_eq!(steady.look().1, None);
        clock.1.store(65, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(10_065));
    }

    #[test]
    fn the_time_of_before_a_restart_holds() {
        let clock = Arc::new(Two::default());
        let steady = Steady::new(clock.clone(), Duration::from_secs(500));
        assert!(steady.look().1.is_some());
        assert_eq!(steady.now(), Duration::from_secs(500));
        clock.0.store(600, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(600));
    }

    proptest! {
        #[test]
        fn it_never_goes_back(moves in proptest::collection::vec((0_u64..1_000, 0_u64..50), 1..50)) {
            let clock = Arc::new(Two::default());
            let steady = Steady::new(clock.clone(), Duration::ZERO);
            let mut last = Duration::ZERO;
            for (wall, passed) in moves {
                clock.0.store(wall, Ordering::Relaxed);
                clock.1.fetch_add(passed, Ordering::Relaxed);
                let now = steady.now();
                prop_assert!(now >= last + Duration::from_secs(passed) || now >= last && last == Duration::ZERO);
                prop_assert!(now >= clock.now());
                last = now;
            }
        }
    }
}
