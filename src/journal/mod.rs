//! The journal: what was decided and done, in an order that can't be changed unseen.
//!
//! JSON Lines in segments, append-only. All lines are the leaves of one RFC 6962 tree, and each
//! carries the line before it as a leaf, across segments too, so [`verify`] names the first line that
//! was changed, removed, added or moved. What is on the disk is signed as a whole after each sync (a
//! *checkpoint*), by a key that is destroyed when its segment ends, so that who takes the host today
//! can't rewrite yesterday. (The *end*, since the last checkpoint that was kept elsewhere, is
//! protected only against those who can't write these files; see SECURITY.md.)
//!
//! # What is safe when
//!
//! [`Journal::append`] returns once the kernel has the line: the death of this process loses nothing
//! of it, a loss of power may. [`Journal::durable`] returns once the disk has it. How eagerly the
//! disk is asked is for the operator to choose, with [`Sync`]:
//!
//! - [`Sync::Gated`], the default: an effect waits for its intent, nothing else waits. After a loss
//!   of power there may be effects whose outcome is missing, never one without its intent. What
//!   nobody waits for is on the disk within [`SYNC_WITHIN`]. One group commit serves everyone who waits.
//! - [`Sync::Always`]: replies wait as well ([`Journal::settled`]), so that nothing an agent was
//!   ever told can be missing. Each call costs at least one wait for the disk, even a pure one.
//! - [`Sync::Interval`]: nothing waits; a loss of power takes up to that much of the journal's end
//!   with it, and there may be effects without a record. For machines where a disk's wait is
//!   unaffordable and the power is not a concern; `check` says so.
//!
//! # When it can't be written
//!
//! The first failed write or sync is the last: from then on every append and wait fails, and the host
//! refuses with `journal.unavailable`. A sync is not retried, since after a failure the kernel may
//! report success for pages that it dropped. A new start recovers: it cuts a torn end, and
//! records that it did.

pub mod anchor;
mod append;
pub mod archive;
mod bound;
mod commit;
mod escape;
#[cfg(test)]
pub(crate) mod forge;
mod keep;
mod keys;
mod line;
pub mod merkle;
pub mod note;
mod open;
pub mod prove;
mod read;
pub mod receipt;
pub mod record;
mod scan;
mod seal;
pub mod show;
pub mod storage;
mod survey;
mod verify;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use escape::{escape, escape_bytes};
pub use keep::Keep;
pub use line::{BadLine, MAX_LINE, parse as parse_line};
pub use open::{OpenError, Recovery};
pub use read::{Filter, ReadError, Reader, call, tail};
pub use verify::{BadPlace, VerifyProgress, VerifyReport, verify, verify_in, verify_with};
pub use view::{VIEW_BYTES, view, view_of_text};
pub use writer::{Journal, Options, Position, SYNC_WITHIN, Sync, Unwritable};
