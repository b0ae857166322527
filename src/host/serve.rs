//! The host as the protocol sees it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Door, Host};
use crate::call::{Arrival, Reply};
use crate::config::Tier;
use crate::id::{ApprovalId, TaskId};
use crate::identity::AgentId;
use crate::mcp::{Backend, ListedTool, Unauthorized};

#[async_trait::async_trait]
impl Backend for Host {
    /// What could be allowed to this agent, in the order of names. A decision about a call is
    /// another one, made when it comes.
    fn tools(&self, agent: &AgentId, task: Option<TaskId>) -> Vec<Arc<ListedTool>> {
        let policy = self.policy();
        let on = self
            .tasks()
            .shown_to(agent, task, self.config().tasks.required);
        let mut tools = Vec::new();
        for plugin in self.catalogue().serving.values() {
            if self.in_force(agent, &[], Some(&plugin.name)).is_err() {
                continue;
            }
            for (tool, listed) in plugin.listed() {
                if self.tier(plugin, tool) != Tier::Forbid
                    && on.shows(tool)
                    && policy.may_call(agent, None, tool)
                {
                    tools.push(Arc::clone(listed));
                }
            }
        }
        tools
    }

    fn tool(&self, wire: &str) -> Option<Arc<ListedTool>> {
        let (plugin, name) = self.catalogue().find(wire)?;
        plugin
            .listed()
            .find(|(tool, _)| **tool == name)
            .map(|(_, listed)| Arc::clone(listed))
    }

    async fn call(self: Arc<Self>, arrival: Arrival, cancel: CancellationToken) -> Reply {
        // A session outlives the request that it began with; the agent may be gone since.
        match self.identities().confirm(&arrival.caller.agent) {
            Ok(_) => Self::call(&self, arrival, cancel).await,
            Err(error) => crate::call::refuse(&self, &arrival, error.into()).await,
        }
    }

    fn tools_changed(&self) -> watch::Receiver<u64> {
        self.changes()
    }

    fn authenticate(&self, bearer: &str) -> Result<AgentId, Unauthorized> {
        self.identities().authenticate(bearer).map_err(|_| {
            self.person_as_agent(bearer, Door::Mcp);
            Unauthorized
        })
    }

    fn approval_url(&self, approval: ApprovalId) -> Option<String> {
        Self::approval_url(self, approval)
    }

    async fn answered(&self, approval: ApprovalId, limit: Duration) {
        self.approvals().wait(approval, limit).await;
    }

    fn draining(&self) -> CancellationToken {
        Self::draining(self)
    }
}
