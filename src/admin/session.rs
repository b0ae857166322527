//! Sessions of browsers, in memory only.
//!
//! A session begins with a person's credential and ends with it, after an hour, or with the daemon.
//! Its cookie lets a browser look, and deny. It does not let it approve: browsers send the cookies of
//! a host to every port of it, so that an agent that serves a page on this machine, and gets the
//! person to open it, reads the cookie. To approve takes what such an agent can't have: the
//! credential itself, or a *ticket*, which stands in the page that answered the credential and
//! nowhere else, is for one approval, and is good once, for five minutes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq as _;

use crate::clock::SharedClock;
use crate::digest::Digest;
use crate::entropy::{NoEntropy, SharedEntropy};
use crate::id::ApprovalId;
use crate::identity::PersonId;

/// How long a browser may look without giving the credential again.
pub(super) const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How long after the credential was given an approval can be given without it.
const TICKET: Duration = Duration::from_secs(5 * 60);

/// Sessions at once. A person has a few browsers; what is more is somebody's mistake.
const MOST: usize = 256;

/// A session, as a request finds it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) person: PersonId,
    /// Digest of the credential that it began with.
    pub(super) credential: Digest,
    /// Stands in every form of its pages.
    pub(super) form: String,
    expires: Duration,
    ticket: Option<Ticket>,
}

#[derive(Debug, Clone)]
struct Ticket {
    of: ApprovalId,
    value: Digest,
    expires: Duration,
}

/// Every session, by the digest of its cookie: a copy of this memory is nobody's session.
#[derive(Debug)]
pub(super) struct Sessions {
    all: Mutex<HashMap<Digest, Session>>,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl Sessions {
    pub(super) fn new(clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            all: Mutex::default(),
            clock,
            entropy,
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Digest, Session>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> Result<String, NoEntropy> {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes)?;
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Begins a session; gives what the cookie holds.
    pub(super) fn begin(&self, person: PersonId, credential: Digest) -> Result<String, NoEntropy> {
        let (cookie, form) = (self.random()?, self.random()?);
        let now = self.clock.now();
        let mut all = self.all();
        all.retain(|_, session| session.expires > now);
        if all.len() >= MOST {
            // The oldest makes room: whoever has a credential can always begin.
            let oldest = all
                .iter()
                .min_by_key(|(_, s)| s.expires)
                .map(|(key, _)| *key);
            oldest.and_then(|key| all.remove(&key));
        }
        all.insert(
            Digest::of(cookie.as_bytes()),
            Session {
                person,
                credential,
                form,
                expires: now.saturating_add(LIFETIME),
                ticket: None,
            },
        );
        Ok(cookie)
    }

    /// The session of this cookie, if it is not over.
    pub(super) fn find(&self, cookie: &str) -> Option<Session> {
        let now = self.clock.now();
        self.all()
            .get(&Digest::of(cookie.as_bytes()))
            .filter(|session| session.expires > now)
            .cloned()
    }

    pub(super) fn end(&self, cookie: &str) {
        self.all().remove(&Digest::of(cookie.as_bytes()));
    }

    /// A ticket for one approval, for the page that answers the credential.
    pub(super) fn ticket(&self, cookie: &str, of: ApprovalId) -> Result<String, NoEntropy> {
        let value = self.random()?;
        let expires = self.clock.now().saturating_add(TICKET);
        if let Some(session) = self.all().get_mut(&Digest::of(cookie.as_bytes())) {
            session.ticket = Some(Ticket {
                of,
                value: Digest::of(value.as_bytes()),
                expires,
            });
        }
        Ok(value)
    }

    /// Whether `value` is the session's ticket for this approval; it is used up.
    pub(super) fn redeem(&self, cookie: &str, of: ApprovalId, value: &str) -> bool {
        let now = self.clock.now();
        let mut all = self.all();
        let Some(session) = all.get_mut(&Digest::of(cookie.as_bytes())) else {
            return false;
        };
        let given = Digest::of(value.as_bytes());
        let is = session.ticket.as_ref().is_some_and(|ticket| {
            ticket.of == of
                && ticket.expires > now
                && bool::from(ticket.value.as_bytes().ct_eq(given.as_bytes()))
        });
        if is {
            session.ticket = None;
        }
        is
    }
}

impl Session {
    /// Whether a form came from one of this session's own pages.
    pub(super) fn wrote(&self, form: &str) -> bool {
        self.form.as_bytes().ct_eq(form.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Seconds;
    use crate::entropy::SeededEntropy;

    fn sessions() -> (Arc<Seconds>, Sessions) {
        let clock = Arc::new(Seconds::default());
        let shared = Arc::clone(&clock) as SharedClock;
        (
            clock,
            Sessions::new(shared, Arc::new(SeededEntropy::default())),
        )
    }

    fn begin(sessions: &Sessions) -> String {
        sessions
            .begin("ada".parse().unwrap(), Digest::of(b"x"))
            .unwrap()
    }

    fn approval() -> ApprovalId {
        "approval_aaaaaaaaaaaaaaaa".parse().unwrap()
    }

    #[test]
    fn a_session_ends_by_itself_and_when_it_is_told() {
        let (clock, sessions) = sessions();
        let (one, two) = (begin(&sessions), begin(&sessions));
        let session = sessions.find(&one).unwrap();
        assert!(session.wrote(&session.form) && !session.wrote("") && !session.wrote(&one));
        sessions.end(&two);
        assert!(sessions.find(&two).is_none());
        assert!(sessions.find("").is_none());
        clock.set(LIFETIME.as_secs());
        assert!(sessions.find(&one).is_none());
    }

    #[test]
    fn a_ticket_is_for_one_approval_once_and_for_minutes() {
        let (clock, sessions) = sessions();
        let (cookie, other) = (begin(&sessions), begin(&sessions));
        let ticket = sessions.ticket(&cookie, approval()).unwrap();
        let elsewhere = "approval_bbbbbbbbbbbbbbbb".parse().unwrap();
        assert!(!sessions.redeem(&cookie, elsewhere, &ticket));
        assert!(!sessions.redeem(&other, approval(), &ticket));
        assert!(!sessions.redeem(&cookie, approval(), ""));
        assert!(!sessions.redeem(&cookie, approval(), &cookie));
        assert!(sessions.redeem(&cookie, approval(), &ticket));
        assert!(!sessions.redeem(&cookie, approval(), &ticket), "once");
        let late = sessions.ticket(&cookie, approval()).unwrap();
        clock.set(TICKET.as_secs());
        assert!(!sessions.redeem(&cookie, approval(), &late));
    }

    #[test]
    fn sessions_are_bounded_and_a_new_one_always_begins() {
        let (clock, sessions) = sessions();
        let first = begin(&sessions);
        for n in 1..=MOST {
            clock.set(n as u64);
            begin(&sessions);
        }
        assert!(sessions.find(&first).is_none());
        assert_eq!(sessions.all().len(), MOST);
    }
}
