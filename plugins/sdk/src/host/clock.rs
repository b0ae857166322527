//! The time of day. Needs the requirement `clock`.

use std::time::Duration;

use crate::Error;
use crate::bindings::tollgate::plugin::clock;

/// Time since 1970-01-01T00:00:00Z, leap seconds left out.
pub fn now() -> Result<Duration, Error> {
    let now = clock::now().map_err(Error::from_host)?;
    Ok(Duration::new(now.seconds, now.nanoseconds))
}
