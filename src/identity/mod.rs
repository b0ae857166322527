//! Who asks: agents and, when known, the users on whose behalf they act.

mod agent;

pub use agent::{AgentId, LOCAL_TRUST_DOMAIN, ParseAgentError};
