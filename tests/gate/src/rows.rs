//! The rows of the catalogue, and what became of them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// A row of `tests/attacks.jsonl`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) attack: String,
    pub(crate) waits_for: Option<String>,
    #[serde(default)]
    pub(crate) cases: Vec<serde_json::Value>,
    /// The test that stands for it.
    pub(crate) claimed_by: Option<String>,
}

impl Row {
    /// Whether anything runs for it.
    pub(crate) fn runs(&self) -> bool {
        !self.cases.is_empty() || self.claimed_by.is_some()
    }
}

/// What the tests wrote of a row: `tests/it/attacks/report.rs`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) row: String,
    pub(crate) wrong: Vec<String>,
}

/// The lines of a file, each a value.
pub(crate) fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("read `{}`", path.display()))?;
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(at, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("`{}`, line {}", path.display(), at + 1))
        })
        .collect()
}

/// Every row.
pub(crate) fn rows() -> Result<Vec<Row>> {
    lines(&crate::root().join("tests/attacks.jsonl"))
}

/// The outcomes in a folder, by row. A row whose test died wrote none.
pub(crate) fn outcomes(folder: &Path) -> Result<BTreeMap<String, Outcome>> {
    let mut all = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(all),
        Err(error) => return Err(error).with_context(|| format!("list `{}`", folder.display())),
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let text = std::fs::read_to_string(&path)?;
            let outcome: Outcome = serde_json::from_str(&text)
                .with_context(|| format!("read `{}`", path.display()))?;
            all.insert(outcome.row.clone(), outcome);
        }
    }
    Ok(all)
}
