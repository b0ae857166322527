//! The metrics that there are, by the names that both of their readers know.

/// A metric, as both of its readers know it.
#[derive(Debug)]
pub(super) struct Family {
    /// By the conventions of OpenTelemetry.
    pub(super) otel: &'static str,
    /// By those of Prometheus.
    pub(super) prometheus: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: &'static str,
    pub(super) kind: Kind,
    /// Names of labels, for the one and the other.
    pub(super) labels: &'static [(&'static str, &'static str)],
}

/// What kind of numbers a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

pub(super) static CALLS: Family = Family {
    otel: "tollgate.calls",
    prometheus: "tollgate_calls_total",
    help: "Calls that ended, by how: ok, error, failed, refused, held.",
    unit: "{call}",
    kind: Kind::Counter,
    labels: &[
        ("gen_ai.tool.name", "tool"),
        ("tollgate.status", "status"),
        ("error.type", "reason"),
    ],
};
pub(super) static CALL_TIME: Family = Family {
    otel: "mcp.server.operation.duration",
    prometheus: "tollgate_call_duration_seconds",
    help: "How long calls took, from arrival to recorded end.",
    unit: "s",
    kind: Kind::Histogram,
    labels: &[
        ("mcp.method.name", "method"),
        ("gen_ai.tool.name", "tool"),
        ("tollgate.status", "status"),
    ],
};
pub(super) static FUEL: Family = Family {
    otel: "tollgate.fuel",
    prometheus: "tollgate_fuel_total",
    help: "Fuel that plugins used.",
    unit: "{fuel}",
    kind: Kind::Counter,
    labels: &[("gen_ai.tool.name", "tool")],
};
pub(super) static DECISIONS: Family = Family {
    otel: "tollgate.decisions",
    prometheus: "tollgate_decisions_total",
    help: "Answers of policy, about calls and recorded host calls.",
    unit: "{decision}",
    kind: Kind::Counter,
    labels: &[
        ("tollgate.question", "question"),
        ("tollgate.decision", "decision"),
    ],
};
pub(super) static HOST_CALLS: Family = Family {
    otel: "tollgate.host_calls",
    prometheus: "tollgate_host_calls_total",
    help: "Recorded host calls that ended, by how: ok, failed, refused.",
    unit: "{host_call}",
    kind: Kind::Counter,
    labels: &[
        ("tollgate.plugin", "plugin"),
        ("tollgate.capability", "capability"),
        ("tollgate.status", "status"),
        ("error.type", "reason"),
    ],
};
pub(super) static HOST_CALL_TIME: Family = Family {
    otel: "tollgate.host_call.duration",
    prometheus: "tollgate_host_call_duration_seconds",
    help: "How long recorded host calls took, from their intent on.",
    unit: "s",
    kind: Kind::Histogram,
    labels: &[("tollgate.plugin", "plugin"), ("tollgate.status", "status")],
};
pub(super) static APPROVALS: Family = Family {
    otel: "tollgate.approvals",
    prometheus: "tollgate_approvals_total",
    help: "Approvals that were asked for, answered, used, or ended otherwise.",
    unit: "{approval}",
    kind: Kind::Counter,
    labels: &[("tollgate.event", "event")],
};
pub(super) static ACTIVE: Family = gauge(
    "tollgate.calls.active",
    "tollgate_calls_active",
    "Calls under way.",
    "{call}",
);
pub(super) static DROPPED: Family = Family {
    otel: "tollgate.traces.dropped",
    prometheus: "tollgate_traces_dropped_total",
    help: "Traces that did not reach the collector.",
    unit: "{trace}",
    kind: Kind::Counter,
    labels: &[],
};
pub(super) static START: Family = gauge(
    "tollgate.start_time",
    "tollgate_start_time_seconds",
    "When the host started, in seconds since 1970.",
    "s",
);

/// A gauge without labels.
pub(super) const fn gauge(
    otel: &'static str,
    prometheus: &'static str,
    help: &'static str,
    unit: &'static str,
) -> Family {
    Family {
        otel,
        prometheus,
        help,
        unit,
        kind: Kind::Gauge,
        labels: &[],
    }
}
