//! Lending: from an allowed use to the value that goes into the request.

use std::sync::Arc;
use std::time::Duration;

use super::{Handle, Holder, Inner, Lease, Leases, Stage};
use crate::config::LeaseTerms;
use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::secret::{Ask, Nature, SecretValue, Source, SourceError, refused};

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
    lease: LeaseId,
    value: Arc<SecretValue>,
    user: Option<String>,
    bond: Option<Arc<SecretValue>>,
    /// How long it lived when it was made, to know when it is to be renewed.
    ttl: Option<Duration>,
}

/// The time of day, and that of the queue.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Duration,
    tick: Duration,
}

/// What is to be asked for.
struct Wish {
    source: Arc<dyn Source>,
    ask: Ask,
    bond: Option<Arc<SecretValue>>,
    is_bond: bool,
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
                    self.end_these(&[held.lease]);
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

    async fn make(
        &self,
        source: &Arc<dyn Source>,
        terms: LeaseTerms,
        holder: Holder,
        asked: &Asked,
    ) -> Result<Held, Refusal> {
        let settings = self.0.desk.settings();
        let nature = source.nature();
        if nature == Nature::Lent {
            let pending = self.backlog();
            if pending >= settings.most_pending {
                return Err(Refusal::new(
                    Reason::LeaseBacklog,
                    "too many credentials wait to be taken back; none is lent before",
                )
                .with_detail(format!(
                    "{pending} are pending: `tollgate leases --pending` says why; at most {} may be (`[leases] pending`)",
                    settings.most_pending
                )));
            }
        }
        let bond = match source.bond_key() {
            None => None,
            Some(key) => Some(self.bond(source, key, terms, holder, asked).await?),
        };
        let now = self.0.now();
        let ttl = terms.ttl.unwrap_or(settings.ttl);
        let lease = Lease {
            id: self.new_id()?,
            holder,
            call: asked.call,
            task: asked.task,
            agent: asked.agent.clone(),
            plugin: asked.plugin.clone(),
            secret: asked.name.clone(),
            source: source.kind().to_owned(),
            origin: asked.origin.clone(),
            scheme: asked.scheme.clone(),
            revocable: nature == Nature::Lent,
            durable: nature == Nature::Lent,
            bond: bond.as_ref().map(|bond| bond.lease),
            expires: (nature == Nature::Lent).then(|| now.saturating_add(LONGEST.max(ttl))),
            uses: 0,
            most_uses: terms.uses,
            handle: None,
            fault: None,
            stage: Stage::Wanted { ended: false },
        };
        let wish = Wish {
            source: Arc::clone(source),
            ask: Ask {
                plugin: asked.plugin.clone(),
                name: asked.name.clone(),
                lease: lease.id,
                ttl,
            },
            bond: bond.map(|bond| bond.value),
            is_bond: false,
        };
        self.begin(lease, wish).await
    }

    /// What all leases of this holder and source hang on; made for the first of them.
    async fn bond(
        &self,
        source: &Arc<dyn Source>,
        key: &str,
        terms: LeaseTerms,
        holder: Holder,
        asked: &Asked,
    ) -> Result<Held, Refusal> {
        let slot = self.slot(holder, Key::Bond(key.to_owned()));
        let mut slot = slot.lock().await;
        if let Some(held) = slot.as_ref() {
            let (is_live, is_past) = self.standing(held.lease);
            if is_live && !is_past {
                return Ok(held.clone());
            }
            if is_live {
                // Nothing can be made under it any more.
                self.end_these(&[held.lease]);
            } else if matches!(holder, Holder::Call(_)) {
                return Err(Refusal::new(
                    Reason::RevokedLease,
                    "the credentials of this call were taken back",
                ));
            }
        }
        let now = self.0.now();
        let settings = self.0.desk.settings();
        // What hangs on it can't live longer than it.
        let ttl = terms.ttl.map_or(settings.ttl, |ttl| ttl.max(settings.ttl));
        let lease = Lease {
            id: self.new_id()?,
            holder,
            call: asked.call,
            task: asked.task,
            agent: asked.agent.clone(),
            plugin: asked.plugin.clone(),
            secret: String::from("(bond)"),
            source: source.kind().to_owned(),
            origin: String::new(),
            scheme: String::new(),
            revocable: true,
            durable: true,
            bond: None,
            expires: Some(now.saturating_add(ttl)),
            uses: 0,
            most_uses: None,
            handle: None,
            fault: None,
            stage: Stage::Wanted { ended: false },
        };
        let wish = Wish {
            source: Arc::clone(source),
            ask: Ask {
                plugin: asked.plugin.clone(),
                name: asked.name.clone(),
                lease: lease.id,
                ttl,
            },
            bond: None,
            is_bond: true,
        };
        let held = self.begin(lease, wish).await?;
        *slot = Some(held.clone());
        Ok(held)
    }

    /// Writes the wish down, asks for the credential, and writes down what takes it back.
    ///
    /// In a task of its own: a call that ends meanwhile must not leave a credential that nobody knows.
    async fn begin(&self, lease: Lease, wish: Wish) -> Result<Held, Refusal> {
        // Before that task begins: or the end of the call could miss it.
        {
            let mut book = self.book();
            book.held.entry(lease.holder).or_default().push(lease.id);
            book.leases.insert(lease.id, lease.clone());
        }
        let leases = self.clone();
        tokio::spawn(async move { leases.fetch(lease, wish).await })
            .await
            .unwrap_or_else(|error| {
                Err(
                    Refusal::new(Reason::HostInternal, "the credential could not be had")
                        .with_detail(error.to_string()),
                )
            })
    }

    async fn fetch(&self, lease: Lease, wish: Wish) -> Result<Held, Refusal> {
        let id = lease.id;
        let durable = lease.durable;
        // INVARIANT: on the disk before anything is asked for. A file of this machine is no effect.
        if !wish.source.is_local()
            && let Err(refusal) = self.intend(&lease).await
        {
            self.change(id, |lease, moment| lease.not_issued(false, moment.tick));
            return Err(refusal);
        }
        let issued = if wish.is_bond {
            wish.source.bond(&wish.ask).await
        } else {
            wish.source.issue(&wish.ask, wish.bond.as_deref()).await
        };
        let issued = match issued {
            Ok(issued) => issued,
            Err(error) => {
                let may_exist = matches!(error, SourceError::Uncertain(_));
                self.change(id, |lease, moment| lease.not_issued(may_exist, moment.tick));
                self.0.wake.notify_one();
                return Err(refused(error));
            }
        };
        let ttl = issued.ttl;
        let handle = issued.handle.map(Handle);
        self.change(id, |lease, moment| {
            // What its source gave no handle for goes with what it hangs on, or can't be taken back.
            lease.revocable = handle.is_some() || lease.bond.is_some();
            let expires = ttl.map(|ttl| moment.now.saturating_add(ttl));
            lease.issued(handle, expires, moment.tick);
        });
        if durable {
            // INVARIANT: on the disk before the value is used.
            if let Err(refusal) = self.0.keep(id).await {
                self.end_these(&[id]);
                return Err(refusal);
            }
        }
        Ok(Held {
            lease: id,
            value: Arc::new(issued.value),
            user: issued.user,
            bond: wish.bond,
            ttl,
        })
    }

    /// Writes the wish down, in the journal and, where there will be something to take back, in the state.
    async fn intend(&self, lease: &Lease) -> Result<(), Refusal> {
        let position = self.0.try_record(lease, None)?;
        self.0.journal.durable(position).await?;
        if lease.durable {
            self.0.keep(lease.id).await?;
        }
        Ok(())
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
    fn standing(&self, id: LeaseId) -> (bool, bool) {
        let now = self.0.now();
        self.book().leases.get(&id).map_or((false, true), |lease| {
            (lease.stage == Stage::Live, lease.is_past(now))
        })
    }

    fn is_past(&self, id: LeaseId) -> bool {
        self.standing(id).1
    }

    /// Changes a lease, and writes a record where it stands elsewhere after that.
    fn change<T>(&self, id: LeaseId, change: impl FnOnce(&mut Lease, Moment) -> T) -> Option<T> {
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

    fn slot(&self, holder: Holder, key: Key) -> Slot {
        let mut book = self.book();
        let slots = book.slots.entry(holder).or_default();
        Arc::clone(slots.entry(key).or_default())
    }

    fn new_id(&self) -> Result<LeaseId, Refusal> {
        LeaseId::generate(self.0.entropy.as_ref()).map_err(|error| {
            Refusal::new(Reason::HostInternal, "no random bytes for a lease")
                .with_detail(error.to_string())
        })
    }
}

/// How long a credential may live whose source never said: an hour is GitHub's, the longest of those
/// that there are.
const LONGEST: Duration = Duration::from_secs(3_600);

fn loaned(held: &Held) -> Loaned {
    Loaned {
        value: Arc::clone(&held.value),
        user: held.user.clone(),
    }
}

impl Inner {
    /// Writes a lease as it is now. On the disk when this returns.
    pub(super) async fn keep(self: &Arc<Self>, id: LeaseId) -> Result<(), Refusal> {
        self.write(id).await.map_err(|error| {
            Refusal::new(
                Reason::LeaseUnavailable,
                "no credential is lent while it can't be written down",
            )
            .with_detail(error)
        })
    }
}
