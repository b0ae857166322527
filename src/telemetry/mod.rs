//! What the host tells monitoring: traces and metrics over OTLP, metrics for Prometheus, OCSF exports.
//!
//! None of it is the audit log, and nothing waits for it: where a collector is slow or gone, spans are
//! dropped and counted, and calls go on. What is done stands in the journal, whatever a trace says of it.
//!
//! # What never leaves this way
//!
//! Attributes and labels are words of the host and of its operator alone: reasons, statuses,
//! capabilities, names of tools that there are, ids of policies, calls and tasks, identities of agents,
//! hosts that a request was allowed to go to. No arguments, no results, no texts of errors, no paths or
//! queries of URLs, no names that a model made up, no persons. So a secret has no way in: nothing that an
//! agent, a plugin or a server wrote is copied.
//!
//! # A call as a trace
//!
//! | span | kind | is |
//! | --- | --- | --- |
//! | `tools/call <tool>` | server | the call, from its arrival to its recorded end |
//! | `decision` | internal | policy's answer about the call, or about an HTTP request within that |
//! | `hold` | internal | waiting for a person |
//! | `execute_tool <tool>` | internal | the instance |
//! | `GET`, `POST`, ... | client | an HTTP request, from the plugin's asking to the reply |
//! | `<capability>` | internal | another recorded host call |
//!
//! The call's span continues the trace of the request's `_meta` (W3C `traceparent`, `tracestate`); without
//! one the call's id is the trace's. Nothing is passed on to the servers that plugins call: a trace id is
//! a way to tell an origin who else is asking.

mod context;
mod export;
mod family;
mod feed;
mod metrics;
pub mod ocsf;
mod otlp;
mod prometheus;
mod protobuf;
mod spans;
mod trace;

pub use context::TraceParent;
pub use export::{Pauses, run};
pub use prometheus::serve;
pub(crate) use trace::{CallTrace, Stage};

use std::sync::Arc;

use self::feed::{Feed, Traces};
use self::metrics::Metrics;
use crate::clock::SharedClock;
use crate::config;
use crate::entropy::SharedEntropy;

/// What the parts of a host tell. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    metrics: Metrics,
    /// Where traces go, where someone takes them.
    feed: Option<Feed>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Telemetry {
    pub(crate) fn new(
        config: &config::Telemetry,
        clock: SharedClock,
        entropy: SharedEntropy,
    ) -> Self {
        let feed = config
            .otlp
            .as_ref()
            .filter(|otlp| otlp.traces)
            .map(|otlp| Feed::new(otlp.sample));
        Self {
            shared: Arc::new(Shared {
                metrics: Metrics::new(clock.now()),
                feed,
                clock,
                entropy,
            }),
        }
    }

    fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The traces of calls that ended; given out once, to whoever sends them.
    fn traces(&self) -> Option<Traces> {
        self.shared.feed.as_ref().and_then(Feed::take)
    }
}
