//! `tollgate audit tail`: the last records, and those that come.

use std::path::Path;
use std::time::Duration;

use super::{fault, print};
use crate::cli::args::Tail;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal;

/// How often the end of the journal is looked at while following it: as soon as a person would notice.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Prints the last records. `again` is asked before each further look; tests answer, people interrupt.
pub(super) fn tail(
    folder: &Path,
    tail: Tail,
    printer: &mut Printer,
    mut again: impl FnMut(usize) -> bool,
) -> Result<Exit, Fault> {
    let query = tail.wanted.into();
    let (records, mut end) = journal::tail(folder, tail.count, &query).map_err(fault)?;
    for record in &records {
        print(record, printer)?;
    }
    let mut looks = 0;
    while tail.follow && again(looks) {
        looks += 1;
        while let Some(record) = end.next_record().map_err(fault)? {
            print(&record, printer)?;
        }
    }
    Ok(Exit::Ok)
}
