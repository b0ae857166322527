//! Traces on their way from the calls to whoever sends them: bounded, and never waited for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::config::Sample;

/// Traces that wait to be sent. At a thousand calls a second that is as long as a collector may take to
/// restart before traces are dropped.
const WAITING: usize = 4_096;
/// Spans of them, of which a call of many requests has hundreds: at most some tens of megabytes.
const SPANS: usize = 8 * WAITING;

/// Takes traces.
#[derive(Debug)]
pub(super) struct Feed {
    sender: mpsc::Sender<Waiting>,
    /// Room for spans.
    room: Arc<Semaphore>,
    receiver: Mutex<Option<Traces>>,
    sample: Sample,
    dropped: AtomicU64,
}

/// A trace, and the room that it takes in line.
type Waiting = (Trace, OwnedSemaphorePermit);

/// Gives them.
#[derive(Debug)]
pub(super) struct Traces(mpsc::Receiver<Waiting>);

impl Traces {
    /// The next one; nothing once there will be none.
    pub(super) async fn next(&mut self) -> Option<Trace> {
        self.0.recv().await.map(|(trace, _)| trace)
    }

    /// The next one, where it is there already.
    pub(super) fn next_in_line(&mut self) -> Option<Trace> {
        self.0.try_recv().ok().map(|(trace, _)| trace)
    }
}

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
            room: Arc::new(Semaphore::new(SPANS)),
            receiver: Mutex::new(Some(Traces(receiver))),
            sample,
            dropped: AtomicU64::new(0),
        }
    }

    pub(super) const fn sample(&self) -> Sample {
        self.sample
    }

    /// Puts a trace in line; where there is no room it is dropped and counted.
    pub(super) fn put(&self, trace: Trace) {
        let spans = u32::try_from(trace.spans.len()).unwrap_or(u32::MAX);
        let is_in_line = Arc::clone(&self.room)
            .try_acquire_many_owned(spans)
            .is_ok_and(|room| self.sender.try_send((trace, room)).is_ok());
        if !is_in_line {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(spans: usize) -> Trace {
        let span = Span {
            id: [1; 8],
            parent: None,
            name: String::from("GET"),
            kind: SpanKind::Client,
            start: Duration::ZERO,
            end: Duration::ZERO,
            attributes: Vec::new(),
            is_error: false,
        };
        Trace {
            id: [1; 16],
            state: String::new(),
            spans: vec![span; spans],
        }
    }

    #[test]
    fn what_waits_is_bounded_by_its_spans_and_what_has_no_room_is_counted() {
        let feed = Feed::new(Sample::All);
        let mut traces = feed.take().unwrap();
        let fit = SPANS / 256;
        for _ in 0..fit + 3 {
            feed.put(trace(256));
        }
        assert_eq!(feed.dropped(), 3);
        // What was taken makes room.
        assert_eq!(traces.next_in_line().unwrap().spans.len(), 256);
        feed.put(trace(256));
        assert_eq!(feed.dropped(), 3);
        feed.put(trace(1));
        assert_eq!(feed.dropped(), 4);
        let left = std::iter::from_fn(|| traces.next_in_line()).count();
        assert_eq!(left, fit);
        for _ in 0..WAITING + 2 {
            feed.put(trace(1));
        }
        assert_eq!(feed.dropped(), 6);
    }
}
