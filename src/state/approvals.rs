//! Approvals on the disk: what must hold over the end of the process at any point.
//!
//! A row is one approval whole. It moves on only from the state in which it was read, so that a move
//! that was made already can't be made twice, whatever memory says.

use std::path::Path;

use rusqlite::{Connection, params};

use super::{State, StateError, millis};
use crate::approval::{Approval, Status};
use crate::id::ApprovalId;

pub(super) const TABLES: &str = "
    CREATE TABLE approvals (
        id      TEXT    NOT NULL PRIMARY KEY,
        status  TEXT    NOT NULL CHECK (status IN
            ('pending', 'approved', 'denied', 'used', 'expired', 'withdrawn', 'revoked', 'void')),
        -- Uses of a standing approval leave its status as it is: this tells them apart.
        uses    INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        -- The approval, as JSON. Its arguments are whole while a person may still agree to them.
        body    TEXT    NOT NULL
    ) STRICT;
    CREATE INDEX approvals_changed ON approvals (changed);
";

impl State {
    /// Every approval that is kept.
    ///
    /// # Errors
    ///
    /// The database failed, or has something in it that is no approval.
    pub(crate) fn approvals(&self) -> Result<Vec<Approval>, StateError> {
        let connection = self.lock();
        let bodies = bodies(&connection).map_err(self.error())?;
        read(&bodies, &self.0.path)
    }

    /// The approvals in the database at `path`, which another process may have open: nothing is changed.
    ///
    /// # Errors
    ///
    /// It can't be read, or has something in it that is no approval.
    pub(crate) fn look_at_approvals(path: &Path) -> Result<Vec<Approval>, StateError> {
        let connection = super::look_at(path)?;
        let bodies = bodies(&connection).map_err(super::in_file(path))?;
        read(&bodies, path)
    }

    /// Keeps a new approval.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn add_approval(&self, approval: &Approval) -> Result<(), StateError> {
        let body = self.body(approval)?;
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO approvals (id, status, uses, changed, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    approval.id.to_string(),
                    approval.status.as_str(),
                    approval.uses,
                    millis(approval.changed),
                    body
                ],
            )
            .map_err(self.error())
            .map(drop)
    }

    /// Moves an approval on from `from`; says whether it was there. On the disk once this returns.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn move_approval(
        &self,
        from: (Status, u32),
        to: &Approval,
    ) -> Result<bool, StateError> {
        let body = self.body(to)?;
        let connection = self.lock();
        let moved = connection
            .execute(
                "UPDATE approvals SET status = ?4, uses = ?5, changed = ?6, body = ?7
                 WHERE id = ?1 AND status = ?2 AND uses = ?3",
                params![
                    to.id.to_string(),
                    from.0.as_str(),
                    from.1,
                    to.status.as_str(),
                    to.uses,
                    millis(to.changed),
                    body
                ],
            )
            .map_err(self.error())?;
        Ok(moved == 1)
    }

    /// Forgets these.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn forget_approvals(&self, ids: &[ApprovalId]) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        for id in ids {
            transaction
                .execute("DELETE FROM approvals WHERE id = ?1", [id.to_string()])
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)
    }

    fn body(&self, approval: &Approval) -> Result<String, StateError> {
        serde_json::to_string(approval).map_err(|error| damaged(&self.0.path, &error))
    }
}

fn read(bodies: &[String], path: &Path) -> Result<Vec<Approval>, StateError> {
    bodies
        .iter()
        .map(|body| serde_json::from_str(body).map_err(|error| damaged(path, &error)))
        .collect()
}

fn damaged(path: &Path, what: &serde_json::Error) -> StateError {
    StateError::Damaged {
        path: path.to_owned(),
        what: format!("an approval: {what}"),
    }
}

fn bodies(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare("SELECT body FROM approvals ORDER BY changed")?
        .query_map([], |row| row.get(0))?
        .collect()
}
