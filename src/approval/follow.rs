//! Approvals that end with what they rest on: an agent, a task, a plugin, everything.

use std::sync::Arc;

use super::Approvals;
use super::machine::{Approval, Status};
use crate::reason::{Reason, Refusal};
use crate::revocation::{Follower, Scope, Taken};

#[async_trait::async_trait]
impl Follower for Approvals {
    async fn take_back(&self, scope: &Scope, why: &Refusal) -> Result<Taken, Refusal> {
        let resting: Vec<Arc<Approval>> = self
            .list(None)
            .into_iter()
            .filter(|approval| rests_on(approval, scope))
            .collect();
        let mut taken = Taken::default();
        let mut failed = None;
        for approval in resting {
            let named = matches!(scope, Scope::Approval(_));
            match approval.status {
                Status::Pending | Status::Approved => {}
                // The call that used it may run on it still, and is stopped for that.
                Status::Used if named => {
                    taken.approvals.push(approval.id);
                    continue;
                }
                status if named => {
                    failed = Some(approval.closed(status));
                    continue;
                }
                _ => continue,
            }
            let because = why.message.to_string();
            let ended = if matches!(why.reason, Reason::TaskEnded | Reason::TaskExpired) {
                self.withdraw(approval.id, &because).await
            } else {
                self.revoke_because(approval.id, because).await
            };
            match ended {
                Ok(()) => taken.approvals.push(approval.id),
                // Used, denied or over meanwhile; or it could not be kept, and is refused in memory.
                Err(refusal)
                    if self
                        .get(approval.id)
                        .is_some_and(|now| now.status.is_live()) =>
                {
                    failed = Some(refusal);
                }
                Err(_) if named => taken.approvals.push(approval.id),
                Err(_) => {}
            }
        }
        failed.map_or(Ok(taken), Err)
    }
}

fn rests_on(approval: &Approval, scope: &Scope) -> bool {
    let binding = &approval.binding;
    match scope {
        Scope::All => true,
        Scope::Agent(agent) => binding.agent == *agent || binding.chain.contains(agent),
        Scope::Task(task) => binding.task == Some(*task),
        Scope::Plugin(plugin) => binding.tool.plugin() == plugin,
        Scope::Approval(id) => approval.id == *id,
        Scope::Lease(_) | Scope::Token(_) => false,
    }
}
