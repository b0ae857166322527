//! A call's spans, as the call goes on.
//!
//! One call does one thing at a time, so what is under way is a stack: a span that begins lies within the
//! one that began last and has not ended. Spans of host calls follow from the call's own records, so that
//! a trace can't say what the journal does not; the others are stages of the pipeline.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Telemetry;
use super::context::TraceParent;
use super::feed::Attribute;
use super::metrics;
use super::spans::Spans;
use crate::config::Sample;
use crate::journal::record::{CallId, Caller, Event, HostCallRef};
use crate::name::ToolName;
use crate::plugin::Kind;
use crate::policy::Ground;
use crate::reason::{Reason, Refusal};

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
    tool: Option<Called>,
    /// Host calls that were allowed and have not ended: numbers and capabilities.
    allowed: Vec<(u32, &'static str)>,
    /// Nothing where no trace is kept of this call.
    trace: Option<Spans>,
    ended: bool,
}

/// The tool of a call, which there is.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    pub(super) tool: ToolName,
    /// The name that agents see.
    pub(super) wire: Arc<str>,
    /// The method of MCP that calls it.
    pub(super) method: &'static str,
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
    pub(crate) fn tool(&self, tool: &ToolName, wire: &str, kind: Kind) {
        self.told().tool = Some(Called {
            tool: tool.clone(),
            wire: wire.into(),
            method: match kind {
                Kind::Tool => "tools/call",
                Kind::Prompt => "prompts/get",
                Kind::Resource => "resources/read",
                Kind::Completion => "completion/complete",
            },
        });
    }

    /// A stage begins.
    pub(crate) fn begin(&self, stage: Stage) -> UnderWay {
        let now = self.now();
        let mut told = self.told();
        if told.trace.is_none() {
            drop(told);
            return UnderWay {
                of: self.clone(),
                place: None,
            };
        }
        let name = match stage {
            Stage::Decision => String::from("decision"),
            Stage::Hold => String::from("hold"),
            Stage::Instance => match &told.tool {
                Some(called) => format!("execute_tool {}", called.wire),
                None => String::from("execute_tool"),
            },
        };
        let attributes = match (stage, &told.tool) {
            (Stage::Instance, Some(called)) => vec![
                ("gen_ai.operation.name", Attribute::from("execute_tool")),
                ("gen_ai.tool.name", called.wire.to_string().into()),
                ("gen_ai.tool.type", Attribute::from("extension")),
            ],
            _ => Vec::new(),
        };
        let place = told
            .trace
            .as_mut()
            .and_then(|trace| trace.open(name, now, attributes));
        drop(told);
        UnderWay {
            of: self.clone(),
            place,
        }
    }

    /// A host call that is recorded by itself begins.
    pub(crate) fn host_call(&self, reference: &HostCallRef) {
        let now = self.now();
        if let Some(trace) = &mut self.told().trace {
            trace.begin_host_call(reference, now);
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
        if let (Some(trace), Some(feed)) = (told.trace.take(), &self.of.telemetry.shared.feed) {
            feed.put(trace.ended(told.tool.as_ref(), event, (self.of.began_at, now)));
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
        if let (Some(trace), Some(place)) = (&mut told.trace, self.place) {
            trace.say(place, said);
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
