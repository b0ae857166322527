//! What a client is told without having called: that a list may be another one, that a resource changed.
//!
//! A notice says no more than that; what the lists and the resource hold now, the agent asks for, and is
//! shown as far as it may see it. A resource's notice goes only to who subscribed and may still read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{Peer, SubscriptionContext};
use rmcp::{ErrorData, RoleServer};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use crate::call::{Notice, What};
use crate::id::TaskId;
use crate::identity::Authenticated;
use crate::limits::protocol::WATCHED;

type Who = (Arc<Authenticated>, Option<TaskId>);

/// Resources that somebody asked to be told of.
#[derive(Default)]
pub(super) struct Subscribed(Mutex<HashMap<String, Who>>);

impl Subscribed {
    fn uris(&self) -> MutexGuard<'_, HashMap<String, Who>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on `who`, on `task`, is told of the resource at `uri`.
    pub(super) fn add(
        &self,
        uri: String,
        who: Arc<Authenticated>,
        task: Option<TaskId>,
    ) -> Result<(), ErrorData> {
        let mut uris = self.uris();
        if uris.len() >= WATCHED && !uris.contains_key(&uri) {
            return Err(ErrorData::invalid_params(
                format!("more than {WATCHED} resources are subscribed to"),
                None,
            ));
        }
        uris.insert(uri, (who, task));
        Ok(())
    }

    pub(super) fn remove(&self, uri: &str) {
        self.uris().remove(uri);
    }

    fn of(&self, uri: &str) -> Option<Who> {
        self.uris().get(uri).cloned()
    }
}

/// What changed, as a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Change {
    Lists {
        tools: bool,
        prompts: bool,
        resources: bool,
    },
    Resource(String),
}

/// What changes, for one session or subscription.
pub(super) struct Changes {
    backend: Arc<dyn Backend>,
    lists: watch::Receiver<u64>,
    notices: broadcast::Receiver<Notice>,
    subscribed: Arc<Subscribed>,
    /// Whether plugins can still say anything.
    open: bool,
}

impl Changes {
    pub(super) fn of(backend: &Arc<dyn Backend>, subscribed: Arc<Subscribed>) -> Self {
        Self {
            backend: backend.clone(),
            lists: backend.tools_changed(),
            notices: backend.notices(),
            subscribed,
            open: true,
        }
    }

    /// The next change that this client is to be told of; none once there will be no more.
    async fn next(&mut self) -> Option<Change> {
        let all = |tools, prompts, resources| Change::Lists {
            tools,
            prompts,
            resources,
        };
        loop {
            let notice = tokio::select! {
                changed = self.lists.changed() => {
                    changed.ok()?;
                    return Some(all(true, true, true));
                }
                notice = self.notices.recv(), if self.open => notice,
            };
            match notice {
                Ok(notice) => match notice.what {
                    What::Tools => return Some(all(true, false, false)),
                    What::Prompts => return Some(all(false, true, false)),
                    What::Resources => return Some(all(false, false, true)),
                    What::Resource(uri) if self.may_know(&uri, &notice.plugin) => {
                        return Some(Change::Resource(uri));
                    }
                    What::Resource(_) => {}
                },
                // What was missed may have been anything; a resource that changed then is not told.
                Err(RecvError::Lagged(_)) => return Some(all(true, true, true)),
                Err(RecvError::Closed) => self.open = false,
            }
        }
    }

    /// Whether somebody here subscribed to this resource, it is the plugin's own, and it may still be read.
    fn may_know(&self, uri: &str, plugin: &crate::name::PluginName) -> bool {
        self.subscribed.of(uri).is_some_and(|(who, task)| {
            self.backend.owner(uri).as_ref() == Some(plugin) && self.backend.reads(&who, task, uri)
        })
    }

    /// Tells the client of an older session, until its life ends.
    pub(super) async fn tell_session(mut self, peer: Peer<RoleServer>, life: CancellationToken) {
        loop {
            let change = tokio::select! {
                () = life.cancelled() => return,
                change = self.next() => change,
            };
            let Some(change) = change else { return };
            let told = async {
                match change {
                    Change::Lists {
                        tools,
                        prompts,
                        resources,
                    } => {
                        if tools {
                            peer.notify_tool_list_changed().await?;
                        }
                        if prompts {
                            peer.notify_prompt_list_changed().await?;
                        }
                        if resources {
                            peer.notify_resource_list_changed().await?;
                        }
                        Ok(())
                    }
                    Change::Resource(uri) => {
                        let updated = ResourceUpdatedNotificationParam::new(uri);
                        peer.notify_resource_updated(updated).await
                    }
                }
            };
            tokio::select! {
                () = life.cancelled() => return,
                told = told => if told.is_err() { return },
            }
        }
    }

    /// Tells a subscription, until it or the host ends. What was not asked for is left out by its sink.
    pub(super) async fn tell_subscription(
        mut self,
        context: &SubscriptionContext,
        ending: &CancellationToken,
    ) {
        let draining = self.backend.draining();
        let accepted = context.accepted();
        let wants = |wanted: Option<bool>| wanted == Some(true);
        let sink = context.sink();
        loop {
            let change = tokio::select! {
                () = context.cancelled() => return,
                () = ending.cancelled() => return,
                () = draining.cancelled() => return,
                change = self.next() => change,
            };
            let Some(change) = change else { return };
            let told = match change {
                Change::Lists {
                    tools,
                    prompts,
                    resources,
                } => {
                    let mut told = Ok(());
                    if tools && wants(accepted.tools_list_changed) {
                        told = sink.notify_tool_list_changed().await;
                    }
                    if prompts && wants(accepted.prompts_list_changed) && told.is_ok() {
                        told = sink.notify_prompt_list_changed().await;
                    }
                    if resources && wants(accepted.resources_list_changed) && told.is_ok() {
                        told = sink.notify_resource_list_changed().await;
                    }
                    told
                }
                Change::Resource(uri) => sink.notify_resource_updated(uri).await,
            };
            if told.is_err() {
                return;
            }
        }
    }
}
