//! What was revoked beyond an agent's own token: in the database, and in memory for every call.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::{State, StateError, in_file, millis};
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
pub(super) struct Revocations {
    /// What the database has.
    kept: HashSet<Scope>,
    /// What it does not have: not yet, or because it failed. In force all the same, until it is kept or
    /// lifted or the process ends.
    unkept: HashSet<Scope>,
}

impl Revocations {
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, StateError> {
        Ok(Self {
            kept: kept(connection, path)?,
            unkept: HashSet::new(),
        })
    }

    fn has(&self, scope: &Scope) -> bool {
        self.kept.contains(scope) || self.unkept.contains(scope)
    }
}

fn kept(connection: &Connection, path: &Path) -> Result<HashSet<Scope>, StateError> {
    let read = || {
        connection
            .prepare("SELECT kind, subject FROM revocations")?
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    };
    read()
        .map_err(in_file(path))?
        .into_iter()
        .map(|(kind, subject)| {
            Scope::parse(&kind, &subject).map_err(|what| StateError::Damaged {
                path: path.to_owned(),
                what,
            })
        })
        .collect()
}

impl State {
    /// Whether `scope` itself is revoked. From memory.
    #[must_use]
    pub fn is_revoked(&self, scope: &Scope) -> bool {
        self.0.revocations.load().has(scope)
    }

    /// Takes `scope` for revoked from now on, in memory alone: before the disk is waited for, and
    /// where it fails.
    pub(crate) fn distrust(&self, scope: &Scope) {
        if !scope.stands() {
            return;
        }
        self.0.revocations.rcu(|known| {
            let mut next = Revocations::clone(known);
            next.unkept.insert(scope.clone());
            next
        });
    }

    /// Revokes an agent, a task, a plugin or all. An agent's token and tasks go with it, and the tasks within
    /// those, in one step.
    /// What is revoked already stays as it is.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn revoke(&self, scope: &Scope, by: &str, now: Duration) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        if let Scope::Agent(agent) = scope {
            transaction
                .execute(
                    "UPDATE agents SET revoked = coalesce(revoked, ?2) WHERE id = ?1",
                    params![agent.as_str(), millis(now)],
                )
                .map_err(&error)?;
        }
        let tasks = match scope {
            Scope::Agent(_) => Some("agent"),
            Scope::Task(_) => Some("id"),
            _ => None,
        };
        if let Some(column) = tasks {
            transaction
                .execute(
                    &format!(
                        "WITH RECURSIVE within(id) AS (
                             SELECT id FROM tasks WHERE {column} = ?1 AND ended IS NULL
                             UNION SELECT tasks.id FROM tasks JOIN within ON tasks.parent = within.id
                         )
                         UPDATE tasks SET ended = ?2, ended_as = 'revoked', why = ?3
                         WHERE id IN within AND ended IS NULL"
                    ),
                    params![scope.subject(), millis(now), format!("revoked by {by}")],
                )
                .map_err(&error)?;
        }
        if scope.stands() {
            transaction
                .execute(
                    "INSERT INTO revocations (kind, subject, revoked, by) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (kind, subject) DO NOTHING",
                    params![scope.kind(), scope.subject(), millis(now), by],
                )
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)?;
        self.reload_revocations(&connection, None)?;
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
        self.reload_revocations(&connection, Some(scope))
    }

    /// Takes in what the database has, which has no revocation of `lifted` any more.
    // INVARIANT: called with the connection locked, so that memory follows the database in its order.
    pub(super) fn reload_revocations(
        &self,
        connection: &Connection,
        lifted: Option<&Scope>,
    ) -> Result<(), StateError> {
        let kept = kept(connection, &self.0.path)?;
        self.0.revocations.rcu(|known| {
            let still = |scope: &&Scope| !kept.contains(scope) && Some(*scope) != lifted;
            Revocations {
                unkept: known.unkept.iter().filter(still).cloned().collect(),
                kept: kept.clone(),
            }
        });
        self.changed();
        Ok(())
    }
}
