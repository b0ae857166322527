//! Renewing: what a task holds lives on while the task uses it.

use std::sync::Arc;
use std::time::Duration;

use super::lend::{Held, OwnSlot};
use super::{Handle, Holder, Leases, Stage, book};
use crate::config::LeaseTerms;
use crate::id::LeaseId;
use crate::reason::{Reason, Refusal};
use crate::secret::{Renewed, Source, SourceError};

/// Until when a lease may be alive.
struct End {
    lease: LeaseId,
    /// Before it was to be renewed.
    before: Option<Duration>,
    /// While nobody knows whether it was.
    latest: Option<Duration>,
}

impl Leases {
    /// Renews what is in `slot` where that is due; the slot, empty where it can't be told what became
    /// of it.
    pub(super) async fn renewed(
        &self,
        source: &Arc<dyn Source>,
        terms: LeaseTerms,
        mut slot: OwnSlot,
    ) -> Result<OwnSlot, Refusal> {
        let due = slot.as_ref().filter(|_| source.renews());
        let Some((held, handle)) = due.and_then(|held| Some((held.clone(), self.is_due(held)?)))
        else {
            return Ok(slot);
        };
        let ttl = terms
            .ttl
            .unwrap_or_else(|| self.0.parts.desk.settings().ttl);
        let (leases, source) = (self.clone(), Arc::clone(source));
        // In a task of its own: a call that ends meanwhile must leave nothing half renewed.
        let renewing = tokio::spawn(async move {
            if !leases.renew(source.as_ref(), &held, &handle, ttl).await {
                *slot = None;
            }
            slot
        });
        renewing.await.map_err(|error| {
            Refusal::new(Reason::HostInternal, "the credential could not be renewed")
                .with_detail(error.to_string())
        })
    }

    /// What renews it, once less than a third of its time is left; not once that is over. A call is
    /// over sooner.
    fn is_due(&self, held: &Held) -> Option<Handle> {
        let now = self.0.now();
        let book = self.book();
        let lease = book.leases.get(&held.lease)?;
        let left = lease.expires?.saturating_sub(now);
        let is_due = lease.stage == Stage::Live
            && matches!(lease.holder, Holder::Task(_))
            && !left.is_zero()
            && left < held.ttl? / 3;
        lease.handle.clone().filter(|_| is_due)
    }

    /// Whether it can be used further: not where nobody knows whether its source renewed it.
    async fn renew(
        &self,
        source: &dyn Source,
        held: &Held,
        handle: &Handle,
        ttl: Duration,
    ) -> bool {
        let ends = self.may_live(held, self.0.now().saturating_add(ttl));
        // INVARIANT: on the disk before it is asked for: a host that never hears the answer has to know
        // how long the credential may be alive.
        if let Err(refusal) = self.intend_to_renew(&ends).await {
            tracing::warn!(lease = %held.lease, %refusal, "a lease is not renewed while that can't be written down");
            self.end_at(&ends, [None, None]);
            return true;
        }
        let renewed = source.renew(&handle.0, held.bond.as_deref(), ttl).await;
        let (detail, is_known) = match renewed {
            Ok(Renewed { ttl, bond }) => {
                let now = self.0.now();
                let until = [Some(ttl), bond].map(|lives| Some(now.saturating_add(lives?)));
                self.end_at(&ends, until);
                (String::from("renewed"), true)
            }
            Err(SourceError::Uncertain(error)) => {
                let _ended = self.end_these(&[held.lease]);
                (format!("perhaps renewed: {error}"), false)
            }
            Err(error) => {
                self.end_at(&ends, [None, None]);
                (format!("not renewed: {error}"), true)
            }
        };
        tracing::debug!(lease = %held.lease, detail, "a lease was to be renewed");
        self.0.record(&mut self.book(), held.lease, Some(detail));
        self.0.wake.notify_one();
        is_known
    }

    /// From now on the lease, and what it hangs on, may live until then.
    fn may_live(&self, held: &Held, until: Duration) -> Vec<End> {
        let mut book = self.book();
        let bond = book.leases.get(&held.lease).and_then(|lease| lease.bond);
        let mut ends = Vec::new();
        for id in [Some(held.lease), bond].into_iter().flatten() {
            if let Some(lease) = book.leases.get_mut(&id) {
                let (before, latest) = (lease.expires, lease.expires.max(Some(until)));
                lease.expires = latest;
                ends.push(End {
                    lease: id,
                    before,
                    latest,
                });
            }
        }
        ends
    }

    async fn intend_to_renew(&self, ends: &[End]) -> Result<(), Refusal> {
        let journal = &self.0.parts.journal;
        let ids: Vec<LeaseId> = ends.iter().map(|end| end.lease).collect();
        let mut last = None;
        {
            let book = self.book();
            for lease in ids.iter().filter_map(|id| book.leases.get(id)) {
                let detail = String::from("about to be renewed");
                last = Some(journal.append(&book::told(lease, Some(detail)))?);
            }
        }
        if let Some(position) = last {
            journal.durable(position).await?;
        }
        self.0.keep(&ids).await
    }

    /// The lease and its bond end then; as before, where nothing is said of one.
    fn end_at(&self, ends: &[End], until: [Option<Duration>; 2]) {
        let mut book = self.book();
        for (end, until) in ends.iter().zip(until) {
            let Some(lease) = book.leases.get_mut(&end.lease) else {
                continue;
            };
            // Others hang on the same bond: what was learned of it meanwhile stays.
            if until.is_some() || lease.expires == end.latest {
                lease.expires = until.or(end.before);
                book.unwritten.insert(end.lease);
            }
        }
    }
}
