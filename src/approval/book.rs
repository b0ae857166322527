//! Approvals in memory: what calls ask on their way, and what people look at.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::binding::{Binding, Subject, key};
use super::machine::{Approval, Status};
use super::settings::{KEPT, KEPT_COUNT, MAX_PARKED, MAX_PENDING, MAX_PENDING_OF_ALL};
use crate::digest::Digest;
use crate::id::ApprovalId;
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::reason::{Reason, Refusal};

/// The span over which asks are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// All approvals that are kept, and who asked how often.
#[derive(Debug, Default)]
pub(super) struct Book {
    all: BTreeMap<ApprovalId, Arc<Approval>>,
    /// Those that an identical ask is answered with.
    asked: HashMap<Digest, ApprovalId>,
    /// When each agent asked, within the last minute.
    asks: HashMap<AgentId, VecDeque<Duration>>,
    /// Host calls of each agent that wait.
    parked: HashMap<AgentId, usize>,
    /// Those that an operator wants to take back: nothing else happens to them first.
    pub(super) revoking: HashSet<ApprovalId>,
}

impl Book {
    pub(super) fn get(&self, id: ApprovalId) -> Option<&Arc<Approval>> {
        self.all.get(&id)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Approval>> {
        self.all.values()
    }

    /// Keeps a new state of an approval.
    pub(super) fn put(&mut self, approval: Approval) -> Arc<Approval> {
        if let Some(before) = self.all.get(&approval.id) {
            let index = before.index();
            if self.asked.get(&index) == Some(&approval.id) {
                self.asked.remove(&index);
            }
        }
        if approval.status.is_live() || approval.status == Status::Denied {
            self.asked.insert(approval.index(), approval.id);
        }
        let approval = Arc::new(approval);
        self.all.insert(approval.id, Arc::clone(&approval));
        approval
    }

    /// What this ask is answered with, if it was asked before and is not over.
    pub(super) fn find(
        &self,
        binding: &Binding,
        subject: &Subject,
        call: CallId,
        now: Duration,
    ) -> Option<Arc<Approval>> {
        [None, Some(call)]
            .into_iter()
            .filter_map(|call| self.asked.get(&key(binding, subject, call)))
            .filter_map(|id| self.all.get(id))
            .find(|approval| !approval.is_over(now))
            .cloned()
    }

    /// Counts one ask of `agent` that a person would have to look at.
    ///
    /// # Errors
    ///
    /// `approval.rate`: nobody is asked then.
    pub(super) fn count(
        &mut self,
        agent: &AgentId,
        per_minute: u32,
        now: Duration,
    ) -> Result<(), Refusal> {
        let rate = |why: String| Err(Refusal::new(Reason::ApprovalRate, why));
        self.asks.retain(|_, times| {
            times.retain(|time| now.saturating_sub(*time) < MINUTE);
            !times.is_empty()
        });
        let pending = |of: Option<&AgentId>| {
            self.all
                .values()
                .filter(|a| {
                    a.status == Status::Pending && of.is_none_or(|of| a.binding.agent == *of)
                })
                .count()
        };
        if pending(Some(agent)) >= MAX_PENDING || pending(None) >= MAX_PENDING_OF_ALL {
            return rate("too many asks wait for a person already; nobody was asked".to_owned());
        }
        let times = self.asks.entry(agent.clone()).or_default();
        if times.len() >= usize::try_from(per_minute).unwrap_or(usize::MAX) {
            return rate(format!(
                "more than {per_minute} asks within a minute; nobody was asked, wait"
            ));
        }
        times.push_back(now);
        Ok(())
    }

    /// Whether one more host call of `agent` could wait.
    ///
    /// # Errors
    ///
    /// `approval.rate`.
    pub(super) fn room_to_park(&self, agent: &AgentId) -> Result<(), Refusal> {
        if self
            .parked
            .get(agent)
            .is_none_or(|parked| *parked < MAX_PARKED)
        {
            return Ok(());
        }
        Err(Refusal::new(
            Reason::ApprovalRate,
            format!("{MAX_PARKED} calls of this agent wait for a person already"),
        ))
    }

    /// One more host call of `agent` waits.
    pub(super) fn park(&mut self, agent: &AgentId) -> Result<(), Refusal> {
        self.room_to_park(agent)?;
        *self.parked.entry(agent.clone()).or_default() += 1;
        Ok(())
    }

    /// One less.
    pub(super) fn unpark(&mut self, agent: &AgentId) {
        if let Some(parked) = self.parked.get_mut(agent) {
            *parked = parked.saturating_sub(1);
            if *parked == 0 {
                self.parked.remove(agent);
            }
        }
    }

    /// Those whose time is over, and that do not say so yet.
    pub(super) fn over(&self, now: Duration) -> Vec<Arc<Approval>> {
        self.all
            .values()
            .filter(|approval| approval.status.is_live() && approval.is_over(now))
            .cloned()
            .collect()
    }

    /// Forgets what ended long ago; says what.
    pub(super) fn prune(&mut self, now: Duration) -> Vec<ApprovalId> {
        let mut ended: Vec<(Duration, ApprovalId)> = self
            .all
            .values()
            // A denial stands until it would have expired.
            .filter(|a| !a.status.is_live() && (a.status != Status::Denied || a.is_over(now)))
            .map(|a| (a.changed, a.id))
            .collect();
        let spare = ended.len().saturating_sub(KEPT_COUNT);
        ended.sort_unstable();
        let gone: Vec<ApprovalId> = ended
            .into_iter()
            .enumerate()
            .filter(|(i, (changed, _))| *i < spare || now.saturating_sub(*changed) >= KEPT)
            .map(|(_, (_, id))| id)
            .collect();
        for id in &gone {
            if let Some(approval) = self.all.remove(id) {
                let index = approval.index();
                if self.asked.get(&index) == Some(id) {
                    self.asked.remove(&index);
                }
            }
        }
        gone
    }
}
