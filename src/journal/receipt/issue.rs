//! Making receipts out of a journal.

use std::path::Path;

use super::{Receipt, ReceiptError, Shown, is_of};
use crate::journal::archive::{Archive, ArchiveError};
use crate::journal::line;
use crate::journal::read::{self, Filter, ReadError};
use crate::journal::record::{CallId, Event, Record};

/// There is no receipt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The call can't be found or read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its records can't be proved.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The receipt would not hold.
    #[error(
        "what the journal has makes no good receipt: {0}; `tollgate audit verify` looks at the whole of it"
    )]
    Receipt(#[from] ReceiptError),
    /// It can't be written, which no record gives reason for.
    #[error("the receipt can't be written: {0}")]
    Write(#[from] serde_json::Error),
}

/// The receipt of a call, by its id or at least six characters of it, checked as its reader will.
///
/// # Errors
///
/// There is no such call, no checkpoint speaks of all of its records yet, or the journal is damaged.
pub fn receipt(directory: &Path, call: &str) -> Result<Receipt, IssueError> {
    let mut records = read::call(directory, call)?;
    let none = || ReadError::NoCall(call.to_owned());
    let call = records
        .iter()
        .find_map(|record| record.event.call())
        .ok_or_else(none)?;
    if has_no_end(&records) {
        // The start that found it without one says so, if there was one.
        let filter = Filter {
            kind: Some(String::from("recovered")),
            ..Filter::default()
        };
        let (recovered, _) = read::tail(directory, usize::MAX, &filter)?;
        records.extend(recovered.into_iter().filter(|record| is_of(record, call)));
        records.sort_by_key(|record| record.seq);
    }
    of_records(&mut Archive::open(directory)?, call, &records)
}

fn has_no_end(records: &[Record]) -> bool {
    let ends = |record: &Record| match &record.event {
        Event::Outcome(_) | Event::Hold(_) => true,
        Event::Refusal(refused) => refused.host_call.is_none(),
        _ => false,
    };
    !records.iter().any(ends)
}

/// The receipt of `call`, of which `records` are all.
pub(super) fn of_records(
    archive: &mut Archive,
    call: CallId,
    records: &[Record],
) -> Result<Receipt, IssueError> {
    let mut shown = Vec::with_capacity(records.len());
    for record in records {
        let line = line_of(record)?;
        let proof = archive.prove(record.seq, line.as_bytes())?;
        shown.push(Shown::new(line, &proof));
    }
    let last = records.last().map_or(0, |record| record.seq);
    let mut keys = Vec::new();
    for (seq, line) in archive.closing_before(last)? {
        let proof = archive.prove(seq, &line)?;
        keys.push(Shown::new(text_of(line)?, &proof));
    }
    let Some(first) = archive.keys().next().cloned() else {
        return Err(ArchiveError::Empty.into());
    };
    let log = archive.origin().to_owned();
    let receipt = Receipt::new(call, (&log, first.to_string()), keys, records, shown)?;
    receipt.check(&[first])?;
    Ok(receipt)
}

/// The record's line: what is read of a line is written as exactly that line, or it was none.
fn line_of(record: &Record) -> Result<String, IssueError> {
    let mut event = Vec::new();
    line::write_event(&record.event, &mut event)?;
    let mut out = Vec::new();
    let prev = line::hex(&record.prev);
    line::assemble(record.seq, &record.time, &prev, &event, &mut out);
    out.pop();
    text_of(out)
}

fn text_of(line: Vec<u8>) -> Result<String, IssueError> {
    String::from_utf8(line)
        .map_err(|error| ReceiptError::Form(error.to_string()))
        .map_err(IssueError::from)
}
