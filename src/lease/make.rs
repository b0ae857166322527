//! Making a lease: the wish is written down, the credential asked for, and what takes it back written
//! down, before anyone gets the value.

use std::sync::Arc;
use std::time::Duration;

use super::lend::{Asked, Held, Key, OwnSlot};
use super::{Handle, Holder, Inner, Lease, Leases, Stage, book};
use crate::config::LeaseTerms;
use crate::id::LeaseId;
use crate::reason::{Reason, Refusal};
use crate::secret::{Ask, Nature, SecretValue, Source, SourceError, refused};

/// How long a credential may live whose source never said: an hour is GitHub's, the longest of those
/// that there are.
const LONGEST: Duration = Duration::from_secs(3_600);

/// What is to be asked for.
struct Wish {
    source: Arc<dyn Source>,
    ask: Ask,
    bond: Option<Arc<SecretValue>>,
    is_bond: bool,
    /// Where what comes of it is kept for the next use.
    slot: OwnSlot,
}

impl Leases {
    /// Makes a lease, and keeps it in `slot`.
    pub(super) async fn make(
        &self,
        source: &Arc<dyn Source>,
        terms: LeaseTerms,
        holder: Holder,
        asked: &Asked,
        slot: OwnSlot,
    ) -> Result<Held, Refusal> {
        let settings = self.0.parts.desk.settings();
        let is_lent = source.nature() == Nature::Lent;
        if is_lent {
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
        let ttl = terms.ttl.unwrap_or(settings.ttl);
        let latest = self.0.now().saturating_add(LONGEST.max(ttl));
        let lease = Lease {
            secret: asked.name.clone(),
            origin: asked.origin.clone(),
            scheme: asked.scheme.clone(),
            revocable: is_lent,
            durable: is_lent,
            bond: bond.as_ref().map(|bond| bond.lease),
            expires: is_lent.then_some(latest),
            most_uses: terms.uses,
            ..self.wanted(source.as_ref(), holder, asked)?
        };
        let wish = Wish {
            ask: ask(&lease, asked, ttl),
            source: Arc::clone(source),
            bond: bond.map(|bond| bond.value),
            is_bond: false,
            slot,
        };
        self.begin(lease, wish, asked).await
    }

    /// A bond, as long as nobody says that it is anything else.
    fn wanted(&self, source: &dyn Source, holder: Holder, asked: &Asked) -> Result<Lease, Refusal> {
        Ok(Lease {
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
            expires: None,
            uses: 0,
            most_uses: None,
            handle: None,
            fault: None,
            stage: Stage::Wanted { ended: false },
        })
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
        let slot = slot.lock_owned().await;
        if let Some(held) = slot.as_ref() {
            let (is_live, is_past) = self.standing(held.lease);
            if is_live && !is_past {
                return Ok(held.clone());
            }
            if is_live {
                // Nothing can be made under it any more.
                let _ended = self.end_these(&[held.lease]);
            } else if matches!(holder, Holder::Call(_)) {
                return Err(Refusal::new(
                    Reason::RevokedLease,
                    "the credentials of this call were taken back",
                ));
            }
        }
        // What hangs on it can't live longer than it.
        let least = self.0.parts.desk.settings().ttl;
        let ttl = terms.ttl.map_or(least, |ttl| ttl.max(least));
        let lease = Lease {
            expires: Some(self.0.now().saturating_add(ttl)),
            ..self.wanted(source.as_ref(), holder, asked)?
        };
        let wish = Wish {
            ask: ask(&lease, asked, ttl),
            source: Arc::clone(source),
            bond: None,
            is_bond: true,
            slot,
        };
        self.begin(lease, wish, asked).await
    }

    /// Writes the wish down, asks for the credential, and writes down what takes it back.
    ///
    /// In a task of its own: a call that ends meanwhile must leave no credential that nobody knows, and
    /// what was made for a task is there for its next call.
    async fn begin(&self, lease: Lease, wish: Wish, asked: &Asked) -> Result<Held, Refusal> {
        // Before that task begins: or the end of the call could miss it.
        {
            let mut book = self.book();
            // A stop comes before what it takes back: what is not stopped here is found by that.
            if let Some(why) = asked.under_way.stopped() {
                return Err(why.clone());
            }
            book.add(lease.clone());
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

    async fn fetch(&self, lease: Lease, mut wish: Wish) -> Result<Held, Refusal> {
        let id = lease.id;
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
        let durable = self.change(id, |lease, moment| {
            // What its source gave no handle for goes with what it hangs on, or can't be taken back.
            lease.revocable = handle.is_some() || lease.bond.is_some();
            // And what it gave one for, where none was expected, has to outlive the host all the same.
            lease.durable |= handle.is_some();
            let expires = ttl.map(|ttl| moment.now.saturating_add(ttl));
            lease.issued(handle, expires, moment.tick);
            lease.durable
        });
        // INVARIANT: on the disk before the value is used.
        if durable == Some(true)
            && let Err(refusal) = self.0.keep(&[id]).await
        {
            let _ended = self.end_these(&[id]);
            return Err(refusal);
        }
        let held = Held {
            lease: id,
            value: Arc::new(issued.value),
            user: issued.user,
            bond: wish.bond,
            ttl,
        };
        *wish.slot = Some(held.clone());
        Ok(held)
    }

    /// Writes the wish down, in the journal and, where there will be something to take back, in the state.
    async fn intend(&self, lease: &Lease) -> Result<(), Refusal> {
        let journal = &self.0.parts.journal;
        let position = journal.append(&book::told(lease, None))?;
        journal.durable(position).await?;
        if lease.durable {
            self.0.keep(&[lease.id]).await?;
        }
        Ok(())
    }
}

impl Inner {
    /// Writes leases as they are now. On the disk when this returns.
    pub(super) async fn keep(self: &Arc<Self>, ids: &[LeaseId]) -> Result<(), Refusal> {
        self.write(ids).await.map_err(|error| {
            Refusal::new(
                Reason::LeaseUnavailable,
                "no credential is lent while it can't be written down",
            )
            .with_detail(error)
        })
    }
}

fn ask(lease: &Lease, asked: &Asked, ttl: Duration) -> Ask {
    Ask {
        plugin: asked.plugin.clone(),
        name: asked.name.clone(),
        lease: lease.id,
        ttl,
    }
}
