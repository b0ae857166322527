//! Approvals: what policy or the operator's tier holds, a person may let go, once.
//!
//! A hold becomes an [`Approval`] with a summary that the host writes; a person whom policy lets
//! `approve` answers it from another channel; the identical call then runs, once. Nothing here trusts
//! the asking side: an approval is bound to the digests of what was asked, its summary has no text of
//! a model's but as escaped data, and the only value that policy takes for agreement, [`Approved`],
//! is made by using an approval up.
//!
//! # Promises
//!
//! - Used once, over `kill -9` at any point: the use is on the disk before [`Approved`] exists. A
//!   standing approval, which a person must ask for by name, is used until it expires.
//! - One order: every transition happens under one lock, in the order of its records. A revocation
//!   that was asked for goes before an answer or a use that has not happened.
//! - A yes is worth as much as the one who said it: with the person, what they agreed to is taken back.
//! - Time only goes forward: a clock that is set back revives nothing.
//! - A host call's approval dies with its call, and with the host: to try again would repeat what
//!   the call did before.

mod ask;
mod binding;
mod book;
mod follow;
mod guard;
mod machine;
mod order;
mod proof;
mod service;
mod settings;
mod summary;

#[cfg(test)]
mod tests;

pub use binding::{Binding, RoundBinding, Subject};
pub use machine::{Approval, Given, Status};
pub use proof::Approved;
pub use service::{Answer, ApprovalEvent, Approvals, Asked};
pub use settings::Settings;
pub use summary::{BodyView, InputView, Summary};

pub(crate) use ask::{Ask, HeldCall};
pub(crate) use guard::Withdraws;
