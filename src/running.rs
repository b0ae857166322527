//! The calls that are under way, and how each of them can be stopped.
//!
//! A call enters as it arrives, and whatever it comes to rest on is noted here before it is looked at
//! whether that is in force; a revocation is in force before it looks at who is under way. So whichever
//! of the two comes first, no call slips between them: it is either found here and stopped, or it sees
//! the revocation itself.
//!
//! A stop cancels the call's own token. The instance sees that at its next yield (2 ms of guest code),
//! a host call that waits is dropped at once with its socket, and the one that would begin next is
//! refused. The reason of the stop is the reason of the call's outcome, also where a result was about
//! to be handed out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::identity::AgentId;
use crate::journal::record::{CallId, Caller, UnderWay};
use crate::name::ToolName;
use crate::reason::Refusal;
use crate::revocation::Scope;

/// One call under way.
#[derive(Debug)]
pub(crate) struct Underway {
    call: CallId,
    agent: AgentId,
    /// The agents that handed the work on.
    chain: Vec<AgentId>,
    /// Once it is found.
    tool: OnceLock<ToolName>,
    /// What else it came to rest on as it went on: the plugin, the task and those that it lies within,
    /// tokens, approvals, leases.
    rests_on: Mutex<Vec<Scope>>,
    cancel: CancellationToken,
    stopped: OnceLock<Refusal>,
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

    /// It is a call of this tool; from now on a stop of the plugin stops it.
    pub(crate) fn is_of(&self, tool: &ToolName) {
        self.rests_on(Scope::Plugin(tool.plugin().clone()));
        // A call has one tool.
        drop(self.tool.set(tool.clone()));
    }

    /// From now on a stop of `scope` stops this call.
    pub(crate) fn rests_on(&self, scope: Scope) {
        let mut scopes = self.scopes();
        // A lease is noted with each use of it.
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }

    fn is_within(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => true,
            Scope::Agent(agent) => self.agent == *agent || self.chain.contains(agent),
            scope => self.scopes().contains(scope),
        }
    }

    /// For the record of a revocation; none before the tool is found, for then nothing was under way.
    fn described(&self) -> Option<UnderWay> {
        Some(UnderWay {
            call: self.call,
            agent: self.agent.clone(),
            tool: self.tool.get()?.clone(),
            // The innermost is noted first.
            task: self.scopes().iter().find_map(|scope| match scope {
                Scope::Task(task) => Some(*task),
                _ => None,
            }),
        })
    }

    fn scopes(&self) -> MutexGuard<'_, Vec<Scope>> {
        self.rests_on.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) fn enter(&self, id: CallId, caller: &Caller, cancel: &CancellationToken) -> Guard {
        let call = Arc::new(Underway {
            call: id,
            agent: caller.agent.clone(),
            chain: caller.chain.clone(),
            tool: OnceLock::new(),
            rests_on: Mutex::default(),
            cancel: cancel.child_token(),
            stopped: OnceLock::new(),
        });
        self.lock().insert(id, Arc::clone(&call));
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
                stopped.extend(call.described());
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
        self.of.lock().remove(&self.call.call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;
    use crate::id::{LeaseId, TaskId};
    use crate::reason::Reason;

    fn enter(running: &Running, cancel: &CancellationToken) -> Guard {
        let caller = Caller {
            agent: "alice".parse().unwrap(),
            user: None,
            transport: "http".into(),
            client: None,
            task: None,
            chain: vec!["first".parse().unwrap()],
        };
        running.enter(CallId(uuid::Uuid::now_v7()), &caller, cancel)
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
            let guard = enter(&running, &CancellationToken::new());
            let call = guard.call();
            call.is_of(&"p.t".parse().unwrap());
            for rests_on in [Scope::Task(task), Scope::Task(parent), Scope::Lease(lease)] {
                call.rests_on(rests_on);
            }
            let stopped = running.stop(&scope, &refusal(Reason::RevokedAll));
            assert_eq!(!stopped.is_empty(), found, "{scope:?}");
            assert_eq!(call.cancel().is_cancelled(), found, "{scope:?}");
            assert_eq!(call.stopped().is_some(), found, "{scope:?}");
            assert!(
                stopped
                    .iter()
                    .all(|under| under.call == call.call && under.task == Some(task))
            );
            drop(guard);
            assert_eq!(running.count(), 0);
        }
    }

    #[test]
    fn a_call_that_has_no_tool_yet_is_stopped_and_nothing_was_under_way() {
        let running = Running::default();
        let guard = enter(&running, &CancellationToken::new());
        let agent = Scope::Agent("alice".parse().unwrap());
        assert_eq!(running.stop(&agent, &refusal(Reason::RevokedAgent)), []);
        assert!(guard.call().stopped().is_some());
    }

    #[test]
    fn the_first_stop_is_the_reason() {
        let running = Running::default();
        let guard = enter(&running, &CancellationToken::new());
        guard.call().is_of(&"p.t".parse().unwrap());
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
        let guard = enter(&running, &cancel);
        cancel.cancel();
        assert!(guard.call().cancel().is_cancelled());
        assert!(guard.call().stopped().is_none());
    }
}
