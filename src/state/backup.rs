//! The database, copied while it is written, and made safe where such a copy is put back.

use std::path::Path;
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, params};

use super::{State, StateError, in_file, look_at, millis};
use crate::approval::Status;
use crate::private::{self, PrivateError};
use crate::revocation::Scope;

/// Copies the database at `from`, which a host may be writing, to `to`, which must not be there: all of
/// one moment. Gives the version of its tables.
///
/// # Errors
///
/// It can't be read or written, or is damaged.
pub(crate) fn copy_database(from: &Path, to: &Path) -> Result<u32, StateError> {
    let source = look_at(from)?;
    // Made here, for its owner only.
    drop(private::open_or_make(to)?);
    let mut target = Connection::open(to).map_err(in_file(to))?;
    // In one step: it reads under one lock, which keeps nobody from writing (a write-ahead log), while a
    // copy in pieces begins anew with each write in between.
    let copied = Backup::new(&source, &mut target)
        .and_then(|backup| backup.step(-1))
        .map_err(in_file(from))?;
    if copied != StepResult::Done {
        return Err(damaged(from, "it could not be read at one moment"));
    }
    let checked: String = target
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(in_file(to))?;
    if checked != "ok" {
        return Err(damaged(from, &checked));
    }
    // One file, with nothing beside it.
    target
        .pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        .map_err(in_file(to))?;
    let version = target
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(in_file(to))?;
    target.close().map_err(|(_, error)| in_file(to)(error))?;
    private::open(to)?
        .sync_all()
        .map_err(PrivateError::io(to, "sync"))?;
    Ok(version)
}

fn damaged(path: &Path, what: &str) -> StateError {
    StateError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

impl State {
    /// Takes from what this database has whatever was, perhaps, used up or taken back since: it is one of
    /// the past. Approvals that were not used are void, tasks are over, tokens that were replaced are gone,
    /// people need new credentials; and all is stopped until an operator lifts that.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn void_the_past(&self, why: &str, now: Duration) -> Result<(), StateError> {
        // First: what fails behind it leaves a host that runs nothing.
        self.revoke(&Scope::All, why, now)?;
        for mut approval in self.approvals()? {
            if !approval.status.is_live() {
                continue;
            }
            let from = (approval.status, approval.uses);
            approval.status = Status::Void;
            approval.why = Some(why.to_owned());
            approval.changed = now;
            self.move_approval(from, &approval)?;
        }
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        transaction
            .execute(
                "UPDATE tasks SET ended = ?1, ended_as = 'revoked', why = ?2 WHERE ended IS NULL",
                params![millis(now), why],
            )
            .map_err(&error)?;
        transaction
            .execute("DELETE FROM previous_tokens", [])
            .map_err(&error)?;
        // Who was removed since, or had a credential taken away, could lift that stop: over the admin API, no
        // socket is needed for it. Expired by whichever clock; where no administrator's credential is good,
        // the operator at the socket renews them.
        transaction
            .execute("UPDATE people SET expires = 0", [])
            .map_err(&error)?;
        transaction.commit().map_err(&error)
    }
}
