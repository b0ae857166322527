//! Outbound HTTP: one function decides and one connects, for every way in.
//!
//! ```text
//! Request::parse      URL form, scheme, method, headers, sizes     -> Request
//! Scope::admit        address in the URL, host, scheme, port, name, method, path -> ScopedRequest
//! (policy)            decides on the ScopedRequest, (journal) writes the intent
//! Outbound::send      resolve once, class of every address, dial, TLS to the name, exchange
//! ```
//!
//! Each step takes what the step before made, so none can be left out. Nothing is parsed twice, and
//! nothing is changed between the decision and the wire. Resolver and connector are injected, so
//! that every attack is a hermetic test; they feed the guard and never stand in for it.

mod address;
mod admitted;
mod client;
mod connect;
mod credential;
mod exfiltration;
mod headers;
mod origin;
mod path;
mod request;
mod resolve;
mod scope;
mod url;

pub use address::{Class, classify};
pub use admitted::{Admitted, CheckedRequest};
pub use client::{Exchange, Outbound, Response, Trace};
pub use connect::{
    BoxedStream, Connector, OutboundConfig, OutboundConfigError, Stream, TcpConnector,
};
pub use credential::{Credential, CredentialScheme};
pub use headers::is_owned as is_host_header;
pub use origin::{Host, Origin, Scheme};
pub use path::Doubt;
pub use request::{Method, Request};
pub use resolve::{AddressPolicy, Resolver, SystemResolver};
pub use scope::{Scope, ScopeError, ScopedRequest};
pub use url::{CanonicalUrl, MAX_URL, admit_url};

#[cfg(test)]
mod credential_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
