//! What a guest can do beyond computing: one file for each capability.
//!
//! A capability is its handle, its checks and its half of the WIT interface; what it acts on is in
//! the call's context. Every host call that reaches out goes the same way: canonicalise, decide,
//! record, act on the value that was decided on, bound the reply. Nothing here trusts a guest.

mod ask;
mod client;
mod clock;
mod context;
mod credentials;
pub(crate) mod http;
pub(crate) mod log;
mod park;
mod progress;
mod random;
pub(crate) mod secrets;
mod settings;
mod sign;
pub(crate) mod taped;

/// The types behind the handles of the contract. Public in name only: the module is private.
#[expect(unreachable_pub, reason = "bindgen re-exports it")]
pub mod handles {
    pub use super::http::Origin;
    pub use super::secrets::Secret;
}

pub(crate) use context::{CallContext, Facts, Services, Usage};
