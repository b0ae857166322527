//! Taking power back: of an agent, a task, a plugin, of one lease, approval or token, or of all at once.
//!
//! The order: that it is revoked is written down and in force in memory, so that nothing new begins on it;
//! the calls that run on it are stopped, and the jobs that wait, for which no disk is waited; then it is on
//! the disk; then whoever keeps what rests on it (tokens, then jobs, approvals, leases: [`Follower`]) takes
//! that back; then a record says what was under way. Who asked is answered after all of that.
//!
//! This is the one change that goes on where it can't be written down. A journal or a disk that fails
//! keeps nobody from being stopped: the calls end, memory refuses, and the one who revoked is told
//! that it does not outlive the process.

mod follow;
mod scope;

pub(crate) use follow::Followers;
pub use follow::{Follower, Taken};
pub use scope::Scope;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::id::{ApprovalId, LeaseId, TaskId};
use crate::identity::{AgentId, AuthenticateError, is_token_id};
use crate::journal::record::{Event, Revocation, UnderWay};
use crate::name::PluginName;
use crate::reason::Refusal;
use crate::state::StateError;

/// What a revocation did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revoked {
    /// `agent`, `task`, ...
    pub kind: String,
    /// Which one.
    pub subject: String,
    /// The calls that were under way, and are stopped.
    pub calls: Vec<UnderWay>,
    /// The tasks that ended with it.
    pub tasks: Vec<TaskId>,
    /// The leases that go back.
    pub leases: Vec<LeaseId>,
    /// The approvals that are void.
    pub approvals: Vec<ApprovalId>,
}

/// A revocation that is not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// There is no such thing.
    #[error("there is no {0}")]
    Unknown(Scope),
    /// It is in force now, and may not be after a restart.
    #[error(
        "{scope} is revoked in this process and {calls} calls were stopped, but it could not be kept, so a restart would undo it: {why}"
    )]
    NotKept {
        /// What.
        scope: Scope,
        /// How many calls were stopped.
        calls: usize,
        /// Why it could not.
        why: String,
    },
    /// It is in force, and something that rests on it could not be taken back.
    #[error("{scope} is revoked, but not all that rests on it could be taken back: {why}")]
    Partly {
        /// What.
        scope: Scope,
        /// What could not.
        why: String,
    },
    /// It can't be lifted this way.
    #[error("{0}")]
    NotLifted(String),
}

/// Takes power back. `by` is for the record: who asked for it.
///
/// # Errors
///
/// There is no such thing; or it is in force and not durable, or not all of it could be done. Calls
/// are stopped all the same.
pub async fn revoke(host: &Host, scope: Scope, by: &str) -> Result<Revoked, RevokeError> {
    let why = scope.refusal();
    if !exists(host, &scope) {
        return Err(RevokeError::Unknown(scope));
    }
    say(host, &format!("{}.revoked", scope.kind()), &scope, by);
    host.state().distrust(&scope);
    let mut tasks = host.tasks().forget(&scope, by);
    tasks.sort_unstable();
    // Of one lease, approval or token the follower keeps the state, and knows whether there is one.
    let follows_first = matches!(
        scope,
        Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_)
    );
    let mut taken = Taken::default();
    let mut failed = Vec::new();
    let mut calls = Vec::new();
    if follows_first {
        if matches!(scope, Scope::Token(_)) {
            // Before the jobs that they are of, which would take them along without a reason.
            calls = host.running().stop(&scope, &why);
        }
        failed = host.followers().take_back(&scope, &why, &mut taken).await;
        let known = match &scope {
            Scope::Lease(id) => taken.leases.contains(id),
            Scope::Approval(id) => taken.approvals.contains(id),
            Scope::Token(id) => taken.tokens.contains(id),
            _ => true,
        };
        if !known && failed.is_empty() {
            return Err(RevokeError::Unknown(scope));
        }
    }
    // The tasks that end with it may have calls and leases of other agents.
    let mut all = vec![(scope.clone(), why.clone())];
    all.extend(
        tasks
            .iter()
            .map(|task| Scope::Task(*task))
            .filter_map(|within| {
                let why = within.refusal();
                (within != scope).then_some((within, why))
            }),
    );
    calls.extend(stop(host, &all));
    let mut kept = Ok(());
    if !follows_first {
        kept = keep(host, &scope, by).await;
        // A lift that came in between may have let one in.
        calls.extend(stop(host, &all));
        for (scope, why) in &all {
            failed.extend(host.followers().take_back(scope, why, &mut taken).await);
        }
    }
    let record = Event::Revocation(Revocation {
        scope: scope.kind().to_owned(),
        subject: Some(scope.subject()).filter(|subject| !subject.is_empty()),
        by: by.to_owned(),
        reason: why.reason,
        calls: calls.clone(),
        tasks: tasks.clone(),
        leases: taken.leases.clone(),
        approvals: taken.approvals.clone(),
    });
    if let Err(error) = host.journal().append(&record) {
        tracing::error!(%error, %scope, "a revocation is in force that could not be written down");
    }
    tracing::warn!(%scope, by, calls = calls.len(), "revoked");
    host.changed_lists();
    if let Err(error) = kept {
        return Err(RevokeError::NotKept {
            scope,
            calls: calls.len(),
            why: error,
        });
    }
    if let Some(refusal) = failed.first() {
        let why = refusal.to_string();
        return Err(RevokeError::Partly { scope, why });
    }
    Ok(Revoked {
        kind: scope.kind().to_owned(),
        subject: scope.subject(),
        calls,
        tasks,
        leases: taken.leases,
        approvals: taken.approvals,
    })
}

/// Stops what runs on a task that ended or expired, and has everyone take back what rests on it.
pub(crate) async fn ended(host: &Host, task: TaskId, why: &Refusal) -> Vec<UnderWay> {
    let scope = Scope::Task(task);
    let calls = stop(host, &[(scope.clone(), why.clone())]);
    let mut taken = Taken::default();
    for refusal in host.followers().take_back(&scope, why, &mut taken).await {
        tracing::error!(%task, %refusal, "not all that rested on a task could be taken back");
    }
    host.changed_lists();
    calls
}

/// Ends what [`revoke`] began: of all, or of an agent of another issuer.
///
/// # Errors
///
/// It is not revoked, has a way back of its own, or could not be kept.
pub async fn lift(host: &Host, scope: Scope, by: &str) -> Result<(), RevokeError> {
    match &scope {
        Scope::All => {}
        Scope::Agent(agent) if host.state().agent(agent).is_none() => {}
        Scope::Agent(agent) => {
            return Err(RevokeError::NotLifted(format!(
                "the agent `{0}` needs a new token: run `tollgate agent add {0}`",
                agent.name()
            )));
        }
        Scope::Plugin(plugin) => {
            return Err(RevokeError::NotLifted(format!(
                "a revoked plugin is looked at again: run `tollgate plugins accept {plugin}`"
            )));
        }
        _ => {
            return Err(RevokeError::NotLifted(format!(
                "a revoked {} stays revoked: make a new one",
                scope.kind()
            )));
        }
    }
    if !host.state().is_revoked(&scope) {
        return Err(RevokeError::NotLifted(format!("{scope} is not revoked")));
    }
    give_back(host, &scope, by).await
}

/// Lifts a revocation: written down first, or not done.
pub(crate) async fn give_back(host: &Host, scope: &Scope, by: &str) -> Result<(), RevokeError> {
    let subject = scope.subject();
    host.changed_by(&format!("{}.lifted", scope.kind()), Some(&subject), by)
        .map_err(|error| RevokeError::NotLifted(error.to_string()))?;
    let (state, lifted) = (host.state().clone(), scope.clone());
    blocking(move || state.lift(&lifted))
        .await
        .map_err(RevokeError::NotLifted)?;
    tracing::warn!(%scope, by, "a revocation is lifted");
    host.changed_lists();
    Ok(())
}

/// Stops calls and jobs, in this order: a job's call ends for the reason that it is stopped for, and not as
/// one that its job took along. What a job begins between the two meets that the scope is not in force.
fn stop(host: &Host, scopes: &[(Scope, Refusal)]) -> Vec<UnderWay> {
    let mut calls = Vec::new();
    for (scope, why) in scopes {
        calls.extend(host.running().stop(scope, why));
        host.jobs().stop(scope, why);
    }
    calls
}

fn exists(host: &Host, scope: &Scope) -> bool {
    match scope {
        // An agent of another issuer is known by its tokens alone.
        Scope::Agent(agent) => !agent.is_local() || host.state().agent(agent).is_some(),
        Scope::Task(task) => host.tasks().get(*task).is_some(),
        Scope::Plugin(plugin) => {
            let catalogue = host.catalogue();
            catalogue.serving.contains_key(plugin)
                || catalogue.entries.contains_key(&format!("{plugin}.wasm"))
        }
        // Before it is written down: what is typed here in its place may be the token itself.
        Scope::Token(id) => is_token_id(id),
        Scope::Lease(_) | Scope::Approval(_) | Scope::All => true,
    }
}

/// Writes down what is about to be revoked, and goes on where that can't be.
fn say(host: &Host, change: &str, scope: &Scope, by: &str) {
    let subject = match scope {
        // As `agent.added` has it.
        Scope::Agent(agent) if agent.is_local() => agent.name().to_owned(),
        scope => scope.subject(),
    };
    let subject = Some(subject.as_str()).filter(|subject| !subject.is_empty());
    if let Err(error) = host.changed_by(change, subject, by) {
        tracing::error!(%error, %scope, "a revocation could not be written down, and is carried out");
    }
}

/// On the disk, once this returns.
async fn keep(host: &Host, scope: &Scope, by: &str) -> Result<(), String> {
    let (state, scope, by, now) = (
        host.state().clone(),
        scope.clone(),
        by.to_owned(),
        host.now(),
    );
    blocking(move || state.revoke(&scope, &by, now)).await
}

async fn blocking(
    work: impl FnOnce() -> Result<(), StateError> + Send + 'static,
) -> Result<(), String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

impl Host {
    /// Whether `agent`, and whoever handed the work on to it, is in force.
    ///
    /// # Errors
    ///
    /// `revoked.*` says what is not.
    pub(crate) fn in_force(&self, agent: &AgentId, chain: &[AgentId]) -> Result<(), Refusal> {
        if self.state().is_revoked(&Scope::All) {
            return Err(Scope::All.refusal());
        }
        for agent in std::iter::once(agent).chain(chain) {
            let of_token = self
                .state()
                .agent(agent)
                .is_some_and(|record| record.revoked.is_some());
            let scope = Scope::Agent(agent.clone());
            if of_token || self.state().is_revoked(&scope) {
                return Err(scope
                    .refusal()
                    .with_detail(AuthenticateError::Revoked(agent.clone()).to_string()));
            }
        }
        Ok(())
    }

    /// Whether `plugin` is in force.
    ///
    /// # Errors
    ///
    /// `revoked.plugin`.
    pub(crate) fn plugin_in_force(&self, plugin: &PluginName) -> Result<(), Refusal> {
        let scope = Scope::Plugin(plugin.clone());
        if self.state().is_revoked(&scope) {
            return Err(scope.refusal());
        }
        Ok(())
    }

    /// Has `follower` take back what rests on whatever ends from now on.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        self.followers().add(follower);
    }
}
