//! Tollgate.
#![deny(unsafe_code)]

pub mod call;
pub mod clock;
pub mod daemon;
pub mod digest;
pub mod identity;
pub mod journal;
pub mod json;
pub mod limits;
pub mod mcp;
pub mod name;
pub mod plugin;
pub mod policy;
pub mod reason;
