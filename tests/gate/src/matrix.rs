//! What the rows of the catalogue mean for the frameworks: item x attacks x result.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rows::{Outcome, Row, lines, outcomes, rows};

/// An item of a framework, as `tests/frameworks.jsonl` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    framework: String,
    /// Its identifier; MAESTRO has none, and is cited by layer and name.
    item: String,
    title: String,
    /// What stands for it here.
    control: String,
    /// Rows, and ranges of rows such as `S01-S34`.
    rows: Vec<String>,
    /// Why no row stands for it.
    because: Option<String>,
}

/// How a row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Standing {
    Pass,
    Fail,
    /// It was not part of the last run.
    Unknown,
    /// What it is about is not built, or not tested yet.
    Waits,
}

impl Standing {
    fn mark(self) -> &'static str {
        match self {
            Self::Pass => "",
            Self::Fail => " FAILED",
            Self::Unknown => " ?",
            Self::Waits => " waits",
        }
    }
}

/// Prints the matrix; whether nothing in it failed.
pub(crate) fn print(as_json: bool) -> Result<bool> {
    let rows = rows()?;
    let items: Vec<Item> = lines(&crate::root().join("tests/frameworks.jsonl"))?;
    let found = outcomes(&crate::target().join("tmp/attacks"))?;
    let standing: BTreeMap<&str, Standing> = rows
        .iter()
        .map(|row| (row.id.as_str(), standing(row, &found)))
        .collect();
    let mut framework = "";
    for item in &items {
        let listed = expand(&item.rows, &rows)
            .with_context(|| format!("{} {}", item.framework, item.item))?;
        if as_json {
            let rows: BTreeMap<&str, Standing> =
                listed.iter().map(|id| (*id, of(&standing, id))).collect();
            println!(
                "{}",
                json!({
                    "framework": item.framework, "item": item.item, "title": item.title,
                    "control": item.control, "rows": rows, "because": item.because,
                })
            );
            continue;
        }
        if item.framework != framework {
            framework = &item.framework;
            println!("\n## {framework}\n\n| item | title | control | result | attacks |");
            println!("| --- | --- | --- | --- | --- |");
        }
        let marked: Vec<String> = listed
            .iter()
            .map(|id| format!("{id}{}", of(&standing, id).mark()))
            .collect();
        println!(
            "| {} | {} | {} | {} | {} |",
            item.item,
            item.title,
            item.control,
            verdict(&listed, &standing),
            match &item.because {
                Some(because) if marked.is_empty() => because.clone(),
                _ => marked.join(", "),
            }
        );
    }
    let count = |wanted| standing.values().filter(|found| **found == wanted).count();
    let failed = count(Standing::Fail);
    if !as_json {
        println!(
            "\n{} attacks: {} pass, {failed} fail, {} wait, {} were not part of the last run.",
            rows.len(),
            count(Standing::Pass),
            count(Standing::Waits),
            count(Standing::Unknown)
        );
        for row in rows
            .iter()
            .filter(|row| of(&standing, &row.id) == Standing::Fail)
        {
            let why = found.get(&row.id).and_then(|outcome| outcome.wrong.first());
            println!(
                "failed: {} {}: {}",
                row.id,
                row.attack,
                why.map_or("", String::as_str)
            );
        }
    }
    Ok(failed == 0)
}

fn of(standing: &BTreeMap<&str, Standing>, id: &str) -> Standing {
    standing.get(id).copied().unwrap_or(Standing::Unknown)
}

fn standing(row: &Row, found: &BTreeMap<String, Outcome>) -> Standing {
    match found.get(&row.id) {
        _ if row.waits_for.is_some() || !row.runs() => Standing::Waits,
        None => Standing::Unknown,
        Some(outcome) if outcome.wrong.is_empty() => Standing::Pass,
        Some(_) => Standing::Fail,
    }
}

fn verdict(rows: &[&str], standing: &BTreeMap<&str, Standing>) -> String {
    let count = |wanted| rows.iter().filter(|id| of(standing, id) == wanted).count();
    let (pass, fail) = (count(Standing::Pass), count(Standing::Fail));
    match (rows.len(), pass, fail) {
        (0, ..) => String::from("no attack"),
        (_, _, 1..) => format!("FAILED {fail} of {}", rows.len()),
        (all, pass, 0) if all == pass => format!("pass {all}"),
        (all, pass, 0) => format!("pass {pass} of {all}"),
    }
}

/// `S01-S34` as the rows between them.
fn expand<'a>(listed: &[String], rows: &'a [Row]) -> Result<Vec<&'a str>> {
    let mut all: Vec<&str> = Vec::new();
    for entry in listed {
        let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
        let found: Vec<&str> = rows
            .iter()
            .map(|row| row.id.as_str())
            .filter(|id| (first..=last).contains(id))
            .collect();
        anyhow::ensure!(!found.is_empty(), "no row is `{entry}`");
        all.extend(found);
    }
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_names_rows_that_there_are() {
        let rows = rows().unwrap();
        let items: Vec<Item> = lines(&crate::root().join("tests/frameworks.jsonl")).unwrap();
        assert!(items.len() > 50);
        for item in items {
            assert!(!item.rows.is_empty() || item.because.is_some(), "{item:?}");
            expand(&item.rows, &rows).unwrap();
        }
    }
}
