//! `tollgate audit search`: the calls that did this, were asked for by them, or ended so.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;

use super::{fault, print};
use crate::cli::args::Search;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal;
use crate::journal::record::{CallId, Record};
use crate::journal::show::{self, Look, Summary};

/// A line of what was found: a call, or a record that is of none.
enum Line {
    Call(CallId),
    Record(Box<Record>),
}

/// Prints the newest calls that are asked for, the oldest of them first.
pub(super) fn search(folder: &Path, search: Search, printer: &mut Printer) -> Result<Exit, Fault> {
    let limit = match search.count {
        0 => usize::MAX,
        count => count,
    };
    let found = journal::search(folder, &search.wanted.into(), limit).map_err(fault)?;
    if found.is_empty() {
        printer.say("nothing was found");
        return Ok(Exit::Ok);
    }
    if search.records {
        return each(folder, &found, |record| print(record, printer)).map(|()| Exit::Ok);
    }
    let mut lines = Vec::new();
    let mut calls: HashMap<CallId, Summary> = HashMap::new();
    each(folder, &found, |record| {
        match record.event.call() {
            None => lines.push(Line::Record(Box::new(record.clone()))),
            Some(call) => match calls.get_mut(&call) {
                Some(known) => known.add(record),
                None => {
                    lines.push(Line::Call(call));
                    calls.extend(Summary::of(record).map(|summary| (call, summary)));
                }
            },
        }
        Ok(())
    })?;
    let look = Look {
        colour: printer.colour(),
    };
    for line in lines {
        match line {
            Line::Record(record) => print(&record, printer)?,
            Line::Call(call) => {
                let Some(call) = calls.get(&call) else {
                    continue;
                };
                if printer.is_json() {
                    printer.object("call", call)?;
                } else {
                    printer.line(&show::summary(call, look))?;
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// Hands on the records of what was found, until one can't be taken.
pub(super) fn each(
    folder: &Path,
    found: &journal::Found,
    mut take: impl FnMut(&Record) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut taken = Ok(());
    journal::each(folder, found, |record| {
        taken = take(&record);
        if taken.is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })
    .map_err(fault)?;
    taken
}
