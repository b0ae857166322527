//! Origins (RFC 6454): scheme, host and port, each in canonical form.

use std::fmt;
use std::net::IpAddr;

use super::url::{CanonicalUrl, noncanonical};
use crate::reason::Refusal;

/// The two schemes that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP over TLS.
    Https,
    /// HTTP in the clear; only where a grant names it.
    Http,
}

impl Scheme {
    /// Its text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    /// The port that is meant where none is written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

/// A host, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name to look up: lower case, A-labels, no trailing dot.
    Name(Box<str>),
    /// An address, written out.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            // As `url` writes it: no dotted tail.
            Self::Address(IpAddr::V6(address)) => url::Host::<&str>::Ipv6(*address).fmt(f),
        }
    }
}

/// Scheme, host and port (RFC 6454): what a grant names, and the text is its canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: Scheme,
    host: Host,
    port: u16,
}

impl Origin {
    pub(super) const fn new(scheme: Scheme, host: Host, port: u16) -> Self {
        Self { scheme, host, port }
    }

    /// Reads an origin: a canonical URL that ends after its port.
    ///
    /// # Errors
    ///
    /// As [`CanonicalUrl::parse`]; and `egress.url_noncanonical` where the text is not exactly the
    /// canonical form, or has a path.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let origin = CanonicalUrl::parse(text)?.origin().clone();
        if origin.to_string() == text {
            Ok(origin)
        } else {
            Err(noncanonical("not an origin in its canonical form")
                .with_detail(format!("write `{origin}`")))
        }
    }

    /// The scheme.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, also where it is the scheme's own.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host, and port where it is not the scheme's own: the `host` header (RFC 9110 section 7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}
