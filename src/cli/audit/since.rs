//! `tollgate audit since`: whether the journal goes on from what was kept elsewhere.

use std::path::Path;

use serde_json::json;

use super::{of_archive, verify};
use crate::cli::args::Since;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::finding::number;
use crate::cli::printer::{BAD, GOOD, Printer};
use crate::journal::anchor::{self, described};
use crate::journal::archive::Archive;
use crate::journal::escape;

/// The most bytes of what checkpoints are kept in: years of them, every ten minutes.
const MOST: u64 = 256 << 20;

pub(super) fn run(since: &Since, folder: &Path, printer: &mut Printer) -> Result<Exit, Fault> {
    let file = since.file.as_path();
    let text = super::check::text_of(file, MOST)?;
    let notes = anchor::read(&text).map_err(|error| {
        Fault::of(&error)
            .context(&format!("`{}` has no checkpoint", file.display()))
            .exit(Exit::Invalid)
    })?;
    if notes.is_empty() {
        return Err(Fault::invalid(format!(
            "`{}` has no checkpoint in it",
            file.display()
        )));
    }
    // What the journal says of itself counts for nothing unless all of it is good.
    let report = verify::verified(folder, &since.keys, printer)?;
    if !report.is_good() {
        return verify::told(&report, printer);
    }
    let mut archive = Archive::open(folder).map_err(of_archive)?;
    let now = archive.size().map_err(of_archive)?;
    let mut newest = 0;
    for (i, note) in notes.iter().enumerate() {
        let (checkpoint, standing) = anchor::stands(&mut archive, note).map_err(of_archive)?;
        let size = checkpoint.as_ref().map(|checkpoint| checkpoint.size);
        if let Some(why) = described((checkpoint, standing)) {
            return bad(i + 1, newest, &why, printer);
        }
        newest = newest.max(size.unwrap_or(0));
    }
    let since = now.saturating_sub(newest);
    if printer.is_json() {
        let shown = json!({
            "good": true, "checkpoints": notes.len(), "size": newest, "records": now, "since": since,
        });
        printer.object("since", &shown)?;
        return Ok(Exit::Ok);
    }
    let head = printer.paint(GOOD, "good");
    printer.line(&format!(
        "{head}: the journal goes on from {}, the newest of {newest} records; {} since",
        number(notes.len(), "checkpoint"),
        number(usize::try_from(since).unwrap_or(usize::MAX), "record")
    ))?;
    Ok(Exit::Ok)
}

fn bad(place: usize, good: u64, why: &str, printer: &mut Printer) -> Result<Exit, Fault> {
    if printer.is_json() {
        let shown = json!({"good": false, "checkpoint": place, "why": why, "agrees_until": good});
        printer.object("since", &shown)?;
        return Ok(Exit::Tampered);
    }
    let head = printer.paint(BAD, "bad");
    printer.line(&format!("{head}: checkpoint {place}: {}", escape(why)))?;
    let until = if good == 0 {
        String::from("no checkpoint before it tells how far the two agree")
    } else {
        format!("they agree on the first {good} records")
    };
    printer.say(&until);
    Ok(Exit::Tampered)
}
