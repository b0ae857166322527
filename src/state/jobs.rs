//! Jobs on the disk: that there is one, how far it is, and what came of it.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Row, params};

use super::{State, StateError, from_millis, millis};
use crate::identity::AgentId;
use crate::job::{JobId, Owner, Status};
use crate::journal::record::CallId;

pub(super) const TABLES: &str = "
    CREATE TABLE jobs (
        id      TEXT    NOT NULL PRIMARY KEY,
        agent   TEXT    NOT NULL,
        -- Whose it is, as JSON: agent, person, chain, step token.
        owner   TEXT    NOT NULL,
        tool    TEXT    NOT NULL,
        -- The latest call of it, once one was made.
        call    TEXT,
        status  TEXT    NOT NULL CHECK (status IN
            ('working', 'asking', 'held', 'completed', 'failed', 'cancelled')),
        created INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        -- The result or the error that its client gets, as JSON, and how long that is.
        body    TEXT,
        bytes   INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX jobs_expire ON jobs (expires);
";

const COLUMNS: &str = "id, owner, tool, call, status, created, changed, expires, body";

/// A job, whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobRow {
    pub(crate) id: JobId,
    pub(crate) owner: Owner,
    /// As agents see it.
    pub(crate) tool: String,
    pub(crate) call: Option<CallId>,
    pub(crate) status: Status,
    pub(crate) created: Duration,
    pub(crate) changed: Duration,
    pub(crate) expires: Duration,
    pub(crate) body: Option<String>,
}

/// A row, not yet judged.
struct Raw {
    texts: [String; 4],
    call: Option<String>,
    times: [i64; 3],
    body: Option<String>,
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    Ok(Raw {
        texts: [row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?],
        call: row.get(3)?,
        times: [row.get(5)?, row.get(6)?, row.get(7)?],
        body: row.get(8)?,
    })
}

impl State {
    /// Keeps a new job.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn add_job(&self, job: &JobRow) -> Result<(), StateError> {
        let owner = serde_json::to_string(&job.owner)
            .map_err(|error| self.damaged_job(&error.to_string()))?;
        self.lock()
            .execute(
                "INSERT INTO jobs (id, agent, owner, tool, call, status, created, changed, expires)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    job.id.to_string(),
                    job.owner.agent.as_str(),
                    owner,
                    job.tool,
                    job.call.map(|call| call.to_string()),
                    job.status.as_str(),
                    millis(job.created),
                    millis(job.changed),
                    millis(job.expires),
                ],
            )
            .map(drop)
            .map_err(self.error())
    }

    /// Moves a job that is not over on.
    ///
    /// # Errors
    ///
    /// The database failed, or the job is over.
    pub(crate) fn move_job(
        &self,
        id: JobId,
        status: Status,
        call: Option<CallId>,
        now: Duration,
    ) -> Result<(), StateError> {
        self.end_job(id, status, call, now, None)
    }

    /// The same, with what came of it.
    ///
    /// # Errors
    ///
    /// The database failed, or the job is over.
    pub(crate) fn end_job(
        &self,
        id: JobId,
        status: Status,
        call: Option<CallId>,
        now: Duration,
        body: Option<&str>,
    ) -> Result<(), StateError> {
        let bytes = body.map_or(0, |body| i64::try_from(body.len()).unwrap_or(i64::MAX));
        let moved = self
            .lock()
            .execute(
                "UPDATE jobs SET status = ?2, call = ?3, changed = ?4, body = ?5, bytes = ?6
                 WHERE id = ?1 AND status IN ('working', 'asking', 'held')",
                params![
                    id.to_string(),
                    status.as_str(),
                    call.map(|call| call.to_string()),
                    millis(now),
                    body,
                    bytes,
                ],
            )
            .map_err(self.error())?;
        match moved {
            1 => Ok(()),
            _ => Err(self.damaged_job("it is over already, or gone")),
        }
    }

    /// The job of this id.
    ///
    /// # Errors
    ///
    /// The database failed, or has something in it that is no job.
    pub(crate) fn job(&self, id: JobId) -> Result<Option<JobRow>, StateError> {
        let found = self
            .lock()
            .query_row(
                &format!("SELECT {COLUMNS} FROM jobs WHERE id = ?1"),
                [id.to_string()],
                raw,
            )
            .optional()
            .map_err(self.error())?;
        found.map(|row| self.judge_job(row)).transpose()
    }

    /// The jobs that are not over.
    ///
    /// # Errors
    ///
    /// The database failed, or has something in it that is no job.
    pub(crate) fn unfinished_jobs(&self) -> Result<Vec<JobRow>, StateError> {
        let read = || {
            self.lock()
                .prepare(&format!(
                    "SELECT {COLUMNS} FROM jobs WHERE status IN ('working', 'asking', 'held') ORDER BY created, id"
                ))?
                .query_map([], raw)?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(self.error())?;
        rows.into_iter().map(|row| self.judge_job(row)).collect()
    }

    /// How many jobs that are over are kept of each agent, and bytes of what came of them.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn kept_of_jobs(&self) -> Result<Vec<(AgentId, u64, u64)>, StateError> {
        let read = || {
            self.lock()
                .prepare(
                    "SELECT agent, COUNT(*), SUM(bytes) FROM jobs
                     WHERE status IN ('completed', 'failed', 'cancelled') GROUP BY agent",
                )?
                .query_map([], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, i64>(2)?,
                    ))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(self.error())?;
        rows.into_iter()
            .map(|(agent, jobs, bytes)| {
                let agent = agent
                    .parse()
                    .map_err(|_| self.damaged_job("of no agent's name"))?;
                let count = |n: i64| u64::try_from(n).unwrap_or(0);
                Ok((agent, count(jobs), count(bytes)))
            })
            .collect()
    }

    /// When the next job's time is over.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn next_job(&self) -> Result<Option<Duration>, StateError> {
        let next: Option<i64> = self
            .lock()
            .query_row("SELECT MIN(expires) FROM jobs", [], |row| row.get(0))
            .map_err(self.error())?;
        Ok(next.map(from_millis))
    }

    /// Forgets the jobs that are over, and whose time is. Gives whose they were, and the bytes of what came
    /// of each.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn forget_jobs(&self, now: Duration) -> Result<Vec<(AgentId, u64)>, StateError> {
        let forget = || {
            self.lock()
                .prepare(
                    "DELETE FROM jobs
                     WHERE expires <= ?1 AND status IN ('completed', 'failed', 'cancelled')
                     RETURNING agent, bytes",
                )?
                .query_map([millis(now)], |row| {
                    Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let gone = forget().map_err(self.error())?;
        // One of nobody's was not counted for anybody.
        let counted = gone.into_iter().filter_map(|(agent, bytes)| {
            let bytes = u64::try_from(bytes).unwrap_or(0);
            agent.parse::<AgentId>().ok().map(|agent| (agent, bytes))
        });
        Ok(counted.collect())
    }

    /// Forgets a job, however far it is: one that nobody was told of, or that nobody may ask for any more.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub(crate) fn forget_job(&self, id: JobId) -> Result<(), StateError> {
        self.lock()
            .execute("DELETE FROM jobs WHERE id = ?1", [id.to_string()])
            .map(drop)
            .map_err(self.error())
    }

    fn judge_job(&self, row: Raw) -> Result<JobRow, StateError> {
        let [id, owner, tool, status] = row.texts;
        let [created, changed, expires] = row.times.map(from_millis);
        let wrong = |what: &str| self.damaged_job(what);
        let call = match row.call {
            None => None,
            Some(call) => Some(CallId(
                call.parse().map_err(|_| wrong("its call has no id"))?,
            )),
        };
        Ok(JobRow {
            id: id.parse().map_err(|_| wrong("it has no id"))?,
            owner: serde_json::from_str(&owner).map_err(|_| wrong("it is nobody's"))?,
            tool,
            call,
            status: Status::named(&status).ok_or_else(|| wrong("no such status"))?,
            created,
            changed,
            expires,
            body: row.body,
        })
    }

    fn damaged_job(&self, what: &str) -> StateError {
        StateError::Damaged {
            path: self.0.path.clone(),
            what: format!("a job: {what}"),
        }
    }
}
