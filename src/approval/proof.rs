//! The proof that people agreed.

use std::collections::BTreeSet;

use super::binding::{Binding, Subject};
use crate::id::ApprovalId;
use crate::identity::PersonId;

/// Proof that people agreed to exactly this call or host call, made by using their approval up: the
/// use is on the disk. It can't be cloned, and policy holds it against each question.
#[derive(Debug)]
#[must_use]
pub struct Approved {
    pub(super) id: ApprovalId,
    pub(super) binding: Binding,
    pub(super) subject: Subject,
    pub(super) approvers: BTreeSet<PersonId>,
}

impl Approved {
    /// Which approval was used.
    #[must_use]
    pub const fn id(&self) -> ApprovalId {
        self.id
    }

    /// What it is for.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The call, or the one host call, that it is for.
    #[must_use]
    pub const fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Who agreed.
    #[must_use]
    pub const fn approvers(&self) -> &BTreeSet<PersonId> {
        &self.approvers
    }

    /// One that nobody gave, for tests of policy.
    #[cfg(test)]
    pub(crate) fn supposed(binding: Binding, subject: Subject, approvers: &[&str]) -> Self {
        Self {
            id: ApprovalId::generate(&crate::entropy::SystemEntropy).unwrap(),
            binding,
            subject,
            approvers: approvers.iter().map(|p| p.parse().unwrap()).collect(),
        }
    }
}
