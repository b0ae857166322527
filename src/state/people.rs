//! People, in the database and in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde::Serialize;

use super::{State, StateError, from_millis, in_file, millis};
use crate::digest::Digest;
use crate::identity::{ParsePersonError, PersonId};

/// The table. A person who was removed stays, so that old answers still have a name.
pub(super) const TABLES: &str = "
    CREATE TABLE people (
        id         TEXT    NOT NULL PRIMARY KEY,
        -- SHA-256 of the credential, never the credential.
        credential BLOB    NOT NULL UNIQUE CHECK (length(credential) = 32),
        admin      INTEGER NOT NULL CHECK (admin IN (0, 1)),
        created    INTEGER NOT NULL,
        issued     INTEGER NOT NULL,
        expires    INTEGER NOT NULL,
        removed    INTEGER
    ) STRICT;
";

/// A person, as the host knows one. It holds no credential, only the digest of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PersonRecord {
    /// Who.
    pub id: PersonId,
    /// SHA-256 of the credential.
    #[serde(skip)]
    pub credential: Digest,
    /// Whether this person may administer the host.
    pub admin: bool,
    /// When the person was added. Times are since 1970-01-01T00:00:00Z.
    pub created: Duration,
    /// When the credential was made.
    pub issued: Duration,
    /// From when on the credential is worth nothing.
    pub expires: Duration,
    /// When the person was removed, if so.
    pub removed: Option<Duration>,
}

/// Everyone, in memory: what requests ask.
#[derive(Debug, Default)]
pub(super) struct Directory {
    by_id: BTreeMap<PersonId, Arc<PersonRecord>>,
    by_credential: HashMap<Digest, Arc<PersonRecord>>,
}

impl Directory {
    pub(super) fn load(connection: &Connection, path: &Path) -> Result<Self, StateError> {
        let read = || {
            connection
                .prepare(
                    "SELECT id, credential, admin, created, issued, expires, removed FROM people",
                )?
                .query_map([], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, [u8; 32]>(1)?,
                        row.get::<_, bool>(2)?,
                        row.get::<_, i64>(3)?,
                        row.get::<_, i64>(4)?,
                        row.get::<_, i64>(5)?,
                        row.get::<_, Option<i64>>(6)?,
                    ))
                })?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        let mut directory = Self::default();
        for (id, credential, admin, created, issued, expires, removed) in
            read().map_err(in_file(path))?
        {
            let id: PersonId = id
                .parse()
                .map_err(|e: ParsePersonError| StateError::Damaged {
                    path: path.to_owned(),
                    what: e.to_string(),
                })?;
            let record = Arc::new(PersonRecord {
                id: id.clone(),
                credential: Digest::from_bytes(credential),
                admin,
                created: from_millis(created),
                issued: from_millis(issued),
                expires: from_millis(expires),
                removed: removed.map(from_millis),
            });
            directory
                .by_credential
                .insert(record.credential, Arc::clone(&record));
            directory.by_id.insert(id, record);
        }
        Ok(directory)
    }
}

impl State {
    /// The person whose credential has this digest. From memory.
    #[must_use]
    pub fn person_by_credential(&self, credential: &Digest) -> Option<Arc<PersonRecord>> {
        self.0.people.load().by_credential.get(credential).cloned()
    }

    /// The person `id`. From memory.
    #[must_use]
    pub fn person(&self, id: &PersonId) -> Option<Arc<PersonRecord>> {
        self.0.people.load().by_id.get(id).cloned()
    }

    /// Everyone, those who were removed included, by name.
    #[must_use]
    pub fn people(&self) -> Vec<Arc<PersonRecord>> {
        self.0.people.load().by_id.values().cloned().collect()
    }

    /// Adds a person, or gives one who was removed a new credential.
    ///
    /// # Errors
    ///
    /// The person is known already, or another has this credential; or the database failed.
    pub fn add_person(&self, person: &PersonRecord) -> Result<(), StateError> {
        let mut connection = self.lock();
        let error = self.error();
        let transaction = connection.transaction().map_err(&error)?;
        let live: Option<bool> = transaction
            .query_row(
                "SELECT removed IS NULL FROM people WHERE id = ?1",
                [person.id.as_str()],
                |row| row.get(0),
            )
            .optional()
            .map_err(&error)?;
        if live == Some(true) {
            return Err(StateError::PersonExists(person.id.clone()));
        }
        transaction
            .execute("DELETE FROM people WHERE id = ?1", [person.id.as_str()])
            .map_err(&error)?;
        transaction
            .execute(
                "INSERT INTO people (id, credential, admin, created, issued, expires, removed)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    person.id.as_str(),
                    person.credential.as_bytes(),
                    person.admin,
                    millis(person.created),
                    millis(person.issued),
                    millis(person.expires),
                    person.removed.map(millis),
                ],
            )
            .map_err(&error)?;
        transaction.commit().map_err(&error)?;
        self.reload_people(&connection)
    }

    /// Puts another credential in the place of the one that `id` has; gives the person as it is then.
    ///
    /// # Errors
    ///
    /// There is no such person, or the database failed.
    pub fn renew_person(
        &self,
        id: &PersonId,
        credential: &Digest,
        issued: Duration,
        expires: Duration,
    ) -> Result<Arc<PersonRecord>, StateError> {
        let connection = self.lock();
        let found = connection
            .execute(
                "UPDATE people SET credential = ?2, issued = ?3, expires = ?4
                 WHERE id = ?1 AND removed IS NULL",
                params![
                    id.as_str(),
                    credential.as_bytes(),
                    millis(issued),
                    millis(expires)
                ],
            )
            .map_err(self.error())?;
        if found == 0 {
            return Err(StateError::NoPerson(id.clone()));
        }
        self.reload_people(&connection)?;
        self.person(id)
            .ok_or_else(|| StateError::NoPerson(id.clone()))
    }

    /// Removes the person `id`: the credential is worth nothing from now on.
    ///
    /// # Errors
    ///
    /// There is no such person, or the database failed.
    pub fn remove_person(&self, id: &PersonId, now: Duration) -> Result<(), StateError> {
        let connection = self.lock();
        let found = connection
            .execute(
                "UPDATE people SET removed = ?2 WHERE id = ?1 AND removed IS NULL",
                params![id.as_str(), millis(now)],
            )
            .map_err(self.error())?;
        if found == 0 {
            return Err(StateError::NoPerson(id.clone()));
        }
        self.reload_people(&connection)
    }

    // INVARIANT: called with the connection locked, so that memory follows the database in its order.
    fn reload_people(&self, connection: &Connection) -> Result<(), StateError> {
        let directory = Directory::load(connection, &self.0.path)?;
        self.0.people.store(Arc::new(directory));
        self.changed();
        Ok(())
    }
}

/// Whom the database at a path knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) people: usize,
    /// Until when some administrator's credential is good.
    pub(crate) administered_until: Option<Duration>,
}

/// The people of the database at `path`: for a command that reads beside a running daemon, and must
/// neither change nor migrate anything. None where it can't be told.
pub(crate) fn people_in(path: &Path) -> Option<Known> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    let (people, until): (i64, Option<i64>) = connection
        .query_row(
            "SELECT count(*), max(expires) FILTER (WHERE admin = 1) FROM people WHERE removed IS NULL",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .ok()?;
    Some(Known {
        people: usize::try_from(people).ok()?,
        administered_until: until
            .and_then(|until| Some(Duration::from_millis(until.try_into().ok()?))),
    })
}
