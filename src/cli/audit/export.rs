//! `tollgate audit export`: the journal for programs that read another form.

use std::path::Path;

use super::{fault, search};
use crate::cli::args::{Export, Form};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal::record::Record;
use crate::journal::{self, Query, Reader};
use crate::json::plain;
use crate::telemetry::ocsf::Ocsf;

/// Bytes that are written at once.
const AT_ONCE: usize = 64 << 10;

/// Prints one event on each line, in the order of the records.
pub(super) fn export(folder: &Path, export: Export, printer: &mut Printer) -> Result<Exit, Fault> {
    let Form::Ocsf = export.form;
    let query: Query = export.wanted.into();
    let mut ocsf = Ocsf::default();
    let mut lines: Vec<u8> = Vec::new();
    let mut write = |record: &Record| -> Result<(), Fault> {
        for event in ocsf.events(record) {
            plain::write(&event, &mut lines)?;
            lines.push(b'\n');
        }
        if lines.len() >= AT_ONCE {
            printer.raw(&lines)?;
            lines.clear();
        }
        Ok(())
    };
    if query.is_empty() {
        let mut reader = Reader::new(folder);
        while let Some(record) = reader.next_record().map_err(fault)? {
            write(&record)?;
        }
    } else {
        let found = journal::search(folder, &query, usize::MAX).map_err(fault)?;
        search::each(folder, &found, &mut write)?;
    }
    printer.raw(&lines)?;
    Ok(Exit::Ok)
}
