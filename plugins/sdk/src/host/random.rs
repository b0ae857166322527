//! Random bytes fit for keys and nonces. Needs the requirement `random`.

use crate::Error;
use crate::bindings::tollgate::plugin::random;

/// `length` bytes, at most 64 KiB at once.
pub fn bytes(length: u32) -> Result<Vec<u8>, Error> {
    random::bytes(length).map_err(Error::from_host)
}
