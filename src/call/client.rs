//! The client of a call, beside its request: what it can be asked, what it is told while the call runs,
//! and what everybody's client is told of a plugin.

use std::sync::Arc;

use serde_json::Value;

use crate::name::PluginName;
use crate::plugin::QuestionKind;

/// What the client of a call can do for it. Its own word, and nothing is decided by it but what it is asked.
#[derive(Debug, Clone, Default)]
pub struct ClientSide {
    /// What it can be asked.
    pub offers: Vec<QuestionKind>,
    /// Where lines go that it asked for.
    pub log: Option<LogSink>,
    /// Whether it has jobs: it takes a handle for an answer, and asks again.
    pub jobs: bool,
}

/// How much a line matters (RFC 5424), the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `debug`.
    Debug,
    /// `info`.
    Info,
    /// `notice`.
    Notice,
    /// `warning`.
    Warning,
    /// `error`.
    Error,
    /// `critical`.
    Critical,
    /// `alert`.
    Alert,
    /// `emergency`.
    Emergency,
}

/// A line for the client.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// What wrote it, in the plugin's words.
    pub logger: Option<String>,
    /// What it says.
    pub data: Value,
}

/// Takes lines. It must not block, and may drop them.
#[derive(Clone)]
pub struct LogSink {
    /// The least that the client wants.
    pub least: LogLevel,
    /// Where they go.
    pub sink: Arc<dyn Fn(LogLine) + Send + Sync>,
}

impl std::fmt::Debug for LogSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("LogSink").field(&self.least).finish()
    }
}

/// What a plugin says to everybody's clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Which plugin.
    pub plugin: PluginName,
    /// What it says.
    pub what: What,
}

/// What a plugin says that may be another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its tools.
    Tools,
    /// Its prompts.
    Prompts,
    /// Its resources.
    Resources,
    /// What the resource at this URI holds.
    Resource(String),
}
