//! Tollgate.
#![deny(unsafe_code)]

pub mod call;
pub mod clock;
pub mod config;
pub mod digest;
pub mod entropy;
pub mod home;
pub mod identity;
pub mod journal;
pub mod json;
pub mod limits;
pub mod mcp;
pub mod name;
pub mod plugin;
pub mod policy;
pub mod private;
pub mod reason;
pub mod secret;
pub mod state;
