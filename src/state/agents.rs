//! Agents, in the database and in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;

use super::{State, StateError, from_millis, in_file, millis};
use crate::digest::Digest;
use crate::identity::AgentId;
use crate::revocation::Scope;

/// An agent, as the host knows it. It holds no token, only the digest of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AgentRecord {
    /// Which.
    pub id: AgentId,
    /// SHA-256 of its token.
    #[serde(skip)]
    pub token: Digest,
    /// When the token was made. Times are since 1970-01-01T00:00:00Z.
    pub created: Duration,
    /// From when on the token is worth nothing, if ever.
    pub expires: Option<Duration>,
    /// When it was revoked, if it was.
    pub revoked: Option<Duration>,
}

/// All agents, in memory: what calls ask.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_id: BTreeMap<AgentId, Arc<AgentRecord>>,
    by_token: HashMap<Digest, Arc<AgentRecord>>,
}

impl Directory {
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, StateError> {
        let read = || {
            connection
                .prepare("SELECT id, token, created, expires, revoked FROM agents")?
                .query_map([], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        AgentRow {
                            token: row.get(1)?,
                            created: row.get(2)?,
                            expires: row.get(3)?,
                            revoked: row.get(4)?,
                        },
                    ))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut directory = Self::default();
        for (id, row) in read().map_err(in_file(path))? {
            let id: AgentId =
                id.parse()
                    .map_err(|e: crate::identity::ParseAgentError| StateError::Damaged {
                        path: path.to_owned(),
                        what: e.to_string(),
                    })?;
            let record = Arc::new(AgentRecord {
                id: id.clone(),
                token: Digest::from_bytes(row.token),
                created: from_millis(row.created),
                expires: row.expires.map(from_millis),
                revoked: row.revoked.map(from_millis),
            });
            directory.by_token.insert(record.token, Arc::clone(&record));
            directory.by_id.insert(id, record);
        }
        let previous = super::tokens::previous(connection).map_err(in_file(path))?;
        for (token, agent, created, expires) in previous {
            // Under an agent that is not there it would be nobody's; the foreign key keeps that out.
            let agent = agent.parse::<AgentId>().ok();
            let Some(of) = agent.and_then(|id| directory.by_id.get(&id)) else {
                continue;
            };
            let record = Arc::new(AgentRecord {
                token,
                created,
                expires: Some(expires),
                ..AgentRecord::clone(of)
            });
            directory.by_token.insert(token, record);
        }
        Ok(directory)
    }
}

struct AgentRow {
    token: [u8; 32],
    created: i64,
    expires: Option<i64>,
    revoked: Option<i64>,
}

impl State {
    /// The agents in the database at `path`, which another process may have open: nothing is changed.
    ///
    /// # Errors
    ///
    /// It can't be read, or is damaged.
    pub fn look_at_agents(path: &Path) -> Result<Vec<Arc<AgentRecord>>, StateError> {
        let connection = super::look_at(path)?;
        let directory = Directory::load(&connection, path)?;
        Ok(directory.by_id.into_values().collect())
    }

    /// The agent whose token has this digest. From memory.
    #[must_use]
    pub fn agent_by_token(&self, token: &Digest) -> Option<Arc<AgentRecord>> {
        self.0.agents.load().by_token.get(token).cloned()
    }

    /// The agent `id`. From memory.
    #[must_use]
    pub fn agent(&self, id: &AgentId) -> Option<Arc<AgentRecord>> {
        self.0.agents.load().by_id.get(id).cloned()
    }

    /// The tokens of the agent `id`: the present one, and the one before while it is kept. From memory.
    #[must_use]
    pub fn tokens_of(&self, id: &AgentId) -> Vec<Arc<AgentRecord>> {
        let agents = self.0.agents.load();
        let of = agents.by_token.values().filter(|record| record.id == *id);
        of.cloned().collect()
    }

    /// Every agent, revoked ones included, by name.
    #[must_use]
    pub fn agents(&self) -> Vec<Arc<AgentRecord>> {
        self.0.agents.load().by_id.values().cloned().collect()
    }

    /// Adds an agent, or gives one that was revoked a new token.
    ///
    /// # Errors
    ///
    /// It has a token already, or another agent has this one; or the database failed.
    pub fn add_agent(&self, agent: &AgentRecord) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let live: Option<bool> = transaction
            .query_row(
                "SELECT revoked IS NULL FROM agents WHERE id = ?1",
                [agent.id.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(&error)?;
        if live == Some(true) {
            return Err(StateError::AgentExists(agent.id.clone()));
        }
        if super::tokens::is_taken(&transaction, &agent.token).map_err(&error)? {
            return Err(StateError::TokenShared(agent.id.clone()));
        }
        transaction
            .execute("DELETE FROM agents WHERE id = ?1", [agent.id.as_str()])
            .map_err(&error)?;
        transaction
            .execute(
                "INSERT INTO agents (id, token, created, expires, revoked) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    agent.id.as_str(),
                    agent.token.as_bytes(),
                    millis(agent.created),
                    agent.expires.map(millis),
                    agent.revoked.map(millis),
                ],
            )
            .map_err(&error)?;
        // A new token gives back what was revoked; the tasks of before stay ended.
        transaction
            .execute(
                "DELETE FROM revocations WHERE kind = 'agent' AND subject = ?1",
                [agent.id.as_str()],
            )
            .map_err(&error)?;
        transaction.commit().map_err(&error)?;
        self.reload_revocations(&connection, Some(&Scope::Agent(agent.id.clone())))?;
        self.reload_agents(&connection)
    }

    /// Revokes the token of the agent `id`. One that is revoked already stays as it is.
    ///
    /// # Errors
    ///
    /// There is no such agent, or the database failed.
    pub fn revoke_agent(&self, id: &AgentId, now: Duration) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let found = transaction
            .execute(
                "UPDATE agents SET revoked = coalesce(revoked, ?2) WHERE id = ?1",
                params![id.as_str(), millis(now)],
            )
            .map_err(&error)?;
        if found == 0 {
            return Err(StateError::NoAgent(id.clone()));
        }
        transaction
            .execute(
                "DELETE FROM previous_tokens WHERE agent = ?1",
                [id.as_str()],
            )
            .map_err(&error)?;
        transaction.commit().map_err(&error)?;
        self.reload_agents(&connection)
    }

    // INVARIANT: called with the connection locked, so that memory follows the database in its order.
    pub(super) fn reload_agents(&self, connection: &Connection) -> Result<(), StateError> {
        let directory = Directory::load(connection, &self.0.path)?;
        self.0.agents.store(Arc::new(directory));
        self.changed();
        Ok(())
    }
}
