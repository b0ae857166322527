//! The tables, and how a database of an earlier version gets there.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::{StateError, in_file};

/// Each takes a database from the version of its position to the next. Never change one that was
/// released: add another.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE agents (
        id      TEXT    NOT NULL PRIMARY KEY,
        -- SHA-256 of the token, never the token. Unique: two agents with one token can't be.
        token   BLOB    NOT NULL UNIQUE CHECK (length(token) = 32),
        created INTEGER NOT NULL,
        expires INTEGER,
        revoked INTEGER
    ) STRICT;
    CREATE TABLE pins (
        plugin             TEXT    NOT NULL PRIMARY KEY,
        component          BLOB    NOT NULL CHECK (length(component) = 32),
        description        TEXT    NOT NULL,
        description_digest BLOB    NOT NULL CHECK (length(description_digest) = 32),
        settings           BLOB    NOT NULL CHECK (length(settings) = 32),
        accepted           INTEGER NOT NULL,
        accepted_by        TEXT    NOT NULL CHECK (accepted_by IN ('first-seen', 'operator'))
    ) STRICT;
",
    super::approvals::TABLES,
    super::revocations::TABLES,
    super::tasks::TABLES,
    super::people::TABLES,
    super::pins::FACTS,
    super::leases::TABLES,
    super::tokens::TABLES,
    super::jobs::TABLES,
];

/// Brings the database to the version that this host knows.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StateError> {
    let error = in_file(path);
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(&error)?;
    let found: u32 = transaction
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(&error)?;
    if found > known {
        return Err(StateError::Newer {
            path: path.to_owned(),
            found,
            known,
        });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        transaction.execute_batch(step).map_err(&error)?;
    }
    if found < known {
        transaction
            .pragma_update(None, "user_version", known)
            .map_err(&error)?;
    }
    transaction.commit().map_err(&error)
}
