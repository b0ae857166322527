//! A copy of what the host keeps, taken while it serves, and put back.
//!
//! What is in a backup: the database, the journal up to a synced position, the encrypted secrets and
//! tapes, and a manifest with the digest of each. What is not, and why:
//!
//! - **Keys of secrets and tapes**, unless asked for (`--with-keys`): a copy that holds the lock and the
//!   key protects nothing.
//! - **The key of step tokens**, whatever is asked for: they live for minutes, and under another key none
//!   of the past is good.
//! - **The journal's signing key**, whatever is asked for. It must not exist twice: two hosts that sign
//!   for one log can show two histories, and nobody could tell which is the fork.
//! - **Compiled code and its key**: made again from the components.
//! - **Configuration, policies and plugins**: the operator's own, and in a repository.
//!
//! A backup is a look at the past, and putting one back turns back what happened since. What must not
//! be turned back is made safe instead of believed (`restore`): approvals, tasks, tokens and people's
//! credentials of the past are void, a new log begins that names the old one, since a log that was cut back would rightly be
//! taken for a fork, and nothing runs until an operator has looked and says so (`tollgate revoke --lift`).

mod files;
mod manifest;
mod restore;
mod take;

#[cfg(test)]
mod tests;

pub use manifest::{Entry, Manifest, ManifestError, VERSION};
pub use restore::{RestoreError, Restored, is_unfinished, restore};
pub use take::{BackupError, take};
