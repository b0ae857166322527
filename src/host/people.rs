//! The people that a host knows, and what becomes of an identity at the wrong door.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Host;
use crate::entropy::SharedEntropy;
use crate::id::ApprovalId;
use crate::identity::{Approver, People};
use crate::journal::record::{Changed, Event};
use crate::journal::{Position, Unwritable};
use crate::reason::{Reason, Refusal};

/// Where a token was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// MCP over HTTP: for agents.
    Mcp,
    /// The admin API and its pages: for people.
    Admin,
    /// A command at the daemon's socket that needs a person.
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

/// One identity at one wrong door is written down at most once in this time: whoever tries without
/// end would otherwise fill the disk.
const AGAIN: Duration = Duration::from_secs(60);

/// What was presented where it is worth nothing, and when that was last written down. Bounded by the
/// number of identities that the host knows: what is nobody's gets no entry.
#[derive(Debug, Default)]
pub(super) struct Misplaced(Mutex<BTreeMap<(String, Door), Seen>>);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    written: Duration,
    since: u64,
}

impl Misplaced {
    /// How often it came unwritten since the last record, where this one is to be written.
    fn count(&self, identity: &str, door: Door, now: Duration) -> Option<u64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.entry((identity.to_owned(), door)) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Seen {
                    written: now,
                    since: 0,
                });
                Some(0)
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let seen = entry.get_mut();
                // A clock that was set back writes rather than keeps silent.
                if now.checked_sub(seen.written).is_none_or(|ago| ago >= AGAIN) {
                    let since = seen.since;
                    *seen = Seen {
                        written: now,
                        since: 0,
                    };
                    return Some(since);
                }
                seen.since = seen.since.saturating_add(1);
                None
            }
        }
    }
}

impl Host {
    /// The people that there are.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// The person who has the credential `bearer`. An agent's token is refused as what it is, with a
    /// record.
    ///
    /// # Errors
    ///
    /// It is no person's, or not any more.
    pub fn person(&self, bearer: &str, door: Door) -> Result<Approver, Refusal> {
        let error = match self.people.authenticate(bearer) {
            Ok(person) => return Ok(person),
            Err(error) => error,
        };
        let Some(agent) = self.identities().holder(bearer) else {
            return Err(error.into());
        };
        self.misplaced(agent.as_str(), door);
        Err(Refusal::new(
            Reason::IdentityKind,
            "this is an agent's token, and only a person can do this",
        )
        .with_detail(format!("the token of {agent:?}")))
    }

    /// Writes down that a person's credential came where an agent's token belongs, if it is one. Such
    /// a credential has left the hands that it belongs in.
    pub(super) fn person_as_agent(&self, bearer: &str, door: Door) {
        if let Ok(person) = self.people.authenticate(bearer) {
            self.misplaced(person.person().as_str(), door);
        }
    }

    fn misplaced(&self, identity: &str, door: Door) {
        let Some(since) = self.misplaced.count(identity, door, self.now()) else {
            return;
        };
        tracing::warn!(
            identity,
            door = door.as_str(),
            "an identity of the wrong kind was refused"
        );
        let again = match since {
            0 => String::new(),
            more => format!(", and {more} times more since the last record"),
        };
        let event = Event::Changed(Changed {
            change: String::from("identity.refused"),
            subject: Some(identity.to_owned()),
            digest: None,
            reason: Some(Reason::IdentityKind),
            detail: Some(format!("presented at {}{again}", door.as_str())),
            diff: None,
        });
        // It is refused either way; a journal that takes nothing says so by itself.
        if let Err(error) = self.journal().append(&event) {
            tracing::error!(%error, "a refused identity could not be written down");
        }
    }

    /// Says where browsers reach the approval page, without a slash at the end. Once.
    pub(crate) fn page_is_at(&self, base: String) {
        if self.page.set(base).is_err() {
            tracing::error!("the approval page was said to be at two places; the first one counts");
        }
    }

    /// The page on which an approval can be answered, where there is one. It names the approval and
    /// holds no right to anything.
    #[must_use]
    pub fn approval_url(&self, id: ApprovalId) -> Option<String> {
        let base = self.page.get()?;
        Some(format!("{base}/approvals/{id}"))
    }

    /// Where the admin listener is, if there is one.
    #[must_use]
    pub fn admin_url(&self) -> Option<&str> {
        self.page.get().map(String::as_str)
    }

    pub(crate) fn entropy(&self) -> SharedEntropy {
        Arc::clone(&self.entropy)
    }

    /// Writes that something was changed or sent, and by whom or to where. What leaves the host waits for the place to be
    /// on the disk.
    ///
    /// # Errors
    ///
    /// The journal takes nothing; then the change must not be made.
    pub(crate) fn changed_with(
        &self,
        change: &str,
        subject: &str,
        detail: String,
    ) -> Result<Position, Unwritable> {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(subject.to_owned()),
            digest: None,
            reason: None,
            detail: Some(detail),
            diff: None,
        });
        self.journal().append(&event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_tries_again_and_again_is_counted_and_not_written_each_time() {
        let misplaced = Misplaced::default();
        let at = |seconds| Duration::from_secs(seconds);
        assert_eq!(misplaced.count("a", Door::Admin, at(1_000)), Some(0));
        for _ in 0..200 {
            assert_eq!(misplaced.count("a", Door::Admin, at(1_010)), None);
        }
        assert_eq!(misplaced.count("a", Door::Command, at(1_010)), Some(0));
        assert_eq!(misplaced.count("b", Door::Admin, at(1_010)), Some(0));
        assert_eq!(misplaced.count("a", Door::Admin, at(1_060)), Some(200));
        assert_eq!(misplaced.count("a", Door::Admin, at(1_060)), None);
        assert_eq!(misplaced.count("a", Door::Admin, at(5)), Some(1));
    }
}
