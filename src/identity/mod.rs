//! Who asks: agents and, when known, the users on whose behalf they act.
//!
//! An agent proves itself by a token of the host's own, by one of an issuer that the operator trusts
//! (OAuth, SPIFFE), or by a step token; a hand-off of another agent only ever narrows what it may do.

mod agent;
mod approver;
mod authenticated;
mod claims;
mod follow;
mod identities;
mod issuers;
pub(crate) mod jwks;
mod jws;
pub(crate) mod keys;
mod mint;
mod people;
mod person;
mod roots;
mod single_use;
mod stands;
mod step;
mod token;

pub use agent::{AgentId, LOCAL_TRUST_DOMAIN, ParseAgentError};
pub use approver::Approver;
pub use authenticated::{Authenticated, Principal, TokenFault};
pub(crate) use follow::is_token_id;
pub(crate) use identities::token_id;
pub use identities::{AuthenticateError, Identities, IssueError, Issued, LIFETIME};
pub use issuers::Issuers;
pub use jws::Algorithm;
pub use mint::{MintRequest, Minted};
pub use people::{Credential, CredentialError, PEOPLE_LIFETIME, People, PersonError};
pub use person::{ParsePersonError, PersonId};
pub use roots::{RootError, Roots};
pub use single_use::SingleUse;
pub use step::{
    Grant, HANDOFF_LIFE, MAX_STEP, Narrowing, PREFIX as STEP_PREFIX, STEP_LIFE, Step, StepId,
    StepKind, StepQuestion, narrow,
};
pub use token::{AgentToken, MalformedToken, PersonToken};
