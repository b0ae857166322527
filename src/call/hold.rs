//! A hold, from the asking to the permit.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Arrival;
use super::pace::Held;
use crate::approval::{Approval, Approved, Ask, Asked, HeldCall, Status, Withdraws};
use crate::config::Tier;
use crate::host::{self, Host};
use crate::journal::record::CallId;
use crate::json::Arguments;
use crate::name::ToolName;
use crate::plugin::Plugin;
use crate::policy::{
    CallFacts, CallQuestion, Ground, Permit, PolicySet, RoundFacts, TaskFacts, Verdict,
};
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::running::Underway;
use crate::task::OnTask;
use crate::telemetry::{CallTrace, Stage};

/// How often an answer is looked for again: others may use up what was given, and policies change.
const TRIES: usize = 4;

/// A call as policy and people are asked about it.
pub(super) struct Asking<'a> {
    pub(super) host: &'a Host,
    pub(super) arrival: &'a Arrival,
    pub(super) call: CallId,
    pub(super) plugin: &'a Plugin,
    pub(super) tool: &'a ToolName,
    pub(super) arguments: &'a Arguments,
    /// The round, where it is not the first.
    pub(super) round: Option<&'a RoundFacts>,
    pub(super) task: Option<&'a OnTask>,
    pub(super) attempt: u32,
    pub(super) trace: &'a CallTrace,
}

/// A call that may run.
pub(super) struct Permitted {
    pub(super) permit: Permit,
    /// The name of the tool's tier.
    pub(super) tier: String,
    /// Where it has its places already.
    pub(super) places: Option<Held>,
}

/// What a call is judged by that others may change while a person thinks.
struct Current {
    tier: Tier,
    /// As policies and people see it.
    tier_name: String,
    task: Option<TaskFacts>,
}

impl Asking<'_> {
    /// The tool's tier and what is known of the task, now.
    fn current(&self) -> Result<Current, Refusal> {
        let (config, plugin) = (self.host.config(), &self.plugin.description);
        let tier = host::tier(&config, plugin, self.tool);
        if tier == Tier::Forbid {
            return Err(
                Refusal::new(Reason::PolicyForbidden, "the operator forbids this tool")
                    .with_detail("its tier is `forbid`"),
            );
        }
        Ok(Current {
            tier,
            tier_name: host::tier_name(&config, plugin, self.tool),
            task: self.task.map(OnTask::facts),
        })
    }

    fn question<'a>(
        &'a self,
        current: &'a Current,
        approval: Option<&'a Approved>,
    ) -> CallQuestion<'a> {
        let caller = &self.arrival.caller;
        CallQuestion {
            call: CallFacts {
                agent: &caller.agent,
                chain: &caller.chain,
                user: caller.user.as_deref(),
                tool: self.tool,
                tier: &current.tier_name,
                arguments: self.arguments,
                round: self.round,
                task: current.task.as_ref(),
                time: self.host.now(),
                approval,
            },
            plugin_digest: self.plugin.digest,
            transport: &caller.transport,
            attempt: self.attempt,
        }
    }

    /// Whether the call may run: by policy alone, or because people agreed to it.
    pub(super) async fn permit(&self, under_way: &Underway) -> Result<Permitted, Refusal> {
        let cancel = under_way.cancel();
        let give_up = Instant::now() + self.host.approvals().settings().wait;
        let mut ground = None;
        for _ in 0..TRIES {
            // Anew each time: while a person thinks, policies change, and so do tiers and tasks.
            let (set, current) = (self.host.policy(), self.current()?);
            let held = match set.decide_call(&self.question(&current, None)) {
                // What policy allows alone, the operator's tier may still keep for a person.
                Verdict::Allow(permit) if current.tier == Tier::Hold => permit.ground().clone(),
                Verdict::Allow(permit) => {
                    return Ok(Permitted {
                        permit,
                        tier: current.tier_name,
                        places: None,
                    });
                }
                Verdict::Hold(ground) => ground,
                Verdict::Refuse(refusal) => return Err(refusal),
            };
            ground = Some(held.clone());
            let ask = self.ask(&set, &current, held.clone())?;
            let found = self.find(ask.clone()).await;
            let (found, gone) = found.map_err(|refusal| refusal.with_ground(held.clone()))?;
            match found.status {
                Status::Approved => match self.used(&found, ask, under_way).await {
                    Err(refusal) if refusal.reason == Reason::ApprovalUsed && self.may_ask() => {}
                    used => return used,
                },
                Status::Pending => {
                    // Cancelled or dropped meanwhile, it takes its ask along.
                    let answered = self.wait(&found, give_up, cancel).await?;
                    gone.into_iter().for_each(Withdraws::keep);
                    match answered {
                        Status::Pending => {
                            return Err(held_by(held).with_approval(Asked::of(&found)));
                        }
                        // Whether it is this call's is told by looking again; another may have used it.
                        Status::Approved | Status::Used => {}
                        _ => return Err(self.closed(&found, held)),
                    }
                }
                status => return Err(found.closed(status).with_ground(held)),
            }
        }
        let refusal = Refusal::new(
            Reason::ApprovalRequired,
            "what people agreed to was used up; ask again",
        );
        Err(match ground {
            Some(ground) => refusal.with_ground(ground),
            None => refusal,
        })
    }

    /// Whether it may ask again: one that names its approval wants that one or none.
    const fn may_ask(&self) -> bool {
        self.arrival.approval.is_none()
    }

    async fn find(&self, ask: Ask) -> Result<(Arc<Approval>, Option<Withdraws>), Refusal> {
        let approvals = self.host.approvals();
        match &self.arrival.approval {
            Some(named) => Ok((approvals.presented(named, &ask).await?, None)),
            None => {
                let (found, gone) = approvals.ask(ask).await?;
                Ok((found, Some(gone)))
            }
        }
    }

    /// Uses the approval up, and has policy decide again with that proof.
    async fn used(
        &self,
        approval: &Approval,
        ask: Ask,
        under_way: &Underway,
    ) -> Result<Permitted, Refusal> {
        let approvals = self.host.approvals();
        // Before it is used: whoever revokes it finds it unused, or finds this call.
        under_way.rests_on(Scope::Approval(approval.id));
        if under_way.cancel().is_cancelled() {
            return Err(cancelled());
        }
        // A place first: what a person agreed to is not spent on a call that then finds none.
        let caller = &self.arrival.caller;
        let places = self.host.places();
        let places = places
            .take(&caller.agent, self.plugin, under_way.cancel())
            .await?;
        // A person may have thought for longer than what the caller came with was good.
        if let Some(who) = &self.arrival.credential {
            self.host.identities().still(who)?;
        }
        let approved = approvals
            .take(approval.id, self.call, ask.binding, ask.subject)
            .await?;
        let current = self.current()?;
        let question = self.question(&current, Some(&approved));
        match self.host.policy().decide_call(&question) {
            Verdict::Allow(permit) => Ok(Permitted {
                permit,
                tier: current.tier_name,
                places: Some(places),
            }),
            Verdict::Hold(ground) => Err(held_by(ground)),
            Verdict::Refuse(refusal) => Err(refusal),
        }
    }

    async fn wait(
        &self,
        approval: &Approval,
        give_up: Instant,
        cancel: &CancellationToken,
    ) -> Result<Status, Refusal> {
        let approvals = self.host.approvals();
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Status::Pending);
        }
        let _held = self.trace.begin(Stage::Hold);
        tokio::select! {
            answered = approvals.wait(approval.id, left) => {
                Ok(answered.map_or(Status::Withdrawn, |answered| answered.status))
            }
            () = cancel.cancelled() => Err(cancelled()),
        }
    }

    /// What became of `approval` meanwhile.
    fn closed(&self, approval: &Approval, held: Ground) -> Refusal {
        let now = self.host.approvals().get(approval.id);
        let now = now.as_deref().unwrap_or(approval);
        now.closed(now.status).with_ground(held)
    }

    fn ask(&self, set: &PolicySet, current: &Current, ground: Ground) -> Result<Ask, Refusal> {
        let needed = self.host.config().approvals_needed(self.tool);
        let also = [current.tier_name.as_str(), &needed.to_string()];
        let hold = set.hold_of_call(&self.question(current, None), &ground, &also)?;
        let held = HeldCall {
            call: self.call,
            caller: &self.arrival.caller,
            tool: self.tool,
            plugin: self.plugin.digest,
            arguments: self.arguments,
            round: self.round,
            tier: &current.tier_name,
            needed,
        };
        Ok(held.asks(hold, ground))
    }
}

fn cancelled() -> Refusal {
    Refusal::new(
        Reason::CallCancelled,
        "the call was cancelled while it waited",
    )
}

fn held_by(ground: Ground) -> Refusal {
    Refusal::new(
        Reason::ApprovalRequired,
        "a person must agree to this call first",
    )
    .with_ground(ground)
}
