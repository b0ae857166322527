//! The life of an approval, as a pure state machine: every move gives a new value or says why not.
//!
//! ```text
//! Pending --answers suffice--> Approved --use--> Used
//!    |  \--one says no--> Denied  |  \--use of a standing one--> Approved
//!    +--> Expired, Withdrawn, Revoked, Void <--+
//! ```
//!
//! Every state without an arrow out is final.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::binding::{Binding, Subject, key};
use super::summary::Summary;
use crate::digest::Digest;
use crate::id::ApprovalId;
use crate::identity::PersonId;
use crate::journal::record::CallId;
use crate::reason::{Reason, Refusal};

/// Where an approval is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nobody answered yet, or not enough did.
    Pending,
    /// People agreed; it was not used.
    Approved,
    /// A person said no. Identical asks are answered so until it would have expired.
    Denied,
    /// It was used.
    Used,
    /// Nobody answered in time, or nobody used it in time.
    Expired,
    /// Taken back by the one who asked, or by the end of its call or task.
    Withdrawn,
    /// Taken back by an operator.
    Revoked,
    /// Its call can't go on: the host ended meanwhile.
    Void,
}

impl Status {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Used,
        Self::Expired,
        Self::Withdrawn,
        Self::Revoked,
        Self::Void,
    ];

    /// Its name, as everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Used => "used",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
            Self::Revoked => "revoked",
            Self::Void => "void",
        }
    }

    /// Whether something can still come of it.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One person's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Who.
    pub person: PersonId,
    /// Yes or no.
    pub approve: bool,
    /// When, since 1970.
    #[serde(with = "millis")]
    pub at: Duration,
    /// For how long, where a standing approval was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_millis")]
    pub standing: Option<Duration>,
    /// Why not, in the person's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// An approval, from the asking on. A snapshot: it gives nobody anything.
///
/// Times are milliseconds since 1970 where it is serialised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Which.
    pub id: ApprovalId,
    /// Where it is in its life.
    pub status: Status,
    /// The call that asked first.
    pub call: CallId,
    /// What a person is asked to agree to.
    pub subject: Subject,
    /// What it is for, and for nothing else.
    pub binding: Binding,
    /// What a person reads.
    pub summary: Summary,
    /// The tool's tier.
    pub tier: String,
    /// How many persons must agree.
    pub needed: u32,
    /// Where policy names persons: the smallest sets of which one must have agreed whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub enough: Vec<BTreeSet<PersonId>>,
    /// The answers so far.
    pub answers: Vec<Given>,
    /// How often it was asked.
    pub asks: u32,
    /// When it was first asked.
    #[serde(with = "millis")]
    pub created: Duration,
    /// From when on it is worth nothing.
    #[serde(with = "millis")]
    pub expires: Duration,
    /// For how long it holds, where a person made it a standing one.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "some_millis")]
    pub standing: Option<Duration>,
    /// How often it was used.
    pub uses: u32,
    /// The call that used it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_by: Option<CallId>,
    /// When it came into this state.
    #[serde(with = "millis")]
    pub changed: Duration,
    /// Why it ended, where someone said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How an approval ends without an answer or a use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    Withdrawn,
    Revoked,
    Void,
}

impl End {
    const fn status(self) -> Status {
        match self {
            Self::Expired => Status::Expired,
            Self::Withdrawn => Status::Withdrawn,
            Self::Revoked => Status::Revoked,
            Self::Void => Status::Void,
        }
    }
}

impl Approval {
    /// Who agreed.
    #[must_use]
    pub fn approvers(&self) -> BTreeSet<PersonId> {
        self.answers
            .iter()
            .filter(|given| given.approve)
            .map(|given| given.person.clone())
            .collect()
    }

    /// How many more persons must agree at least.
    #[must_use]
    pub fn missing(&self) -> u32 {
        let agreed = self.approvers();
        let count = u32::try_from(agreed.len()).unwrap_or(u32::MAX);
        let named = self
            .enough
            .iter()
            .map(|set| set.difference(&agreed).count())
            .min()
            .unwrap_or(0);
        let named = u32::try_from(named).unwrap_or(u32::MAX);
        self.needed.max(1).saturating_sub(count).max(named)
    }

    /// Whether its time is over at `now`.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.expires
    }

    /// What identical asks share with it. A host call's approval is for its own call, unless a person
    /// made it a standing one.
    pub(super) fn index(&self) -> Digest {
        let own = self.subject.is_host_call() && self.standing.is_none();
        key(&self.binding, &self.subject, own.then_some(self.call))
    }

    /// It, answered. The same answer twice changes nothing; a no outweighs an own yes before.
    pub(super) fn answered(
        &self,
        given: Given,
        ttl: Duration,
        now: Duration,
    ) -> Result<Self, Refusal> {
        if self.is_over(now) && self.status.is_live() {
            return Err(self.closed(Status::Expired));
        }
        if self.status != Status::Pending {
            return Err(self.closed(self.status));
        }
        let mut next = self.clone();
        next.changed = now;
        if !given.approve {
            next.why.clone_from(&given.why);
            next.answers.push(given);
            next.status = Status::Denied;
            return Ok(next);
        }
        if !self.approvers().contains(&given.person) {
            next.answers.push(given);
        }
        if next.missing() == 0 {
            next.status = Status::Approved;
            // Only where everyone who agreed asked for it, and no longer than the shortest.
            next.standing = next
                .answers
                .iter()
                .map(|given| given.standing)
                .reduce(|one, other| Some(one?.min(other?)))
                .flatten();
            // From the answer on: who agreed late still agreed.
            next.expires = now.saturating_add(next.standing.unwrap_or(ttl));
        }
        Ok(next)
    }

    /// It, used by `call`.
    pub(super) fn taken(&self, call: CallId, now: Duration) -> Result<Self, Refusal> {
        if self.is_over(now) && self.status.is_live() {
            return Err(self.closed(Status::Expired));
        }
        if self.status != Status::Approved || self.missing() > 0 {
            return Err(self.closed(self.status));
        }
        if self.subject.is_host_call() && self.standing.is_none() && self.call != call {
            return Err(super::binding::not_this(
                "it is for a host call of another call",
            ));
        }
        let mut next = self.clone();
        next.uses = self.uses.saturating_add(1);
        next.used_by = Some(call);
        next.changed = now;
        if self.standing.is_none() {
            next.status = Status::Used;
        }
        Ok(next)
    }

    /// It, asked for once more.
    pub(super) fn merged(&self) -> Self {
        let mut next = self.clone();
        next.asks = self.asks.saturating_add(1);
        next
    }

    /// It, ended.
    pub(super) fn ended(
        &self,
        end: End,
        why: Option<String>,
        now: Duration,
    ) -> Result<Self, Refusal> {
        if !self.status.is_live() || (end == End::Expired && !self.is_over(now)) {
            return Err(self.closed(self.status));
        }
        let mut next = self.clone();
        next.status = end.status();
        next.why = why;
        next.changed = now;
        Ok(next)
    }

    /// Why nothing more can be done with it, in this state.
    pub(crate) fn closed(&self, status: Status) -> Refusal {
        match status {
            Status::Pending => Refusal::new(
                Reason::ApprovalRequired,
                "a person must agree to this first",
            ),
            Status::Approved => Refusal::new(
                Reason::ApprovalUsed,
                "people agreed to it already, and it waits to be used",
            ),
            Status::Denied => match &self.why {
                Some(why) => Refusal::new(
                    Reason::ApprovalDenied,
                    format!("a person said no: {}", super::summary::escape_json(why)),
                ),
                None => Refusal::new(Reason::ApprovalDenied, "a person said no"),
            },
            Status::Used => Refusal::new(Reason::ApprovalUsed, "that approval was used"),
            Status::Expired => Refusal::new(
                Reason::ApprovalExpired,
                "that approval's time is over; ask again",
            ),
            Status::Withdrawn => {
                Refusal::new(Reason::ApprovalWithdrawn, "that approval was withdrawn")
            }
            Status::Revoked => Refusal::new(Reason::RevokedApproval, "that approval was revoked"),
            Status::Void => Refusal::new(
                Reason::ApprovalWithdrawn,
                "the call that asked for it is gone",
            ),
        }
    }
}

/// Milliseconds, so that what is read back is what was written.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

mod some_millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::millis::serialize(time, out),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<u64>::deserialize(from).map(|time| time.map(Duration::from_millis))
    }
}
