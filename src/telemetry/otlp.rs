//! The messages of OTLP: what a collector is sent, in the numbers of `opentelemetry/proto` version 1.

use std::time::Duration;

use super::family::Kind;
use super::feed::{Attribute, Span, SpanKind, Trace};
use super::metrics::{BOUNDS, Buckets, Labels, Point, Snapshot};
use super::protobuf::Message;

/// The conventions that names and attributes are of.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.40.0";

/// Who tells: the same in every message.
#[derive(Debug, Clone)]
pub(super) struct Resource {
    /// Tells this run of the host from others.
    pub(super) instance: String,
}

/// `ExportTraceServiceRequest`.
pub(super) fn traces(resource: &Resource, traces: &[Trace]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |message| {
        message.message(1, |message| of_resource(message, resource));
        message.message(2, |message| {
            message.message(1, scope);
            for trace in traces {
                for span in &trace.spans {
                    message.message(2, |message| of_span(message, trace, span));
                }
            }
        });
        message.bytes(3, SCHEMA.as_bytes());
    });
    request.into_bytes()
}

/// `ExportMetricsServiceRequest`.
pub(super) fn metrics(
    resource: &Resource,
    metrics: &[Snapshot],
    (since, now): (Duration, Duration),
) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |message| {
        message.message(1, |message| of_resource(message, resource));
        message.message(2, |message| {
            message.message(1, scope);
            for metric in metrics {
                message.message(2, |message| of_metric(message, metric, since, now));
            }
        });
        message.bytes(3, SCHEMA.as_bytes());
    });
    request.into_bytes()
}

fn of_resource(message: &mut Message, resource: &Resource) {
    for (key, value) in [
        ("service.name", "tollgate"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", resource.instance.as_str()),
    ] {
        message.message(1, |message| attribute(message, key, &value.into()));
    }
}

fn scope(message: &mut Message) {
    message.bytes(1, b"tollgate");
    message.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
}

fn of_span(message: &mut Message, trace: &Trace, span: &Span) {
    message.bytes(1, &trace.id);
    message.bytes(2, &span.id);
    message.bytes(3, trace.state.as_bytes());
    if let Some(parent) = &span.parent {
        message.bytes(4, parent);
    }
    message.bytes(5, span.name.as_bytes());
    message.whole(
        6,
        match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
    );
    message.fixed64(7, nanos(span.start));
    message.fixed64(8, nanos(span.end.max(span.start)));
    for (key, value) in &span.attributes {
        message.message(9, |message| attribute(message, key, value));
    }
    if span.is_error {
        message.message(15, |message| message.whole(3, 2));
    }
    // Sampled: it was kept.
    message.fixed32(16, 1);
}

fn of_metric(message: &mut Message, metric: &Snapshot, since: Duration, now: Duration) {
    let family = metric.family;
    message.bytes(1, family.otel.as_bytes());
    message.bytes(2, family.help.as_bytes());
    message.bytes(3, family.unit.as_bytes());
    let field = match family.kind {
        Kind::Gauge => 5,
        Kind::Counter => 7,
        Kind::Histogram => 9,
    };
    message.message(field, |message| {
        for (labels, point) in &metric.points {
            message.message(1, |message| {
                message.fixed64(2, nanos(since));
                message.fixed64(3, nanos(now));
                match point {
                    Point::Whole(value) => {
                        message.fixed64(6, *value);
                        of_labels(message, 7, metric, labels);
                    }
                    Point::Buckets(buckets) => {
                        of_buckets(message, buckets);
                        of_labels(message, 9, metric, labels);
                    }
                }
            });
        }
        if family.kind != Kind::Gauge {
            // Counted since the start of the host.
            message.whole(2, 2);
        }
        if family.kind == Kind::Counter {
            message.whole(3, 1);
        }
    });
}

fn of_buckets(message: &mut Message, buckets: &Buckets) {
    message.fixed64(4, buckets.count());
    message.double(5, buckets.sum);
    message.packed(6, buckets.counts.iter().map(|count| count.to_le_bytes()));
    message.packed(7, BOUNDS.iter().map(|bound| bound.to_le_bytes()));
}

fn of_labels(message: &mut Message, field: u32, metric: &Snapshot, labels: &Labels) {
    for ((key, _), value) in metric.family.labels.iter().zip(labels) {
        // A reason that there is none of is left out.
        if !value.is_empty() {
            message.message(field, |message| {
                attribute(message, key, &value.as_ref().into());
            });
        }
    }
}

fn attribute(message: &mut Message, key: &str, value: &Attribute) {
    message.bytes(1, key.as_bytes());
    message.message(2, |message| match value {
        Attribute::Text(text) => message.always(1, text.as_bytes()),
        Attribute::Whole(number) => message.whole(3, *number),
        Attribute::Texts(texts) => message.message(5, |message| {
            for text in texts {
                message.message(1, |message| message.always(1, text.as_bytes()));
            }
        }),
    });
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
