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
//!
//! | rule | reason | where | source |
//! | --- | --- | --- | --- |
//! | one parse; the host as written is canonical | `egress.url_noncanonical`, `egress.url_invalid` | `url.rs` | WHATWG URL; S03-S05, S08, S16-S21 |
//! | no user name or password | `egress.url_userinfo` | `url.rs` | RFC 3986 section 7.5; S15 |
//! | `https`, or `http` where granted | `egress.scheme` | `url.rs`, `scope.rs` | S22 |
//! | a port from 1 to 65535, and the granted one | `egress.port` | `url.rs`, `scope.rs` | RFC 6454; S23 |
//! | no path that some reader takes elsewhere | `egress.path` | `path.rs`, `scope.rs` | RFC 3986 section 6.2.2; S31 |
//! | seven methods; the granted ones; no body with `GET` or `HEAD` | `egress.method` | `request.rs`, `scope.rs` | RFC 9110 section 9; S27, S34 |
//! | no header that belongs to the host | `egress.forbidden_header` | `headers.rs` | RFC 9110 section 7, RFC 9112 section 6; S24, S25 |
//! | nothing that ends a line | `egress.request_invalid` | `headers.rs`, `credential.rs` | RFC 9112 section 11; S26 |
//! | the granted origin, or any public one | `egress.host_not_granted` | `scope.rs` | RFC 6761 for local names; S02 |
//! | a name that carries fewer than 128 bits, where the plugin chooses it | `egress.name_entropy` | `exfiltration.rs` | S32 |
//! | every address of the one answer is public, or policy names its network | `egress.ip_class` | `address.rs`, `resolve.rs` | RFC 6890, IANA; S01, S06, S07, S09-S12 |
//! | a proxy of the configuration only, and told the checked address | `egress.connect` | `connect.rs` | S28 |
//! | the far side proves its name | `egress.tls` | `connect.rs` | RFC 9525; S30 |
//! | no redirect followed, no connection shared, nothing decompressed | | `client.rs` | S13, S14, S29, R14 |
//! | counts, bytes and times of everything | `limit.*` | `limits.rs`, `client.rs` | R08, R13 |

mod address;
mod admitted;
mod client;
mod connect;
mod credential;
mod exfiltration;
mod headers;
mod origin;
mod own;
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
pub use own::{OwnBounds, OwnClient, OwnError};
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
