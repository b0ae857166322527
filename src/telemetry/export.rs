//! Sends traces and metrics to a collector, over OTLP/HTTP in its binary form.
//!
//! The way is that of the host's other requests (`egress/own.rs`): in the clear to this machine only, TLS
//! to anywhere else, no redirects, everything bounded. That it sends, and where to, is written down once
//! before the first byte. What can't be sent in time is dropped and counted: telemetry is no record.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::Telemetry;
use super::feed::{Trace, Traces};
use super::metrics::Snapshot;
use super::otlp::{self, Resource};
use super::prometheus::snapshot;
use crate::approval::{ApprovalEvent, Status};
use crate::config::{Otlp, SecretPlace};
use crate::egress::{OwnBounds, OwnClient};
use crate::host::Host;
use crate::private;

/// Pauses between attempts to send the same again; after the last it is dropped.
#[derive(Debug, Clone)]
pub struct Pauses(pub Vec<Duration>);

impl Default for Pauses {
    fn default() -> Self {
        // A collector that restarts is back by then; meanwhile traces wait in line.
        Self([1, 2, 5, 10].map(Duration::from_secs).into())
    }
}

/// How long a trace waits for others to go along, where one was sent within that time.
const GATHERING: Duration = Duration::from_secs(2);

/// Spans that are sent at once: some 200 KB.
const AT_ONCE: usize = 512;

/// The longest that a collector's wish to be left alone is heeded.
const LONGEST: Duration = Duration::from_secs(30);

/// How long the end of the host waits for what is left.
const ENDING: Duration = Duration::from_secs(3);

/// Of an answer only the status counts.
const BOUNDS: OwnBounds = OwnBounds {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(10),
    response_body: 64 << 10,
};

/// The longest file of a header's value.
const MOST: u64 = 8_192;

/// Tells until `ended` is cancelled, and then what is left. Where nothing is sent, metrics are told of
/// approvals all the same.
pub async fn run(host: Arc<Host>, pauses: Pauses, ended: CancellationToken) {
    let telemetry = host.telemetry().clone();
    let watching = tokio::spawn(watch(telemetry.clone(), host.approvals().events()));
    let sender = match host.config().telemetry.otlp.clone() {
        Some(otlp) => Sender::new(&host, &telemetry, otlp, pauses).await,
        None => None,
    };
    match sender {
        Some(sender) => sender.run(ended).await,
        None => ended.cancelled().await,
    }
    watching.abort();
}

/// Counts what becomes of approvals. Where too much happens at once some of it goes uncounted; the journal
/// has all of it.
async fn watch(telemetry: Telemetry, mut events: Receiver<ApprovalEvent>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        let what = match events.recv().await {
            Ok(ApprovalEvent::Asked(_)) => "asked",
            Ok(ApprovalEvent::Answered(approval)) => match approval.status {
                Status::Denied => "denied",
                Status::Approved => "approved",
                _ => "answered",
            },
            Ok(ApprovalEvent::Used(_)) => "used",
            Ok(ApprovalEvent::Ended(_)) => "ended",
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        telemetry.metrics().approval(what);
    }
}

/// What becomes of one attempt.
enum Attempt {
    Taken,
    /// Trying again may help, perhaps after so long.
    Failed(String, Option<Duration>),
    /// It does not.
    Refused(String),
}

struct Sender {
    host: Arc<Host>,
    telemetry: Telemetry,
    otlp: Otlp,
    pauses: Pauses,
    client: OwnClient,
    resource: Resource,
    /// Whether the last attempt failed: said once, and once when it is over.
    is_failing: bool,
}

impl Sender {
    async fn new(
        host: &Arc<Host>,
        telemetry: &Telemetry,
        otlp: Otlp,
        pauses: Pauses,
    ) -> Option<Self> {
        let mut instance = [0; 16];
        if telemetry.shared.entropy.fill(&mut instance).is_err() {
            tracing::error!("no telemetry is sent: there are no random bytes for its name");
            return None;
        }
        // What leaves the host is written down before it does: here once, for all of it.
        let detail = format!("traces: {}, metrics: {}", otlp.traces, otlp.metrics);
        let written = match host.changed_with("telemetry.sent", &origin(&otlp.endpoint), detail) {
            Ok(position) => host.journal().durable(position).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::error!(%error, "no telemetry is sent: that could not be written down");
            return None;
        }
        Some(Self {
            client: OwnClient::of(&host.services().outbound),
            host: Arc::clone(host),
            telemetry: telemetry.clone(),
            otlp,
            pauses,
            resource: Resource {
                instance: uuid::Builder::from_random_bytes(instance)
                    .into_uuid()
                    .to_string(),
            },
            is_failing: false,
        })
    }

    async fn run(mut self, ended: CancellationToken) {
        let mut traces = self.telemetry.traces();
        let mut waiting: Vec<Trace> = Vec::new();
        let mut gathered = tokio::time::interval(GATHERING);
        gathered.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first = Instant::now() + self.otlp.interval;
        let mut measured = tokio::time::interval_at(first, self.otlp.interval);
        measured.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                _ = measured.tick(), if self.otlp.metrics => self.send_metrics(&ended).await,
                _ = gathered.tick(), if !waiting.is_empty() => {
                    self.send_traces(&mut waiting, &ended).await;
                }
                trace = next(&mut traces), if traces.is_some() => match trace {
                    Some(trace) => {
                        waiting.push(trace);
                        if spans(&waiting) >= AT_ONCE {
                            self.send_traces(&mut waiting, &ended).await;
                        }
                    }
                    None => traces = None,
                },
            }
        }
        // Everything has ended: what is in line now is all there is.
        let rest = async {
            while let Some(trace) = traces.as_mut().and_then(Traces::next_in_line) {
                waiting.push(trace);
                if spans(&waiting) >= AT_ONCE {
                    self.send_traces(&mut waiting, &ended).await;
                }
            }
            if !waiting.is_empty() {
                self.send_traces(&mut waiting, &ended).await;
            }
            if self.otlp.metrics {
                self.send_metrics(&ended).await;
            }
        };
        if tokio::time::timeout(ENDING, rest).await.is_err() {
            tracing::warn!("the collector was too slow to be told everything at the end");
        }
    }

    async fn send_traces(&mut self, waiting: &mut Vec<Trace>, ended: &CancellationToken) {
        let body = Bytes::from(otlp::traces(&self.resource, waiting));
        let is_taken = self.send("traces", body, ended).await;
        if !is_taken && let Some(feed) = &self.telemetry.shared.feed {
            feed.lost(waiting.len() as u64);
        }
        waiting.clear();
    }

    async fn send_metrics(&mut self, ended: &CancellationToken) {
        let times = (self.telemetry.metrics().started(), self.host.now());
        let all: Vec<Snapshot> = snapshot(&self.host);
        let body = Bytes::from(otlp::metrics(&self.resource, &all, times));
        self.send("metrics", body, ended).await;
    }

    /// Sends one message, again where that may help. Once the host has ended there is one attempt.
    async fn send(&mut self, what: &str, body: Bytes, ended: &CancellationToken) -> bool {
        let url = format!("{}/v1/{what}", self.otlp.endpoint.trim_end_matches('/'));
        let mut pauses = self.pauses.0.clone().into_iter();
        loop {
            let (why, pause) = match self.attempt(&url, body.clone()).await {
                Attempt::Taken => {
                    if std::mem::take(&mut self.is_failing) {
                        tracing::info!(what, "the collector takes telemetry again");
                    }
                    return true;
                }
                Attempt::Refused(why) => (why, None),
                Attempt::Failed(why, wish) => {
                    (why, pauses.next().map(|pause| wish.unwrap_or(pause)))
                }
            };
            if !std::mem::replace(&mut self.is_failing, true) {
                tracing::warn!(what, why, "the collector does not take telemetry");
            }
            let Some(pause) = pause else { return false };
            tokio::select! {
                biased;
                () = ended.cancelled() => return false,
                () = tokio::time::sleep(pause.min(LONGEST)) => {}
            }
        }
    }

    async fn attempt(&self, url: &str, body: Bytes) -> Attempt {
        let mut request = http::Request::post(url)
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("application/x-protobuf"),
            )
            .header(USER_AGENT, HeaderValue::from_static("tollgate"));
        for (name, place) in &self.otlp.headers {
            // Read each time, so that one can be replaced while the host runs.
            match header(name, place) {
                Ok((name, value)) => request = request.header(name, value),
                Err(why) => return Attempt::Failed(why, None),
            }
        }
        let request = match request.body(body) {
            Ok(request) => request,
            Err(error) => return Attempt::Refused(error.to_string()),
        };
        match self.client.send(request, BOUNDS).await {
            Ok(response) => match response.status().as_u16() {
                200..=299 => Attempt::Taken,
                status @ (429 | 502 | 503 | 504) => {
                    let wish = response
                        .headers()
                        .get(RETRY_AFTER)
                        .and_then(|value| value.to_str().ok()?.parse().ok())
                        .map(Duration::from_secs);
                    Attempt::Failed(format!("it answered {status}"), wish)
                }
                status => Attempt::Refused(format!("it answered {status}")),
            },
            Err(error) => Attempt::Failed(error.to_string(), None),
        }
    }
}

async fn next(traces: &mut Option<Traces>) -> Option<Trace> {
    match traces {
        Some(traces) => traces.next().await,
        None => None,
    }
}

fn spans(traces: &[Trace]) -> usize {
    traces.iter().map(|trace| trace.spans.len()).sum()
}

/// A header whose value is a secret.
fn header(name: &str, place: &SecretPlace) -> Result<(HeaderName, HeaderValue), String> {
    let text = match place {
        SecretPlace::File(path) => private::read(path, MOST).map_err(|error| error.to_string())?,
        SecretPlace::Variable(variable) => std::env::var(variable)
            .map(|text| zeroize::Zeroizing::new(text.into_bytes()))
            .map_err(|_| format!("the variable `{variable}` is not set"))?,
        // The configuration takes no other.
        _ => return Err(String::from("a header's value is in a file or a variable")),
    };
    let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is no header"))?;
    let mut value = HeaderValue::from_bytes(text.trim_ascii())
        .map_err(|_| format!("the value of `{name}` can't stand in a header"))?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// Where it goes, without what in it may be a secret.
fn origin(endpoint: &str) -> String {
    url::Url::parse(endpoint).map_or_else(
        |_| String::from("a collector"),
        |url| url.origin().ascii_serialization(),
    )
}
