//! MCP: how agents list and call tools, over HTTP and over byte streams.
//!
//! The only module that knows `rmcp`. It trusts nothing that a client writes: each message is read
//! strictly (`envelope`) before `rmcp` sees it, the text of a call's arguments goes to the host byte
//! for byte, and who asks is what the transport established, never what a message says. It decides
//! nothing: every call goes to the [`Backend`], under every revision of the protocol alike, and
//! what comes back is only written in MCP's form.

mod answers;
mod arrived;
mod backend;
mod body;
mod carry;
mod challenge;
mod changes;
mod declared;
mod direct;
mod envelope;
mod gate;
mod held;
mod http;
mod jobs;
mod listen;
mod metadata;
mod offers;
mod open;
mod page;
mod pending;
mod post;
mod refusal;
mod result;
mod rounds;
mod seal;
mod server;
mod session;
mod settings;
mod share;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod token;
mod told;
mod tools;
mod used;
mod work;

pub use backend::{
    Backend, Completed, Credentials, ListedTool, Metadata, TooOften, Unauthorized, Unknown,
};
pub use gate::GateError;
pub(crate) use gate::{Bearer, Gate, bearer};
pub use http::router;
pub use listen::serve;
pub use settings::HttpConfig;
pub use stream::serve_stream;

pub use crate::connections::{Certificates, Listener, TlsError};

/// Bytes of one message.
pub const MAX_MESSAGE: usize = crate::limits::protocol::MESSAGE;
