//! The spans of one call: which lies within which, and what each says.

use std::time::Duration;

use super::Telemetry;
use super::context::TraceParent;
use super::feed::{Attribute, Span, SpanKind, Trace};
use super::trace::Called;
use crate::egress::CanonicalUrl;
use crate::journal::record::{CallId, Caller, Event, HostCall, HostCallRef};

/// Spans of one call, its own included; a plugin that makes thousands of requests has a trace of the first ones, and the
/// call's span says how many are missing.
const SPANS: usize = 256;

/// What is kept of a call.
#[derive(Debug)]
pub(super) struct Spans {
    id: [u8; 16],
    parent: Option<[u8; 8]>,
    state: String,
    /// From which the ids of its spans are counted.
    first: u64,
    caller: Vec<(&'static str, Attribute)>,
    kept: Vec<Span>,
    /// Where those stand that are under way, the innermost last.
    under_way: Vec<usize>,
    /// Host calls by their numbers.
    host_calls: Vec<(u32, usize)>,
    missing: u64,
}

impl Spans {
    /// Nothing where the machine has no random bytes: a trace is not worth more than that.
    pub(super) fn new(
        telemetry: &Telemetry,
        call: CallId,
        caller: &Caller,
        parent: Option<&TraceParent>,
    ) -> Option<Self> {
        let mut first = [0; 8];
        telemetry.shared.entropy.fill(&mut first).ok()?;
        let mut about = vec![
            ("tollgate.call", call.to_string().into()),
            ("tollgate.agent", caller.agent.as_str().into()),
            ("network.transport", transport(&caller.transport).into()),
        ];
        about.extend(
            caller
                .task
                .map(|task| ("tollgate.task", task.to_string().into())),
        );
        Some(Self {
            id: parent.map_or(*call.0.as_bytes(), |parent| parent.trace),
            parent: parent.map(|parent| parent.span),
            state: parent
                .map(|parent| parent.state.clone())
                .unwrap_or_default(),
            // Zero is no id.
            first: u64::from_be_bytes(first) | 1 << 63,
            caller: about,
            kept: Vec::new(),
            under_way: Vec::new(),
            host_calls: Vec::new(),
            missing: 0,
        })
    }

    /// The id of the span that is kept at `place`; the call's own is the first.
    const fn id_at(&self, place: Option<usize>) -> [u8; 8] {
        let number = match place {
            None => 0,
            Some(place) => place as u64 + 1,
        };
        // The highest bit stays, so none is zero.
        (self.first.wrapping_add(number) | 1 << 63).to_be_bytes()
    }

    /// Begins a span within the one that began last; says where it is kept, if it is.
    pub(super) fn open(
        &mut self,
        name: String,
        now: Duration,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Option<usize> {
        if self.kept.len() + 1 >= SPANS {
            self.missing += 1;
            return None;
        }
        let place = self.kept.len();
        self.kept.push(Span {
            id: self.id_at(Some(place)),
            parent: Some(self.id_at(self.under_way.last().copied())),
            name,
            kind: SpanKind::Internal,
            start: now,
            end: now,
            attributes,
            is_error: false,
        });
        self.under_way.push(place);
        Some(place)
    }

    /// Ends a span, and whatever began within it and did not end.
    pub(super) fn close(&mut self, place: usize, now: Duration) {
        let Some(at) = self.under_way.iter().position(|open| *open == place) else {
            return;
        };
        for ended in self.under_way.split_off(at) {
            if let Some(span) = self.kept.get_mut(ended) {
                span.end = now;
            }
        }
    }

    /// Adds to what a span says.
    pub(super) fn say(&mut self, place: usize, said: Vec<(&'static str, Attribute)>) {
        if let Some(span) = self.kept.get_mut(place) {
            span.is_error = said.iter().any(|(key, _)| *key == "error.type");
            span.attributes.extend(said);
        }
    }

    /// A host call that is recorded by itself begins.
    pub(super) fn begin_host_call(&mut self, reference: &HostCallRef, now: Duration) {
        let attributes = vec![
            ("tollgate.capability", reference.capability.clone().into()),
            ("tollgate.host_call", reference.number.into()),
        ];
        if let Some(place) = self.open(reference.capability.clone(), now, attributes) {
            self.host_calls.push((reference.number, place));
        }
    }

    fn host_call(&mut self, number: u32) -> Option<(usize, &mut Span)> {
        let (_, place) = self.host_calls.iter().find(|(known, _)| *known == number)?;
        let place = *place;
        self.kept.get_mut(place).map(|span| (place, span))
    }

    /// What a record of the call says of one of its host calls.
    pub(super) fn saw(&mut self, event: &Event, now: Duration) {
        match event {
            Event::HostCall(made) => {
                if let Some((_, span)) = self.host_call(made.host_call.number) {
                    made_of(span, made);
                }
            }
            Event::HostCallOutcome(outcome) => {
                let Some((place, span)) = self.host_call(outcome.number) else {
                    return;
                };
                let status = outcome.http_status;
                span.attributes
                    .extend(status.map(|status| ("http.response.status_code", status.into())));
                if let Some(reason) = outcome.reason {
                    span.is_error = true;
                    span.attributes.push(("error.type", reason.code().into()));
                } else if let Some(status) = status.filter(|status| *status >= 400) {
                    span.is_error = true;
                    let code = status.to_string();
                    span.attributes.push(("error.type", code.into()));
                }
                // One that was refused has a record more, which says why.
                if outcome.status != "refused" {
                    self.close(place, now);
                }
            }
            Event::Refusal(refused) => {
                let Some(host_call) = &refused.host_call else {
                    return;
                };
                if let Some((place, span)) = self.host_call(host_call.number) {
                    span.is_error = true;
                    span.attributes
                        .push(("error.type", refused.reason.code().into()));
                    self.close(place, now);
                }
            }
            _ => {}
        }
    }

    /// The whole trace, of a call of `tool` that began at `start` and ended `now` with `event`.
    pub(super) fn ended(
        mut self,
        tool: Option<&Called>,
        event: &Event,
        (start, now): (Duration, Duration),
    ) -> Trace {
        while let Some(place) = self.under_way.last().copied() {
            self.close(place, now);
        }
        let span = self.of_call(tool, event, (start, now));
        self.kept.push(span);
        Trace {
            id: self.id,
            state: self.state,
            spans: self.kept,
        }
    }

    /// The call's own span, from what its last record says.
    fn of_call(
        &mut self,
        tool: Option<&Called>,
        event: &Event,
        (start, end): (Duration, Duration),
    ) -> Span {
        let mut attributes = std::mem::take(&mut self.caller);
        let method = tool.map_or("tools/call", |called| called.method);
        attributes.push(("mcp.method.name", method.into()));
        attributes.push(("gen_ai.operation.name", "execute_tool".into()));
        let name = match tool {
            Some(Called { tool, wire, .. }) => {
                attributes.push(("gen_ai.tool.name", wire.to_string().into()));
                attributes.push(("tollgate.tool", tool.to_string().into()));
                format!("{method} {wire}")
            }
            // A name that there is no tool of is only what a model wrote.
            None => String::from("tools/call"),
        };
        let (status, error) = match event {
            Event::Outcome(outcome) => {
                attributes.push(("tollgate.fuel", outcome.fuel.into()));
                let error = outcome.reason.map(|reason| reason.code());
                match outcome.status.as_str() {
                    "ok" => ("ok", None),
                    "error" => ("error", Some("tool_error")),
                    _ => ("failed", Some(error.unwrap_or("_OTHER"))),
                }
            }
            Event::Refusal(refused) => ("refused", Some(refused.reason.code())),
            _ => ("held", None),
        };
        attributes.push(("tollgate.status", status.into()));
        if let Some(error) = error {
            attributes.push(("error.type", error.into()));
        }
        if self.missing > 0 {
            attributes.push(("tollgate.spans_missing", self.missing.into()));
        }
        Span {
            id: self.id_at(None),
            parent: self.parent,
            name,
            kind: SpanKind::Server,
            start,
            end,
            attributes,
            is_error: error.is_some(),
        }
    }
}

/// What an allowed host call is. Of a URL only where it leads: what is behind the host is the plugin's to
/// choose.
fn made_of(span: &mut Span, made: &HostCall) {
    let policies: Vec<String> = made
        .decision
        .policies
        .iter()
        .map(|p| p.id.clone())
        .collect();
    span.attributes.push(("tollgate.policies", policies.into()));
    let (Some(method), Ok(url)) = (&made.method, CanonicalUrl::parse(&made.host_call.target))
    else {
        return;
    };
    let origin = url.origin();
    span.kind = SpanKind::Client;
    span.name.clone_from(method);
    span.attributes.extend([
        ("http.request.method", method.clone().into()),
        ("url.scheme", origin.scheme().as_str().into()),
        ("server.address", origin.host().to_string().into()),
        ("server.port", origin.port().into()),
        ("http.request.body.size", made.bytes_out.into()),
        (
            "tollgate.secrets",
            Attribute::from(made.secrets.len() as u64),
        ),
    ]);
}

const fn transport(name: &str) -> &'static str {
    match name.as_bytes() {
        b"stdio" => "pipe",
        b"http" => "tcp",
        _ => "unix",
    }
}
