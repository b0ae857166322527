//! `tollgate audit tail`: the last records, and those that come.

use std::path::Path;
use std::time::Duration;

use super::{fault, print};
use crate::cli::args::Tail;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::cli::printer::Printer;
use crate::journal::record::Event;
use crate::journal::{self, Filter};

/// How often the end of the journal is looked at while following it: as soon as a person would notice.
pub(super) const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// Prints the last records. `again` is asked before each further look; tests answer, people interrupt.
pub(super) fn tail(
    folder: &Path,
    tail: Tail,
    printer: &mut Printer,
    mut again: impl FnMut(usize) -> bool,
) -> Result<Exit, Fault> {
    let filter = Filter {
        agent: tail.agent,
        tool: tail.tool,
        kind: tail.kind.map(known_kind).transpose()?,
        call: None,
    };
    let (records, mut reader) = journal::tail(folder, tail.count, &filter).map_err(fault)?;
    for record in &records {
        print(record, printer)?;
    }
    let mut looks = 0;
    while tail.follow && again(looks) {
        looks += 1;
        while let Some(record) = reader.next_record().map_err(fault)? {
            if filter.wants(&record) {
                print(&record, printer)?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// A kind that there is. A misspelt one would show nothing, which looks like nothing happened.
fn known_kind(kind: String) -> Result<String, Fault> {
    if Event::KINDS.contains(&kind.as_str()) {
        Ok(kind)
    } else {
        Err(
            Fault::invalid(format!("there are no records of the kind `{kind}`"))
                .hint(format!("the kinds are {}", Event::KINDS.join(", "))),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_does_not_exist_is_named() {
        for kind in ["intent", "task-started", "revocation", "lease"] {
            assert!(known_kind(kind.into()).is_ok(), "{kind}");
        }
        let fault = known_kind("intents".into()).unwrap_err();
        insta::assert_snapshot!(fault.message, @"there are no records of the kind `intents`");
    }
}
