//! What waiting holds, and gives back however it ends.

use super::Approvals;
use crate::id::ApprovalId;
use crate::identity::AgentId;

/// A host call that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    approvals: Approvals,
    agent: AgentId,
}

impl Parked {
    pub(super) const fn new(approvals: Approvals, agent: AgentId) -> Self {
        Self { approvals, agent }
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.approvals.left(&self.agent);
    }
}

/// Withdraws an approval when it is dropped, unless others asked for the same.
#[derive(Debug)]
pub(crate) struct Withdraws {
    approvals: Approvals,
    id: Option<ApprovalId>,
}

impl Withdraws {
    pub(super) const fn new(approvals: Approvals, id: Option<ApprovalId>) -> Self {
        Self { approvals, id }
    }

    /// Leaves the approval as it is.
    pub(crate) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Withdraws {
    fn drop(&mut self) {
        // Without a runtime the host is ending; what waits for a dead call expires, or is voided.
        if let (Some(id), Ok(runtime)) = (self.id, tokio::runtime::Handle::try_current()) {
            let approvals = self.approvals.clone();
            let why = "its call ended while it waited";
            runtime.spawn(async move {
                if approvals.get(id).is_some_and(|approval| approval.asks <= 1) {
                    // Answered or over meanwhile: then there is nothing to take back.
                    drop(approvals.withdraw(id, why).await);
                }
            });
        }
    }
}
