//! Whoever keeps what rests on agents, tasks and plugins: told of every end.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use super::Scope;
use crate::id::{ApprovalId, LeaseId};
use crate::reason::Refusal;

/// What a follower took back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Leases that are dead from now on, and go back.
    pub leases: Vec<LeaseId>,
    /// Approvals that are worth nothing any more.
    pub approvals: Vec<ApprovalId>,
    /// Tokens that are worth nothing any more.
    pub tokens: Vec<String>,
}

/// Whoever keeps what rests on agents, tasks and plugins: leases, approvals, tokens.
///
/// It is told of every end, in order: of what was revoked, and of a task that ended or expired. Once
/// `take_back` returns, what it names must be worth nothing, also after a restart; what takes longer
/// (giving a lease back to its source) goes on by itself.
#[async_trait::async_trait]
pub trait Follower: Send + Sync + fmt::Debug {
    /// Takes back what rests on `scope`, for the reason `why`. Of [`Scope::Lease`],
    /// [`Scope::Approval`] and [`Scope::Token`], the one who keeps that names it in what it took; one
    /// that nobody names does not exist.
    ///
    /// # Errors
    ///
    /// It could not be made durable.
    async fn take_back(&self, scope: &Scope, why: &Refusal) -> Result<Taken, Refusal>;
}

/// The followers of a host, in the order in which they came: one that another's hold on things depends on
/// comes before that (tokens, jobs, approvals).
#[derive(Debug, Default)]
pub(crate) struct Followers(RwLock<Vec<Arc<dyn Follower>>>);

impl Followers {
    pub(crate) fn add(&self, follower: Arc<dyn Follower>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(follower);
    }

    /// Has everyone take back what rests on `scope`, and adds that to `taken`; what one can't keeps no
    /// other from it. Gives why some could not.
    pub(super) async fn take_back(
        &self,
        scope: &Scope,
        why: &Refusal,
        taken: &mut Taken,
    ) -> Vec<Refusal> {
        let all = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut failed = Vec::new();
        for follower in all {
            match follower.take_back(scope, why).await {
                Ok(more) => {
                    taken.leases.extend(more.leases);
                    taken.approvals.extend(more.approvals);
                    taken.tokens.extend(more.tokens);
                }
                Err(refusal) => failed.push(refusal),
            }
        }
        failed
    }
}
