//! Every transition of every approval, one after the other.
//!
//! All of it runs under one lock, on a thread that may wait for the disk, and is not cut short where
//! the one who asked goes away: what began is carried to its end. An answer is recorded before it
//! counts; a use is on the disk before anyone may rest on it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, watch};

use super::ask::Ask;
use super::binding::not_this;
use super::book::Book;
use super::machine::{Approval, End, Given, Status};
use super::service::{Answer, ApprovalEvent};
use super::settings::{MAX_STANDING, MAX_WHY, Settings};
use super::{Approved, Binding, Subject};
use crate::clock::{Clock as _, Steady, rfc3339};
use crate::entropy::SharedEntropy;
use crate::id::ApprovalId;
use crate::identity::PersonId;
use crate::journal::Journal;
use crate::journal::record::{
    ApprovalAnswered, ApprovalAsked, ApprovalEnded, ApprovalUsed, CallId, Event,
};
use crate::json::{self, Arguments, Limits};
use crate::policy::{ApproveQuestion, CallFacts, Ground, PolicySet, RoundFacts};
use crate::reason::{Reason, Refusal};
use crate::state::{State, StateError};
use crate::task::Tasks;

/// What all handles of the service share.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) journal: Journal,
    pub(super) policy: Arc<ArcSwap<PolicySet>>,
    pub(super) tasks: Tasks,
    pub(super) entropy: SharedEntropy,
    /// It never goes back, so that what expired stays so.
    pub(super) clock: Arc<Steady>,
    pub(super) settings: ArcSwap<Settings>,
    /// INVARIANT: held over every transition, and taken before `book`.
    pub(super) order: Mutex<()>,
    pub(super) book: Mutex<Book>,
    pub(super) events: broadcast::Sender<ApprovalEvent>,
    /// Wakes whoever waits for an answer.
    pub(super) changed: watch::Sender<u64>,
}

impl Inner {
    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whole milliseconds, as they are kept.
    pub(super) fn now(&self) -> Duration {
        let now = self.clock.now().as_millis();
        Duration::from_millis(u64::try_from(now).unwrap_or(u64::MAX))
    }

    /// The approval that answers this ask: one that was asked for before, or a new one; and which.
    pub(super) fn ask(&self, ask: Ask) -> Result<(Arc<Approval>, bool), Refusal> {
        let now = self.now();
        self.sweep(now)?;
        let found = self.book().find(&ask.binding, &ask.subject, ask.call, now);
        match found {
            Some(found) if found.status == Status::Pending => {
                let merged = found.merged();
                self.record(&asked(&ask, &merged))?;
                // How often is worth no wait for the disk: the next transition keeps it.
                return Ok((self.book().put(merged), false));
            }
            Some(found) if found.status == Status::Approved => return Ok((found, false)),
            Some(found) => return Err(found.closed(found.status)),
            None => {}
        }
        // What could not wait for its answer asks nobody.
        if ask.subject.is_host_call() {
            self.book().room_to_park(&ask.binding.agent)?;
        }
        let settings = **self.settings.load();
        self.book()
            .count(&ask.binding.agent, settings.per_minute, now)?;
        let id = ApprovalId::generate(self.entropy.as_ref()).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no random bytes for an approval")
                .with_detail(error.to_string())
        })?;
        let approval = Approval {
            id,
            status: Status::Pending,
            call: ask.call,
            subject: ask.subject.clone(),
            binding: ask.binding.clone(),
            tier: ask.summary.tier.clone(),
            summary: ask.summary.clone(),
            needed: ask.needed.max(1),
            enough: ask.enough.clone(),
            answers: Vec::new(),
            asks: 1,
            created: now,
            expires: now.saturating_add(ask.lives(&settings)),
            standing: None,
            uses: 0,
            used_by: None,
            changed: now,
            why: None,
        };
        self.record(&asked(&ask, &approval))?;
        self.state.add_approval(&approval).map_err(unkept)?;
        let approval = self.book().put(approval);
        self.tell(ApprovalEvent::Asked(Arc::clone(&approval)));
        Ok((approval, true))
    }

    /// A person's answer, once policy lets that person give it.
    pub(super) fn answer(
        &self,
        id: ApprovalId,
        person: &PersonId,
        answer: Answer,
    ) -> Result<Arc<Approval>, Refusal> {
        let now = self.now();
        self.sweep(now)?;
        let before = self.known(id)?;
        let (approve, standing, why) = match answer {
            Answer::Approve { standing } => (true, standing.map(|s| s.min(MAX_STANDING)), None),
            Answer::Deny { why } => (false, None, why.map(|why| bounded(&why))),
        };
        let given = Given {
            person: person.clone(),
            approve,
            at: now,
            standing,
            why,
        };
        let record = |status, refused, decision| {
            Event::ApprovalAnswered(ApprovalAnswered {
                call: before.call,
                approval: id,
                by: person.clone(),
                approve,
                standing_s: standing.map(|s| s.as_secs()),
                why: given.why.clone(),
                status,
                refused,
                decision,
            })
        };
        let decided = self.may_answer(&before, person, standing.is_some(), now);
        let ground = match decided {
            Ok(ground) => ground,
            Err(refusal) => {
                let ground = refusal.ground.as_deref().cloned();
                let status = before.status.to_string();
                self.record(&record(status, Some(refusal.reason), ground))?;
                return Err(refusal);
            }
        };
        if self.book().revoking.contains(&id) {
            return Err(before.closed(Status::Revoked));
        }
        let ttl = self.settings.load().ttl;
        let after = before.answered(given.clone(), ttl, now)?;
        self.record(&record(after.status.to_string(), None, Some(ground)))?;
        let after = self.move_on(&before, after)?;
        self.tell(ApprovalEvent::Answered(Arc::clone(&after)));
        Ok(after)
    }

    fn may_answer(
        &self,
        approval: &Approval,
        person: &PersonId,
        standing: bool,
        now: Duration,
    ) -> Result<Ground, Refusal> {
        // Looked at here, within the order: the credential was good when the answer set out.
        if self.is_gone(person) {
            return Err(Refusal::new(
                Reason::IdentityUnknown,
                "no person has this credential",
            ));
        }
        let own = approval.binding.user.as_deref() == Some(person.as_str());
        // What a person reads is the very text that policy judges. Its bounds were kept when it came.
        let limits = Limits {
            bytes: usize::MAX,
            depth: 128,
            nodes: usize::MAX,
        };
        let arguments = if approval.status.is_live() {
            Arguments::parse(approval.summary.arguments.as_bytes(), &limits)?
        } else {
            return Err(approval.closed(approval.status));
        };
        let round = round_of(approval, &limits)?;
        // As it is now: while a person thinks, its other calls go on. One that is not known any more
        // is over, and nothing of it is agreed to.
        let task = match approval.binding.task {
            None => None,
            Some(id) => Some(self.tasks.facts(id).ok_or_else(|| {
                Refusal::new(Reason::TaskUnknown, "the task that it is on is over")
            })?),
        };
        let approvers = approval.approvers();
        let question = ApproveQuestion {
            person,
            call: CallFacts {
                agent: &approval.binding.agent,
                chain: &approval.binding.chain,
                user: approval.binding.user.as_deref(),
                tool: &approval.binding.tool,
                tier: &approval.tier,
                arguments: &arguments,
                round: round.as_ref(),
                task: task.as_ref(),
                time: now,
                approval: None,
            },
            approvers: &approvers,
            host_call: approval.subject.is_host_call(),
            standing,
        };
        self.policy
            .load()
            .decide_approve(&question)
            .map_err(|mut refusal| {
                if own && refusal.reason.kind() == crate::reason::Kind::Refused {
                    refusal.reason = Reason::ApprovalSelf;
                    refusal.message =
                        "an agent's own user can't agree to what it does for them".into();
                }
                refusal
            })
    }

    /// Uses an approval up, for exactly this. On the disk before it returns.
    pub(super) fn take(
        &self,
        id: ApprovalId,
        call: CallId,
        binding: &Binding,
        subject: &Subject,
    ) -> Result<Approved, Refusal> {
        let now = self.now();
        let before = self.known(id)?;
        if let Some(refusal) = before.binding.mismatch(binding) {
            return Err(refusal);
        }
        if before.subject != *subject {
            return Err(not_this(
                "it is for another host call, or for the call itself",
            ));
        }
        if self.book().revoking.contains(&id) {
            return Err(before.closed(Status::Revoked));
        }
        let after = before.taken(call, now)?;
        let approved = Approved {
            id,
            binding: after.binding.clone(),
            subject: after.subject.clone(),
            approvers: after.approvers(),
        };
        let event = Event::ApprovalUsed(ApprovalUsed {
            call,
            approval: id,
            asked: after.call,
            by: approved.approvers.iter().cloned().collect(),
            standing: after.standing.is_some(),
        });
        // INVARIANT: used on the disk first. Were the record first, a host that dies between the two
        // would find the approval unused, and a use of it written down.
        let after = self.move_on(&before, after)?;
        self.record(&event)?;
        self.tell(ApprovalEvent::Used(after));
        Ok(approved)
    }

    /// Ends an approval that is live.
    pub(super) fn end(
        &self,
        id: ApprovalId,
        end: End,
        why: Option<String>,
    ) -> Result<Arc<Approval>, Refusal> {
        let before = self.known(id)?;
        let after = before.ended(end, why.map(|why| bounded(&why)), self.now())?;
        self.record(&ended(&after))?;
        let after = self.move_on(&before, after)?;
        self.tell(ApprovalEvent::Ended(Arc::clone(&after)));
        Ok(after)
    }

    /// What is live and rests on the word of `person`.
    pub(super) fn given_by(&self, person: &PersonId) -> Vec<ApprovalId> {
        self.book()
            .all()
            .filter(|approval| approval.status.is_live() && approval.approvers().contains(person))
            .map(|approval| approval.id)
            .collect()
    }

    /// Whether the word of `person` counts no more.
    fn is_gone(&self, person: &PersonId) -> bool {
        self.state
            .person(person)
            .is_some_and(|record| record.removed.is_some())
    }

    /// Writes down what expired, and forgets what ended long ago.
    pub(super) fn sweep(&self, now: Duration) -> Result<(), Refusal> {
        let over = self.book().over(now);
        for before in over {
            let Ok(after) = before.ended(End::Expired, None, now) else {
                continue;
            };
            self.record(&ended(&after))?;
            let after = self.move_on(&before, after)?;
            self.tell(ApprovalEvent::Ended(after));
        }
        let gone = self.book().prune(now);
        if !gone.is_empty() {
            self.state.forget_approvals(&gone).map_err(unkept)?;
        }
        Ok(())
    }

    /// What a start finds: host calls' approvals are void, for their calls are gone; and what rests on
    /// someone who was removed is revoked, where the host ended before it came to that.
    pub(super) fn recover(&self, kept: Vec<Approval>) -> Result<(), StateError> {
        let now = self.now();
        for approval in kept {
            self.book().put(approval);
        }
        let ends = |approval: &Approval| {
            if approval.subject.is_host_call() && approval.standing.is_none() {
                Some((End::Void, "the host ended while its call waited"))
            } else if approval.approvers().iter().any(|by| self.is_gone(by)) {
                Some((End::Revoked, "one who agreed was removed"))
            } else {
                None
            }
        };
        let stranded: Vec<_> = self
            .book()
            .all()
            .filter(|approval| approval.status.is_live())
            .filter_map(|approval| Some((Arc::clone(approval), ends(approval)?)))
            .collect();
        for (before, (end, why)) in stranded {
            let Ok(mut after) = before.ended(end, Some(why.to_owned()), now) else {
                continue;
            };
            if let Err(error) = self.journal.append(&ended(&after)) {
                tracing::error!(%error, "the end of an approval could not be written down");
            }
            after.summary = after.summary.abridged();
            self.state
                .move_approval((before.status, before.uses), &after)?;
            self.book().put(after);
        }
        Ok(())
    }

    fn known(&self, id: ApprovalId) -> Result<Arc<Approval>, Refusal> {
        self.book()
            .get(id)
            .cloned()
            .ok_or_else(|| Refusal::new(Reason::NameUnknown, "there is no approval of that id"))
    }

    /// Moves on, on the disk and then in memory.
    fn move_on(&self, before: &Approval, mut after: Approval) -> Result<Arc<Approval>, Refusal> {
        if !after.status.is_live() {
            after.summary = after.summary.abridged();
        }
        let moved = self
            .state
            .move_approval((before.status, before.uses), &after)
            .map_err(unkept)?;
        if !moved {
            // Someone changed the database beside this host. What it says counts, so nothing is given.
            return Err(
                Refusal::new(Reason::ApprovalUsed, "that approval is not as it was")
                    .with_detail("the database has it in another state than this host"),
            );
        }
        let after = self.book().put(after);
        self.changed
            .send_modify(|revision| *revision = revision.wrapping_add(1));
        Ok(after)
    }

    fn record(&self, event: &Event) -> Result<(), Refusal> {
        self.journal.append(event).map(drop).map_err(Refusal::from)
    }

    fn tell(&self, event: ApprovalEvent) {
        // Nobody listens: nobody needs to know.
        drop(self.events.send(event));
    }
}

/// The round that an approval is for, with the answers that a person reads.
fn round_of(approval: &Approval, limits: &Limits) -> Result<Option<RoundFacts>, Refusal> {
    let Some(bound) = approval.binding.round else {
        return Ok(None);
    };
    let read = approval.summary.input.as_ref().and_then(|input| {
        match json::parse_any_number(input.answers.as_bytes(), limits) {
            Ok(serde_json::Value::Object(answers)) => Some(answers),
            _ => None,
        }
    });
    let answers = read.ok_or_else(|| {
        Refusal::new(
            Reason::HostInternal,
            "the answers that the call brings can't be read, so nobody agrees to them",
        )
    })?;
    Ok(Some(RoundFacts { bound, answers }))
}

fn asked(ask: &Ask, approval: &Approval) -> Event {
    Event::ApprovalAsked(ApprovalAsked {
        call: ask.call,
        approval: approval.id,
        host_call: ask.host_call.clone(),
        merged: approval.asks.saturating_sub(1).into(),
        needed: approval.missing().max(1),
        expires: rfc3339(approval.expires),
        decision: ask.ground.clone(),
    })
}

fn ended(approval: &Approval) -> Event {
    Event::ApprovalEnded(ApprovalEnded {
        call: approval.call,
        approval: approval.id,
        status: approval.status.to_string(),
        why: approval.why.clone(),
    })
}

fn unkept(error: StateError) -> Refusal {
    Refusal::new(Reason::HostInternal, "approvals can't be kept now").with_detail(error.to_string())
}

fn bounded(why: &str) -> String {
    why.chars().take(MAX_WHY).collect()
}
