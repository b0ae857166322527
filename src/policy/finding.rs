//! Something wrong in `policies/`, with its place and what to do.

use std::fmt;

use super::source::position;

/// How bad a finding is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file, or what it would have answered, is not in force.
    Error,
    /// In force, and probably not what was meant.
    Warning,
}

/// Something wrong in `policies/`, with its place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to `policies/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do; empty where nothing is known.
    pub help: String,
}

impl Finding {
    pub(super) fn new(severity: Severity, file: &str, message: String, help: &str) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            line: 1,
            column: 1,
            message,
            help: help.to_owned(),
        }
    }

    pub(super) fn at(mut self, text: &str, offset: usize) -> Self {
        (self.line, self.column) = position(text, offset);
        self
    }

    pub(super) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "policies/{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}
