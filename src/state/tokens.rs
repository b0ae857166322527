//! Tokens beyond an agent's own: those it had before, those that were used, those that were revoked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{State, StateError, from_millis, millis};
use crate::digest::Digest;
use crate::identity::AgentId;

/// The tables.
pub(super) const TABLES: &str = "
    -- What an agent had before its token was rotated, good until `expires`.
    CREATE TABLE previous_tokens (
        token   BLOB    NOT NULL PRIMARY KEY CHECK (length(token) = 32),
        agent   TEXT    NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT;
    -- Step tokens that were used, kept until they would have expired.
    CREATE TABLE used_tokens (
        id      TEXT    NOT NULL PRIMARY KEY,
        expires INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX used_tokens_expires ON used_tokens (expires);
    -- Tokens that were revoked by their ids; what was made of one is revoked with it.
    CREATE TABLE denied_tokens (
        id TEXT    NOT NULL PRIMARY KEY,
        at INTEGER NOT NULL
    ) STRICT;
";

/// Ids of revoked tokens, in memory: every request asks.
pub(super) type Denied = HashSet<String>;

pub(super) fn denied(connection: &Connection) -> rusqlite::Result<Denied> {
    connection
        .prepare("SELECT id FROM denied_tokens")?
        .query_map([], |row| row.get(0))?
        .collect()
}

type Previous = (Digest, String, Duration, Duration);

pub(super) fn previous(connection: &Connection) -> rusqlite::Result<Vec<Previous>> {
    connection
        .prepare("SELECT token, agent, created, expires FROM previous_tokens")?
        .query_map([], |row| {
            Ok((
                Digest::from_bytes(row.get(0)?),
                row.get(1)?,
                from_millis(row.get(2)?),
                from_millis(row.get(3)?),
            ))
        })?
        .collect()
}

/// Whether some agent has this token, or had it.
pub(super) fn is_taken(connection: &Connection, token: &Digest) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM agents WHERE token = ?1)
             OR EXISTS (SELECT 1 FROM previous_tokens WHERE token = ?1)",
        [token.as_bytes()],
        |row| row.get(0),
    )
}

/// How an agent's token is replaced.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// SHA-256 of the new token.
    pub token: Digest,
    /// Now.
    pub created: Duration,
    /// From when on the new one is worth nothing.
    pub expires: Option<Duration>,
    /// Until when the old one is good as well, if it is not over before.
    pub overlap: Duration,
}

impl State {
    /// Gives the agent `id` a new token. Its present one stays good until `overlap`; one from before
    /// that is void at once, so that there are never more than two.
    ///
    /// # Errors
    ///
    /// There is no such agent, it was revoked, or another has this token; or the database failed.
    pub fn rotate_agent(&self, id: &AgentId, to: &Rotation) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let present: Option<(Vec<u8>, i64, Option<i64>)> = transaction
            .query_row(
                "SELECT token, created, expires FROM agents WHERE id = ?1 AND revoked IS NULL",
                [id.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(&error)?;
        let (token, created, expires) = present.ok_or_else(|| StateError::NoAgent(id.clone()))?;
        if is_taken(&transaction, &to.token).map_err(&error)? {
            return Err(StateError::TokenShared(id.clone()));
        }
        transaction
            .execute(
                "DELETE FROM previous_tokens WHERE agent = ?1",
                [id.as_str()],
            )
            .map_err(&error)?;
        let until = expires.map_or(millis(to.overlap), |end| end.min(millis(to.overlap)));
        if until > millis(to.created) {
            transaction
                .execute(
                    "INSERT INTO previous_tokens (token, agent, created, expires) VALUES (?1, ?2, ?3, ?4)",
                    params![token, id.as_str(), created, until],
                )
                .map_err(&error)?;
        }
        transaction
            .execute(
                "UPDATE agents SET token = ?2, created = ?3, expires = ?4 WHERE id = ?1",
                params![
                    id.as_str(),
                    to.token.as_bytes(),
                    millis(to.created),
                    to.expires.map(millis)
                ],
            )
            .map_err(&error)?;
        transaction.commit().map_err(&error)?;
        self.reload_agents(&connection)
    }

    /// Whether the single use of this token was taken.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn is_used(&self, id: &str) -> Result<bool, StateError> {
        let taken = "SELECT EXISTS (SELECT 1 FROM used_tokens WHERE id = ?1)";
        self.lock()
            .query_row(taken, [id], |row| row.get(0))
            .map_err(self.error())
    }

    /// Takes the single use of this token; false where it was taken before.
    ///
    /// # Errors
    ///
    /// The database failed: then it was not taken, and nothing may be done.
    pub fn use_token(
        &self,
        id: &str,
        expires: Duration,
        now: Duration,
    ) -> Result<bool, StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let fresh = transaction
            .execute(
                "INSERT INTO used_tokens (id, expires) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![id, millis(expires)],
            )
            .map_err(&error)?;
        if fresh == 0 {
            return Ok(false);
        }
        // What has expired is refused for that, and time never goes back, also over a restart: it is
        // kept in this very transaction.
        transaction
            .execute("DELETE FROM used_tokens WHERE expires < ?1", [millis(now)])
            .map_err(&error)?;
        super::tasks::keep(&transaction, now).map_err(&error)?;
        transaction.commit().map_err(&error)?;
        Ok(true)
    }

    /// Denies a token by its id, for good.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub fn deny(&self, id: &str, now: Duration) -> Result<(), StateError> {
        let connection = self.lock();
        connection
            .execute(
                "INSERT INTO denied_tokens (id, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![id, millis(now)],
            )
            .map_err(self.error())?;
        let all = denied(&connection).map_err(self.error())?;
        self.0.denied.store(Arc::new(all));
        self.changed();
        Ok(())
    }

    /// Whether it was denied. From memory.
    #[must_use]
    pub fn is_denied(&self, id: &str) -> bool {
        self.0.denied.load().contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::AgentRecord;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("db")).unwrap();
        (dir, state)
    }

    fn add(state: &State, name: &str, token: &[u8]) -> Result<AgentId, StateError> {
        let id = AgentId::local(name).unwrap();
        state.add_agent(&AgentRecord {
            id: id.clone(),
            token: Digest::of(token),
            created: s(1),
            expires: Some(s(100)),
            revoked: None,
        })?;
        Ok(id)
    }

    fn rotation(token: &[u8], overlap: u64) -> Rotation {
        Rotation {
            token: Digest::of(token),
            created: s(10),
            expires: None,
            overlap: s(overlap),
        }
    }

    #[test]
    fn a_token_is_used_once_also_after_a_restart() {
        let (dir, state) = state();
        assert!(!state.is_used("a").unwrap());
        assert!(state.use_token("a", s(60), s(1)).unwrap());
        assert!(state.is_used("a").unwrap());
        assert!(!state.use_token("a", s(60), s(2)).unwrap());
        assert!(state.use_token("b", s(60), s(1)).unwrap());
        drop(state);
        let state = State::open(&dir.path().join("db")).unwrap();
        assert!(state.is_used("a").unwrap() && state.is_used("b").unwrap());
        assert!(!state.use_token("a", s(60), s(3)).unwrap());
        assert_eq!(state.latest_time().unwrap(), s(1));
    }

    #[test]
    fn two_agents_never_have_one_token() {
        let (_dir, state) = state();
        let one = add(&state, "one", b"1").unwrap();
        let error = add(&state, "two", b"1").unwrap_err();
        assert!(matches!(error, StateError::TokenShared(_)), "{error}");
        state.rotate_agent(&one, &rotation(b"1b", 50)).unwrap();
        // Nor one that the other had before.
        assert!(add(&state, "two", b"1").is_err());
        let two = add(&state, "two", b"2").unwrap();
        assert!(state.rotate_agent(&two, &rotation(b"1b", 50)).is_err());
        assert!(state.rotate_agent(&two, &rotation(b"1", 50)).is_err());
    }

    #[test]
    fn the_old_token_is_good_for_the_overlap_and_no_longer_than_before() {
        let (_dir, state) = state();
        let one = add(&state, "one", b"1").unwrap();
        state.rotate_agent(&one, &rotation(b"2", 50)).unwrap();
        let old = state.agent_by_token(&Digest::of(b"1")).unwrap();
        assert_eq!((&old.id, old.expires), (&one, Some(s(50))));
        assert!(state.agent_by_token(&Digest::of(b"2")).is_some());
        state.rotate_agent(&one, &rotation(b"3", 10)).unwrap();
        assert!(state.agent_by_token(&Digest::of(b"1")).is_none());
        assert!(state.agent_by_token(&Digest::of(b"2")).is_none());
        let two = add(&state, "two", b"9").unwrap();
        state.rotate_agent(&two, &rotation(b"8", 500)).unwrap();
        let old = state.agent_by_token(&Digest::of(b"9")).unwrap();
        assert_eq!(old.expires, Some(s(100)));
        state.revoke_agent(&two, s(11)).unwrap();
        assert!(state.agent_by_token(&Digest::of(b"9")).is_none());
        assert!(state.rotate_agent(&two, &rotation(b"7", 50)).is_err());
    }

    #[test]
    fn what_is_denied_stays_so() {
        let (dir, state) = state();
        state.deny("t", s(1)).unwrap();
        drop(state);
        let state = State::open(&dir.path().join("db")).unwrap();
        assert!(state.is_denied("t"));
        assert!(!state.is_denied("u"));
    }
}
