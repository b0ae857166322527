//! Time, injected: the wall clock for records and decisions, a monotonic one for durations.
//!
//! Nothing else in the host asks the operating system for the time of day, so a test decides it.

#[cfg(test)]
mod fixture;
mod steady;

#[cfg(test)]
pub(crate) use fixture::Seconds;
pub(crate) use steady::Steady;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Where the host takes the time of day from.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Time since 1970-01-01T00:00:00Z, leap seconds left out.
    fn now(&self) -> Duration;
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
}

/// RFC 3339 in UTC with milliseconds, such as `2026-11-22T13:22:08.123Z`; what records carry.
#[must_use]
pub fn rfc3339(since_epoch: Duration) -> String {
    let millis = i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis)
        .map_or_else(|_| String::from("out of range"), |t| format!("{t:.3}"))
}

/// Reads how long something is good: `30d`, `12h`, `45m`, `90s`, `2w`.
///
/// # Errors
///
/// It is no such text, or no time at all; what to write instead.
pub fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || String::from("write a number and `s`, `m`, `h`, `d` or `w`, such as `30d`");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: u64 = text
        .strip_suffix(unit)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(wrong)?;
    let seconds: u64 = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(wrong()),
    };
    match number.checked_mul(seconds) {
        Some(0) => Err(String::from("what is never good is of no use")),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err(wrong()),
    }
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
