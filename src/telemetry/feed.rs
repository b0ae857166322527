//! Traces on their way from the calls to whoever sends them: bounded, and never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::Sample;

/// Traces that wait to be sent. At a thousand calls a second that is as long as a collector may take to
/// restart before traces are dropped, and at most some tens of megabytes.
const WAITING: usize = 4_096;

/// Takes traces.
#[derive(Debug)]
pub(super) struct Feed {
    sender: mpsc::Sender<Trace>,
    receiver: Mutex<Option<Traces>>,
    sample: Sample,
    dropped: AtomicU64,
}

/// Gives them.
pub(super) type Traces = mpsc::Receiver<Trace>;

/// One call's spans, the call's own last.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trace {
    pub(super) id: [u8; 16],
    pub(super) state: String,
    pub(super) spans: Vec<Span>,
}

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: String,
    pub(super) kind: SpanKind,
    /// Since 1970.
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) attributes: Vec<(&'static str, Attribute)>,
    pub(super) is_error: bool,
}

/// Which side of what a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanKind {
    Internal,
    Server,
    Client,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Attribute {
    Text(String),
    Whole(i64),
    Texts(Vec<String>),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u32> for Attribute {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Self::Whole(number.into())
    }
}

impl From<Vec<String>> for Attribute {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl Feed {
    pub(super) fn new(sample: Sample) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self {
            sender,
            receiver: Mutex::new(Some(receiver)),
            sample,
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) const fn sample(&self) -> Sample {
        self.sample
    }

    /// Puts a trace in line; where there is no room it is dropped and counted.
    pub(super) fn put(&self, trace: Trace) {
        if self.sender.try_send(trace).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts traces that could not be sent.
    pub(super) fn lost(&self, traces: u64) {
        self.dropped.fetch_add(traces, Ordering::Relaxed);
    }

    /// Traces that never arrived.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self) -> Option<Traces> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
