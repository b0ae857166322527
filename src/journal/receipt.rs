//! A receipt: all that is recorded of one call, in one file that is checked without the journal.
//!
//! It holds the call's records as they stand in the log, each with the proof that it does, and the
//! closing records by which each key of the log named the next, from the first key to the last one
//! that signed for this call. So whoever knows one key of the log, from before or from the call's own
//! segment, can check all of it. What it says at the top is made of the records and compared with
//! them: nobody has to believe it.
//!
//! A key vouches for records of its own segment alone. Whoever steals the key of today can forge what
//! is written from today on, and no receipt of yesterday.

mod check;
mod issue;
mod summary;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::check::{Checked, ReceiptError};
pub use self::issue::{IssueError, receipt};
pub use self::summary::{HostCallSummary, Summary};
use super::prove::Proof;
use super::record::{CallId, Event, Record};
use crate::json::{self, Limits};

/// The version of the format that this host writes.
const VERSION: u32 = 1;

/// The most bytes of a receipt that are read: calls with thousands of host calls have less.
pub const MAX_RECEIPT: u64 = 64 << 20;

/// What of a file is read as JSON: all that may be in it, and no nesting that no receipt has.
const LIMITS: Limits = Limits {
    bytes: 64 << 20,
    depth: 16,
    nodes: 1 << 20,
};

/// All that is recorded of one call, with proof.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// The version of this format.
    tollgate_receipt: u32,
    /// The call: what a result carries as `dev.tollgate/call`.
    call: CallId,
    /// The log.
    log: String,
    /// The key that the chain of keys begins with.
    key: String,
    /// What the records say, put together.
    summary: Value,
    /// The closing records by which one key names the next.
    keys: Vec<Shown>,
    /// The call's records.
    records: Vec<Shown>,
}

/// A record, with the proof that it is in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// Its line, without the newline.
    record: String,
    /// A C2SP tlog-proof of it.
    proof: String,
}

impl Shown {
    /// The record of `line`, proved by `proof`.
    #[must_use]
    pub fn new(line: String, proof: &Proof) -> Self {
        Self {
            record: line,
            proof: proof.to_string(),
        }
    }
}

/// Whether a record belongs into the receipt of a call: one of its own, or that of the start which
/// found it without an outcome.
pub(super) fn is_of(record: &Record, call: CallId) -> bool {
    match &record.event {
        Event::Recovered(recovered) => recovered.unknown.contains(&call),
        event => event.call() == Some(call),
    }
}

impl Receipt {
    /// Puts a receipt together of the call's records, in order, and the closing records before them.
    ///
    /// # Errors
    ///
    /// The summary can't be written, which no record gives reason for.
    pub fn new(
        call: CallId,
        (log, key): (&str, String),
        keys: Vec<Shown>,
        records: &[Record],
        shown: Vec<Shown>,
    ) -> Result<Self, serde_json::Error> {
        Ok(Self {
            tollgate_receipt: VERSION,
            call,
            log: log.to_owned(),
            key,
            summary: serde_json::to_value(Summary::of(call, records))?,
            keys,
            records: shown,
        })
    }

    /// The call that it is of.
    #[must_use]
    pub const fn call(&self) -> CallId {
        self.call
    }

    /// The text of the file: JSON for people to read too, with a newline at the end.
    ///
    /// # Errors
    ///
    /// None that a receipt gives reason for.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// It is no receipt, or one of another version.
    pub fn parse(text: &str) -> Result<Self, ReceiptError> {
        // Of a member that stands twice one reader takes the first, and another the last.
        json::parse_any_number(text.as_bytes(), &LIMITS)
            .map_err(|fault| ReceiptError::Form(fault.to_string()))?;
        let receipt: Self =
            serde_json::from_str(text).map_err(|error| ReceiptError::Form(error.to_string()))?;
        if receipt.tollgate_receipt == VERSION {
            Ok(receipt)
        } else {
            Err(ReceiptError::Version(receipt.tollgate_receipt))
        }
    }
}

#[cfg(test)]
mod tests;
