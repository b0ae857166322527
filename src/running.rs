//! The calls that are under way, and how each of them can be stopped.
//!
//! A call enters before the last look at what was revoked, and a revocation is in force before it
//! looks at who is under way. So whichever of the two comes first, no call slips between them: it is
//! either found here and stopped, or it sees the revocation itself.
//!
//! A stop cancels the call's own token. The instance sees that at its next yield (2 ms of guest code),
//! a host call that waits is dropped at once with its socket, and the one that would begin next is
//! refused. The reason of the stop is the reason of the call's outcome, also where a result was about
//! to be handed out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::record::{CallId, UnderWay};
use crate::name::ToolName;
use crate::reason::Refusal;
use crate::revocation::Scope;

/// What a call rests on, as far as it is known when it begins.
#[derive(Debug, Clone)]
pub(crate) struct Under {
    pub(crate) call: CallId,
    pub(crate) agent: AgentId,
    /// The agents that handed the work on.
    pub(crate) chain: Vec<AgentId>,
    /// The task, and the tasks that this one is a part of.
    pub(crate) tasks: Vec<TaskId>,
    pub(crate) tool: ToolName,
}

/// One call under way.
#[derive(Debug)]
pub(crate) struct Underway {
    under: Under,
    cancel: CancellationToken,
    stopped: OnceLock<Refusal>,
    /// What it came to rest on as it went on: leases, approvals, tokens.
    rests_on: Mutex<Vec<Scope>>,
}

impl Underway {
    /// Cancelled by whoever made the call, and by a stop.
    pub(crate) const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Why it was stopped, if it was.
    pub(crate) fn stopped(&self) -> Option<&Refusal> {
        self.stopped.get()
    }

    /// From now on a stop of `scope` stops this call.
    pub(crate) fn rests_on(&self, scope: Scope) {
        self.rests_on
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(scope);
    }

    fn is_within(&self, scope: &Scope) -> bool {
        let under = &self.under;
        match scope {
            Scope::All => true,
            Scope::Agent(agent) => under.agent == *agent || under.chain.contains(agent),
            Scope::Task(task) => under.tasks.contains(task),
            Scope::Plugin(plugin) => under.tool.plugin() == plugin,
            Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_) => self
                .rests_on
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .contains(scope),
        }
    }

    /// For the record of a revocation.
    fn described(&self) -> UnderWay {
        UnderWay {
            call: self.under.call,
            agent: self.under.agent.clone(),
            tool: self.under.tool.clone(),
            task: self.under.tasks.first().copied(),
        }
    }
}

type Calls = HashMap<CallId, Arc<Underway>>;

/// The calls that are under way. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Running(Arc<Mutex<Calls>>);

/// A call's place among those under way, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Guard {
    of: Running,
    call: Arc<Underway>,
}

impl Running {
    /// Enters a call, which ends by `cancel` too.
    pub(crate) fn enter(&self, under: Under, cancel: &CancellationToken) -> Guard {
        let call = Arc::new(Underway {
            cancel: cancel.child_token(),
            stopped: OnceLock::new(),
            rests_on: Mutex::default(),
            under,
        });
        self.lock().insert(call.under.call, Arc::clone(&call));
        Guard {
            of: self.clone(),
            call,
        }
    }

    /// Stops every call that rests on `scope`; gives those that were under way. Each ends with
    /// `refusal`, unless another stop came first.
    pub(crate) fn stop(&self, scope: &Scope, refusal: &Refusal) -> Vec<UnderWay> {
        let found: Vec<Arc<Underway>> = self
            .lock()
            .values()
            .filter(|call| call.is_within(scope))
            .cloned()
            .collect();
        let mut stopped = Vec::with_capacity(found.len());
        for call in found {
            let first = call.stopped.set(refusal.clone()).is_ok();
            call.cancel.cancel();
            if first {
                stopped.push(call.described());
            }
        }
        stopped.sort_by_key(|under| under.call);
        stopped
    }

    /// How many calls are under way.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guard {
    /// The call itself.
    pub(crate) const fn call(&self) -> &Arc<Underway> {
        &self.call
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.of.lock().remove(&self.call.under.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::id::LeaseId;
    use crate::reason::Reason;

    fn under(agent: &str, tool: &str) -> Under {
        Under {
            call: CallId(uuid::Uuid::now_v7()),
            agent: agent.parse().unwrap(),
            chain: vec!["first".parse().unwrap()],
            tasks: Vec::new(),
            tool: tool.parse().unwrap(),
        }
    }

    fn refusal(reason: Reason) -> Refusal {
        Refusal::new(reason, "stopped")
    }

    #[test]
    fn a_stop_finds_what_rests_on_it_and_nothing_else() {
        let entropy = SeededEntropy::default();
        let (task, parent) = (
            TaskId::generate(&entropy).unwrap(),
            TaskId::generate(&entropy).unwrap(),
        );
        let lease = LeaseId::generate(&entropy).unwrap();
        for (scope, found) in [
            (Scope::Agent("alice".parse().unwrap()), true),
            (Scope::Agent("first".parse().unwrap()), true),
            (Scope::Agent("bob".parse().unwrap()), false),
            (Scope::Plugin("p".parse().unwrap()), true),
            (Scope::Plugin("q".parse().unwrap()), false),
            (Scope::Task(task), true),
            (Scope::Task(parent), true),
            (Scope::Task(TaskId::generate(&entropy).unwrap()), false),
            (Scope::Lease(lease), true),
            (Scope::Lease(LeaseId::generate(&entropy).unwrap()), false),
            (Scope::Token("t".into()), false),
            (Scope::All, true),
        ] {
            let running = Running::default();
            let mut under = under("alice", "p.t");
            under.tasks = vec![task, parent];
            let call = under.call;
            let guard = running.enter(under, &CancellationToken::new());
            guard.call().rests_on(Scope::Lease(lease));
            let stopped = running.stop(&scope, &refusal(Reason::RevokedAll));
            assert_eq!(!stopped.is_empty(), found, "{scope:?}");
            assert_eq!(guard.call().cancel().is_cancelled(), found, "{scope:?}");
            assert_eq!(guard.call().stopped().is_some(), found, "{scope:?}");
            assert!(stopped.iter().all(|under| under.call == call));
            drop(guard);
            assert_eq!(running.count(), 0);
        }
    }

    #[test]
    fn the_first_stop_is_the_reason() {
        let running = Running::default();
        let guard = running.enter(under("alice", "p.t"), &CancellationToken::new());
        let agent = Scope::Agent("alice".parse().unwrap());
        assert_eq!(
            running.stop(&agent, &refusal(Reason::RevokedAgent)).len(),
            1
        );
        assert_eq!(running.stop(&Scope::All, &refusal(Reason::RevokedAll)), []);
        assert_eq!(
            guard.call().stopped().map(|refusal| refusal.reason),
            Some(Reason::RevokedAgent)
        );
    }

    #[test]
    fn the_callers_own_cancellation_is_no_stop() {
        let running = Running::default();
        let cancel = CancellationToken::new();
        let guard = running.enter(under("alice", "p.t"), &cancel);
        cancel.cancel();
        assert!(guard.call().cancel().is_cancelled());
        assert!(guard.call().stopped().is_none());
    }
}
