//! Metrics as Prometheus reads them: text format 0.0.4, on a listener of its own.
//!
//! It takes no credential, since those that scrape rarely have one, and so it says nothing that needs one:
//! counts by tool, reason and status. `Host` must be this listener's own all the same, so that no web page
//! reads it through a name of its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::family::{Family, Kind, gauge};
use super::feed::Feed;
use super::metrics::{BOUNDS, Buckets, Labels, Point, Snapshot, single};
use crate::approval::Status;
use crate::connections::{self, Bounds};
use crate::host::Host;
use crate::mcp::{Gate, GateError};
use crate::task::TaskFilter;

const BOUNDS_OF_CONNECTIONS: Bounds = Bounds {
    // A few servers of metrics, each with one request at a time.
    at_once: 16,
    head_time: Duration::from_secs(10),
};

/// The type of the text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

static PENDING: Family = gauge(
    "tollgate.approvals.pending",
    "tollgate_approvals_pending",
    "Holds that wait for a person.",
    "{approval}",
);
static LEASES: Family = gauge(
    "tollgate.leases.pending",
    "tollgate_leases_pending",
    "Credentials that wait to be taken back.",
    "{lease}",
);
static TASKS: Family = gauge(
    "tollgate.tasks",
    "tollgate_tasks",
    "Tasks that are not over.",
    "{task}",
);
static SERVING: Family = gauge(
    "tollgate.plugins.serving",
    "tollgate_plugins_serving",
    "Plugins that serve.",
    "{plugin}",
);
static HELD_BACK: Family = gauge(
    "tollgate.plugins.held_back",
    "tollgate_plugins_held_back",
    "Plugins that are there and do not serve.",
    "{plugin}",
);
static WRITABLE: Family = gauge(
    "tollgate.journal.writable",
    "tollgate_journal_writable",
    "1 while the journal can be written; at 0 every call is refused.",
    "1",
);
static DRAINING: Family = gauge(
    "tollgate.draining",
    "tollgate_draining",
    "1 once the host takes no more calls.",
    "1",
);

#[derive(Debug)]
struct Endpoint {
    host: Arc<Host>,
    gate: Gate,
}

/// Serves `GET /metrics` on `listener` until the host drains.
///
/// # Errors
///
/// Its own address can't stand for a host.
pub async fn serve(listener: TcpListener, host: Arc<Host>) -> Result<(), GateError> {
    let draining = host.draining();
    let mut hosts = Vec::new();
    if let Ok(address) = listener.local_addr() {
        if address.ip().is_loopback() {
            hosts.push(format!("localhost:{}", address.port()));
        }
        // Where every address of the machine is meant, there is no knowing by which it is asked for.
        if !address.ip().is_unspecified() {
            hosts.push(address.to_string());
        }
    }
    let is_open = hosts.is_empty();
    let gate = Gate::new(&hosts, &[])?;
    let endpoint = Arc::new(Endpoint { host, gate });
    let router = Router::new()
        .route("/metrics", get(metrics))
        .layer(axum::middleware::from_fn_with_state(
            (Arc::clone(&endpoint), is_open),
            admit,
        ))
        .with_state(endpoint);
    let open = connections::serve(listener, &router, BOUNDS_OF_CONNECTIONS, &draining).await;
    open.close().await;
    Ok(())
}

async fn admit(
    State((endpoint, is_open)): State<(Arc<Endpoint>, bool)>,
    request: Request,
    next: axum::middleware::Next,
) -> Response {
    if !is_open && let Err(why) = endpoint.gate.admits(request.uri(), request.headers()) {
        tracing::warn!(why, "refused a request for metrics by its head");
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

async fn metrics(State(endpoint): State<Arc<Endpoint>>) -> Response {
    let headers = [
        (CONTENT_TYPE, TEXT),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text(&snapshot(&endpoint.host))).into_response()
}

/// Everything that there is to tell of the host, now.
pub(super) fn snapshot(host: &Host) -> Vec<Snapshot> {
    let telemetry = host.telemetry();
    let dropped = telemetry.shared.feed.as_ref().map_or(0, Feed::dropped);
    let mut all = telemetry.metrics().snapshot(dropped);
    let catalogue = host.catalogue();
    let serving = catalogue.serving.len();
    let held_back = catalogue.entries.len().saturating_sub(serving);
    let pending = host.approvals().list(Some(Status::Pending)).len();
    for (family, value) in [
        (&PENDING, pending),
        (&LEASES, host.leases().pending().len()),
        (&TASKS, host.tasks().list(&TaskFilter::default()).len()),
        (&SERVING, serving),
        (&HELD_BACK, held_back),
        (&WRITABLE, usize::from(host.journal().is_healthy())),
        (&DRAINING, usize::from(host.is_draining())),
    ] {
        all.push(single(family, value as u64));
    }
    all
}

/// The text.
fn text(metrics: &[Snapshot]) -> String {
    let mut out = String::with_capacity(8 << 10);
    for metric in metrics {
        let family = metric.family;
        let name = family.prometheus;
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(out, "# HELP {name} {}", family.help);
        let _ = writeln!(out, "# TYPE {name} {kind}");
        for (labels, point) in &metric.points {
            let labels = written(family, labels);
            match point {
                Point::Whole(value) => {
                    let _ = writeln!(out, "{name}{} {value}", in_braces(&labels, ""));
                }
                Point::Buckets(buckets) => histogram(&mut out, name, &labels, buckets),
            }
        }
    }
    let version = escaped(env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "# HELP tollgate_build_info The version of the host.");
    let _ = writeln!(out, "# TYPE tollgate_build_info gauge");
    let _ = writeln!(out, "tollgate_build_info{{version=\"{version}\"}} 1");
    out
}

fn histogram(out: &mut String, name: &str, labels: &str, buckets: &Buckets) {
    let mut so_far = 0;
    for (bound, count) in BOUNDS.iter().zip(&buckets.counts) {
        so_far += count;
        let le = in_braces(labels, &format!("le=\"{bound}\""));
        let _ = writeln!(out, "{name}_bucket{le} {so_far}");
    }
    let count = buckets.count();
    let _ = writeln!(
        out,
        "{name}_bucket{} {count}",
        in_braces(labels, "le=\"+Inf\"")
    );
    let _ = writeln!(out, "{name}_sum{} {}", in_braces(labels, ""), buckets.sum);
    let _ = writeln!(out, "{name}_count{} {count}", in_braces(labels, ""));
}

fn written(family: &Family, labels: &Labels) -> String {
    let pairs: Vec<String> = family
        .labels
        .iter()
        .zip(labels)
        .map(|((_, key), value)| format!("{key}=\"{}\"", escaped(value)))
        .collect();
    pairs.join(",")
}

fn in_braces(labels: &str, more: &str) -> String {
    match (labels, more) {
        ("", "") => String::new(),
        (one, "") | ("", one) => format!("{{{one}}}"),
        (labels, more) => format!("{{{labels},{more}}}"),
    }
}

/// A label's value, as the format writes it.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::metrics::Metrics;
    use super::super::trace::Called;
    use super::*;
    use crate::journal::record::{CallId, Event, Outcome, Refused};
    use crate::reason::Reason;

    fn outcome(status: &str, duration: u64) -> Event {
        Event::Outcome(Outcome {
            call: CallId(uuid::Uuid::from_u128(1)),
            status: status.to_owned(),
            reason: None,
            detail: None,
            refused: [].into(),
            fuel: 7,
            host_calls: [].into(),
            numbered: 0,
            result: None,
            bytes_out: 0,
            redacted: 0,
            tape: None,
            untaped: None,
            duration_us: duration,
        })
    }

    fn called(tool: &str, wire: &str) -> Called {
        Called {
            tool: tool.parse().unwrap(),
            wire: wire.into(),
            method: "tools/call",
        }
    }

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let metrics = Metrics::new(Duration::from_secs(1_795_305_600));
        let tool = called("github.search", "github_search");
        for millis in [3, 40, 700_000] {
            metrics.saw(
                &outcome("ok", millis),
                Some(&tool),
                None,
                Duration::from_millis(millis),
            );
        }
        let mut all = metrics.snapshot(2);
        all.retain(|metric| !matches!(metric.family.otel, "tollgate.calls.active"));
        let text = text(&all);
        let shown: Vec<_> = text
            .lines()
            .filter(|line| {
                !line.contains("_bucket") || line.contains("0.005") || line.contains("Inf")
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r#"
        # HELP tollgate_calls_total Calls that ended, by how: ok, error, failed, refused, held.
        # TYPE tollgate_calls_total counter
        tollgate_calls_total{tool="github_search",status="ok",reason=""} 3
        # HELP tollgate_call_duration_seconds How long calls took, from arrival to recorded end.
        # TYPE tollgate_call_duration_seconds histogram
        tollgate_call_duration_seconds_bucket{method="tools/call",tool="github_search",status="ok",le="0.005"} 1
        tollgate_call_duration_seconds_bucket{method="tools/call",tool="github_search",status="ok",le="+Inf"} 3
        tollgate_call_duration_seconds_sum{method="tools/call",tool="github_search",status="ok"} 700.043
        tollgate_call_duration_seconds_count{method="tools/call",tool="github_search",status="ok"} 3
        # HELP tollgate_fuel_total Fuel that plugins used.
        # TYPE tollgate_fuel_total counter
        tollgate_fuel_total{tool="github_search"} 21
        # HELP tollgate_traces_dropped_total Traces that did not reach the collector.
        # TYPE tollgate_traces_dropped_total counter
        tollgate_traces_dropped_total 2
        # HELP tollgate_start_time_seconds When the host started, in seconds since 1970.
        # TYPE tollgate_start_time_seconds gauge
        tollgate_start_time_seconds 1795305600
        # HELP tollgate_build_info The version of the host.
        # TYPE tollgate_build_info gauge
        tollgate_build_info{version="0.1.0"} 1
        "#);
    }

    #[test]
    fn names_that_a_model_made_up_make_no_series() {
        let metrics = Metrics::new(Duration::ZERO);
        for number in 0..50 {
            let refused = Event::Refusal(Refused {
                call: CallId(uuid::Uuid::from_u128(number)),
                caller: None,
                tool: Some(format!("canary-{number}")),
                arguments: None,
                attempt: None,
                host_call: None,
                reason: Reason::NameUnknown,
                message: String::from("canary"),
                detail: Some(String::from("canary")),
                decision: None,
                repeated: 0,
            });
            metrics.saw(&refused, None, None, Duration::ZERO);
        }
        let text = text(&metrics.snapshot(0));
        assert!(!text.contains("canary"), "{text}");
        let line =
            r#"tollgate_calls_total{tool="unknown",status="refused",reason="name.unknown"} 50"#;
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn there_is_an_end_to_series() {
        let metrics = Metrics::new(Duration::ZERO);
        for number in 0..3_000 {
            let name = format!("p{}.t{number}", number % 7);
            let tool = called(&name, &format!("t{number}"));
            metrics.saw(&outcome("ok", 1), Some(&tool), None, Duration::ZERO);
        }
        let all = metrics.snapshot(0);
        for metric in &all {
            assert!(metric.points.len() <= 1_001, "{}", metric.family.otel);
        }
        let calls = &all[0];
        let sum: u64 = calls
            .points
            .iter()
            .map(|(_, point)| match point {
                Point::Whole(count) => *count,
                Point::Buckets(_) => 0,
            })
            .sum();
        assert_eq!(sum, 3_000, "none is lost");
        assert!(
            calls
                .points
                .iter()
                .any(|(labels, _)| labels.iter().all(|label| *label == Cow::Borrowed("other")))
        );
    }

    #[test]
    fn a_label_can_end_no_line() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
