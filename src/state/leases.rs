//! Leases that must outlive the host: from before they are asked for until they are known to be dead.
//!
//! The table has what is not over; what ended stands in the journal. Rows come and go with calls, so
//! a host that dies leaves exactly those that have to be taken back.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use rusqlite::{Connection, Row, params};

use super::{State, StateError, from_millis, millis};
use crate::id::TaskId;
use crate::journal::record::CallId;
use crate::lease::{Holder, Lease, Stage};

pub(super) const TABLES: &str = "
    CREATE TABLE leases (
        id         TEXT    NOT NULL PRIMARY KEY,
        stage      TEXT    NOT NULL CHECK (stage IN ('wanted', 'live', 'pending')),
        -- Whose end ends it.
        held_by    TEXT    NOT NULL CHECK (held_by IN ('call', 'task')),
        call       TEXT    NOT NULL,
        task       TEXT,
        agent      TEXT    NOT NULL,
        plugin     TEXT    NOT NULL,
        secret     TEXT    NOT NULL,
        source     TEXT    NOT NULL,
        origin     TEXT    NOT NULL,
        scheme     TEXT    NOT NULL,
        revocable  INTEGER NOT NULL,
        -- The lease whose end takes this one along.
        bond       TEXT,
        expires    INTEGER,
        uses       INTEGER NOT NULL,
        attempts   INTEGER NOT NULL,
        fault      TEXT,
        -- What takes it back, sealed under the key of the store of secrets: it may be a credential.
        handle     BLOB
    ) STRICT;
";

/// A lease as it is kept: its handle is sealed.
#[derive(Debug, Clone)]
pub(crate) struct LeaseRow {
    pub(crate) lease: Lease,
    pub(crate) handle: Option<Vec<u8>>,
}

impl State {
    /// Keeps leases as they are now, all or none; on the disk when this returns. What is over is
    /// forgotten.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn keep_leases(&self, rows: &[LeaseRow]) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        for row in rows {
            keep(&transaction, row).map_err(&error)?;
        }
        transaction.commit().map_err(&error)
    }

    /// Every lease that is not over, as it was when it was last kept.
    ///
    /// # Errors
    ///
    /// The database failed, or a row of it is damaged.
    pub(crate) fn open_leases(&self) -> Result<Vec<LeaseRow>, StateError> {
        let connection = self.lock();
        let all = "SELECT * FROM leases ORDER BY id";
        let mut statement = connection.prepare(all).map_err(self.error())?;
        let rows = statement.query_and_then([], read).map_err(self.error())?;
        let kept = rows.collect::<Result<_, Unreadable>>();
        kept.map_err(|unreadable| match unreadable {
            Unreadable::Database(error) => self.error()(error),
            Unreadable::Damaged(what) => StateError::Damaged {
                path: self.0.path.clone(),
                what,
            },
        })
    }
}

fn keep(connection: &Connection, row: &LeaseRow) -> rusqlite::Result<()> {
    let LeaseRow { lease, handle } = row;
    if lease.is_over() {
        let forget = "DELETE FROM leases WHERE id = ?1";
        return connection
            .prepare_cached(forget)?
            .execute([lease.id.to_string()])
            .map(drop);
    }
    let held_by = match lease.holder {
        Holder::Call(_) => "call",
        Holder::Task(_) => "task",
    };
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO leases (id, stage, held_by, call, task, agent, plugin, secret, source,
                 origin, scheme, revocable, bond, expires, uses, attempts, fault, handle)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
        )?
        .execute(params![
            lease.id.to_string(),
            lease.stage.name(),
            held_by,
            lease.call.to_string(),
            lease.task.map(|task| task.to_string()),
            lease.agent.as_str(),
            lease.plugin.as_str(),
            lease.secret,
            lease.source,
            lease.origin,
            lease.scheme,
            lease.revocable,
            lease.bond.map(|bond| bond.to_string()),
            lease.expires.map(millis),
            lease.uses,
            lease.attempts(),
            lease.fault,
            handle,
        ])
        .map(drop)
}

/// Why there is no lease in a row.
enum Unreadable {
    Database(rusqlite::Error),
    Damaged(String),
}

impl From<rusqlite::Error> for Unreadable {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

fn read(row: &Row<'_>) -> Result<LeaseRow, Unreadable> {
    let call = CallId(parsed(row, "call")?);
    let task: Option<TaskId> = parsed_if_any(row, "task")?;
    let holder = match (row.get::<_, String>("held_by")?.as_str(), task) {
        ("task", Some(task)) => Holder::Task(task),
        _ => Holder::Call(call),
    };
    let stage = match row.get::<_, String>("stage")?.as_str() {
        "wanted" => Stage::Wanted { ended: false },
        "live" => Stage::Live,
        _ => Stage::Pending {
            attempts: row.get("attempts")?,
            due: Duration::ZERO,
        },
    };
    let lease = Lease {
        id: parsed(row, "id")?,
        holder,
        call,
        task,
        agent: parsed(row, "agent")?,
        plugin: parsed(row, "plugin")?,
        secret: row.get("secret")?,
        source: row.get("source")?,
        origin: row.get("origin")?,
        scheme: row.get("scheme")?,
        revocable: row.get("revocable")?,
        durable: true,
        bond: parsed_if_any(row, "bond")?,
        expires: row.get::<_, Option<i64>>("expires")?.map(from_millis),
        uses: row.get("uses")?,
        most_uses: None,
        handle: None,
        fault: row.get("fault")?,
        stage,
    };
    let handle = row.get("handle")?;
    Ok(LeaseRow { lease, handle })
}

/// What the text of a column stands for.
fn parsed<T: FromStr<Err: Display>>(row: &Row<'_>, column: &str) -> Result<T, Unreadable> {
    parse(column, &row.get::<_, String>(column)?)
}

fn parsed_if_any<T: FromStr<Err: Display>>(
    row: &Row<'_>,
    column: &str,
) -> Result<Option<T>, Unreadable> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(column, &text)).transpose()
}

fn parse<T: FromStr<Err: Display>>(column: &str, text: &str) -> Result<T, Unreadable> {
    text.parse().map_err(|error: T::Err| {
        Unreadable::Damaged(format!("a lease has `{text}` as its {column}: {error}"))
    })
}
