//! The doors at which someone says who they are, and a record of whoever is turned away there.
//!
//! Whatever is refused is written down, and nobody needs a credential to be refused: so of one kind of
//! refusal there is at most one record a minute, which counts those since the one before. However fast
//! someone tries, the journal grows by a line a minute and kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Host;
use crate::journal::record::{Changed, Event};
use crate::reason::Reason;

/// Where someone says who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// MCP over HTTP, and what makes tokens for it: for agents.
    Mcp,
    /// The admin API and its pages: for people.
    Admin,
    /// A command at the daemon's socket.
    Command,
}

impl Door {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Mcp => "MCP",
            Self::Admin => "the admin API",
            Self::Command => "a command",
        }
    }
}

/// One kind of refusal is written down at most once in this time: whoever tries without end would
/// otherwise fill the disk.
const AGAIN: Duration = Duration::from_secs(60);

/// Kinds that are told apart; beyond, whose it is is left out. Reached only where that many identities
/// are refused within a minute, each of which the host or an issuer knows.
const MOST: usize = 4_096;

/// Letters of why something was refused.
const MAX_WHY: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    /// An identity that is worth nothing at this door.
    Identity,
    /// A credential that was presented.
    Credential,
    /// A token that was asked for.
    Token,
    /// A request of an agent that makes too many.
    Request,
}

impl What {
    const fn change(self) -> &'static str {
        match self {
            Self::Identity => "identity.refused",
            Self::Credential => "credential.refused",
            Self::Token => "token.refused",
            Self::Request => "request.refused",
        }
    }

    const fn how(self) -> &'static str {
        match self {
            Self::Identity | Self::Credential => "presented",
            Self::Token | Self::Request => "asked for",
        }
    }
}

/// What is refused at a door, so far as records tell one from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TurnedAway {
    what: What,
    reason: Reason,
    door: Door,
    /// Whose it is, where that is known.
    identity: Option<String>,
}

impl TurnedAway {
    /// An identity that is worth nothing here: an agent's among people, or the reverse.
    pub(super) fn misplaced(identity: &str, door: Door) -> Self {
        Self {
            what: What::Identity,
            reason: Reason::IdentityKind,
            door,
            identity: Some(identity.to_owned()),
        }
    }

    /// A credential that is nobody's, or not in force.
    pub(super) const fn credential(reason: Reason, door: Door) -> Self {
        Self {
            what: What::Credential,
            reason,
            door,
            identity: None,
        }
    }

    /// A token that an agent asked for, and did not get.
    pub(super) fn token(agent: &str, reason: Reason, door: Door) -> Self {
        Self {
            what: What::Token,
            reason,
            door,
            identity: Some(agent.to_owned()),
        }
    }

    /// A request of an agent that makes too many.
    pub(super) fn rate(agent: &str) -> Self {
        Self {
            what: What::Request,
            reason: Reason::LimitRate,
            door: Door::Mcp,
            identity: Some(agent.to_owned()),
        }
    }

    /// A request of an agent that has too much open at once.
    pub(super) fn crowd(agent: &str) -> Self {
        Self {
            reason: Reason::LimitConcurrency,
            ..Self::rate(agent)
        }
    }
}

/// What was turned away, and when that was last written down.
#[derive(Debug, Default)]
pub(super) struct Doors(Mutex<BTreeMap<TurnedAway, Seen>>);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    written: Duration,
    since: u64,
}

impl Doors {
    /// How often it came unwritten since the last record, where this one is to be written.
    fn count(&self, what: &TurnedAway, now: Duration) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back writes rather than keeps silent.
        let is_over = |seen: &Seen| now.checked_sub(seen.written).is_none_or(|ago| ago >= AGAIN);
        let mut what = what.clone();
        if all.len() >= MOST && !all.contains_key(&what) {
            all.retain(|_, seen| !is_over(seen));
            if all.len() >= MOST {
                what.identity = None;
            }
        }
        let fresh = Seen {
            written: now,
            since: 0,
        };
        let Some(seen) = all.get_mut(&what) else {
            all.insert(what, fresh);
            return Some(0);
        };
        if is_over(seen) {
            let since = seen.since;
            *seen = fresh;
            return Some(since);
        }
        seen.since = seen.since.saturating_add(1);
        None
    }
}

impl Host {
    /// Writes down that `what` was turned away, unless the like was just written. `why` holds no part of
    /// what was presented.
    pub(super) fn turned_away(&self, what: &TurnedAway, why: &str) {
        let Some(since) = self.doors.count(what, self.now()) else {
            return;
        };
        let TurnedAway {
            what,
            reason,
            door,
            identity,
        } = what;
        let (change, how) = (what.change(), what.how());
        let mut detail = format!("{how} at {}", door.as_str());
        if !why.is_empty() {
            detail.push_str(": ");
            detail.extend(why.chars().take(MAX_WHY));
        }
        if since > 0 {
            detail.push_str(&format!(", and {since} times more since the last record"));
        }
        tracing::warn!(change, identity, %reason, detail, "turned away");
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: identity.clone(),
            reason: Some(*reason),
            detail: Some(detail),
            ..Changed::default()
        });
        // It is refused either way; a journal that takes nothing says so by itself.
        if let Err(error) = self.journal().append(&event) {
            tracing::error!(%error, "what was turned away could not be written down");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn one_who_tries_again_and_again_is_counted_and_not_written_each_time() {
        let doors = Doors::default();
        let ada = |door| TurnedAway::misplaced("ada", door);
        assert_eq!(doors.count(&ada(Door::Admin), at(1_000)), Some(0));
        for _ in 0..200 {
            assert_eq!(doors.count(&ada(Door::Admin), at(1_010)), None);
        }
        assert_eq!(doors.count(&ada(Door::Command), at(1_010)), Some(0));
        let bob = TurnedAway::misplaced("bob", Door::Admin);
        assert_eq!(doors.count(&bob, at(1_010)), Some(0));
        assert_eq!(doors.count(&ada(Door::Admin), at(1_060)), Some(200));
        assert_eq!(doors.count(&ada(Door::Admin), at(1_060)), None);
        assert_eq!(doors.count(&ada(Door::Admin), at(5)), Some(1));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_whoever_comes_then_is_written_together() {
        let doors = Doors::default();
        let of = |number: usize| {
            TurnedAway::token(&number.to_string(), Reason::HandoffWidens, Door::Mcp)
        };
        for number in 0..MOST {
            assert_eq!(doors.count(&of(number), at(10)), Some(0));
        }
        assert_eq!(doors.count(&of(MOST), at(20)), Some(0));
        for number in 1..50 {
            assert_eq!(doors.count(&of(MOST + number), at(20)), None);
        }
        assert_eq!(doors.0.lock().unwrap().len(), MOST + 1);
        // A minute later there is room again.
        assert_eq!(doors.count(&of(MOST), at(70)), Some(0));
        assert!(doors.0.lock().unwrap().len() < 10);
    }
}
