//! Time, injected: the wall clock for records and decisions, a monotonic one for durations.
//!
//! Nothing else in the host asks the operating system for the time of day, so a test decides it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Where the host takes the time of day from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since 1970-01-01T00:00:00Z, leap seconds left out.
    fn now(&self) -> Duration;

    /// Time since some moment, by a clock that nobody can set; zero where there is none.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// A clock that is shared by the parts of a host.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn elapsed(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-11-22T13:22:08.123Z`; what records carry.
#[must_use]
pub fn rfc3339(since_epoch: Duration) -> String {
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::from("out of range"), |t| format!("{t:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_milliseconds_in_utc() {
        assert_eq!(
            rfc3339(Duration::from_millis(0)),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(
            rfc3339(Duration::from_millis(1_795_353_728_120)),
            "2026-11-22T13:22:08.120Z"
        );
    }
}
