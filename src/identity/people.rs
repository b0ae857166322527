//! People: issuing their credentials, knowing them again, taking them back.
//!
//! A person approves and administers, and never calls tools; an agent calls tools, and never
//! approves. So a person's credential is of its own class: an agent's token is worth nothing where a
//! person's is asked for, and the reverse. Which calls a person may approve is policy's to say
//! (groups in `policies/entities.json`); all that is kept here is who may administer the host.

use std::time::Duration;

use subtle::ConstantTimeEq as _;

use super::{Approver, MalformedToken, PersonId, PersonToken};
use crate::clock::SharedClock;
use crate::digest::Digest;
use crate::entropy::{NoEntropy, SharedEntropy};
use crate::reason::{Reason, Refusal};
use crate::state::{PersonRecord, State, StateError};

/// How long a credential is good where nobody says otherwise. It always ends: a person can be asked
/// to renew it four times a year, and one that was forgotten somewhere dies by itself.
pub const PEOPLE_LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The longest lifetime: a year and a day.
const MOST_LIFETIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A person's credential could not be issued, renewed or taken back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PersonError {
    /// There are no random bytes to make it of.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
    /// Longer than any may be.
    #[error("a person's credential is good for at most 366 days")]
    Lifetime,
    /// It could not be kept.
    #[error(transparent)]
    State(#[from] StateError),
}

/// No person was established. Told apart for the operator; the far side hears the same for all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not a person's credential at all.
    #[error(transparent)]
    Malformed(#[from] MalformedToken),
    /// Nobody's.
    #[error("the credential is nobody's: it was never issued here, or was replaced")]
    Unknown,
    /// The person was removed.
    #[error("the credential of {0:?} was taken back")]
    Removed(PersonId),
    /// Its time is over.
    #[error("the credential of {0:?} has expired: renew it with `tollgate person rotate`")]
    Expired(PersonId),
}

impl From<CredentialError> for Refusal {
    fn from(error: CredentialError) -> Self {
        Self::new(Reason::IdentityUnknown, "no person has this credential")
            .with_detail(error.to_string())
    }
}

/// A credential that was just issued.
#[derive(Debug)]
pub struct Credential {
    /// To whom.
    pub person: PersonId,
    /// Whether this person may administer.
    pub admin: bool,
    /// The credential: shown now, and never again.
    pub token: PersonToken,
    /// Until when, since 1970-01-01T00:00:00Z.
    pub expires: Duration,
}

/// The people that the host knows.
#[derive(Debug, Clone)]
pub struct People {
    state: State,
    clock: SharedClock,
    entropy: SharedEntropy,
}

impl People {
    /// The people in `state`.
    #[must_use]
    pub fn new(state: State, clock: SharedClock, entropy: SharedEntropy) -> Self {
        Self {
            state,
            clock,
            entropy,
        }
    }

    /// Makes `person` known and issues a credential, good for `lifetime`. Waits for the disk.
    ///
    /// # Errors
    ///
    /// The person is known already, the lifetime is too long, or it can't be kept.
    pub fn add(
        &self,
        person: &PersonId,
        admin: bool,
        lifetime: Option<Duration>,
    ) -> Result<Credential, PersonError> {
        let (token, created, expires) = self.fresh(lifetime)?;
        self.state.add_person(&PersonRecord {
            id: person.clone(),
            credential: token.digest(),
            admin,
            created,
            issued: created,
            expires,
            removed: None,
        })?;
        Ok(Credential {
            person: person.clone(),
            admin,
            token,
            expires,
        })
    }

    /// Puts a new credential in the place of the one of `person`, which is worth nothing from then on.
    /// Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is no such person, the lifetime is too long, or it can't be kept.
    pub fn rotate(
        &self,
        person: &PersonId,
        lifetime: Option<Duration>,
    ) -> Result<Credential, PersonError> {
        let (token, issued, expires) = self.fresh(lifetime)?;
        let kept = self
            .state
            .renew_person(person, &token.digest(), issued, expires)?;
        Ok(Credential {
            person: person.clone(),
            admin: kept.admin,
            token,
            expires,
        })
    }

    /// Takes the credential of `person` back, at once. Waits for the disk.
    ///
    /// # Errors
    ///
    /// There is no such person, or it can't be written down.
    pub fn remove(&self, person: &PersonId) -> Result<(), PersonError> {
        Ok(self.state.remove_person(person, self.clock.now())?)
    }

    /// How long a credential is good where `asked` says so, or nobody does.
    ///
    /// # Errors
    ///
    /// No credential is good for so long.
    pub fn lifetime(asked: Option<Duration>) -> Result<Duration, PersonError> {
        let lifetime = asked.unwrap_or(PEOPLE_LIFETIME);
        if lifetime > MOST_LIFETIME {
            return Err(PersonError::Lifetime);
        }
        Ok(lifetime)
    }

    fn fresh(
        &self,
        lifetime: Option<Duration>,
    ) -> Result<(PersonToken, Duration, Duration), PersonError> {
        let lifetime = Self::lifetime(lifetime)?;
        let now = self.clock.now();
        let token = PersonToken::generate(&*self.entropy)?;
        Ok((token, now, now.saturating_add(lifetime)))
    }

    /// The person who has the credential `bearer`. From memory.
    ///
    /// # Errors
    ///
    /// Nobody has it, or not any more.
    pub fn authenticate(&self, bearer: &str) -> Result<Approver, CredentialError> {
        let digest = PersonToken::digest_of(bearer)?;
        // As for agents: found by digest, and compared whole all the same.
        let record = self
            .state
            .person_by_credential(&digest)
            .filter(|r| r.credential.as_bytes().ct_eq(digest.as_bytes()).into())
            .ok_or(CredentialError::Unknown)?;
        self.judge(&record)
    }

    /// The person `id`, if the credential with this digest is still the one in force: for a session
    /// that began with it. From memory.
    ///
    /// # Errors
    ///
    /// It was replaced or taken back, or has expired.
    pub fn confirm(&self, id: &PersonId, credential: &Digest) -> Result<Approver, CredentialError> {
        let record = self
            .state
            .person(id)
            .filter(|r| r.credential.as_bytes().ct_eq(credential.as_bytes()).into())
            .ok_or(CredentialError::Unknown)?;
        self.judge(&record)
    }

    fn judge(&self, record: &PersonRecord) -> Result<Approver, CredentialError> {
        if record.removed.is_some() {
            return Err(CredentialError::Removed(record.id.clone()));
        }
        if record.expires <= self.clock.now() {
            return Err(CredentialError::Expired(record.id.clone()));
        }
        Ok(Approver::new(record.id.clone()))
    }

    /// Whether `person` may administer the host, now.
    #[must_use]
    pub fn is_admin(&self, person: &PersonId) -> bool {
        self.state
            .person(person)
            .is_some_and(|record| record.admin && self.judge(&record).is_ok())
    }

    /// Whether anyone may administer the host. Where nobody may, or not any more because every
    /// administrator's credential has expired, the operator at the socket adds one without a credential.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        self.state
            .people()
            .iter()
            .any(|record| record.admin && self.judge(record).is_ok())
    }

    /// Everyone, those who were removed included, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PersonRecord> {
        self.state
            .people()
            .iter()
            .map(|record| PersonRecord::clone(record))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::clock::Seconds;
    use crate::entropy::SeededEntropy;
    use crate::identity::Identities;

    struct World {
        _folder: tempfile::TempDir,
        clock: Arc<Seconds>,
        people: People,
        agents: Identities,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("db")).unwrap();
        let clock = Arc::new(Seconds::default());
        let shared = Arc::clone(&clock) as SharedClock;
        let entropy: SharedEntropy = Arc::new(SeededEntropy::default());
        World {
            people: People::new(state.clone(), Arc::clone(&shared), Arc::clone(&entropy)),
            agents: Identities::new(state, shared, entropy),
            clock,
            _folder: folder,
        }
    }

    fn ada() -> PersonId {
        "ada".parse().unwrap()
    }

    #[test]
    fn a_credential_is_good_until_it_expires() {
        let world = world();
        let issued = world
            .people
            .add(&ada(), true, Some(Duration::from_secs(60)))
            .unwrap();
        let token = issued.token.expose();
        let known = world.people.authenticate(token).unwrap();
        assert_eq!(known.person(), &ada());
        assert!(world.people.is_admin(&ada()) && world.people.has_admin());
        world.clock.set(60);
        let expired = CredentialError::Expired(ada());
        assert_eq!(world.people.authenticate(token).unwrap_err(), expired);
        let digest = issued.token.digest();
        assert_eq!(
            world.people.confirm(&ada(), &digest).unwrap_err(),
            CredentialError::Expired(ada())
        );
        assert!(!world.people.is_admin(&ada()) && !world.people.has_admin());
    }

    #[test]
    fn a_rotated_or_removed_credential_is_worth_nothing() {
        let world = world();
        let first = world.people.add(&ada(), false, None).unwrap();
        assert!(!world.people.has_admin());
        let second = world.people.rotate(&ada(), None).unwrap();
        assert!(!second.admin);
        assert_eq!(
            world.people.authenticate(first.token.expose()).unwrap_err(),
            CredentialError::Unknown
        );
        assert!(world.people.confirm(&ada(), &first.token.digest()).is_err());
        assert!(world.people.confirm(&ada(), &second.token.digest()).is_ok());
        assert!(world.people.authenticate(second.token.expose()).is_ok());
        world.people.remove(&ada()).unwrap();
        assert_eq!(
            world
                .people
                .authenticate(second.token.expose())
                .unwrap_err(),
            CredentialError::Removed(ada())
        );
        assert!(world.people.rotate(&ada(), None).is_err());
        // One who was removed can be added again, with another credential.
        let third = world.people.add(&ada(), true, None).unwrap();
        assert!(world.people.authenticate(third.token.expose()).is_ok());
        assert!(world.people.authenticate(second.token.expose()).is_err());
        assert_eq!(world.people.list().len(), 1);
    }

    #[test]
    fn the_two_classes_of_identity_never_stand_in_for_each_other() {
        let world = world();
        let agent = world.agents.issue("ada", None).unwrap();
        let person = world.people.add(&ada(), true, None).unwrap();
        assert!(matches!(
            world.people.authenticate(agent.token.expose()),
            Err(CredentialError::Malformed(_))
        ));
        assert!(world.agents.holder(person.token.expose()).is_none());
    }

    #[test]
    fn the_far_side_hears_the_same_of_every_bad_credential() {
        let world = world();
        let one = world.people.add(&ada(), false, None).unwrap();
        world.people.remove(&ada()).unwrap();
        let foreign = PersonToken::generate(&SeededEntropy(AtomicU64::new(900))).unwrap();
        let said: Vec<_> = ["", "tgp_x", one.token.expose(), foreign.expose()]
            .into_iter()
            .map(|t| Refusal::from(world.people.authenticate(t).unwrap_err()).to_string())
            .collect();
        assert!(said.iter().all(|s| *s == said[0]), "{said:?}");
    }

    #[test]
    fn nobody_is_added_twice_or_for_ever() {
        let world = world();
        world.people.add(&ada(), false, None).unwrap();
        let error = world.people.add(&ada(), false, None).unwrap_err();
        insta::assert_snapshot!(error, @"the person `ada` is known already: renew the credential with `tollgate person rotate`, or remove the person first");
        let long = Some(Duration::from_secs(367 * 24 * 60 * 60));
        assert!(matches!(
            world.people.rotate(&ada(), long),
            Err(PersonError::Lifetime)
        ));
        let nobody = "bob".parse().unwrap();
        assert!(world.people.remove(&nobody).is_err());
    }

    #[test]
    fn no_debug_text_shows_a_credential() {
        let world = world();
        let issued = world.people.add(&ada(), true, None).unwrap();
        let shown = format!("{:?} {issued:?} {:?}", world.people, world.people.list());
        assert!(!shown.contains(issued.token.expose()));
    }
}
