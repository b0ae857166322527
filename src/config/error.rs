//! What is wrong with a configuration, and where.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in it is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, in characters, from 1.
        column: usize,
        /// What is wrong, and what to do.
        message: String,
    },
}

impl ConfigError {
    pub(super) fn at(path: &Path, text: &str, span: Range<usize>, message: String) -> Self {
        let (line, column) = place(text, Some(span));
        Self::Wrong {
            path: path.to_owned(),
            line,
            column,
            message,
        }
    }

    pub(super) fn from_toml(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let (line, column) = place(text, error.span());
        Self::Wrong {
            path: path.to_owned(),
            line,
            column,
            message: one_line(error.message()),
        }
    }
}

/// Line and column of the start of `span`, both from 1.
pub(super) fn place(text: &str, span: Option<Range<usize>>) -> (usize, usize) {
    let start = span.map_or(0, |s| s.start);
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    (line, column)
}

/// The parser's messages may have several lines, and may quote what stands in the file.
fn one_line(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for c in message.trim_end().chars() {
        match c {
            '\n' => out.push_str("; "),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}
