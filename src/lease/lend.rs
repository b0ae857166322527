//! Lending: from an allowed use to the value that goes into the request.

use std::sync::Arc;
use std::time::Duration;

use super::{Holder, Lease, Leases, Stage};
use crate::config::LeaseTerms;
use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::secret::{Ask, SecretValue, Source, refused};

/// One use of a secret that policy allowed.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) call: CallId,
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
    pub(crate) lease: LeaseId,
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

/// The time of day, and that of the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Duration,
    pub(super) tick: Duration,
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
        let (source, _) = self.0.desk.source(plugin, name);
        if !source.is_local() {
            return Ok(None);
        }
        let ask = Ask {
            plugin: plugin.clone(),
            name: name.to_owned(),
            lease: self.new_id()?,
            ttl: self.0.desk.settings().ttl,
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
        let (source, terms) = self.0.desk.source(&asked.plugin, &asked.name);
        let holder = match asked.task {
            Some(task) if terms.per_task => Holder::Task(task),
            _ => Holder::Call(asked.call),
        };
        if let Holder::Task(task) = holder
            && self.book().ended.contains(&task)
        {
            return Err(Refusal::new(Reason::TaskEnded, "the task has ended"));
        }
        let key = Key::Use {
            plugin: asked.plugin.clone(),
            name: asked.name.clone(),
            origin: asked.origin.clone(),
            scheme: asked.scheme.clone(),
        };
        let slot = self.slot(holder, key);
        let mut slot = slot.lock().await;
        if let Some(held) = slot.as_ref() {
            self.renew(&source, held, terms).await;
            match self.take(held.lease) {
                Ok(()) => return Ok(loaned(held)),
                // A task goes on after the time of one lease; a call has one only.
                Err(refusal)
                    if refusal.reason == Reason::LeaseOver
                        && matches!(holder, Holder::Task(_))
                        && self.is_past(held.lease) =>
                {
                    let _ended = self.end_these(&[held.lease]);
                }
                Err(refusal) => return Err(refusal),
            }
        }
        let held = self.make(&source, terms, holder, &asked).await?;
        let taken = self.take(held.lease);
        let given = loaned(&held);
        *slot = Some(held);
        taken.map(|()| given)
    }

    /// Renews what is lent to a task once less than a third of its time is left.
    async fn renew(&self, source: &Arc<dyn Source>, held: &Held, terms: LeaseTerms) {
        let Some(ttl) = held.ttl else { return };
        let now = self.0.now();
        let (handle, is_due) = {
            let book = self.book();
            let Some(lease) = book.leases.get(&held.lease) else {
                return;
            };
            let left = lease.expires.map(|end| end.saturating_sub(now));
            let is_due = lease.stage == Stage::Live
                && matches!(lease.holder, Holder::Task(_))
                && left.is_some_and(|left| left < ttl / 3);
            (lease.handle.clone(), is_due)
        };
        let Some(handle) = handle.filter(|_| is_due) else {
            return;
        };
        let wanted = terms.ttl.unwrap_or_else(|| self.0.desk.settings().ttl);
        match source.renew(&handle.0, held.bond.as_deref(), wanted).await {
            Ok(lives) => {
                let bond = self.change(held.lease, |lease, moment| {
                    lease.expires = Some(moment.now.saturating_add(lives));
                    lease.bond
                });
                // What it hangs on was renewed with it.
                if let Some(bond) = bond.flatten() {
                    self.change(bond, |lease, moment| {
                        let until = Some(moment.now.saturating_add(lives));
                        lease.expires = lease.expires.max(until);
                    });
                }
                self.0.wake.notify_one();
            }
            Err(error) => {
                tracing::warn!(lease = %held.lease, %error, "a lease could not be renewed");
            }
        }
    }

    fn take(&self, id: LeaseId) -> Result<(), Refusal> {
        let now = self.0.now();
        let mut book = self.book();
        let gone = || Refusal::new(Reason::RevokedLease, "the credential was taken back");
        let lease = book.leases.get_mut(&id).ok_or_else(gone)?;
        lease.take(now)
    }

    /// Whether it is live, and whether its time is over.
    pub(super) fn standing(&self, id: LeaseId) -> (bool, bool) {
        let now = self.0.now();
        self.book().leases.get(&id).map_or((false, true), |lease| {
            (lease.stage == Stage::Live, lease.is_past(now))
        })
    }

    fn is_past(&self, id: LeaseId) -> bool {
        self.standing(id).1
    }

    /// Changes a lease, and writes a record where it stands elsewhere after that.
    pub(super) fn change<T>(
        &self,
        id: LeaseId,
        change: impl FnOnce(&mut Lease, Moment) -> T,
    ) -> Option<T> {
        let moment = Moment {
            now: self.0.now(),
            tick: self.0.tick(),
        };
        let (given, changed) = {
            let mut book = self.book();
            let lease = book.leases.get_mut(&id)?;
            let before = lease.stage;
            let given = change(lease, moment);
            let changed = (lease.stage != before).then(|| lease.clone());
            book.settle(id);
            (given, changed)
        };
        if let Some(lease) = changed {
            self.record(&lease, None);
        }
        Some(given)
    }

    pub(super) fn slot(&self, holder: Holder, key: Key) -> Slot {
        let mut book = self.book();
        let slots = book.slots.entry(holder).or_default();
        Arc::clone(slots.entry(key).or_default())
    }

    pub(super) fn new_id(&self) -> Result<LeaseId, Refusal> {
        LeaseId::generate(self.0.entropy.as_ref()).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no random bytes for a lease")
                .with_detail(error.to_string())
        })
    }
}

fn loaned(held: &Held) -> Loaned {
    Loaned {
        lease: held.lease,
        value: Arc::clone(&held.value),
        user: held.user.clone(),
    }
}
