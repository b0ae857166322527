//! `[server]`: where agents reach the host over HTTP.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::quantity::{Quantity, Unit};
use crate::limits::protocol::{CONNECTIONS, SESSIONS, SESSIONS_PER_AGENT, STREAMS_PER_AGENT};
use crate::name::Parsed;

/// The HTTP endpoint for agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub listen: Listen,
    /// The certificate and key under which it speaks TLS, where it does.
    pub tls: Option<Tls>,
    /// Who may connect to a Unix socket: its mode.
    pub socket_mode: u32,
    /// Values of `Host` that are answered, besides the address itself and, on loopback, `localhost`.
    pub allowed_hosts: Vec<String>,
    /// Values of `Origin` that are answered. A request without one comes from no browser.
    pub allowed_origins: Vec<String>,
    /// The URL under which agents know this server: the audience of tokens for it.
    pub resource: String,
    /// Connections at once: one for each client that asks or listens.
    pub connections: usize,
    /// Sessions of clients of older revisions, in all.
    pub sessions: usize,
    /// Of these, sessions of one agent.
    pub sessions_per_agent: usize,
    /// Streams of one agent that stay open: of older sessions, and subscriptions.
    pub streams_per_agent: usize,
}

impl Server {
    /// Whether what goes over it can be read on the way by someone who is not on this machine.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        match &self.listen {
            Listen::Address(address) => self.tls.is_none() && !address.ip().is_loopback(),
            Listen::Socket(_) => false,
        }
    }
}

/// Where the endpoint listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port.
    Address(SocketAddr),
    /// A Unix socket.
    Socket(PathBuf),
}

/// What a Unix socket is written with.
const SOCKET: &str = "unix:";

/// The text is nowhere to listen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no address to listen on: write an IP address and a port, such as \"127.0.0.1:8787\" or \"[::1]:8787\", or a Unix socket, \"unix:/run/tollgate/mcp.sock\""
)]
pub struct ParseListenError(String);

impl FromStr for Listen {
    type Err = ParseListenError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(SOCKET) {
            // What no path can have would be cut off by the system.
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(Self::Socket(path.into())),
            None => text
                .parse()
                .map(Self::Address)
                .map_err(|_| ParseListenError(text.escape_default().to_string())),
            Some(_) => Err(ParseListenError(text.escape_default().to_string())),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Socket(path) => write!(f, "{SOCKET}{}", path.display()),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        // Loopback only: tokens go over it in the clear.
        Self::Address(SocketAddr::from(([127, 0, 0, 1], 8787)))
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new())
    }
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate, and those that lead from it to its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SocketMode(u32);

impl Default for SocketMode {
    fn default() -> Self {
        Self(0o600)
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "600" => Ok(Self(0o600)),
            "660" => Ok(Self(0o660)),
            "666" => Ok(Self(0o666)),
            other => Err(D::Error::custom(format_args!(
                "`{}` is not who may connect: write \"600\" (its owner), \"660\" (and its group) or \"666\" (everyone; tokens are asked for all the same)",
                other.escape_default()
            ))),
        }
    }
}

/// Sessions at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sessions(usize);

impl<'de> Deserialize<'de> for Sessions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "sessions",
            unit: Unit::Count,
            least: 1,
            // Each is a task, a handler and its queues, some ten KiB.
            most: 100_000,
        };
        quantity.read(deserializer).map(Self)
    }
}

/// Streams of one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Streams(usize);

impl<'de> Deserialize<'de> for Streams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "streams_per_agent",
            unit: Unit::Count,
            least: 1,
            // Each is a connection.
            most: 100_000,
        };
        quantity.read(deserializer).map(Self)
    }
}

/// Connections at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Connections(usize);

impl<'de> Deserialize<'de> for Connections {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let quantity = Quantity {
            name: "connections",
            unit: Unit::Count,
            least: 1,
            // More than a process may have descriptors, nearly everywhere.
            most: 100_000,
        };
        quantity.read(deserializer).map(Self)
    }
}

/// The URL of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Resource(String);

impl<'de> Deserialize<'de> for Resource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let good = url::Url::parse(&text).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https")
                && url.as_str() == text
                && url.fragment().is_none()
                && url.username().is_empty()
        });
        // Tokens are held against it byte by byte, so it stands in the one form that it has.
        if good {
            Ok(Self(text))
        } else {
            Err(D::Error::custom(format_args!(
                "`{}` is not the URL of this server in its canonical form, such as \"https://tools.example/mcp\"",
                text.escape_default()
            )))
        }
    }
}

/// `[server]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServerTable {
    listen: Option<Spanned<Listen>>,
    tls: Option<Spanned<Tls>>,
    socket_mode: SocketMode,
    allowed_hosts: Vec<String>,
    allowed_origins: Vec<String>,
    resource: Option<Resource>,
    connections: Option<Connections>,
    sessions: Option<Sessions>,
    sessions_per_agent: Option<Sessions>,
    streams_per_agent: Option<Streams>,
}

impl ServerTable {
    pub(super) fn server(&self) -> Server {
        let listen = self
            .listen
            .as_ref()
            .map_or_else(Listen::default, |listen| listen.get_ref().clone());
        let tls = self.tls.as_ref().map(|tls| tls.get_ref().clone());
        let resource = match (&self.resource, &listen) {
            (Some(url), _) => url.0.clone(),
            (None, Listen::Address(address)) => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                format!("{scheme}://{address}/mcp")
            }
            // What clients over a socket say they talk to.
            (None, Listen::Socket(_)) => String::from("http://localhost/mcp"),
        };
        Server {
            tls,
            socket_mode: self.socket_mode.0,
            allowed_hosts: self.allowed_hosts.clone(),
            allowed_origins: self.allowed_origins.clone(),
            resource,
            connections: self.connections.map_or(CONNECTIONS, |most| most.0),
            sessions: self.sessions.map_or(SESSIONS, |sessions| sessions.0),
            sessions_per_agent: self
                .sessions_per_agent
                .map_or(SESSIONS_PER_AGENT, |sessions| sessions.0),
            streams_per_agent: self
                .streams_per_agent
                .map_or(STREAMS_PER_AGENT, |streams| streams.0),
            listen,
        }
    }

    /// What does not go together, and where.
    pub(super) fn fault(&self) -> Option<(Range<usize>, String)> {
        let listen = self.listen.as_ref()?;
        let tls = self.tls.as_ref()?;
        matches!(listen.get_ref(), Listen::Socket(_)).then(|| {
            let what = "TLS is for addresses: leave `tls` out, or listen on one; nobody but who may open the socket can read along";
            (tls.span(), what.to_owned())
        })
    }
}

impl Server {
    /// Relative paths start from `folder`.
    pub(super) fn within(&mut self, folder: &Path) {
        if let Listen::Socket(path) = &mut self.listen {
            *path = folder.join(&*path);
        }
        if let Some(tls) = &mut self.tls {
            tls.certificate = folder.join(&tls.certificate);
            tls.key = folder.join(&tls.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ServerTable, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn an_address_or_a_socket_and_nothing_else() {
        let table = read("listen = \"unix:run/mcp.sock\"\nsocket_mode = \"660\"").unwrap();
        let mut server = table.server();
        server.within(Path::new("/home"));
        assert_eq!(server.listen, Listen::Socket("/home/run/mcp.sock".into()));
        assert_eq!(server.socket_mode, 0o660);
        assert_eq!(server.resource, "http://localhost/mcp");
        assert!(!server.is_exposed());
        for text in [
            "unix:",
            "unix",
            "localhost:1",
            "127.0.0.1",
            "/run/x",
            "unix:a\0b",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text:?}");
        }
        for listen in ["127.0.0.1:8787", "[::1]:1", "unix:/run/mcp.sock"] {
            assert_eq!(listen.parse::<Listen>().unwrap().to_string(), listen);
        }
        assert!(read("socket_mode = \"777\"").is_err());
    }

    #[test]
    fn there_are_as_many_connections_as_are_asked_for() {
        assert_eq!(read("").unwrap().server().connections, CONNECTIONS);
        let table = read("connections = 2_000").unwrap();
        assert_eq!(table.server().connections, 2_000);
        assert!(read("connections = 0").is_err());
        let table = read("streams_per_agent = 2").unwrap();
        assert_eq!(table.server().streams_per_agent, 2);
        let said = read("streams_per_agent = 0").unwrap_err();
        assert!(said.contains("`streams_per_agent` can't be 0"), "{said}");
    }

    #[test]
    fn with_a_certificate_tokens_may_leave_the_machine() {
        let text = "listen = \"0.0.0.0:443\"\n";
        assert!(read(text).unwrap().server().is_exposed());
        let table = read(&format!(
            "{text}[tls]\ncertificate = \"c.pem\"\nkey = \"/k.pem\""
        ));
        let mut server = table.unwrap().server();
        server.within(Path::new("/home"));
        assert!(!server.is_exposed());
        assert_eq!(server.resource, "https://0.0.0.0:443/mcp");
        let tls = server.tls.unwrap();
        assert_eq!(tls.certificate, Path::new("/home/c.pem"));
        assert_eq!(tls.key, Path::new("/k.pem"));
        assert!(read("[tls]\ncertificate = \"c.pem\"").is_err());
    }

    #[test]
    fn a_socket_has_no_certificate() {
        let text = "listen = \"unix:x\"\ntls = { certificate = \"c\", key = \"k\" }";
        let (span, what) = read(text).unwrap().fault().unwrap();
        assert_eq!(text.get(span), Some("{ certificate = \"c\", key = \"k\" }"));
        assert!(what.contains("TLS"), "{what}");
    }
}
