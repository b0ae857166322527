//! Time that never goes back.
//!
//! A wall clock can be set back, by a mistake or by someone who wants what has expired to live again.
//! Everything that expires here asks this clock: it follows the wall clock forward, and where that
//! falls behind the latest time that was ever seen, it goes on from there by the monotonic clock. The
//! latest time outlives the process, so a restart under a clock that was set back revives nothing
//! either. (A wall clock that ran ahead by mistake is followed, too: what expired by it stays so.)

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{Clock, SharedClock};

/// A clock that falls behind by no more than this was adjusted; by more, it was set back.
const ADJUSTED: Duration = Duration::from_secs(1);

/// A clock over another one that never goes back.
#[derive(Debug)]
pub(crate) struct Steady {
    wall: SharedClock,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// The latest time of the wall clock.
    latest: Duration,
    /// When it was read.
    at: Instant,
    /// The furthest that the wall clock stands behind, once it was set back.
    behind: Option<Duration>,
    /// A step that nobody was told of yet.
    step: Option<Step>,
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
        Self {
            wall,
            seen: Mutex::new(Seen {
                latest: floor,
                at: Instant::now(),
                behind: None,
                step: None,
            }),
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
        let wall = self.wall.now();
        if wall >= seen.latest {
            (seen.latest, seen.at, seen.behind) = (wall, Instant::now(), None);
            return wall;
        }
        let now = seen.latest.saturating_add(seen.at.elapsed());
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
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Debug, Default)]
    struct Wall(AtomicU64);

    impl Clock for Wall {
        fn now(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    fn steady(floor: u64) -> (Arc<Wall>, Steady) {
        let wall = Arc::new(Wall::default());
        let steady = Steady::new(
            Arc::clone(&wall) as SharedClock,
            Duration::from_millis(floor),
        );
        (wall, steady)
    }

    #[tokio::test(start_paused = true)]
    async fn it_follows_the_wall_clock_and_goes_on_where_that_is_set_back() {
        let (wall, steady) = steady(0);
        wall.0.store(3_600_000, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(3_600));
        // A wall clock that stands still is followed.
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(steady.now(), Duration::from_secs(3_600));
        assert_eq!(steady.take_step(), None);

        wall.0.store(0, Ordering::Relaxed);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(steady.now(), Duration::from_secs(3_607));
        let step = steady.take_step().unwrap();
        assert_eq!(
            (step.from, step.to),
            (Duration::from_secs(3_607), Duration::ZERO)
        );
        assert_eq!(steady.take_step(), None, "told once");

        // It catches up.
        wall.0.store(4_000_000, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(4_000));
        // A small correction is none of anyone's business, and still takes nothing back.
        wall.0.store(3_999_500, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(4_000));
        assert_eq!(steady.take_step(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_under_a_clock_that_was_set_back_is_a_step() {
        let (wall, steady) = steady(10_000);
        wall.0.store(5_000, Ordering::Relaxed);
        assert_eq!(steady.now(), Duration::from_secs(10));
        assert!(steady.take_step().is_some());
    }

    proptest::proptest! {
        #[test]
        fn it_never_goes_back(times in proptest::collection::vec(0_u64..10_000_000, 1..50)) {
            let (wall, steady) = steady(0);
            let mut last = Duration::ZERO;
            for time in times {
                wall.0.store(time, Ordering::Relaxed);
                let now = steady.now();
                proptest::prop_assert!(now >= last && now >= Duration::from_millis(time));
                last = now;
            }
        }
    }
}
