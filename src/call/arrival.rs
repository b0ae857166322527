//! What comes in: a call as a transport hands it over, before anything is believed of it.

use std::sync::Arc;

use bytes::Bytes;

use super::client::ClientSide;
use super::round::Round;
use crate::identity::Authenticated;
use crate::job::Job;
use crate::journal::record::Caller;
use crate::plugin::Kind;
use crate::telemetry::TraceParent;

/// A call as it arrives.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// Who asks, as the transport established it. Never from what the model wrote.
    pub caller: Caller,
    /// What kind of thing is asked for.
    pub kind: Kind,
    /// Its name as it was asked for: what agents see (`github_search`) or the full name (`github.search`);
    /// a resource's URI.
    pub tool: String,
    /// The text of the arguments, byte for byte as it came; empty where there was none.
    pub arguments: Bytes,
    /// What the caller presented for this request, where it did; a step token or a hand-off limits the
    /// call. Absent where the transport itself says who the agent is.
    pub credential: Option<Arc<Authenticated>>,
    /// The approval that the caller names for it, as it came. It needs to name none: an identical call
    /// finds its own.
    pub approval: Option<String>,
    /// Where reports of progress go, where the client asked for them.
    pub progress: Option<ProgressSink>,
    /// What else its client can do for it.
    pub client: ClientSide,
    /// Which round it is, where it is not the first.
    pub round: Option<Round>,
    /// The job that it is a call of.
    pub job: Option<Arc<Job>>,
    /// The trace that the client says the call is a part of. For monitoring, and nothing else.
    pub trace: Option<TraceParent>,
}

/// Takes reports of progress. It must not block, and may drop reports.
#[derive(Clone)]
pub struct ProgressSink(pub Arc<dyn Fn(Progress) + Send + Sync>);

impl std::fmt::Debug for ProgressSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ProgressSink")
    }
}

/// How far a call has come.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Grows with each report.
    pub value: f64,
    /// Where it will end, when known.
    pub total: Option<f64>,
    /// For people; escaped by whoever shows it.
    pub message: Option<String>,
}
