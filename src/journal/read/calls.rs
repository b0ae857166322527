//! All that is recorded of one call.

use std::ops::ControlFlow;
use std::path::Path;

use super::ReadError;
use crate::journal::escape;
use crate::journal::record::Record;
use crate::journal::search::{self, Found};

/// Calls that are named where an id is that of several.
const NAMED: usize = 8;

/// Everything recorded of one call. `id` is its id, or at least six characters of its start or end:
/// ids made within a minute start alike, and end at random.
///
/// # Errors
///
/// There is no such call or more than one, the file system fails, or a line is not a record.
pub fn call(directory: &Path, id: &str) -> Result<Vec<Record>, ReadError> {
    collected(directory, &the_one(directory, id)?)
}

/// The same, with the records that are not its own and name it: a revocation that stopped it, a start that
/// found it without an end, a later call that used its approval.
///
/// # Errors
///
/// As [`call`].
pub fn story(directory: &Path, id: &str) -> Result<Vec<Record>, ReadError> {
    let found = search::with_mentions(directory, the_one(directory, id)?)?;
    collected(directory, &found)
}

fn the_one(directory: &Path, id: &str) -> Result<Found, ReadError> {
    let text = id.to_ascii_lowercase();
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    if !(6..=36).contains(&text.len()) || !text.bytes().all(plain) {
        return Err(ReadError::NotAnId(escape(escape::head(id, 64))));
    }
    let found = search::by_id(directory, &text, NAMED)?;
    match found.calls.as_slice() {
        [] => Err(ReadError::NoCall(text)),
        [_] => Ok(found),
        several => Err(ReadError::Ambiguous {
            calls: several
                .iter()
                .take(NAMED + 1)
                .map(ToString::to_string)
                .collect(),
            text,
        }),
    }
}

fn collected(directory: &Path, found: &Found) -> Result<Vec<Record>, ReadError> {
    let mut records = Vec::new();
    search::each(directory, found, |record| {
        records.push(record);
        ControlFlow::Continue(())
    })?;
    Ok(records)
}
