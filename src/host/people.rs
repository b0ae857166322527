//! The people that a host knows, and where they answer.

use std::sync::Arc;

use super::Host;
use super::doors::{Door, TurnedAway};
use crate::entropy::SharedEntropy;
use crate::id::ApprovalId;
use crate::identity::{Approver, People};
use crate::journal::record::{Changed, Event};
use crate::journal::{Position, Unwritable};
use crate::reason::{Reason, Refusal};

impl Host {
    /// The people that there are.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// The person who has the credential `bearer`. An agent's token is refused as what it is. Either way
    /// there is a record.
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
            let why = error.to_string();
            let refusal = Refusal::from(error);
            self.turned_away(&TurnedAway::credential(refusal.reason, door), &why);
            return Err(refusal);
        };
        self.turned_away(&TurnedAway::misplaced(agent.as_str(), door), "");
        Err(Refusal::new(
            Reason::IdentityKind,
            "this is an agent's token, and only a person can do this",
        )
        .with_detail(format!("the token of {agent:?}")))
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
            detail: Some(detail),
            ..Changed::default()
        });
        self.journal().append(&event)
    }
}
