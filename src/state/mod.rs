//! What the host remembers: agents, people, the plugins that were accepted, approvals, tasks, jobs, what was revoked,
//! and credentials to be taken back.
//!
//! SQLite behind one small interface. One process, the daemon, owns it; so what calls need on their
//! way (which agent has this token) is kept in memory and never asks the disk. Methods that write
//! wait for the disk: from async code they belong in `spawn_blocking`. The others take microseconds.

mod agents;
mod approvals;
mod backup;
mod jobs;
mod leases;
mod people;
mod pins;
mod revocations;
mod schema;
mod tasks;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rusqlite::Connection;
use tokio::sync::watch;

pub use agents::AgentRecord;
pub(crate) use backup::copy_database;
pub(crate) use jobs::JobRow;
pub(crate) use leases::LeaseRow;
pub use people::PersonRecord;
pub(crate) use people::{Known as KnownPeople, people_in};
pub use pins::{AcceptedBy, Facts, Pin, Signed};
pub use tokens::Rotation;

use crate::identity::{AgentId, PersonId};
use crate::name::PluginName;
use crate::private::{self, PrivateError};

/// What can go wrong with the host's memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Its file is not private, or can't be used.
    #[error(transparent)]
    File(#[from] PrivateError),
    /// SQLite could not do it.
    #[error("can't use the database `{}`: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: rusqlite::Error,
    },
    /// A later version of the host wrote it.
    #[error("the database `{}` has version {found}, and this host knows up to {known}: use the host that wrote it, or a later one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The highest known version.
        known: u32,
    },
    /// Something in it can't be.
    #[error("the database `{}` is damaged: {what}; restore it, or move it away to start afresh (agents then need new tokens)", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// An agent of this name has a token that is not revoked.
    #[error(
        "the agent {0:?} has a token already: remove it first (`tollgate agent remove`), or use another name"
    )]
    AgentExists(AgentId),
    /// Another agent has this token.
    #[error("the token of {0:?} is another agent's already: each agent has its own")]
    TokenShared(AgentId),
    /// No such agent.
    #[error("there is no agent {0:?}: `tollgate agent list` shows those that there are")]
    NoAgent(AgentId),
    /// The person has a credential that is in force.
    #[error(
        "the person {0:?} is known already: renew the credential with `tollgate person rotate`, or remove the person first"
    )]
    PersonExists(PersonId),
    /// No such person.
    #[error("there is no person {0:?}: `tollgate person list` shows those that there are")]
    NoPerson(PersonId),
    /// No such pin.
    #[error("the plugin {0:?} has no pin")]
    NoPin(PluginName),
}

/// The host's memory. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct State(Arc<Inner>);

struct Inner {
    path: PathBuf,
    connection: Mutex<Connection>,
    agents: ArcSwap<agents::Directory>,
    revocations: ArcSwap<revocations::Revocations>,
    people: ArcSwap<people::Directory>,
    denied: ArcSwap<tokens::Denied>,
    changes: watch::Sender<u64>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}

impl State {
    /// Opens the database at `path`, and makes it where there is none.
    ///
    /// # Errors
    ///
    /// It is not private, not this host's, damaged, or of a later version.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        // Made here, for its owner only: SQLite gives its side files the same mode.
        drop(private::open_or_make(path)?);
        let mut connection = Connection::open(path).map_err(in_file(path))?;
        prepare(&connection).map_err(in_file(path))?;
        schema::migrate(&mut connection, path)?;
        let agents = agents::Directory::load(&connection, path)?;
        let revocations = revocations::Revocations::load(&connection, path)?;
        let people = people::Directory::load(&connection, path)?;
        let denied = tokens::denied(&connection).map_err(in_file(path))?;
        Ok(Self(Arc::new(Inner {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            agents: ArcSwap::from_pointee(agents),
            revocations: ArcSwap::from_pointee(revocations),
            people: ArcSwap::from_pointee(people),
            denied: ArcSwap::from_pointee(denied),
            changes: watch::Sender::new(0),
        })))
    }

    /// Wakes whenever an agent, a person or a pin changed, so that calls that rest on it can be ended.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls back what a panic cut short, so the connection is as good as before.
        self.0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.0
            .changes
            .send_modify(|revision| *revision = revision.wrapping_add(1));
    }

    fn error(&self) -> impl Fn(rusqlite::Error) -> StateError {
        in_file(&self.0.path)
    }
}

/// The database at `path`, which another process may have open: to look at, not to change.
fn look_at(path: &Path) -> Result<Connection, StateError> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags).map_err(in_file(path))?;
    connection
        .busy_timeout(Duration::from_secs(5))
        .map_err(in_file(path))?;
    Ok(connection)
}

fn in_file(path: &Path) -> impl Fn(rusqlite::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Database {
        path: path.clone(),
        source,
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    // The daemon is alone; an operator's `sqlite3` or a backup may be there for a moment.
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // A revocation that was answered must outlive a power failure.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    // The schema in the file is data, not code to trust.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}

/// Milliseconds since 1970, as they stand in the database.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn from_millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

#[cfg(test)]
mod tests;
