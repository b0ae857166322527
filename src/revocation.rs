//! Taking power back: of an agent, a task, a plugin, of one lease, approval or token, or of all at once.
//!
//! The order: what is revoked is written to the disk and in force in memory, so that nothing new
//! begins on it; then the calls that run on it are stopped; then whoever keeps what rests on it (leases,
//! approvals, tokens: [`Follower`]) takes that back; then a record says what was under way.
//!
//! This is the one change that goes on where it can't be written down. A journal or a disk that fails
//! keeps nobody from being stopped: the calls end, memory refuses, and the one who revoked is told
//! that it does not outlive the process.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::id::{ApprovalId, LeaseId, TaskId};
use crate::identity::{AgentId, AuthenticateError};
use crate::journal::record::{Event, Revocation, UnderWay};
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::state::StateError;

/// What power is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All that an agent may, and what it handed on to others.
    Agent(AgentId),
    /// A task, and the tasks within it.
    Task(TaskId),
    /// A plugin, until it is accepted again.
    Plugin(PluginName),
    /// One lease.
    Lease(LeaseId),
    /// One approval.
    Approval(ApprovalId),
    /// One token, by its identifier.
    Token(String),
    /// Everything, until that is lifted.
    All,
}

impl Scope {
    /// What kind of thing it is: the word of the command line and of records.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Task(_) => "task",
            Self::Plugin(_) => "plugin",
            Self::Lease(_) => "lease",
            Self::Approval(_) => "approval",
            Self::Token(_) => "token",
            Self::All => "all",
        }
    }

    /// Which one; empty for all.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Agent(agent) => agent.to_string(),
            Self::Task(task) => task.to_string(),
            Self::Plugin(plugin) => plugin.to_string(),
            Self::Lease(lease) => lease.to_string(),
            Self::Approval(approval) => approval.to_string(),
            Self::Token(token) => token.clone(),
            Self::All => String::new(),
        }
    }

    /// Reads what `kind` and `subject` say.
    ///
    /// # Errors
    ///
    /// There is no such kind, or the subject can't be one of it.
    pub fn parse(kind: &str, subject: &str) -> Result<Self, String> {
        fn of<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|error: T::Err| error.to_string())
        }
        Ok(match kind {
            "agent" => Self::Agent(of(subject)?),
            "task" => Self::Task(of(subject)?),
            "plugin" => Self::Plugin(of(subject)?),
            "lease" => Self::Lease(of(subject)?),
            "approval" => Self::Approval(of(subject)?),
            "token" if subject.is_empty() || subject.len() > 256 => {
                return Err("a token's identifier has 1 to 256 bytes".to_owned());
            }
            "token" => Self::Token(subject.to_owned()),
            "all" if subject.is_empty() => Self::All,
            _ => {
                return Err(format!(
                    "`{}` can't be revoked: expected `agent`, `task`, `plugin`, `lease`, `approval`, `token` or `all`",
                    kind.escape_default()
                ));
            }
        })
    }

    /// Why what rests on it is refused from now on.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (reason, message) = match self {
            Self::Agent(_) => (Reason::RevokedAgent, "the agent was revoked"),
            Self::Task(_) => (Reason::RevokedTask, "the task was revoked"),
            Self::Plugin(_) => (
                Reason::RevokedPlugin,
                "the plugin was revoked, and serves again once it is accepted",
            ),
            Self::Lease(_) => (Reason::RevokedLease, "the lease was revoked"),
            Self::Approval(_) => (Reason::RevokedApproval, "the approval was revoked"),
            Self::Token(_) => (Reason::TokenRevoked, "the token was revoked"),
            Self::All => (
                Reason::RevokedAll,
                "everything was stopped by the operator; nothing runs until that is lifted",
            ),
        };
        Refusal::new(reason, message)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            scope => write!(f, "{} `{}`", scope.kind(), scope.subject()),
        }
    }
}

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

/// The followers of a host, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Followers(RwLock<Vec<Arc<dyn Follower>>>);

impl Followers {
    pub(crate) fn add(&self, follower: Arc<dyn Follower>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(follower);
    }

    /// Has everyone take back what rests on `scope`; what one can't keeps no other from it.
    async fn take_back(&self, scope: &Scope, why: &Refusal) -> (Taken, Vec<Refusal>) {
        let all = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut taken = Taken::default();
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
        (taken, failed)
    }
}

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
    let kept = keep(host, &scope, by).await;
    let mut tasks = host.tasks().forget(&scope, by);
    tasks.sort_unstable();
    // Of one lease, approval or token the follower keeps the state.
    let follows_first = matches!(
        scope,
        Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_)
    );
    let mut ended = (Taken::default(), Vec::new());
    if follows_first {
        ended = host.followers().take_back(&scope, &why).await;
        let known = match &scope {
            Scope::Lease(id) => ended.0.leases.contains(id),
            Scope::Approval(id) => ended.0.approvals.contains(id),
            Scope::Token(id) => ended.0.tokens.contains(id),
            _ => true,
        };
        if !known && ended.1.is_empty() {
            return Err(RevokeError::Unknown(scope));
        }
    }
    let calls = host.running().stop(&scope, &why);
    if !follows_first {
        ended = host.followers().take_back(&scope, &why).await;
    }
    let (taken, failed) = ended;
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
    let calls = host.running().stop(&scope, why);
    let (_, failed) = host.followers().take_back(&scope, why).await;
    for refusal in failed {
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
        Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_) | Scope::All => true,
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

/// In force in memory, then on the disk.
async fn keep(host: &Host, scope: &Scope, by: &str) -> Result<(), String> {
    if matches!(
        scope,
        Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_)
    ) {
        return Ok(());
    }
    let (state, scope, by, now) = (
        host.state().clone(),
        scope.clone(),
        by.to_owned(),
        host.now(),
    );
    state.distrust(&scope);
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
    /// Whether `agent`, whoever handed the work on to it, and `plugin` are in force.
    ///
    /// # Errors
    ///
    /// `revoked.*` says what is not.
    pub(crate) fn in_force(
        &self,
        agent: &AgentId,
        chain: &[AgentId],
        plugin: Option<&PluginName>,
    ) -> Result<(), Refusal> {
        let revoked = self.state().revocations();
        if revoked.all {
            return Err(Scope::All.refusal());
        }
        for agent in std::iter::once(agent).chain(chain) {
            let of_token = self
                .state()
                .agent(agent)
                .is_some_and(|record| record.revoked.is_some());
            if of_token || revoked.agents.contains(agent) {
                return Err(Scope::Agent(agent.clone())
                    .refusal()
                    .with_detail(AuthenticateError::Revoked(agent.clone()).to_string()));
            }
        }
        match plugin {
            Some(plugin) if revoked.plugins.contains(plugin) => {
                Err(Scope::Plugin(plugin.clone()).refusal())
            }
            _ => Ok(()),
        }
    }

    /// Has `follower` take back what rests on whatever ends from now on.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        self.followers().add(follower);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_as_itself() {
        for (kind, subject) in [
            ("agent", "spiffe://tollgate.local/agent/a"),
            ("task", "task_aaaaaaaaaaaaaaaa"),
            ("plugin", "fetch"),
            ("lease", "lease_aaaaaaaaaaaaaaaa"),
            ("approval", "approval_aaaaaaaaaaaaaaaa"),
            ("token", "jti"),
            ("all", ""),
        ] {
            let scope = Scope::parse(kind, subject).unwrap();
            assert_eq!((scope.kind(), scope.subject().as_str()), (kind, subject));
            let reason = scope.refusal().reason.code();
            assert!(
                reason == format!("revoked.{kind}") || reason == "token.revoked",
                "{reason}"
            );
        }
        for (kind, subject) in [
            ("agent", "A b"),
            ("task", "lease_aaaaaaaaaaaaaaaa"),
            ("token", ""),
            ("all", "x"),
            ("everything", ""),
        ] {
            assert!(Scope::parse(kind, subject).is_err(), "{kind} {subject}");
        }
    }
}
