//! What was revoked beyond an agent's own token: in the database, and in memory for every call.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{State, StateError, in_file, millis};
use crate::identity::AgentId;
use crate::name::PluginName;
use crate::revocation::Scope;

pub(super) const TABLES: &str = "
    CREATE TABLE revocations (
        kind    TEXT    NOT NULL CHECK (kind IN ('agent', 'plugin', 'all')),
        subject TEXT    NOT NULL,
        revoked INTEGER NOT NULL,
        -- Who asked for it.
        by      TEXT    NOT NULL,
        PRIMARY KEY (kind, subject)
    ) STRICT;
";

/// What is revoked, in memory. (A task that was revoked is one that ended.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Revocations {
    /// The kill switch.
    pub(crate) all: bool,
    pub(crate) agents: HashSet<AgentId>,
    pub(crate) plugins: HashSet<PluginName>,
}

impl Revocations {
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, StateError> {
        let read = || {
            connection
                .prepare("SELECT kind, subject FROM revocations")?
                .query_map([], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut all = Self::default();
        for (kind, subject) in read().map_err(in_file(path))? {
            let scope = Scope::parse(&kind, &subject).map_err(|what| StateError::Damaged {
                path: path.to_owned(),
                what,
            })?;
            all.add(&scope);
        }
        Ok(all)
    }

    fn add(&mut self, scope: &Scope) {
        match scope {
            Scope::All => self.all = true,
            Scope::Agent(agent) => {
                self.agents.insert(agent.clone());
            }
            Scope::Plugin(plugin) => {
                self.plugins.insert(plugin.clone());
            }
            Scope::Task(_) | Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_) => {}
        }
    }

    fn has(&self, scope: &Scope) -> bool {
        match scope {
            Scope::All => self.all,
            Scope::Agent(agent) => self.agents.contains(agent),
            Scope::Plugin(plugin) => self.plugins.contains(plugin),
            Scope::Task(_) | Scope::Lease(_) | Scope::Approval(_) | Scope::Token(_) => false,
        }
    }
}

impl State {
    /// What is revoked. From memory.
    pub(crate) fn revocations(&self) -> Arc<Revocations> {
        self.0.revocations.load_full()
    }

    /// Whether `scope` itself is revoked. From memory.
    #[must_use]
    pub fn is_revoked(&self, scope: &Scope) -> bool {
        self.revocations().has(scope)
    }

    /// Takes `scope` for revoked from now on, in memory alone: before the disk is waited for, and
    /// where it fails.
    pub(crate) fn distrust(&self, scope: &Scope) {
        self.0.revocations.rcu(|known| {
            let mut next = Revocations::clone(known);
            next.add(scope);
            next
        });
    }

    /// Revokes an agent, a task, a plugin or all. An agent's token and tasks go with it, in one step.
    /// What is revoked already stays as it is.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn revoke(&self, scope: &Scope, by: &str, now: Duration) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let why = format!("revoked by {by}");
        match scope {
            Scope::Agent(agent) => {
                transaction
                    .execute(
                        "UPDATE agents SET revoked = coalesce(revoked, ?2) WHERE id = ?1",
                        params![agent.as_str(), millis(now)],
                    )
                    .map_err(&error)?;
                transaction
                    .execute(
                        "UPDATE tasks SET ended = ?2, ended_as = 'revoked', why = ?3
                         WHERE agent = ?1 AND ended IS NULL",
                        params![agent.as_str(), millis(now), why],
                    )
                    .map_err(&error)?;
            }
            Scope::Task(task) => {
                transaction
                    .execute(
                        "WITH RECURSIVE within(id) AS (
                             VALUES (?1) UNION SELECT tasks.id FROM tasks JOIN within ON tasks.parent = within.id
                         )
                         UPDATE tasks SET ended = ?2, ended_as = 'revoked', why = ?3
                         WHERE id IN within AND ended IS NULL",
                        params![task.to_string(), millis(now), why],
                    )
                    .map_err(&error)?;
            }
            _ => {}
        }
        if matches!(scope, Scope::Agent(_) | Scope::Plugin(_) | Scope::All) {
            transaction
                .execute(
                    "INSERT INTO revocations (kind, subject, revoked, by) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (kind, subject) DO NOTHING",
                    params![scope.kind(), scope.subject(), millis(now), by],
                )
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)?;
        self.distrust(scope);
        self.reload_agents(&connection)
    }

    /// Ends a revocation.
    ///
    /// # Errors
    ///
    /// The database failed; then it stays in force.
    pub(crate) fn lift(&self, scope: &Scope) -> Result<(), StateError> {
        let connection = self.lock();
        connection
            .execute(
                "DELETE FROM revocations WHERE kind = ?1 AND subject = ?2",
                params![scope.kind(), scope.subject()],
            )
            .map_err(self.error())?;
        self.reload_revocations(&connection)
    }

    // INVARIANT: called with the connection locked, so that memory follows the database in its order.
    pub(super) fn reload_revocations(&self, connection: &Connection) -> Result<(), StateError> {
        let known = Revocations::load(connection, &self.0.path)?;
        self.0.revocations.store(Arc::new(known));
        self.changed();
        Ok(())
    }
}
