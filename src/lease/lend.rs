//! Lending: from an allowed use to the value that goes into the request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use super::book::Moment;
use super::{Holder, Lease, Leases, Stage};
use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::revocation::Scope;
use crate::running::Underway;
use crate::secret::{Ask, SecretValue, refused};

/// One use of a secret that policy allowed.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) call: CallId,
    /// The same call as it can be stopped.
    pub(crate) under_way: Arc<Underway>,
    pub(crate) task: Option<TaskId>,
    pub(crate) agent: AgentId,
    pub(crate) plugin: PluginName,
    /// The secret's name.
    pub(crate) name: String,
    /// The origin that it goes to.
    pub(crate) origin: String,
    /// How it stands in the request: `bearer`, `header:x-api-key`, ...
    pub(crate) scheme: String,
}

/// A credential, for one request.
#[derive(Debug)]
pub(crate) struct Loaned {
    pub(crate) value: Arc<SecretValue>,
    /// The user name that goes with it, where its source made one.
    pub(crate) user: Option<String>,
}

/// What a lease is bound to. Another origin or another header is another lease.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Of a secret.
    Use {
        plugin: PluginName,
        name: String,
        origin: String,
        scheme: String,
    },
    /// What those of one source hang on.
    Bond(String),
}

/// A lease that is used again within its holder. Locked while it is made, so that it is made once.
pub(super) type Slot = Arc<tokio::sync::Mutex<Option<Held>>>;

/// A slot that nobody else looks into meanwhile.
pub(super) type OwnSlot = OwnedMutexGuard<Option<Held>>;

/// The value of a lease.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) lease: LeaseId,
    pub(super) value: Arc<SecretValue>,
    pub(super) user: Option<String>,
    /// The value of what it hangs on.
    pub(super) bond: Option<Arc<SecretValue>>,
    /// How long it lived when it was made, to know when it is to be renewed.
    pub(super) ttl: Option<Duration>,
}

impl Leases {
    /// Whether there is such a secret, as far as that can be told without making one: a value that is
    /// there anyway is given, so that it is looked for in what leaves the call from now on.
    ///
    /// # Errors
    ///
    /// There is none, or its place can't give it.
    pub(crate) async fn look(
        &self,
        plugin: &PluginName,
        name: &str,
    ) -> Result<Option<Arc<SecretValue>>, Refusal> {
        let (source, _) = self.0.parts.desk.source(plugin, name);
        if !source.is_local() {
            return Ok(None);
        }
        let ask = Ask {
            plugin: plugin.clone(),
            name: name.to_owned(),
            lease: self.new_id()?,
            ttl: self.0.parts.desk.settings().ttl,
        };
        let issued = source.issue(&ask, None).await.map_err(refused)?;
        Ok(Some(Arc::new(issued.value)))
    }

    /// The credential for one use that policy allowed: made, or the one that this call or task has.
    ///
    /// # Errors
    ///
    /// `secret.not_granted`, `secret.unavailable`: the source gave nothing. `lease.over`,
    /// `revoked.lease`: the one that there is can't be used any more. `lease.revoke_pending`: too many
    /// wait to be taken back. `lease.unavailable`: it could not be made sure that it is taken back.
    pub(crate) async fn lend(&self, asked: Asked) -> Result<Loaned, Refusal> {
        let (source, terms) = self.0.parts.desk.source(&asked.plugin, &asked.name);
        let holder = match asked.task {
            Some(task) if terms.per_task => Holder::Task(task),
            _ => Holder::Call(asked.call),
        };
        let key = Key::Use {
            plugin: asked.plugin.clone(),
            name: asked.name.clone(),
            origin: asked.origin.clone(),
            scheme: asked.scheme.clone(),
        };
        let slot = self.slot(holder, key).lock_owned().await;
        let mut slot = self.renewed(&source, terms, slot).await?;
        if let Some(held) = slot.as_ref() {
            match self.take(&asked, held) {
                // A task goes on after the time of one lease; a call has one only.
                Err(refusal)
                    if refusal.reason == Reason::LeaseOver
                        && matches!(holder, Holder::Task(_))
                        && self.standing(held.lease).1 =>
                {
                    let _ended = self.end_these(&[held.lease]);
                    *slot = None;
                }
                taken => return taken,
            }
        }
        let held = self.make(&source, terms, holder, &asked, slot).await?;
        self.take(&asked, &held)
    }

    /// One use of a lease, for a call that ends if it is taken back.
    fn take(&self, asked: &Asked, held: &Held) -> Result<Loaned, Refusal> {
        // Before it is taken: whoever takes it back finds it unused, or finds this call.
        asked.under_way.rests_on(Scope::Lease(held.lease));
        let now = self.0.now();
        let mut book = self.book();
        let gone = || Refusal::new(Reason::RevokedLease, "the credential was taken back");
        let lease = book.leases.get_mut(&held.lease).ok_or_else(gone)?;
        lease.take(now)?;
        Ok(Loaned {
            value: Arc::clone(&held.value),
            user: held.user.clone(),
        })
    }

    /// Whether it is live, and whether its time is over.
    pub(super) fn standing(&self, id: LeaseId) -> (bool, bool) {
        let now = self.0.now();
        self.book().leases.get(&id).map_or((false, true), |lease| {
            (lease.stage == Stage::Live, lease.is_past(now))
        })
    }

    /// Changes a lease, as [`super::Inner::change`] does.
    pub(super) fn change<T>(
        &self,
        id: LeaseId,
        change: impl FnOnce(&mut Lease, Moment) -> T,
    ) -> Option<T> {
        self.0.change(&mut self.book(), id, change)
    }

    pub(super) fn slot(&self, holder: Holder, key: Key) -> Slot {
        let mut book = self.book();
        let slots = book.slots.entry(holder).or_default();
        Arc::clone(slots.entry(key).or_default())
    }

    pub(super) fn new_id(&self) -> Result<LeaseId, Refusal> {
        LeaseId::generate(self.0.parts.entropy.as_ref()).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no random bytes for a lease")
                .with_detail(error.to_string())
        })
    }
}
