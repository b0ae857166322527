//! What all capabilities of one call work on: who asks, what was granted, what was used so far.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::client::Told;
use super::log::GuestLog;
use super::progress::Reports;
use crate::approval::{Approvals, Approved};
use crate::call::{ClientSide, Notice, ProgressSink};
use crate::clock::SharedClock;
use crate::digest::Digest;
use crate::egress::Outbound;
use crate::entropy::SharedEntropy;
use crate::grant::{Grant, Grants};
use crate::journal::record::{CallId, Caller, Event, HostCallRef, Refused};
use crate::journal::{Journal, Position, escape_bytes};
use crate::json::Arguments;
use crate::lease::{Leases, SharedSecrets};
use crate::limits::{CallLimits, reached};
use crate::name::ToolName;
use crate::policy::{CallFacts, Checked, HostQuestion, PolicySet, RoundFacts, TaskFacts, Verdict};
use crate::reason::{Kind, Reason, Refusal};
use crate::running::Underway;
use crate::runtime::bindings::types as wit;
use crate::runtime::{Ending, Patience};
use crate::secret::{Lent, Placeholders};
use crate::tape::Recorder;
use crate::task::OnTask;
use crate::telemetry::{CallTrace, Telemetry};

/// Bytes of a target in a record: a URL of the longest length that is sent is cut, its digest is not.
const TARGET: usize = 2 << 10;

/// Stack for a decision. A host call runs on the instance's own stack, whose end the policy engine
/// can't find: it would take every rule for one that is nested too deep, and refuse.
const DECIDING: usize = 256 << 10;

/// The parts of the host that capabilities use.
#[derive(Debug)]
pub(crate) struct Services {
    pub(crate) policy: Arc<ArcSwap<PolicySet>>,
    pub(crate) approvals: Approvals,
    pub(crate) journal: Journal,
    pub(crate) outbound: Outbound,
    pub(crate) secrets: SharedSecrets,
    pub(crate) leases: Leases,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) telemetry: Telemetry,
    /// What plugins say to everybody's clients.
    pub(crate) notices: tokio::sync::broadcast::Sender<Notice>,
}

/// What is known of the call. All of it from the host.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) call: CallId,
    pub(crate) caller: Caller,
    pub(crate) tool: ToolName,
    /// The component that runs.
    pub(crate) plugin: Digest,
    /// How many persons must agree, where anyone must.
    pub(crate) needed: u32,
    pub(crate) tier: String,
    pub(crate) arguments: Arguments,
    /// The round, where it is not the first.
    pub(crate) round: Option<RoundFacts>,
    /// The task that it is on: every host call is charged to it.
    pub(crate) task: Option<OnTask>,
    pub(crate) under_way: Arc<Underway>,
    pub(crate) trace: CallTrace,
}

/// What a call has used.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    /// Host calls by capability.
    pub(crate) host_calls: BTreeMap<String, u64>,
    /// Bytes through host calls.
    pub(crate) bytes: u64,
    /// Refusals by reason.
    pub(crate) refused: BTreeMap<Reason, u64>,
    /// The last host call of this call that a person must agree to, for the result.
    pub(crate) held: Option<Refusal>,
    /// HTTP requests sent.
    requests: u32,
    /// Host calls with records of their own.
    pub(crate) numbers: u32,
}

/// The context of one call.
pub(crate) struct CallContext {
    pub(super) services: Arc<Services>,
    pub(super) facts: Facts,
    pub(super) limits: CallLimits,
    pub(super) lent: Lent,
    pub(super) reports: Reports,
    pub(super) client: Told,
    pub(super) placeholders: Placeholders,
    pub(super) patience: Patience,
    grants: Grants,
    usage: Usage,
    log: Arc<GuestLog>,
    /// Where what the call is given is kept; most calls have none.
    tape: Option<Box<Recorder>>,
}

impl std::fmt::Debug for CallContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallContext")
            .field("facts", &self.facts)
            .field("usage", &self.usage)
            .finish_non_exhaustive()
    }
}

impl CallContext {
    pub(crate) fn new(
        services: Arc<Services>,
        facts: Facts,
        grants: Grants,
        limits: CallLimits,
        progress: Option<ProgressSink>,
        client: ClientSide,
        tape: Option<Box<Recorder>>,
    ) -> Self {
        let lent = Lent::new();
        let log = GuestLog::new(
            facts.tool.plugin().clone(),
            Some(facts.call),
            lent.clone(),
            limits.log_bytes,
        );
        Self {
            services,
            facts,
            limits,
            placeholders: Placeholders::new(),
            lent,
            reports: Reports::new(progress),
            client: Told::new(client, limits.log_bytes),
            patience: Patience::start(),
            grants,
            usage: Usage::default(),
            log,
            tape,
        }
    }

    /// Whether what the call is given is kept.
    pub(crate) const fn has_tape(&self) -> bool {
        self.tape.is_some()
    }

    /// The call's tape, where it has one.
    pub(crate) fn tape(&mut self) -> Option<&mut Recorder> {
        self.tape.as_deref_mut()
    }

    /// The same, once the instance is gone.
    pub(crate) fn take_tape(&mut self) -> Option<Box<Recorder>> {
        self.tape.take()
    }

    /// The time that the call takes, but for what people take.
    pub(crate) fn patience(&self) -> Patience {
        self.patience.clone()
    }

    pub(crate) const fn arguments(&self) -> &Arguments {
        &self.facts.arguments
    }

    /// The round that the call is, where it is not the first.
    pub(crate) const fn round(&self) -> Option<&RoundFacts> {
        self.facts.round.as_ref()
    }

    pub(crate) fn log(&self) -> Arc<GuestLog> {
        Arc::clone(&self.log)
    }

    /// The secrets lent to this call, for scanning what leaves it.
    pub(crate) const fn lent(&self) -> &Lent {
        &self.lent
    }

    /// What was used, once the instance is gone.
    pub(crate) fn take_usage(&mut self) -> Usage {
        std::mem::take(&mut self.usage)
    }

    /// The grant of this name.
    pub(super) fn grant(&self, name: &str) -> Option<Arc<Grant>> {
        self.grants.get(name)
    }

    /// Counts one host call and the bytes that it carried in.
    ///
    /// # Errors
    ///
    /// Ends the instance where the call's bytes are used up.
    pub(super) fn count(&mut self, capability: &str, bytes: usize) -> Result<(), Ending> {
        // A stopped call begins nothing more, also where its instance has not seen the stop yet.
        self.in_force()?;
        match self.usage.host_calls.get_mut(capability) {
            Some(count) => *count += 1,
            None => {
                self.usage.host_calls.insert(capability.to_owned(), 1);
            }
        }
        self.charge_all(1, bytes)
    }

    /// Whether the call was not stopped.
    ///
    /// # Errors
    ///
    /// Ends the instance, for the reason of the stop.
    pub(super) fn in_force(&self) -> Result<(), Ending> {
        match self.facts.under_way.stopped() {
            Some(refusal) => Err(Ending::from(refusal.clone())),
            None => Ok(()),
        }
    }

    /// Counts bytes through a host call.
    ///
    /// # Errors
    ///
    /// As for `count`.
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Ending> {
        self.charge_all(0, bytes)
    }

    fn charge_all(&mut self, host_calls: u64, bytes: usize) -> Result<(), Ending> {
        if let Some(task) = &self.facts.task {
            task.charge(host_calls, bytes as u64)
                .map_err(Ending::from)?;
        }
        self.usage.bytes = self.usage.bytes.saturating_add(bytes as u64);
        if self.usage.bytes > self.limits.host_bytes {
            return Err(Ending::from(Refusal::new(
                Reason::BudgetHostBytes,
                reached(
                    "host_bytes",
                    self.usage.bytes,
                    self.limits.host_bytes,
                    " bytes",
                ),
            )));
        }
        Ok(())
    }

    /// What policy is told of the call's task, now.
    pub(super) fn task_facts(&self) -> Option<TaskFacts> {
        self.facts.task.as_ref().map(OnTask::facts)
    }

    /// What policy is told of the call, now.
    pub(super) fn call_facts<'a>(
        &'a self,
        task: Option<&'a TaskFacts>,
        approval: Option<&'a Approved>,
    ) -> CallFacts<'a> {
        CallFacts {
            task,
            agent: &self.facts.caller.agent,
            chain: &self.facts.caller.chain,
            user: self.facts.caller.user.as_deref(),
            tool: &self.facts.tool,
            tier: &self.facts.tier,
            arguments: &self.facts.arguments,
            round: self.facts.round.as_ref(),
            time: self.services.clock.now(),
            approval,
        }
    }

    /// Asks policy, now, about exactly `question`; what comes back proves it.
    pub(super) fn decide<T: HostQuestion>(&self, question: T) -> Result<Checked<T>, Refusal> {
        let task = self.task_facts();
        let facts = self.call_facts(task.as_ref(), None);
        let policy = self.services.policy.load();
        match with_stack(|| policy.decide_host_call(&facts, question)) {
            Verdict::Allow(checked) => Ok(checked),
            Verdict::Hold(ground) => Err(Refusal::new(
                Reason::ApprovalRequired,
                "a person must agree to this host call first",
            )
            .with_ground(ground)),
            Verdict::Refuse(refusal) => Err(refusal),
        }
    }

    /// Counts a request that was sent.
    pub(super) const fn requested(&mut self) {
        self.usage.requests += 1;
    }

    /// Requests sent so far.
    pub(super) const fn requests(&self) -> u32 {
        self.usage.requests
    }

    /// Numbers a host call that is recorded by itself.
    pub(super) fn reference(&mut self, capability: &str, target: &str) -> HostCallRef {
        self.usage.numbers += 1;
        // A plugin that was shown a secret may write it here: it is refused for that, and what is written down
        // of it must not be what gives it away.
        let (target, _) = self.lent.redact(target);
        let reference = HostCallRef {
            number: self.usage.numbers,
            capability: capability.to_owned(),
            target: escape_bytes(target.as_bytes(), TARGET).0,
        };
        self.facts.trace.host_call(&reference);
        reference
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// Ends the instance where nothing can be written: nothing may be done then.
    pub(super) fn record(&self, event: &Event) -> Result<Position, Ending> {
        let position = self
            .services
            .journal
            .append(event)
            .map_err(|error| Ending::from(Refusal::from(error)))?;
        self.facts.trace.saw(event);
        Ok(position)
    }

    /// Records a refused host call, once, and gives the guest's error for it.
    ///
    /// # Errors
    ///
    /// Ends the instance where it was refused too often, or where nothing can be written.
    pub(super) fn refuse(
        &mut self,
        host_call: HostCallRef,
        refusal: Refusal,
    ) -> Result<wit::Error, Ending> {
        let error = wit_error(&refusal);
        if refusal.reason == Reason::ApprovalRequired {
            self.usage.held = Some(refusal.clone());
        }
        let reason = refusal.reason;
        self.record(&Event::Refusal(Refused {
            call: self.facts.call,
            caller: None,
            tool: None,
            arguments: None,
            attempt: None,
            host_call: Some(host_call),
            reason,
            message: refusal.message.into_owned(),
            detail: refusal.detail,
            decision: refusal.ground.map(|ground| *ground),
            repeated: 0,
        }))?;
        *self.usage.refused.entry(reason).or_default() += 1;
        let refusals: u64 = self.usage.refused.values().sum();
        if refusals > self.limits.refusals {
            return Err(Ending::from(Refusal::new(
                Reason::BudgetRefusals,
                reached("refusals", refusals, self.limits.refusals, ""),
            )));
        }
        Ok(error)
    }
}

/// Runs a decision where it has the stack for it.
pub(super) fn with_stack<R>(decide: impl FnOnce() -> R) -> R {
    stacker::grow(DECIDING, decide)
}

/// What a guest is told.
pub(super) fn wit_error(refusal: &Refusal) -> wit::Error {
    wit::Error {
        kind: match refusal.reason.kind() {
            Kind::Refused => wit::ErrorKind::Refused,
            Kind::ApprovalRequired => wit::ErrorKind::ApprovalRequired,
            Kind::Limit => wit::ErrorKind::Limit,
            Kind::Failed => wit::ErrorKind::Failed,
        },
        reason: refusal.reason.code().to_owned(),
        message: refusal.message.to_string(),
    }
}
