//! Leases that must outlive the host: from before they are asked for until they are known to be dead.
//!
//! The table has what is not over; what ended stands in the journal. Rows come and go with calls, so
//! a host that dies leaves exactly those that have to be taken back.

use rusqlite::{Row, params};

use super::{State, StateError, from_millis, millis};
use crate::id::{LeaseId, TaskId};
use crate::identity::AgentId;
use crate::journal::record::CallId;
use crate::lease::{Holder, Lease, Stage};
use crate::name::PluginName;

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

struct Raw {
    id: String,
    stage: String,
    held_by: String,
    call: String,
    task: Option<String>,
    agent: String,
    plugin: String,
    bond: Option<String>,
    row: LeaseRowRest,
}

struct LeaseRowRest {
    secret: String,
    source: String,
    origin: String,
    scheme: String,
    revocable: bool,
    expires: Option<i64>,
    uses: u32,
    attempts: u32,
    fault: Option<String>,
    handle: Option<Vec<u8>>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        id: row.get("id")?,
        stage: row.get("stage")?,
        held_by: row.get("held_by")?,
        call: row.get("call")?,
        task: row.get("task")?,
        agent: row.get("agent")?,
        plugin: row.get("plugin")?,
        bond: row.get("bond")?,
        row: LeaseRowRest {
            secret: row.get("secret")?,
            source: row.get("source")?,
            origin: row.get("origin")?,
            scheme: row.get("scheme")?,
            revocable: row.get("revocable")?,
            expires: row.get("expires")?,
            uses: row.get("uses")?,
            attempts: row.get("attempts")?,
            fault: row.get("fault")?,
            handle: row.get("handle")?,
        },
    })
}

impl State {
    /// Keeps a lease as it is now; on the disk when this returns. One that is over is forgotten.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn keep_lease(&self, row: &LeaseRow) -> Result<(), StateError> {
        let LeaseRow { lease, handle } = row;
        if lease.is_over() {
            return self
                .lock()
                .execute("DELETE FROM leases WHERE id = ?1", [lease.id.to_string()])
                .map(drop)
                .map_err(self.error());
        }
        let held_by = match lease.holder {
            Holder::Call(_) => "call",
            Holder::Task(_) => "task",
        };
        self.lock()
            .execute(
                "INSERT OR REPLACE INTO leases (id, stage, held_by, call, task, agent, plugin, secret, source,
                     origin, scheme, revocable, bond, expires, uses, attempts, fault, handle)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
                params![
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
                ],
            )
            .map(drop)
            .map_err(self.error())
    }

    /// Every lease that is not over, as it was when it was last kept.
    ///
    /// # Errors
    ///
    /// The database failed, or a row of it is damaged.
    pub(crate) fn open_leases(&self) -> Result<Vec<LeaseRow>, StateError> {
        let connection = self.lock();
        let read = || {
            connection
                .prepare("SELECT * FROM leases ORDER BY id")?
                .query_map([], raw)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(self.error())?;
        rows.into_iter()
            .map(|raw| {
                let id = raw.id.clone();
                judge(raw).map_err(|what| StateError::Damaged {
                    path: self.0.path.clone(),
                    what: format!("the lease `{id}`: {what}"),
                })
            })
            .collect()
    }
}

fn judge(raw: Raw) -> Result<LeaseRow, String> {
    let call = CallId(uuid::Uuid::parse_str(&raw.call).map_err(|e| e.to_string())?);
    let id: LeaseId = raw.id.parse().map_err(shown)?;
    let task: Option<TaskId> = raw
        .task
        .map(|task| task.parse().map_err(shown))
        .transpose()?;
    let bond: Option<LeaseId> = raw
        .bond
        .map(|bond| bond.parse().map_err(shown))
        .transpose()?;
    let agent: AgentId = raw.agent.parse().map_err(shown)?;
    let plugin: PluginName = raw.plugin.parse().map_err(shown)?;
    let holder = match (raw.held_by.as_str(), task) {
        ("task", Some(task)) => Holder::Task(task),
        _ => Holder::Call(call),
    };
    let rest = raw.row;
    let stage = match raw.stage.as_str() {
        "wanted" => Stage::Wanted { ended: false },
        "live" => Stage::Live,
        _ => Stage::Pending {
            attempts: rest.attempts,
            due: std::time::Duration::ZERO,
        },
    };
    Ok(LeaseRow {
        lease: Lease {
            id,
            holder,
            call,
            task,
            agent,
            plugin,
            secret: rest.secret,
            source: rest.source,
            origin: rest.origin,
            scheme: rest.scheme,
            revocable: rest.revocable,
            durable: true,
            bond,
            expires: rest.expires.map(from_millis),
            uses: rest.uses,
            most_uses: None,
            handle: None,
            fault: rest.fault,
            stage,
        },
        handle: rest.handle,
    })
}

fn shown(error: impl ToString) -> String {
    error.to_string()
}
