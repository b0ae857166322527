//! The daemon's side of the commands: what a person may ask of a running host.
//!
//! Whoever can open the socket is the operator: its folder belongs to the host's user alone. What
//! changes something is written to the journal before it is done, so that a change without a record
//! can't be; what the journal does not take is not done.

mod approvals;
mod change;
mod people;
mod report;
pub(crate) mod revoking;
pub(crate) mod tasks;
#[cfg(test)]
mod tests;
mod token;

#[cfg(test)]
pub(crate) use approvals::sample;
pub use approvals::{
    AnswerReport, ApprovalReport, BodyReport, InputReport, Which, approve, deny, named,
};
pub use people::PersonReport;
pub use report::{AgentReport, CallReport, RefusalReport, SecretReport, StatusReport};
pub use tasks::TaskReport;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::call::{Arrival, ClientSide, Progress, ProgressSink};
use crate::daemon::{Command, Control, ControlError, Report};
use crate::host::Host;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::journal::record::Caller;
use crate::plugin::Kind;
use crate::revocation::Scope;
use crate::task::TaskFilter;

/// How long a call waits for plugins that are being loaded. One that has to be compiled takes some seconds;
/// whoever typed the call is told after this, and not left alone.
const LOADING: Duration = Duration::from_secs(30);

/// A host, as its operator sees it.
#[derive(Debug)]
pub struct Operator {
    host: Arc<Host>,
    endpoint: Option<String>,
    started: Duration,
}

impl Operator {
    /// The operator's side of `host`, whose HTTP endpoint is at `endpoint`, if it has one.
    #[must_use]
    pub fn new(host: Arc<Host>, endpoint: Option<String>) -> Self {
        Self {
            started: host.now(),
            host,
            endpoint,
        }
    }

    fn status(&self) -> StatusReport {
        let host = &self.host;
        let catalogue = host.catalogue();
        StatusReport {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            home: host.home().root().to_owned(),
            endpoint: self.endpoint.clone(),
            started: crate::clock::rfc3339(self.started),
            plugins: catalogue.entries.len(),
            serving: catalogue.serving.len(),
            agents: host
                .identities()
                .list()
                .iter()
                .filter(|agent| agent.revoked.is_none())
                .count(),
            waiting: Which::Pending.of(host).len(),
            admin: host.admin_url().map(|base| format!("{base}/approvals")),
            policy_set: host.policy().digest(),
            calls: host.running().count(),
            tasks: host.tasks().list(&TaskFilter::default()).len(),
            stopped: host.state().is_revoked(&Scope::All),
            draining: host.is_draining(),
        }
    }

    /// A call from a terminal: the same pipeline, the same policies, as the agent that is named.
    async fn call(
        &self,
        tool: String,
        arguments: String,
        (agent, task): (&str, Option<TaskId>),
        report: Report,
        cancel: CancellationToken,
    ) -> Result<Value, ControlError> {
        let agent = self.caller(agent)?;
        let sink = ProgressSink(Arc::new(move |progress: Progress| {
            let Progress {
                value,
                total,
                message,
            } = progress;
            report.send(json!({"value": value, "total": total, "message": message}));
        }));
        let arrival = Arrival {
            caller: Caller {
                agent,
                user: None,
                transport: "cli".to_owned(),
                client: None,
                task,
                chain: Vec::new(),
            },
            kind: Kind::Tool,
            tool,
            arguments: arguments.into(),
            credential: None,
            approval: None,
            progress: Some(sink),
            // Whoever types it waits for it.
            client: ClientSide {
                jobs: true,
                ..ClientSide::default()
            },
            round: None,
            job: None,
            trace: None,
        };
        self.loaded(&arrival.tool, &cancel).await;
        let reply = self.host.call(arrival, cancel).await;
        value(&CallReport::of(&reply))
    }

    /// Waits while the plugin of `tool` may be one that is being loaded: the command that starts a daemon
    /// is often a call.
    async fn loaded(&self, tool: &str, cancel: &CancellationToken) {
        let mut changes = self.host.changes();
        let draining = self.host.draining();
        let loaded = async {
            loop {
                let catalogue = self.host.catalogue();
                let is_there = catalogue.named(Kind::Tool, tool).is_some();
                if is_there || !catalogue.is_loading() || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            // Then the call says that they are still being loaded.
            _ = tokio::time::timeout(LOADING, loaded) => {}
            () = cancel.cancelled() => {}
            () = draining.cancelled() => {}
        }
    }

    /// The agent that a call is made as. It must exist and be in force, without an exception for the
    /// operator: a call from a terminal shows what that agent would get, and policies never meet a
    /// principal that no agent can be. Where none is named, the only one there is.
    fn caller(&self, named: &str) -> Result<AgentId, ControlError> {
        if named.is_empty() {
            let list = self.host.identities().list();
            let mut live = list
                .iter()
                .filter(|agent| self.host.identities().confirm(&agent.id).is_ok());
            return match (live.next(), live.next()) {
                (Some(only), None) => Ok(only.id.clone()),
                (None, _) => Err(ControlError::new(
                    "agent.unknown",
                    "there is no agent to call as",
                )
                .with_hint("run `tollgate agent add NAME`")),
                (Some(_), Some(_)) => Err(ControlError::new(
                    "agent.ambiguous",
                    "there are several agents, and none was named",
                )
                .with_hint("name one with `--agent NAME`; `tollgate agent list` shows them")),
            };
        }
        let agent = change::agent_of(named)?;
        self.confirmed(&agent)?;
        Ok(agent)
    }

    fn confirmed(&self, agent: &AgentId) -> Result<(), ControlError> {
        self.host
            .identities()
            .confirm(agent)
            .map(drop)
            .map_err(|error| {
                use crate::identity::AuthenticateError;
                let name = agent.name();
                match error {
                    AuthenticateError::Revoked(_) => ControlError::new(
                        "agent.unknown",
                        format!("the agent `{name}` was removed"),
                    ),
                    AuthenticateError::Expired(_) => ControlError::new(
                        "agent.unknown",
                        format!("the token of the agent `{name}` has expired"),
                    ),
                    _ => ControlError::new("agent.unknown", format!("there is no agent `{name}`")),
                }
                .with_hint(format!(
                    "run `tollgate agent list` to see the agents, or `tollgate agent add {name}`"
                ))
            })
    }

    async fn carry_out(
        &self,
        command: Command,
        report: Report,
        cancel: CancellationToken,
    ) -> Result<Value, ControlError> {
        let host = &self.host;
        match command {
            Command::Status {} => value(&self.status()),
            Command::Call {
                tool,
                arguments,
                agent,
                task,
            } => {
                self.call(tool, arguments, (&agent, task), report, cancel)
                    .await
            }
            Command::Plugins {} => value(&host.plugins()),
            Command::PluginDiff { plugin } => value(&report::diffs(host, plugin.as_deref())?),
            Command::Accept {
                plugin,
                diff,
                component,
            } => change::accept(host, &plugin, diff, component).await,
            Command::Anchor {} => value(&crate::host::anchors::now(host).await),
            Command::Reload {} => value(&host.refresh().await),
            Command::AgentAdd { name, ttl } => change::agent_add(host, &name, ttl).await,
            Command::AgentRotate { name, ttl, overlap } => {
                token::agent_rotate(host, &name, ttl, overlap).await
            }
            Command::TokenMint(ask) => token::mint(host, ask).await,
            Command::TokenRotateKey { at_once } => token::rotate_key(host, at_once).await,
            Command::AgentList {} => value(&report::agents(host)),
            Command::AgentRemove { name } => change::agent_remove(host, &name).await,
            Command::TaskStart { task } => tasks::start(host, *task, revoking::BY).await,
            Command::TaskShow { task } => tasks::show(host, task),
            Command::TaskList { agent, all } => tasks::list(host, agent.as_deref(), all),
            Command::TaskEnd { task, why } => tasks::end(host, task, why, revoking::BY).await,
            Command::Revoke { kind, subject } => {
                revoking::revoke(host, &kind, &subject, revoking::BY).await
            }
            Command::Lift { kind, subject } => {
                revoking::lift(host, &kind, &subject, revoking::BY).await
            }
            Command::ApprovalList { credential, which } => {
                approvals::list(host, &credential, which)
            }
            Command::ApprovalShow { credential, id } => approvals::show(host, &credential, &id),
            Command::ApprovalApprove {
                credential,
                id,
                standing,
            } => approvals::answer(host, &credential, &id, approve(standing)).await,
            Command::ApprovalDeny {
                credential,
                id,
                why,
            } => approvals::answer(host, &credential, &id, deny(why)).await,
            Command::ApprovalWatch { credential } => {
                approvals::watch(host, &credential, &report, &cancel).await
            }
            Command::PersonAdd {
                name,
                admin,
                ttl,
                credential,
            } => people::add(host, &name, admin, ttl, credential).await,
            Command::PersonList {} => value(&people::list(host)),
            Command::PersonRotate {
                name,
                ttl,
                credential,
            } => people::rotate(host, &name, ttl, credential).await,
            Command::PersonRemove { name, credential } => {
                people::remove(host, &name, credential).await
            }
            Command::SecretSet {
                plugin,
                name,
                value,
            } => change::secret_set(host, &plugin, &name, value).await,
            Command::SecretList {} => value(&report::secrets(host).await?),
            Command::SecretRemove { plugin, name } => {
                change::secret_remove(host, &plugin, &name).await
            }
            Command::Leases { pending: true } => value(&host.leases().pending()),
            Command::Leases { pending: false } => value(&host.leases().list()),
            Command::Stop {} => {
                tracing::info!("asked to end");
                host.drain();
                Ok(json!({}))
            }
        }
    }
}

#[async_trait::async_trait]
impl Control for Operator {
    async fn admit(&self, agent: &AgentId) -> Result<(), ControlError> {
        self.confirmed(agent)
    }

    async fn handle(
        self: Arc<Self>,
        command: Command,
        report: Report,
        cancel: CancellationToken,
    ) -> Result<Value, ControlError> {
        self.carry_out(command, report, cancel).await
    }
}

fn value(report: &impl serde::Serialize) -> Result<Value, ControlError> {
    serde_json::to_value(report)
        .map_err(|error| ControlError::new("host.internal", error.to_string()))
}
