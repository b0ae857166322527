//! A call's entry in the journal: opened at arrival, closed exactly once, whatever happens between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::Arrival;
use super::answer::Answer;
use super::reply::{Completion, Content, Reply};
use crate::digest::Digest;
use crate::grant::Grants;
use crate::host::Host;
use crate::journal::record::{
    ArgumentsView, CallId, Caller, Event, Held, Intent, Outcome, Refused, RoundOf,
};
use crate::journal::{Unwritable, escape_bytes, view, view_of_text};
use crate::json::Arguments;
use crate::name::ToolName;
use crate::plugin::Plugin;
use crate::policy::{Ground, Permit};
use crate::reason::{Kind, Reason, Refusal};
use crate::revocation::Scope;
use crate::running::{Guard, Underway};
use crate::tape::Recorder;
use crate::task::Line;
use crate::telemetry::CallTrace;

/// The entry of one call.
pub(super) struct Entry<'a> {
    host: &'a Host,
    call: CallId,
    began: Instant,
    caller: Caller,
    asked: String,
    tool: Option<(ToolName, Digest)>,
    /// The arguments as they came, until they are read.
    raw: Bytes,
    /// The arguments as read.
    arguments: Option<ArgumentsView>,
    attempt: u32,
    /// Its place among the calls under way, once it has one.
    running: Option<Guard>,
    /// Whether an intent stands in the journal that has no outcome yet.
    open: bool,
    trace: CallTrace,
    /// Whether what it is given is kept.
    taped: bool,
    /// Why it is not, where it should be.
    untaped: Option<&'static str>,
}

impl<'a> Entry<'a> {
    /// Opens the entry of `arrival`, under a new id.
    pub(super) fn open(host: &'a Host, arrival: &Arrival) -> Self {
        let call = CallId(uuid::Uuid::now_v7());
        let telemetry = host.telemetry();
        Self {
            host,
            call,
            began: Instant::now(),
            caller: arrival.caller.clone(),
            asked: escape_bytes(arrival.tool.as_bytes(), 256).0,
            tool: None,
            raw: arrival.arguments.clone(),
            arguments: None,
            attempt: 0,
            running: None,
            open: false,
            trace: telemetry.call(call, &arrival.caller, arrival.trace.as_ref()),
            taped: false,
            untaped: None,
        }
    }

    pub(super) const fn call(&self) -> CallId {
        self.call
    }

    /// What monitoring is told of it.
    pub(super) const fn trace(&self) -> &CallTrace {
        &self.trace
    }

    /// It is of this tool; from now on a stop of the plugin stops this call.
    pub(super) fn tool(&mut self, plugin: &Plugin, tool: &ToolName) {
        self.tool = Some((tool.clone(), plugin.digest));
        // What agents see; a tool that is not there was not found.
        let wire = plugin.shown(tool).map_or("", |listed| listed.name.as_str());
        let kind = plugin.tool(tool).map(|(tool, _)| tool.kind());
        self.trace.tool(tool, wire, kind.unwrap_or_default());
        if let Some(under_way) = self.under_way() {
            under_way.is_of(tool);
        }
    }

    pub(super) fn arguments(&mut self, arguments: &Arguments) {
        self.arguments = Some(view(
            arguments.value(),
            arguments.digest(),
            arguments.canonical().len(),
        ));
    }

    /// The view of the arguments. Text that was not read is looked through for credentials, which is
    /// slow, only here: most calls end up without it.
    fn shown(&self) -> ArgumentsView {
        self.arguments
            .clone()
            .unwrap_or_else(|| view_of_text(&self.raw))
    }

    /// From now on a stop finds it.
    pub(super) fn enters(&mut self, cancel: &CancellationToken) -> Arc<Underway> {
        let guard = self.host.running().enter(self.call, &self.caller, cancel);
        let call = Arc::clone(guard.call());
        self.running = Some(guard);
        call
    }

    /// It is on this task, as `caller` has it now; from now on a stop of the task, or of one that it lies
    /// within, stops this call.
    pub(super) fn on_task(&mut self, caller: &Caller, line: &Line) {
        self.caller.task = caller.task;
        self.caller.user.clone_from(&caller.user);
        if let Some(under_way) = self.under_way() {
            for task in line.ids() {
                under_way.rests_on(Scope::Task(task));
            }
        }
    }

    /// The task that was named is none of this agent's: its name is only what the client wrote.
    pub(super) const fn on_no_task(&mut self) {
        self.caller.task = None;
    }

    fn under_way(&self) -> Option<&Underway> {
        self.running.as_ref().map(|guard| &**guard.call())
    }

    /// Why it was stopped, if it was.
    fn stopped(&self) -> Option<Refusal> {
        self.under_way()?.stopped().cloned()
    }

    pub(super) const fn attempt(&mut self, attempt: u32) {
        self.attempt = attempt;
    }

    /// What it is given is kept.
    pub(super) const fn is_taped(&mut self) {
        self.taped = true;
    }

    /// What it is given is not kept, although it should be.
    pub(super) const fn has_no_tape(&mut self, why: &'static str) {
        self.untaped = Some(why);
    }

    /// Keeps the tape, and gives its digest or why there is none.
    async fn keep(&self, tape: Option<Box<Recorder>>) -> (Option<Digest>, Option<String>) {
        let Some(tape) = tape else {
            return (None, self.untaped.map(str::to_owned));
        };
        let (tapes, settings) = (self.host.tapes().clone(), self.host.config().tapes);
        let now = self.host.now();
        let kept = tokio::task::spawn_blocking(move || tapes.keep(*tape, &settings, now)).await;
        match kept.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(digest) => (Some(digest), None),
            Err(why) => {
                tracing::warn!(call = %self.call, why, "there is no tape of a call");
                (None, Some(why))
            }
        }
    }

    /// Writes that the call is about to run; one that was stopped meanwhile does not.
    pub(super) async fn intent(
        &mut self,
        permit: &Permit,
        grants: &Grants,
        arrival: &Arrival,
    ) -> Result<(), Refusal> {
        if let Some(stopped) = self.stopped() {
            return Err(stopped);
        }
        let event = Event::Intent(Intent {
            call: self.call,
            caller: self.caller.clone(),
            tool: permit.tool().clone(),
            kind: arrival.kind,
            round: arrival.round.as_ref().map(|round| RoundOf {
                number: round.number,
                first: round.first,
                answers: round.digest(),
            }),
            job: arrival.job.as_ref().map(|job| job.id()),
            plugin: permit.plugin_digest(),
            arguments: self.shown(),
            attempt: self.attempt,
            grants: grants.names().map(str::to_owned).collect(),
            decision: permit.ground().clone(),
        });
        let journal = self.host.journal();
        let position = journal.append(&event)?;
        self.open = true;
        self.trace.saw(&event);
        Ok(journal.settled(position).await?)
    }

    /// Closes the entry of a call that did not run: one record says why.
    pub(super) async fn refused(mut self, refusal: Refusal) -> Reply {
        // A stop is the greater news, whatever it met; and no failure of who called.
        let refusal = match self.stopped() {
            Some(stopped) => stopped,
            None => {
                self.pace(&refusal);
                refusal
            }
        };
        let held = match (&self.tool, &refusal.ground) {
            (Some((tool, plugin)), Some(ground)) if refusal.reason == Reason::ApprovalRequired => {
                Some(self.held(tool.clone(), *plugin, ground.as_ref().clone()))
            }
            _ => None,
        };
        let event = held.unwrap_or_else(|| {
            Event::Refusal(Refused {
                call: self.call,
                caller: Some(self.caller.clone()),
                tool: Some(match &self.tool {
                    Some((tool, _)) => tool.to_string(),
                    None => self.asked.clone(),
                }),
                arguments: Some(self.shown()),
                attempt: (self.attempt > 0).then_some(self.attempt),
                host_call: None,
                reason: refusal.reason,
                message: refusal.message.to_string(),
                detail: refusal.detail.clone(),
                decision: refusal.ground.as_deref().cloned(),
                repeated: 0,
            })
        });
        let refusal = match self.write(&event).await {
            Ok(()) => refusal,
            // Nothing was done; that the refusal is not written down is the greater news.
            Err(error) => Refusal::from(error),
        };
        self.open = false;
        tracing::info!(
            call = %self.call, agent = %self.caller.agent, tool = %self.asked, reason = %refusal.reason,
            "call refused"
        );
        Reply {
            call: self.call,
            completion: self.explain(&refusal),
            refusal: Some(refusal),
            asks: None,
        }
    }

    fn held(&self, tool: ToolName, plugin: Digest, decision: Ground) -> Event {
        Event::Hold(Held {
            call: self.call,
            caller: self.caller.clone(),
            tool,
            plugin,
            arguments: self.shown(),
            attempt: self.attempt,
            reason: Reason::ApprovalRequired,
            decision,
        })
    }

    /// Closes the entry of a call that ran.
    pub(super) async fn outcome(mut self, mut answer: Answer) -> Reply {
        // What a stopped call found is not handed out, also where it was there already.
        let stopped = self.stopped();
        let was_stopped = stopped.is_some();
        answer.refusal = stopped.or(answer.refusal);
        let mut completion = match &answer.refusal {
            Some(refusal) => self.explain(refusal),
            None => answer.completion,
        };
        name_refusals(&mut completion, &answer.usage.refused);
        let text = completion.canonical();
        // Before the record that has its digest, which is what says later whether it is this one.
        let (tape, untaped) = self.keep(answer.tape).await;
        let status = match (&answer.refusal, completion.is_error) {
            (Some(_), _) => "failed",
            (None, true) => "error",
            (None, false) => "ok",
        };
        let event = Event::Outcome(Outcome {
            call: self.call,
            status: status.to_owned(),
            // A host call that waits for a person has its own record with that reason.
            reason: answer
                .refusal
                .as_ref()
                .map(|r| r.reason)
                .filter(|r| *r != Reason::ApprovalRequired),
            detail: answer.refusal.as_ref().and_then(|r| r.detail.clone()),
            refused: answer.usage.refused.clone(),
            fuel: answer.fuel,
            host_calls: answer.usage.host_calls.clone(),
            numbered: answer.usage.numbers,
            result: Some(Digest::of(text.as_bytes())),
            bytes_out: text.len() as u64,
            redacted: answer.redacted,
            tape,
            untaped,
            duration_us: self.elapsed(),
        });
        self.open = false;
        let written = self.write(&event).await;
        if let Some((tool, _)) = &self.tool {
            match answer.refusal {
                None => self.host.pace().succeeded(&self.caller.agent, tool),
                // Whoever stopped it: an agent that is let go on must not be kept waiting for that.
                Some(_) if was_stopped => {}
                Some(_) => self.failed(tool),
            }
        }
        tracing::info!(
            call = %self.call, agent = %self.caller.agent, tool = %self.asked, status,
            reason = answer.refusal.as_ref().map(|r| r.reason.code()),
            fuel = answer.fuel, duration_us = self.elapsed(),
            "call ended"
        );
        match written {
            Ok(()) => Reply {
                call: self.call,
                completion,
                refusal: answer.refusal,
                asks: answer.asks,
            },
            // What was done is done; but a result whose outcome is nowhere written is not handed out.
            Err(error) => {
                let refusal = Refusal::from(error);
                Reply {
                    call: self.call,
                    completion: self.explain(&refusal),
                    refusal: Some(refusal),
                    asks: None,
                }
            }
        }
    }

    async fn write(&self, event: &Event) -> Result<(), Unwritable> {
        let journal = self.host.journal();
        let position = journal.append(event)?;
        let settled = journal.settled(position).await;
        self.trace.saw(event);
        settled
    }

    fn pace(&self, refusal: &Refusal) {
        let own_doing = !matches!(
            refusal.reason,
            Reason::LimitBreaker
                | Reason::LimitConcurrency
                | Reason::HostDraining
                | Reason::JournalUnavailable
                | Reason::CallCancelled
                // Whoever asks too often is told so by the cap on asks.
                | Reason::ApprovalRequired
                | Reason::RevokedAll
        );
        if let Some((tool, _)) = self.tool.as_ref().filter(|_| own_doing) {
            self.failed(tool);
        }
    }

    fn failed(&self, tool: &ToolName) {
        let limits = self.host.config().limits(tool);
        self.host.pace().failed(&self.caller.agent, tool, &limits);
    }

    /// What the agent is told instead of a result.
    fn explain(&self, refusal: &Refusal) -> Completion {
        let kind = match refusal.reason.kind() {
            Kind::Refused => "refused",
            Kind::ApprovalRequired => "approval_required",
            Kind::Limit => "limit",
            Kind::Failed => "failed",
        };
        // The word that clients look for in this one case.
        let code = match refusal.reason {
            Reason::ApprovalRequired => "approval_required",
            reason => reason.code(),
        };
        let mut text = format!("{code}: {}", refusal.message);
        let mut told = serde_json::Map::new();
        told.insert("code".to_owned(), code.into());
        told.insert("kind".to_owned(), kind.into());
        told.insert("message".to_owned(), refusal.message.as_ref().into());
        told.insert("call".to_owned(), self.call.to_string().into());
        if let Some(asked) = &refusal.approval {
            let url = self.host.approval_url(asked.id);
            text.push_str(&super::asked::tell(asked, url, &mut told));
        }
        Completion {
            content: vec![Content::Text {
                text,
                annotations: None,
            }],
            structured: Some(serde_json::Value::Object(told)),
            is_error: true,
            meta: serde_json::Map::new(),
        }
    }

    fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

impl Drop for Entry<'_> {
    /// A call whose future is dropped, or that panics, leaves an outcome all the same.
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let event = Event::Outcome(Outcome {
            call: self.call,
            status: "failed".to_owned(),
            reason: Some(match self.stopped() {
                Some(stopped) => stopped.reason,
                None if std::thread::panicking() => Reason::HostInternal,
                None => Reason::CallCancelled,
            }),
            detail: Some("the call was dropped before it ended".to_owned()),
            refused: BTreeMap::new(),
            fuel: 0,
            host_calls: BTreeMap::new(),
            numbered: 0,
            result: None,
            bytes_out: 0,
            redacted: 0,
            tape: None,
            untaped: self.taped.then(|| "the call was dropped".to_owned()),
            duration_us: self.elapsed(),
        });
        if let Err(error) = self.host.journal().append(&event) {
            tracing::error!(call = %self.call, %error, "the end of a call could not be written down");
        }
        self.trace.saw(&event);
    }
}

/// Says in the result which host calls were refused, whether or not the plugin did.
pub(crate) fn name_refusals(completion: &mut Completion, refused: &BTreeMap<Reason, u64>) {
    if refused.is_empty() {
        return;
    }
    let list: Vec<String> = refused
        .iter()
        .map(|(reason, count)| match count {
            1 => reason.code().to_owned(),
            count => format!("{} ({count} times)", reason.code()),
        })
        .collect();
    completion.content.push(Content::Text {
        text: format!("[tollgate] refused during this call: {}", list.join(", ")),
        annotations: None,
    });
    let refused = refused
        .iter()
        .map(|(reason, count)| (reason.code().to_owned(), (*count).into()))
        .collect();
    completion.meta.insert(
        "dev.tollgate/refused".into(),
        serde_json::Value::Object(refused),
    );
}
