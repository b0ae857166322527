//! Time that never goes back.
//!
//! A wall clock can be set back, by a mistake or by someone who wants what has expired to live again.
//! Everything that expires here asks this clock: it follows the wall clock forward, and where that
//! falls behind the latest time that was ever seen, it goes on from there by the monotonic clock. The
//! latest time outlives the process, so a restart under a clock that was set back revives nothing
//! either. (A wall clock that ran ahead by mistake is followed, too: what expired by it stays so.)

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Clock, SharedClock};

/// A clock that falls behind by no more than this was adjusted; by more, it was set back.
const ADJUSTED: Duration = Duration::from_secs(1);

/// A clock over another one that never goes back.
#[derive(Debug)]
pub(crate) struct Steady {
    wall: SharedClock,
    /// It can't be set; where it begins says nothing.
    monotonic: SharedClock,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The latest time of the wall clock.
    latest: Duration,
    /// When it was read, by the monotonic clock.
    at: Duration,
    /// The latest time that was given: of either clock.
    given: Duration,
    /// The furthest that the wall clock stands behind, once it was set back.
    behind: Option<Duration>,
    /// A step that nobody was told of yet.
    step: Option<Step>,
}

/// Time since it was made.
#[derive(Debug)]
struct Monotonic(Instant);

impl Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The wall clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// The time that goes on being true.
    pub(crate) from: Duration,
    /// What the wall clock says.
    pub(crate) to: Duration,
}

impl Steady {
    /// Over `wall`, not before `floor`.
    pub(crate) fn new(wall: SharedClock, floor: Duration) -> Self {
        Self::over(wall, Arc::new(Monotonic(Instant::now())), floor)
    }

    fn over(wall: SharedClock, monotonic: SharedClock, floor: Duration) -> Self {
        Self {
            wall,
            seen: Mutex::new(Seen {
                latest: floor,
                at: monotonic.now(),
                given: floor,
                behind: None,
                step: None,
            }),
            monotonic,
        }
    }

    /// The step that was found since the last time this was asked.
    pub(crate) fn take_step(&self) -> Option<Step> {
        let _looked = self.now();
        self.lock().step.take()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Steady {
    fn now(&self) -> Duration {
        // Read within the lock, so that no older reading is taken for a step.
        let mut seen = self.lock();
        let (wall, monotonic) = (self.wall.now(), self.monotonic.now());
        if wall >= seen.given {
            (seen.latest, seen.at, seen.given, seen.behind) = (wall, monotonic, wall, None);
            return wall;
        }
        let passed = monotonic.saturating_sub(seen.at);
        let now = seen.latest.saturating_add(passed).max(seen.given);
        seen.given = now;
        let behind = now.saturating_sub(wall);
        // Told once, and again where it is set back further.
        let known = seen.behind.unwrap_or_default();
        if behind > known.saturating_add(ADJUSTED) {
            seen.behind = Some(behind);
            seen.step = Some(Step {
                from: now,
                to: wall,
            });
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Millis(AtomicU64);

    impl Clock for Millis {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    impl Millis {
        fn set(&self, millis: u64) {
            self.0.store(millis, Ordering::Relaxed);
        }
    }

    /// The wall clock, the monotonic one, and the one over them.
    fn steady(floor: u64) -> (Arc<Millis>, Arc<Millis>, Steady) {
        let (wall, monotonic) = (Arc::new(Millis::default()), Arc::new(Millis::default()));
        let steady = Steady::over(
            Arc::clone(&wall) as SharedClock,
            Arc::clone(&monotonic) as SharedClock,
            Duration::from_millis(floor),
        );
        (wall, monotonic, steady)
    }

    #[test]
    fn it_follows_the_wall_clock_and_goes_on_where_that_is_set_back() {
        let (wall, monotonic, steady) = steady(0);
        wall.set(3_600_000);
        assert_eq!(steady.now(), Duration::from_secs(3_600));
        // A wall clock that stands still is followed.
        monotonic.set(5_000);
        assert_eq!(steady.now(), Duration::from_secs(3_600));
        assert_eq!(steady.take_step(), None);

        wall.set(0);
        monotonic.set(12_000);
        assert_eq!(steady.now(), Duration::from_secs(3_607));
        let step = steady.take_step().unwrap();
        assert_eq!(
            (step.from, step.to),
            (Duration::from_secs(3_607), Duration::ZERO)
        );
        assert_eq!(steady.take_step(), None, "told once");

        // It catches up.
        wall.set(4_000_000);
        assert_eq!(steady.now(), Duration::from_secs(4_000));
        // A small correction is none of anyone's business, and still takes nothing back.
        wall.set(3_999_500);
        assert_eq!(steady.now(), Duration::from_secs(4_000));
        assert_eq!(steady.take_step(), None);
    }

    #[test]
    fn a_start_under_a_clock_that_was_set_back_is_a_step() {
        let (wall, _, steady) = steady(10_000);
        wall.set(5_000);
        assert_eq!(steady.now(), Duration::from_secs(10));
        assert!(steady.take_step().is_some());
    }

    proptest::proptest! {
        #[test]
        fn it_never_goes_back(times in proptest::collection::vec((0_u64..10_000_000, 0_u64..10_000), 1..50)) {
            let (wall, monotonic, steady) = steady(0);
            let (mut last, mut passed) = (Duration::ZERO, 0);
            for (time, more) in times {
                wall.set(time);
                passed += more;
                monotonic.set(passed);
                let now = steady.now();
                proptest::prop_assert!(now >= last && now >= Duration::from_millis(time));
                last = now;
            }
        }
    }
}
