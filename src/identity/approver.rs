//! A person who proved who they are: the only one who can answer an approval.

use super::PersonId;

/// An authenticated person.
///
/// Holding one is the proof: it is made where a person's credential was checked, and nowhere else,
/// so that no agent's token, no tool and no text of a model's becomes one. It lives no longer than
/// the request that it was made for, and is neither kept nor sent.
#[derive(Debug)]
pub struct Approver {
    person: PersonId,
}

impl Approver {
    // INVARIANT: called only once a person's own credential was checked.
    pub(crate) const fn new(person: PersonId) -> Self {
        Self { person }
    }

    /// Who it is.
    #[must_use]
    pub const fn person(&self) -> &PersonId {
        &self.person
    }

    /// One without a credential, for unit tests of what comes after.
    #[cfg(test)]
    pub(crate) const fn for_tests(person: PersonId) -> Self {
        Self::new(person)
    }
}
