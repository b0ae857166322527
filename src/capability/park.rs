//! A host call that waits for a person: the live call is parked, its time stands still, and what it
//! is about to send is what the person reads.

use super::CallContext;
use crate::approval::{Approved, Ask, BodyView, HeldCall, Status, Subject};
use crate::digest::Digest;
use crate::journal::record::HostCallRef;
use crate::policy::{CallFacts, Checked, Ground, HostQuestion, HostVerdict};
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::telemetry::Stage;

/// How often it is looked for an answer again, where policies change meanwhile.
const TRIES: usize = 3;

/// What a person is asked to agree to: exactly the request that would be sent.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub(super) subject: Subject,
    pub(super) body: Option<BodyView>,
}

impl Effect {
    pub(super) fn http(method: &str, url: &str, body: &[u8], digest: Digest) -> Self {
        Self {
            subject: Subject::HostCall {
                action: "http".to_owned(),
                method: method.to_owned(),
                url: url.to_owned(),
                body: digest,
                secret: None,
            },
            body: BodyView::of(body, digest),
        }
    }
}

impl CallContext {
    /// Asks policy about `question`, and a person where policy says so; what comes back proves both.
    /// `effect` makes what the person reads, of the very value that is asked about. The second value
    /// says whether the call waited: what was decided before then is to be decided again.
    pub(super) async fn agree<T: HostQuestion>(
        &self,
        mut question: T,
        effect: impl Fn(&T) -> Effect,
        reference: &HostCallRef,
    ) -> Result<(Checked<T>, bool), Refusal> {
        let mut waited = false;
        for _ in 0..TRIES {
            let (held, ground) = match self.decide_with(question, None) {
                HostVerdict::Allow(checked) => return Ok((checked, waited)),
                HostVerdict::Refuse(refusal) => return Err(refusal),
                HostVerdict::Hold(held, ground) => (held, ground),
            };
            let approvals = &self.services.approvals;
            let settings = approvals.settings();
            if settings.park.is_zero() {
                return Err(unanswered(ground));
            }
            let ask = self.ask(&held, effect(&held), ground.clone(), reference)?;
            // The call may be cancelled or dropped while it waits: then nobody needs to answer.
            let (mut found, gone) = approvals.ask(ask.clone()).await?;
            let asked_now = found.status == Status::Pending;
            if asked_now {
                let _place = approvals.parking_place(&self.facts.caller.agent)?;
                let still = self.patience.stand_still();
                let held = self.facts.trace.begin(Stage::Hold);
                let answered = approvals.wait(found.id, settings.park).await;
                drop(held);
                drop(still);
                waited = true;
                if let Some(answered) = answered {
                    found = answered;
                }
            }
            if found.status != Status::Pending {
                gone.keep();
            }
            match found.status {
                // Looked for again, with policies as they are now: then it is found at once.
                Status::Approved if asked_now => question = held,
                Status::Approved => return self.used(held, found.id, ask, waited).await,
                Status::Pending => {
                    return Err(Refusal::new(
                        Reason::ApprovalExpired,
                        "nobody agreed to it in time",
                    )
                    .with_ground(ground));
                }
                status => return Err(found.closed(status).with_ground(ground)),
            }
        }
        Err(Refusal::new(
            Reason::ApprovalRequired,
            "the policies changed while a person was asked",
        ))
    }

    /// Uses the approval up, and has policy decide with that proof.
    async fn used<T: HostQuestion>(
        &self,
        question: T,
        id: crate::id::ApprovalId,
        ask: Ask,
        waited: bool,
    ) -> Result<(Checked<T>, bool), Refusal> {
        let approvals = &self.services.approvals;
        // Before it is used: whoever revokes it finds it unused, or finds this call.
        self.facts.under_way.rests_on(Scope::Approval(id));
        let approved = approvals
            .take(id, self.facts.call, ask.binding, ask.subject)
            .await?;
        match self.decide_with(question, Some(&approved)) {
            HostVerdict::Allow(checked) => Ok((checked, waited)),
            HostVerdict::Hold(_, ground) => Err(unanswered(ground)),
            HostVerdict::Refuse(refusal) => Err(refusal),
        }
    }

    pub(super) fn decide_with<T: HostQuestion>(
        &self,
        question: T,
        approval: Option<&Approved>,
    ) -> HostVerdict<T> {
        let task = self.task_facts();
        let facts = self.call_facts(task.as_ref(), approval);
        let policy = self.services.policy.load();
        super::context::with_stack(|| policy.decide_or_hold(&facts, question))
    }

    fn ask<T: HostQuestion>(
        &self,
        question: &T,
        what: Effect,
        ground: Ground,
        reference: &HostCallRef,
    ) -> Result<Ask, Refusal> {
        let facts = &self.facts;
        let needed = facts.needed.to_string();
        let task = self.task_facts();
        let asked: CallFacts<'_> = self.call_facts(task.as_ref(), None);
        let policy = self.services.policy.load();
        let hold = super::context::with_stack(|| {
            policy.hold_of_host_call(&asked, question, &ground, &[&facts.tier, &needed])
        })?;
        let held = HeldCall {
            call: facts.call,
            caller: &facts.caller,
            tool: &facts.tool,
            plugin: facts.plugin,
            arguments: &facts.arguments,
            round: facts.round.as_ref(),
            tier: &facts.tier,
            needed: facts.needed,
        };
        let Effect { subject, body } = what;
        Ok(held.asks_for(subject, body, reference.clone(), hold, ground))
    }
}

fn unanswered(ground: Ground) -> Refusal {
    Refusal::new(
        Reason::ApprovalRequired,
        "a person must agree to this host call first",
    )
    .with_ground(ground)
}
