//! The host as the protocol sees it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use super::Host;
use super::doors::{Door, TurnedAway};
use crate::approval;
use crate::call::{Arrival, Notice, Reply};
use crate::config::Tier;
use crate::id::{ApprovalId, TaskId};
use crate::identity::{AuthenticateError, Authenticated, MintRequest, Minted, StepKind};
use crate::job::{Jobs, Seat};
use crate::journal::record::{Changed, Event};
use crate::mcp::{
    Backend, Completed, Credentials, ListedTool, Metadata, TooOften, Unauthorized, Unknown,
};
use crate::name::{PluginName, ToolName};
use crate::plugin::{COMPLETE, Kind, Lasts, Offer};
use crate::reason::{Reason, Refusal};

/// How often it is looked whether a stream may stay open, where nothing says that it may not: a clock may
/// be set, and what is revoked in memory alone, since the disk failed, says nothing.
const LOOK: Duration = Duration::from_secs(1);

/// The least of that, so that an end that is about to come is not waited for without a pause.
const LEAST_LOOK: Duration = Duration::from_millis(1);

#[async_trait::async_trait]
impl Backend for Host {
    /// What could be allowed to this agent, in the order of names. A decision about a call is
    /// another one, made when it comes.
    fn tools(&self, who: &Authenticated, task: Option<TaskId>) -> Vec<Arc<ListedTool>> {
        self.seen(who, task, |tool| tool.offer == Offer::Tool)
    }

    fn offers(
        &self,
        who: &Authenticated,
        task: Option<TaskId>,
        kind: Kind,
    ) -> Vec<Arc<ListedTool>> {
        self.seen(who, task, |tool| kind == tool.offer.kind())
    }

    fn completes(
        &self,
        who: &Authenticated,
        task: Option<TaskId>,
        of: Completed<'_>,
    ) -> Result<Option<(String, String)>, Unknown> {
        let seen = self.seen(who, task, |tool| match (of, &tool.offer) {
            (Completed::Prompt(name), Offer::Prompt { .. }) => tool.name == name,
            (Completed::Template(wanted), Offer::Template { template, .. }) => template == wanted,
            (Completed::Template(wanted), Offer::Resource { uri, .. }) => uri == wanted,
            _ => false,
        });
        let found = seen.first().and_then(|tool| tool.full.as_ref());
        let found = found.ok_or(Unknown)?;
        let plugin = found.plugin();
        let completes = ToolName::new(plugin.clone(), COMPLETE).ok();
        let catalogue = self.catalogue();
        let serving = catalogue.serving.get(plugin);
        let completes = completes.filter(|name| {
            serving.is_some_and(|plugin| {
                plugin
                    .tool(name)
                    .is_some_and(|(tool, _)| tool.kind() == Kind::Completion)
            })
        });
        Ok(completes.map(|name| (name.to_string(), found.tool().to_owned())))
    }

    fn reads(&self, who: &Authenticated, task: Option<TaskId>, uri: &str) -> bool {
        let Some((_, name, _)) = self.catalogue().resource(uri) else {
            return false;
        };
        !self
            .seen(who, task, |tool| tool.full.as_ref() == Some(&name))
            .is_empty()
    }

    fn owner(&self, uri: &str) -> Option<PluginName> {
        let (_, name, _) = self.catalogue().resource(uri)?;
        Some(name.plugin().clone())
    }

    fn notices(&self) -> broadcast::Receiver<Notice> {
        self.services().notices.subscribe()
    }

    fn tool(&self, wire: &str) -> Option<Arc<ListedTool>> {
        let (plugin, name) = self.catalogue().find(wire)?;
        plugin.shown(&name).map(Arc::clone)
    }

    async fn call(self: Arc<Self>, arrival: Arrival, cancel: CancellationToken) -> Reply {
        // A session outlives the request that it began with, and the agent that its transport named may be
        // gone since. What was presented is looked at within the call.
        if arrival.credential.is_none()
            && let Err(error) = self.identities().confirm(&arrival.caller.agent)
        {
            return crate::call::refuse(&self, &arrival, error.into()).await;
        }
        Self::call(&self, arrival, cancel).await
    }

    async fn refuse(self: Arc<Self>, arrival: Arrival, refusal: Refusal) -> Reply {
        crate::call::refuse(&self, &arrival, refusal).await
    }

    fn jobs(&self) -> Option<&Jobs> {
        Some(Self::jobs(self))
    }

    fn lasts(&self, wire: &str) -> Option<Lasts> {
        let (plugin, name) = self.catalogue().find(wire)?;
        let lasts = plugin.tool(&name).and_then(|(tool, _)| tool.lasts)?;
        self.config().may_last(&name).then_some(lasts)
    }

    fn job_of(&self, who: &Arc<Authenticated>, wire: &str) -> Result<Seat, Refusal> {
        self.jobs().draft(&self.config().jobs, who, wire)
    }

    fn holds(&self, who: &Authenticated) -> Result<(), Refusal> {
        self.in_force(&who.agent, &who.chain)?;
        Ok(self.identities().still(who)?)
    }

    fn tools_changed(&self) -> watch::Receiver<u64> {
        self.changes()
    }

    async fn authenticate(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<Authenticated, Unauthorized> {
        let Credentials { bearer, handoff } = credentials;
        let audience = &self.config().server.resource;
        let identities = self.identities();
        let found = match handoff {
            None => identities.authenticate(bearer, audience).await,
            Some(handoff) => {
                let both = identities.authenticate_with_handoff(bearer, handoff, audience);
                Box::pin(both).await
            }
        };
        found.map_err(|error| {
            // A person's credential has left the hands that it belongs in.
            match self.people().authenticate(bearer) {
                Ok(person) => {
                    let what = TurnedAway::misplaced(person.person().as_str(), Door::Mcp);
                    self.turned_away(&what, "");
                }
                Err(_) => {
                    let reason = Refusal::from(error.clone()).reason;
                    self.turned_away(
                        &TurnedAway::credential(reason, Door::Mcp),
                        &error.to_string(),
                    );
                }
            }
            tracing::info!(%error, "a credential was not believed");
            match error {
                AuthenticateError::Scope(scope) => Unauthorized::Scope(scope),
                AuthenticateError::Unavailable(_) => Unauthorized::Unavailable,
                error => Unauthorized::Invalid(error.reason()),
            }
        })
    }

    fn admits(&self, who: &Authenticated) -> Result<(), TooOften> {
        let rate = self.config().rate;
        let asked = self.pace().rates.ask(&who.agent, rate, Instant::now());
        asked.map_err(|wait| {
            let message = format!(
                "limit `rate` reached: more than {} requests a second, or {} at once; ask again in {} ms",
                rate.per_second,
                rate.burst,
                wait.as_millis() + 1
            );
            let what = TurnedAway::rate(who.agent.as_str());
            self.turned_away(&what, "");
            TooOften { wait, message }
        })
    }

    fn crowded(&self, who: &Authenticated, why: &str) {
        let what = TurnedAway::crowd(who.agent.as_str());
        self.turned_away(&what, why);
    }

    fn ends(self: Arc<Self>, who: Arc<Authenticated>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut changes = self.state().changes();
            loop {
                // Before it is looked at: what changes meanwhile is looked at again.
                changes.mark_unchanged();
                if self.identities().stands(&who).is_err() {
                    return;
                }
                let left = who
                    .expires
                    .map_or(LOOK, |end| end.saturating_sub(self.identities().now()));
                tokio::select! {
                    changed = changes.changed() => if changed.is_err() { return },
                    () = tokio::time::sleep(left.clamp(LEAST_LOOK, LOOK)) => {}
                }
            }
        })
    }

    fn metadata(&self) -> Option<Metadata> {
        let (issuers, scopes) = self.identities().issuers();
        (!issuers.is_empty()).then(|| Metadata {
            resource: self.config().server.resource.clone(),
            issuers,
            scopes,
        })
    }

    async fn mint(&self, who: &Authenticated, ask: MintRequest) -> Result<Minted, Refusal> {
        Self::mint(self, who, ask, Door::Mcp).await
    }

    fn approval_url(&self, approval: ApprovalId) -> Option<String> {
        Self::approval_url(self, approval)
    }

    async fn answered(&self, approval: ApprovalId, limit: Duration) -> Result<bool, Refusal> {
        let Some(found) = self.approvals().wait(approval, limit).await else {
            let message = "the approval is over, and no longer kept";
            return Err(Refusal::new(Reason::ApprovalExpired, message));
        };
        match found.status {
            approval::Status::Pending => Ok(false),
            approval::Status::Approved | approval::Status::Used | approval::Status::Denied => {
                Ok(true)
            }
            status => Err(found.closed(status)),
        }
    }

    fn now(&self) -> Duration {
        Self::now(self)
    }

    fn ready(&self) -> Result<(), &'static str> {
        if self.is_draining() {
            return Err("ending");
        }
        // One that is dropped later is loaded beside those that serve.
        if !self.looked.load(Ordering::Relaxed) {
            return Err("loading");
        }
        if self.journal().failure().borrow().is_some() {
            return Err("journal");
        }
        Ok(())
    }

    fn draining(&self) -> CancellationToken {
        Self::draining(self)
    }
}

impl Host {
    /// What of what plugins offer could be allowed to this agent, in the order of names.
    fn seen(
        &self,
        who: &Authenticated,
        task: Option<TaskId>,
        wanted: impl Fn(&ListedTool) -> bool,
    ) -> Vec<Arc<ListedTool>> {
        let only = who.step.as_ref().and_then(|step| step.tool());
        let policy = self.policy();
        // A task that was handed on is another agent's of the chain.
        let owner = task
            .and_then(|id| self.tasks().get(id))
            .map(|task| task.agent.clone())
            .filter(|owner| who.agents().any(|agent| agent == owner))
            .unwrap_or_else(|| who.agent.clone());
        let on = self
            .tasks()
            .shown_to(&owner, task, self.config().tasks.required);
        let mut tools = Vec::new();
        if self.in_force(&who.agent, &who.chain).is_err() {
            return tools;
        }
        for plugin in self.catalogue().serving.values() {
            if self.plugin_in_force(&plugin.name).is_err() {
                continue;
            }
            for (tool, listed) in plugin.listed() {
                if wanted(listed)
                    && self.tier(plugin, tool) != Tier::Forbid
                    && on.shows(tool)
                    && only.is_none_or(|only| only == tool)
                    && policy.may_all_call(who.agents(), who.user.as_deref(), tool)
                {
                    tools.push(Arc::clone(listed));
                }
            }
        }
        // By what agents see, whatever plugin it is of: the order is then one that a page can go on from.
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        tools
    }

    /// Makes a token out of the right of `who`, and writes down that it did before it is handed out.
    ///
    /// # Errors
    ///
    /// It would give more than `who` has, can't be made, or can't be written down; or `who` asks too often.
    pub async fn mint(
        &self,
        who: &Authenticated,
        ask: MintRequest,
        door: Door,
    ) -> Result<Minted, Refusal> {
        let made = self.pace().mint(&who.agent).and_then(|()| {
            let audience = &self.config().server.resource;
            self.identities().mint(who, ask, audience)
        });
        let minted = made.inspect_err(|refusal| {
            let what = TurnedAway::token(who.agent.as_str(), refusal.reason, door);
            self.turned_away(&what, &refusal.message);
        })?;
        let grant = &minted.grant;
        let mut detail = format!("{} until {}", grant.id, rfc3339_of(grant.expires));
        for (what, value) in [
            ("tool", grant.tool.as_ref().map(ToString::to_string)),
            ("task", grant.task.as_ref().map(ToString::to_string)),
            ("to", grant.to.as_ref().map(ToString::to_string)),
            ("for", grant.user.clone()),
        ] {
            if let Some(value) = value {
                detail.push_str(&format!(", {what} {value}"));
            }
        }
        if !grant.chain.is_empty() {
            let chain: Vec<_> = grant.chain.iter().map(ToString::to_string).collect();
            detail.push_str(&format!(", by way of {}", chain.join(", ")));
        }
        let change = match grant.kind {
            StepKind::Step => "token.minted",
            StepKind::Handoff => "token.handed_on",
        };
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(grant.agent.to_string()),
            detail: Some(detail),
            ..Changed::default()
        });
        self.journal().append(&event).map_err(|error| {
            Refusal::new(
                Reason::JournalUnavailable,
                "nothing can be written down, so no token is made",
            )
            .with_detail(error.to_string())
        })?;
        Ok(minted)
    }
}

fn rfc3339_of(seconds: u64) -> String {
    crate::clock::rfc3339(Duration::from_secs(seconds))
}
