//! A call's spans, as the call goes on.
//!
//! One call does one thing at a time, so what is under way is a stack: a span that begins lies within the
//! one that began last and has not ended. Spans of host calls follow from the call's own records, so that
//! a trace can't say what the journal does not; the others are stages of the pipeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Telemetry;
use super::context::TraceParent;
use super::feed::{Attribute, Span, SpanKind, Trace};
use super::metrics;
use crate::config::Sample;
use crate::egress::CanonicalUrl;
use crate::journal::record::{CallId, Caller, Event, HostCall, HostCallRef};
use crate::name::ToolName;
use crate::policy::Ground;
use crate::reason::{Reason, Refusal};

/// Spans of one call; a plugin that makes thousands of requests has a trace of the first ones, and the
/// call's span says how many are missing.
const SPANS: usize = 256;

/// What a call tells. Cheap to clone; all clones are of one call.
#[derive(Debug, Clone)]
pub(crate) struct CallTrace {
    of: Arc<Of>,
}

#[derive(Debug)]
struct Of {
    telemetry: Telemetry,
    began: Instant,
    /// For how long it has run is told by a clock that nobody sets.
    began_at: Duration,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    tool: Option<ToolName>,
    /// Host calls that were allowed and have not ended: numbers and capabilities.
    allowed: Vec<(u32, &'static str)>,
    /// Nothing where no trace is kept of this call.
    trace: Option<Spans>,
    ended: bool,
}

#[derive(Debug)]
struct Spans {
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

/// A stage of the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Policy is asked.
    Decision,
    /// A person is waited for.
    Hold,
    /// The instance runs.
    Instance,
}

/// A stage that is under way, until this is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct UnderWay {
    of: CallTrace,
    place: Option<usize>,
}

impl Telemetry {
    /// A call arrived. Metrics count it as it ends; a trace is kept where someone takes traces, and the
    /// client of a trace that goes on records it too.
    pub(crate) fn call(
        &self,
        call: CallId,
        caller: &Caller,
        parent: Option<&TraceParent>,
    ) -> CallTrace {
        let feed = self.shared.feed.as_ref();
        let is_kept = feed.is_some_and(|feed| {
            feed.sample() == Sample::All || parent.is_none_or(TraceParent::is_sampled)
        });
        let trace = is_kept
            .then(|| Spans::new(self, call, caller, parent))
            .flatten();
        self.metrics().began();
        CallTrace {
            of: Arc::new(Of {
                telemetry: self.clone(),
                began: Instant::now(),
                began_at: self.shared.clock.now(),
                told: Mutex::new(Told {
                    trace,
                    ..Told::default()
                }),
            }),
        }
    }
}

impl CallTrace {
    /// It is a call of this tool, which there is.
    pub(crate) fn tool(&self, tool: &ToolName) {
        self.told().tool = Some(tool.clone());
    }

    /// A stage begins.
    pub(crate) fn begin(&self, stage: Stage) -> UnderWay {
        let now = self.now();
        let mut told = self.told();
        let name = match stage {
            Stage::Decision => String::from("decision"),
            Stage::Hold => String::from("hold"),
            Stage::Instance => match &told.tool {
                Some(tool) => format!("execute_tool {}", tool.wire()),
                None => String::from("execute_tool"),
            },
        };
        let attributes = match (stage, &told.tool) {
            (Stage::Instance, Some(tool)) => vec![
                ("gen_ai.operation.name", Attribute::from("execute_tool")),
                ("gen_ai.tool.name", tool.wire().into()),
                ("gen_ai.tool.type", Attribute::from("extension")),
            ],
            _ => Vec::new(),
        };
        let place = told
            .trace
            .as_mut()
            .and_then(|trace| trace.open(name, SpanKind::Internal, now, attributes));
        drop(told);
        UnderWay {
            of: self.clone(),
            place,
        }
    }

    /// A host call that is recorded by itself begins.
    pub(crate) fn host_call(&self, reference: &HostCallRef) {
        let now = self.now();
        let mut told = self.told();
        let Some(trace) = &mut told.trace else {
            return;
        };
        let attributes = vec![
            ("tollgate.capability", reference.capability.clone().into()),
            ("tollgate.host_call", reference.number.into()),
        ];
        let name = reference.capability.clone();
        if let Some(place) = trace.open(name, SpanKind::Internal, now, attributes) {
            trace.host_calls.push((reference.number, place));
        }
    }

    /// What a record of the call says.
    pub(crate) fn saw(&self, event: &Event) {
        let now = self.now();
        let mut told = self.told();
        let capability = told.capability(event);
        let took = now.saturating_sub(self.of.began_at);
        self.of
            .telemetry
            .metrics()
            .saw(event, told.tool.as_ref(), capability, took);
        if let Some(trace) = &mut told.trace {
            trace.saw(event, now);
        }
        let ends = match event {
            Event::Outcome(_) | Event::Hold(_) => true,
            Event::Refusal(refused) => refused.host_call.is_none(),
            _ => false,
        };
        if ends && !told.ended {
            told.ended = true;
            self.of.telemetry.metrics().ended();
            self.send(&mut told, event, now);
        }
    }

    /// Sends the trace of a call that ended.
    fn send(&self, told: &mut Told, event: &Event, now: Duration) {
        let Some(mut trace) = told.trace.take() else {
            return;
        };
        while let Some(place) = trace.under_way.last().copied() {
            trace.close(place, now);
        }
        let span = trace.of_call(self, told.tool.as_ref(), event, now);
        trace.kept.push(span);
        if let Some(feed) = &self.of.telemetry.shared.feed {
            feed.put(Trace {
                id: trace.id,
                state: trace.state,
                spans: trace.kept,
            });
        }
    }

    fn now(&self) -> Duration {
        self.of.began_at + self.of.began.elapsed()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.of.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Of {
    /// A call that could not be written down ended all the same.
    fn drop(&mut self) {
        let told = self.told.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !told.ended {
            self.telemetry.metrics().ended();
        }
    }
}

impl UnderWay {
    /// What policy, and perhaps a person, said.
    pub(crate) fn decided(self, decided: Result<&Ground, &Refusal>) {
        let (decision, ground, reason) = match decided {
            Ok(ground) => ("allow", Some(ground), None),
            Err(refusal) if refusal.reason == Reason::ApprovalRequired => {
                ("hold", refusal.ground.as_deref(), None)
            }
            Err(refusal) => ("refuse", refusal.ground.as_deref(), Some(refusal.reason)),
        };
        let mut said = vec![("tollgate.decision", Attribute::from(decision))];
        if let Some(ground) = ground {
            let policies: Vec<String> = ground.policies.iter().map(|p| p.id.clone()).collect();
            said.push(("tollgate.policies", policies.into()));
            said.push(("tollgate.policy_set", ground.set.to_string().into()));
        }
        if let Some(reason) = reason {
            said.push(("error.type", reason.code().into()));
        }
        self.say(said);
    }

    /// What the instance used.
    pub(crate) fn used(self, fuel: u64, refusal: Option<&Refusal>) {
        let mut said = vec![("tollgate.fuel", Attribute::from(fuel))];
        if let Some(refusal) = refusal {
            said.push(("error.type", refusal.reason.code().into()));
        }
        self.say(said);
    }

    fn say(&self, said: Vec<(&'static str, Attribute)>) {
        let mut told = self.of.told();
        let span = told
            .trace
            .as_mut()
            .zip(self.place)
            .and_then(|(trace, place)| trace.kept.get_mut(place));
        if let Some(span) = span {
            span.is_error = said.iter().any(|(key, _)| *key == "error.type");
            span.attributes.extend(said);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let now = self.of.now();
        let mut told = self.of.told();
        if let (Some(trace), Some(place)) = (&mut told.trace, self.place) {
            trace.close(place, now);
        }
    }
}

impl Told {
    /// The capability of a host call that ends with this record.
    fn capability(&mut self, event: &Event) -> Option<&'static str> {
        match event {
            Event::HostCall(made) => {
                let reference = &made.host_call;
                let capability = metrics::capability_of(&reference.capability);
                self.allowed.push((reference.number, capability));
                None
            }
            Event::HostCallOutcome(outcome) => {
                let place = self
                    .allowed
                    .iter()
                    .position(|(number, _)| *number == outcome.number)?;
                Some(self.allowed.swap_remove(place).1)
            }
            _ => None,
        }
    }
}

impl Spans {
    /// Nothing where the machine has no random bytes: a trace is not worth more than that.
    fn new(
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

    fn open(
        &mut self,
        name: String,
        kind: SpanKind,
        now: Duration,
        attributes: Vec<(&'static str, Attribute)>,
    ) -> Option<usize> {
        if self.kept.len() >= SPANS {
            self.missing += 1;
            return None;
        }
        let place = self.kept.len();
        self.kept.push(Span {
            id: self.id_at(Some(place)),
            parent: Some(self.id_at(self.under_way.last().copied())),
            name,
            kind,
            start: now,
            end: now,
            attributes,
            is_error: false,
        });
        self.under_way.push(place);
        Some(place)
    }

    /// Ends a span, and whatever began within it and did not end.
    fn close(&mut self, place: usize, now: Duration) {
        let Some(at) = self.under_way.iter().position(|open| *open == place) else {
            return;
        };
        for ended in self.under_way.split_off(at) {
            if let Some(span) = self.kept.get_mut(ended) {
                span.end = now;
            }
        }
    }

    fn host_call(&mut self, number: u32) -> Option<(usize, &mut Span)> {
        let (_, place) = self.host_calls.iter().find(|(known, _)| *known == number)?;
        let place = *place;
        self.kept.get_mut(place).map(|span| (place, span))
    }

    fn saw(&mut self, event: &Event, now: Duration) {
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

    /// The call's own span, from what its last record says.
    fn of_call(
        &mut self,
        call: &CallTrace,
        tool: Option<&ToolName>,
        event: &Event,
        now: Duration,
    ) -> Span {
        let mut attributes = std::mem::take(&mut self.caller);
        attributes.push(("mcp.method.name", "tools/call".into()));
        attributes.push(("gen_ai.operation.name", "execute_tool".into()));
        let name = match tool {
            Some(tool) => {
                attributes.push(("gen_ai.tool.name", tool.wire().into()));
                attributes.push(("tollgate.tool", tool.to_string().into()));
                format!("tools/call {}", tool.wire())
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
            start: call.of.began_at,
            end: now,
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
