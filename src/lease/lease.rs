//! One lease, from the wish to its end: a state machine without clock, disk or network of its own.
//!
//! ```text
//! Wanted ──issued──▶ Live ──end──▶ Pending ──revoked──▶ Over(Revoked)
//!    │                 │              │  ▲
//!    │                 │              └──┘ revoking failed: again, later
//!    │                 └──end, not revocable──▶ Over(Left)
//!    ├──not issued──▶ Over(Unissued)
//!    └──nobody knows──▶ Pending         Live, Pending ──past its time──▶ Over(Lapsed)
//! ```
//!
//! INVARIANT: a lease that may be alive at its source is never `Over` but as `Revoked`, as `Lapsed`
//! after the latest moment at which it can be alive, or as `Left`, which only one that can't be taken
//! back ever is.

use std::time::Duration;

use serde::Serialize;
use zeroize::Zeroizing;

use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};

/// Whose end ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holder {
    /// A call's.
    Call(CallId),
    /// A task's.
    Task(TaskId),
}

/// Where a lease stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// About to be asked for. `ended`: its holder ended meanwhile.
    Wanted {
        /// Whether its holder ended meanwhile.
        ended: bool,
    },
    /// In use.
    Live,
    /// To be taken back.
    Pending {
        /// How often that failed.
        attempts: u32,
        /// When it is tried next, by a clock that nobody can set.
        due: Duration,
    },
    /// Nothing is left to do.
    Over(Over),
}

/// How a lease ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its source confirmed that it is dead.
    Revoked,
    /// Its time is over.
    Lapsed,
    /// It can't be taken back: the host forgot its value, and the source keeps it alive for its time.
    Left,
    /// It never came to be.
    Unissued,
}

impl Stage {
    /// Its name, in records, in the database and on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Wanted { .. } => "wanted",
            Self::Live => "live",
            Self::Pending { .. } => "pending",
            Self::Over(Over::Revoked) => "revoked",
            Self::Over(Over::Lapsed) => "lapsed",
            Self::Over(Over::Left) => "left",
            Self::Over(Over::Unissued) => "unissued",
        }
    }
}

/// What is known of a lease. Never its value.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    pub(crate) id: LeaseId,
    pub(crate) holder: Holder,
    /// The call that it was made for.
    pub(crate) call: CallId,
    pub(crate) task: Option<TaskId>,
    pub(crate) agent: AgentId,
    pub(crate) plugin: PluginName,
    /// The secret's name; for a bond, which leases hang on, the source's.
    pub(crate) secret: String,
    /// The kind of its source.
    pub(crate) source: String,
    /// The one origin that it goes to, and how; empty for a bond.
    pub(crate) origin: String,
    pub(crate) scheme: String,
    pub(crate) revocable: bool,
    /// Whether it must outlive the host: there is something to take back.
    pub(crate) durable: bool,
    /// The bond whose end takes it along.
    pub(crate) bond: Option<LeaseId>,
    /// The latest moment at which it can be alive; none where it lives on its own.
    pub(crate) expires: Option<Duration>,
    pub(crate) uses: u32,
    pub(crate) most_uses: Option<u32>,
    /// What takes it back, as its source understands it.
    pub(crate) handle: Option<Handle>,
    /// Why it could not be taken back, the last time.
    pub(crate) fault: Option<String>,
    pub(crate) stage: Stage,
}

/// What takes a credential back. Text that may be as good as the credential itself: shown by
/// nothing, and sealed before it is written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) Zeroizing<String>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handle(..)")
    }
}

/// The wait after the first failure; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A backend that comes back is found within this.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Clocks of two machines differ.
const SLACK: Duration = Duration::from_secs(30);

impl Lease {
    /// It exists now. `tick` is the time of the queue, here and below; `now` is the time of day.
    pub(crate) fn issued(
        &mut self,
        handle: Option<Handle>,
        expires: Option<Duration>,
        tick: Duration,
    ) {
        let Stage::Wanted { ended } = self.stage else {
            return;
        };
        if handle.is_some() {
            self.handle = handle;
        }
        self.expires = expires;
        self.stage = Stage::Live;
        if ended {
            self.end(tick);
        }
    }

    /// It was not made; or, where the request may have arrived, nobody knows.
    pub(crate) fn not_issued(&mut self, may_exist: bool, tick: Duration) {
        if let Stage::Wanted { .. } = self.stage {
            self.stage = if may_exist && self.durable {
                Stage::Pending {
                    attempts: 0,
                    due: tick,
                }
            } else {
                Stage::Over(Over::Unissued)
            };
        }
    }

    /// One use of it.
    ///
    /// # Errors
    ///
    /// It is over, by time, by number, or by whoever took it back.
    pub(crate) fn take(&mut self, now: Duration) -> Result<(), Refusal> {
        if self.stage != Stage::Live {
            return Err(Refusal::new(
                Reason::RevokedLease,
                "the credential was taken back",
            ));
        }
        if self.is_past(now) {
            return Err(Refusal::new(
                Reason::LeaseOver,
                "the credential's time is over",
            ));
        }
        if self.most_uses.is_some_and(|most| self.uses >= most) {
            return Err(Refusal::new(
                Reason::LeaseOver,
                "the credential was used as often as it may be",
            ));
        }
        self.uses = self.uses.saturating_add(1);
        Ok(())
    }

    /// Its holder ended, or somebody took it back. Whether that changed anything.
    pub(crate) fn end(&mut self, tick: Duration) -> bool {
        let next = match self.stage {
            Stage::Wanted { ended: false } => Stage::Wanted { ended: true },
            Stage::Live if self.revocable => Stage::Pending {
                attempts: 0,
                due: tick,
            },
            Stage::Live => Stage::Over(Over::Left),
            Stage::Wanted { ended: true } | Stage::Pending { .. } | Stage::Over(_) => return false,
        };
        self.stage = next;
        true
    }

    /// The host starts again: values are gone, so nothing can be used any more.
    pub(crate) fn recover(&mut self, tick: Duration) {
        match self.stage {
            Stage::Wanted { .. } => self.not_issued(true, tick),
            Stage::Live => {
                self.end(tick);
            }
            // The wait was for a host that is no more.
            Stage::Pending { attempts, .. } => {
                self.stage = Stage::Pending {
                    attempts,
                    due: tick,
                }
            }
            Stage::Over(_) => {}
        }
    }

    /// Its source confirmed that it is dead.
    pub(crate) fn revoked(&mut self) -> bool {
        let was_alive = !matches!(self.stage, Stage::Over(_));
        if was_alive {
            self.stage = Stage::Over(Over::Revoked);
            self.fault = None;
        }
        was_alive
    }

    /// Taking it back failed.
    pub(crate) fn revoking_failed(&mut self, why: String, tick: Duration) {
        if let Stage::Pending { attempts, .. } = self.stage {
            let wait = FIRST_WAIT
                .saturating_mul(2_u32.saturating_pow(attempts.min(20)))
                .min(LONGEST_WAIT);
            self.fault = Some(why);
            self.stage = Stage::Pending {
                attempts: attempts.saturating_add(1),
                due: tick.saturating_add(wait),
            };
        }
    }

    /// Whether nothing is left to take back, because its time is over. A live one is kept until its
    /// holder ends: it may be renewed. And its source is asked once, where it can be: by that one's
    /// clock there may be time left.
    pub(crate) fn has_lapsed(&self, now: Duration) -> bool {
        let latest = self.expires.map(|end| end.saturating_add(SLACK));
        let was_tried = self.handle.is_none() || self.attempts() > 0;
        self.is_pending() && was_tried && latest.is_some_and(|latest| latest <= now)
    }

    /// Its time is over.
    pub(crate) fn lapse(&mut self, now: Duration) {
        if self.has_lapsed(now) {
            self.stage = Stage::Over(Over::Lapsed);
        }
    }

    /// Whether it can't be used any more for its time.
    pub(crate) fn is_past(&self, now: Duration) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Pending { .. })
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    pub(crate) const fn attempts(&self) -> u32 {
        match self.stage {
            Stage::Pending { attempts, .. } => attempts,
            _ => 0,
        }
    }
}

#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
