//! Tasks in the database. The registry of tasks keeps them in memory for the calls.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{State, StateError, from_millis, millis};
use crate::id::TaskId;
use crate::task::{End, Ended, Task, Used};

pub(super) const TABLES: &str = "
    CREATE TABLE tasks (
        id       TEXT    NOT NULL PRIMARY KEY,
        agent    TEXT    NOT NULL,
        user     TEXT,
        intent   TEXT    NOT NULL,
        -- JSON, as the commands show it.
        tools    TEXT    NOT NULL,
        budgets  TEXT    NOT NULL,
        -- JSON: at least what was used, so that a restart gives nothing back.
        used     TEXT    NOT NULL,
        labels   TEXT    NOT NULL,
        parent   TEXT,
        created  INTEGER NOT NULL,
        expires  INTEGER NOT NULL,
        ended    INTEGER,
        ended_as TEXT    CHECK (ended_as IN ('ended', 'expired', 'revoked')),
        why      TEXT
    ) STRICT;
    CREATE INDEX tasks_of_agent ON tasks (agent);
    -- The latest time that the host has seen: a clock that is set back revives nothing.
    CREATE TABLE clock (
        one    INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
        latest INTEGER NOT NULL
    ) STRICT;
";

const COLUMNS: &str = "id, agent, user, intent, tools, budgets, used, labels, parent, created, expires, ended, ended_as, why";

/// A row, not yet judged.
struct TaskRow {
    texts: [String; 7],
    user: Option<String>,
    parent: Option<String>,
    created: i64,
    expires: i64,
    ended: Option<(i64, String, String)>,
}

fn row(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let ended: Option<i64> = row.get(11)?;
    Ok(TaskRow {
        texts: [
            row.get(0)?,
            row.get(1)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
            row.get(6)?,
            row.get(7)?,
        ],
        user: row.get(2)?,
        parent: row.get(8)?,
        created: row.get(9)?,
        expires: row.get(10)?,
        ended: match ended {
            Some(at) => Some((
                at,
                row.get(12)?,
                row.get::<_, Option<String>>(13)?.unwrap_or_default(),
            )),
            None => None,
        },
    })
}

impl State {
    /// Every task that is not over, and those that ended after `since`.
    ///
    /// # Errors
    ///
    /// The database failed, or a task in it is damaged.
    pub(crate) fn tasks(&self, since: Duration) -> Result<Vec<Task>, StateError> {
        let connection = self.lock();
        let read = || {
            connection
                .prepare(&format!(
                    "SELECT {COLUMNS} FROM tasks WHERE ended IS NULL OR ended >= ?1 ORDER BY created, id"
                ))?
                .query_map([millis(since)], row)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        read()
            .map_err(self.error())?
            .into_iter()
            .map(|row| self.judge_task(row))
            .collect()
    }

    /// Keeps a new task.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn add_task(&self, task: &Task) -> Result<(), StateError> {
        self.lock()
            .execute(
                &format!(
                    "INSERT INTO tasks ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, NULL, NULL, NULL)"
                ),
                params![
                    task.id.to_string(),
                    task.agent.as_str(),
                    task.user.as_ref().map(crate::identity::PersonId::as_str),
                    task.intent,
                    json(&task.tools),
                    json(&task.budgets),
                    json(&task.used),
                    json(&task.labels),
                    task.parent.map(|parent| parent.to_string()),
                    millis(task.created),
                    millis(task.expires),
                ],
            )
            .map(drop)
            .map_err(self.error())
    }

    /// Keeps what tasks have used, in one step.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn write_used(&self, tasks: &[(TaskId, Used)]) -> Result<(), StateError> {
        self.write_each("UPDATE tasks SET used = ?2 WHERE id = ?1", tasks)
    }

    /// Keeps the labels of tasks, in one step.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn write_labels(
        &self,
        tasks: &[(TaskId, BTreeSet<String>)],
    ) -> Result<(), StateError> {
        self.write_each("UPDATE tasks SET labels = ?2 WHERE id = ?1", tasks)
    }

    /// Puts a value to each task, in one step.
    fn write_each(
        &self,
        update: &str,
        tasks: &[(TaskId, impl Serialize)],
    ) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        for (id, value) in tasks {
            transaction
                .execute(update, params![id.to_string(), json(value)])
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)
    }

    /// Ends tasks, in one step. One that is over stays as it is.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn end_tasks(&self, tasks: &[TaskId], ended: &Ended) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        for id in tasks {
            transaction
                .execute(
                    "UPDATE tasks SET ended = ?2, ended_as = ?3, why = ?4 WHERE id = ?1 AND ended IS NULL",
                    params![
                        id.to_string(),
                        millis(ended.at),
                        ended.how.as_str(),
                        ended.why
                    ],
                )
                .map_err(&error)?;
        }
        transaction.commit().map_err(&error)
    }

    /// The latest time that was kept: by itself, or as when an approval changed.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn latest_time(&self) -> Result<Duration, StateError> {
        self.lock()
            .query_row(
                "SELECT max(coalesce((SELECT latest FROM clock), 0),
                            coalesce((SELECT max(changed) FROM approvals), 0))",
                [],
                |row| row.get(0).map(from_millis),
            )
            .map_err(self.error())
    }

    /// Keeps the latest time.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn keep_time(&self, latest: Duration) -> Result<(), StateError> {
        keep(&self.lock(), latest).map_err(self.error())
    }

    fn judge_task(&self, row: TaskRow) -> Result<Task, StateError> {
        let damaged = |what: &dyn std::fmt::Display| StateError::Damaged {
            path: self.0.path.clone(),
            what: format!("a task: {what}"),
        };
        let [id, agent, intent, tools, budgets, used, labels] = row.texts;
        let ended = match row.ended {
            None => None,
            Some((at, how, why)) => Some(Ended {
                at: from_millis(at),
                how: End::of(&how).ok_or_else(|| damaged(&"no known end"))?,
                why,
            }),
        };
        Ok(Task {
            id: id.parse::<TaskId>().map_err(|e| damaged(&e))?,
            agent: agent
                .parse::<crate::identity::AgentId>()
                .map_err(|e| damaged(&e))?,
            user: row
                .user
                .map(|user| user.parse())
                .transpose()
                .map_err(|e: crate::identity::ParsePersonError| damaged(&e))?,
            intent,
            tools: read(&tools).map_err(|e| damaged(&e))?,
            budgets: read(&budgets).map_err(|e| damaged(&e))?,
            used: read(&used).map_err(|e| damaged(&e))?,
            labels: read(&labels).map_err(|e| damaged(&e))?,
            created: from_millis(row.created),
            expires: from_millis(row.expires),
            ended,
            parent: row
                .parent
                .map(|parent| parent.parse())
                .transpose()
                .map_err(|e: crate::id::ParseIdError| damaged(&e))?,
        })
    }
}

/// These types have no maps but by names, so that they always can be written.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

/// Keeps the latest time, within a transaction of somebody's.
pub(super) fn keep(connection: &Connection, latest: Duration) -> rusqlite::Result<()> {
    connection
        .execute(
            "INSERT INTO clock (one, latest) VALUES (1, ?1)
             ON CONFLICT (one) DO UPDATE SET latest = max(latest, ?1)",
            [millis(latest)],
        )
        .map(drop)
}
