//! Who asks: agents and, when known, the users on whose behalf they act.

mod agent;
mod approver;
mod identities;
mod people;
mod person;
mod token;

pub use agent::{AgentId, LOCAL_TRUST_DOMAIN, ParseAgentError};
pub use approver::Approver;
pub use identities::{AuthenticateError, Identities, IssueError, Issued};
pub use people::{Credential, CredentialError, PEOPLE_LIFETIME, People, PersonError};
pub use person::{ParsePersonError, PersonId};
pub use token::{AgentToken, MalformedCredential, MalformedToken, PersonToken};
