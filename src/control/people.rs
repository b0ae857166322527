//! People, as the operator adds, renews and removes them.
//!
//! The first administrator is added by whoever can open the socket. As long as there is one, only an
//! administrator's own credential changes who there is, so that a process that can reach the socket
//! and has no credential can't make itself a person. (One that can write `state/` can: that is what
//! `tollgate check` warns of.) Once the credentials of all administrators have expired it is as at the
//! start, or a host whose only administrator was away for a quarter would be nobody's.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::change::{blocking, failed};
use super::revoking;
use crate::clock::rfc3339;
use crate::daemon::{ControlError, SecretText};
use crate::host::{Door, Host};
use crate::identity::{Approver, Credential, ParsePersonError, People, PersonError, PersonId};
use crate::reason::Refusal;
use crate::revocation::Scope;
use crate::state::StateError;

/// A person: never the credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonReport {
    /// The name, as policies have it.
    pub name: String,
    /// Whether this person may administer the host.
    pub admin: bool,
    /// `active`, `expired` or `removed`.
    pub status: String,
    /// When the person was added, RFC 3339.
    pub created: String,
    /// When the credential was made.
    pub issued: String,
    /// From when on it is worth nothing.
    pub expires: String,
    /// When the person was removed.
    pub removed: Option<String>,
}

pub(super) fn list(host: &Host) -> Vec<PersonReport> {
    let now = host.now();
    host.people()
        .list()
        .into_iter()
        .map(|person| {
            let status = if person.removed.is_some() {
                "removed"
            } else if person.expires <= now {
                "expired"
            } else {
                "active"
            };
            PersonReport {
                name: person.id.to_string(),
                admin: person.admin,
                status: status.to_owned(),
                created: rfc3339(person.created),
                issued: rfc3339(person.issued),
                expires: rfc3339(person.expires),
                removed: person.removed.map(rfc3339),
            }
        })
        .collect()
}

pub(super) async fn add(
    host: &Host,
    name: &str,
    admin: bool,
    ttl: Option<u64>,
    credential: Option<SecretText>,
) -> Result<Value, ControlError> {
    let person = person_of(name)?;
    let ttl = lifetime(ttl)?;
    let first = !host.people().has_admin();
    let by = administrator(host, credential)?;
    if known(host, &person) {
        return Err(ControlError::new(
            "person.exists",
            format!("the person `{person}` is known already"),
        )
        .with_hint(format!(
            "run `tollgate person rotate {person}` for a new credential, or `tollgate person remove {person}` first"
        )));
    }
    written(host, "person.added", &person, &by)?;
    let people = host.people().clone();
    // Somebody must be able to add the next, so the first may administer whatever was asked.
    let admin = admin || first;
    let issued = blocking(move || people.add(&person, admin, Some(ttl))).await?;
    shown(issued)
}

pub(super) async fn rotate(
    host: &Host,
    name: &str,
    ttl: Option<u64>,
    credential: Option<SecretText>,
) -> Result<Value, ControlError> {
    let person = person_of(name)?;
    let ttl = lifetime(ttl)?;
    // One's own may be renewed by oneself.
    let by = match &credential {
        Some(text) => {
            let who = host
                .person(text.reveal(), Door::Command)
                .map_err(|refusal| refused(&refusal))?;
            if *who.person() == person {
                person.to_string()
            } else {
                administrator(host, credential)?
            }
        }
        None => administrator(host, None)?,
    };
    if !known(host, &person) {
        return Err(unknown(&person));
    }
    written(host, "person.rotated", &person, &by)?;
    let people = host.people().clone();
    let issued = blocking(move || people.rotate(&person, Some(ttl))).await?;
    shown(issued)
}

pub(super) async fn remove(
    host: &Host,
    name: &str,
    credential: Option<SecretText>,
) -> Result<Value, ControlError> {
    let person = person_of(name)?;
    let by = administrator(host, credential)?;
    if !known(host, &person) {
        return Err(unknown(&person));
    }
    written(host, "person.removed", &person, &by)?;
    let people = host.people().clone();
    let id = person.clone();
    blocking(move || people.remove(&id))
        .await?
        .map_err(|error| match error {
            PersonError::State(StateError::NoPerson(person)) => unknown(&person),
            error => failed("person", &error),
        })?;
    // A credential that got into other hands may have given these, and a standing one lasts for days.
    // After the removal, since from then on nothing more is agreed to in that name.
    let approvals = host
        .approvals()
        .given_by(&person)
        .await
        .map_err(|refusal| refused(&refusal))?;
    for approval in &approvals {
        revoking::take(host, Scope::Approval(*approval), &by).await?;
    }
    Ok(json!({"name": person, "approvals": approvals}))
}

/// Who answers for a change of people, for the record.
fn administrator(host: &Host, credential: Option<SecretText>) -> Result<String, ControlError> {
    let people = host.people();
    match credential {
        None if !people.has_admin() => Ok(String::from("the operator at the socket")),
        None => Err(ControlError::new(
            "person.credential",
            "only an administrator can change who there is, and no credential was given",
        )
        .with_hint("give one: `TOLLGATE_PERSON_TOKEN`, or `--credential FILE`")),
        Some(text) => {
            let who = person(host, &text)?;
            if people.is_admin(who.person()) || !people.has_admin() {
                return Ok(who.person().to_string());
            }
            Err(ControlError::new(
                "person.forbidden",
                format!("`{}` may not administer this host", who.person()),
            )
            .with_hint("`tollgate person list` shows who may"))
        }
    }
}

/// The person whose credential came with a command.
pub(super) fn person(host: &Host, credential: &SecretText) -> Result<Approver, ControlError> {
    host.person(credential.reveal(), Door::Command)
        .map_err(|refusal| refused(&refusal))
}

/// A refusal, as an operator reads it.
pub(super) fn refused(refusal: &Refusal) -> ControlError {
    let message = match &refusal.detail {
        Some(detail) => format!("{}: {detail}", refusal.message),
        None => refusal.message.to_string(),
    };
    ControlError::new(refusal.reason.code(), message)
}

fn shown(issued: Result<Credential, PersonError>) -> Result<Value, ControlError> {
    let issued = issued.map_err(|error| match error {
        PersonError::State(StateError::NoPerson(person)) => unknown(&person),
        error => failed("person", &error),
    })?;
    Ok(json!({
        "name": issued.person, "admin": issued.admin,
        "token": issued.token.expose(), "expires": rfc3339(issued.expires),
    }))
}

/// Before the record, so that none is written of a change that is then not made.
fn lifetime(ttl: Option<u64>) -> Result<Duration, ControlError> {
    People::lifetime(ttl.map(Duration::from_secs))
        .map_err(|error| ControlError::new("person.invalid", error.to_string()))
}

fn known(host: &Host, person: &PersonId) -> bool {
    host.state()
        .person(person)
        .is_some_and(|record| record.removed.is_none())
}

fn unknown(person: &PersonId) -> ControlError {
    ControlError::new("person.unknown", format!("there is no person `{person}`"))
        .with_hint("`tollgate person list` shows those that there are")
}

/// INVARIANT: comes before the change itself. Where it fails, nothing is changed.
fn written(host: &Host, change: &str, person: &PersonId, by: &str) -> Result<(), ControlError> {
    host.changed_with(change, person.as_str(), format!("by {by}"))
        .map(drop)
        .map_err(|error| {
            ControlError::new("journal.unavailable", error.to_string())
                .with_hint("nothing was changed: what can't be written down is not done")
        })
}

fn person_of(name: &str) -> Result<PersonId, ControlError> {
    name.parse()
        .map_err(|error: ParsePersonError| ControlError::new("person.invalid", error.to_string()))
}
