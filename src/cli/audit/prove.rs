//! `tollgate audit prove` and `receipt`: what can be shown to somebody who has no journal.

use std::path::Path;

use serde_json::json;

use super::{fault, of_archive};
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal::archive::Archive;
use crate::journal::receipt::{self, IssueError};

/// The proof of a record, with the record's line in it.
pub(super) fn record(seq: u64, folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let mut archive = Archive::open(folder).map_err(of_archive)?;
    let line = archive.line(seq).map_err(of_archive)?;
    let mut proof = archive.prove(seq, &line).map_err(of_archive)?;
    proof.extra = Some(line);
    let key = archive.key_of(seq).map(ToString::to_string);
    if printer.is_json() {
        let shown = json!({"record": seq, "key": key, "proof": proof.to_string()});
        printer.object("proof", &shown)?;
    } else {
        printer.raw(proof.to_string().as_bytes())?;
    }
    if let Some(key) = key {
        printer.say(&format!("its segment's key is {key}"));
    }
    Ok(Exit::Ok)
}

/// The receipt of a call. It is JSON as it is, whichever format is asked for.
pub(super) fn receipt(call: &str, folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let receipt = receipt::receipt(folder, call).map_err(|error| match error {
        IssueError::Read(error) => fault(error),
        IssueError::Archive(error) => of_archive(error),
        error @ IssueError::Receipt(_) => Fault::of(&error)
            .exit(Exit::Tampered)
            .hint("run `tollgate audit verify`"),
        error => Fault::of(&error),
    })?;
    printer.raw(receipt.text()?.as_bytes())?;
    Ok(Exit::Ok)
}
