//! `tollgate audit show`: one call as a timeline.

use std::path::Path;

use super::{fault, print};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal;
use crate::journal::show::{self, Look};

pub(super) fn call(folder: &Path, call: &str, printer: &mut Printer) -> Result<Exit, Fault> {
    let records = journal::call(folder, call).map_err(fault)?;
    if printer.is_json() {
        for record in &records {
            print(record, printer)?;
        }
    } else {
        let look = Look {
            colour: printer.colour(),
        };
        printer.raw(show::call(&records, look).as_bytes())?;
    }
    Ok(Exit::Ok)
}
