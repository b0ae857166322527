//! What the host itself is set to: its journal, log and way out.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Requests that plugins make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Egress {
    /// Files of further certificate authorities (PEM), as absolute paths.
    pub extra_ca: Vec<PathBuf>,
    /// The proxy that every request goes through.
    pub proxy: Option<Proxy>,
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its name or address, as in a URL.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// The journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Journal {
    /// When records are waited for.
    pub sync: Sync,
    /// A segment, and the key that signs it, ends before it has more bytes than this.
    pub segment_size: u64,
    /// It ends once it is so old.
    pub segment_age: Duration,
    /// Whether closed segments are compressed.
    pub compress: bool,
    /// The lines of the oldest segments are removed beyond so many bytes.
    pub keep_size: Option<u64>,
    /// They are removed once they are so old.
    pub keep_age: Option<Duration>,
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            sync: Sync::default(),
            // About 60,000 records: what `grep` and an upload take at once, and a start reads in well
            // under a second.
            segment_size: 64 << 20,
            // What whoever steals a key can sign anew.
            segment_age: Duration::from_secs(24 * 3600),
            compress: true,
            keep_size: None,
            keep_age: None,
        }
    }
}

/// When a record must be on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sync {
    /// Before any effect; what has none waits for nothing.
    #[default]
    Gated,
    /// Before every answer.
    Always,
    /// Now and then. A power failure loses records of effects that happened.
    Interval,
}

/// Tasks of agents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tasks {
    /// Whether an agent that is on no task is refused.
    pub required: bool,
}

/// The log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// What is worth a line of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the levels that every log has")]
pub enum Level {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

impl Level {
    /// Its name, as `tracing` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines, one object a line.
    Json,
}
