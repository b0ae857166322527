//! What a grant covers: an origin or any public one, some methods, some paths.
//!
//! A scope comes from a requirement whose settings are resolved. It says what a plugin may ask
//! for at all; policy decides within it, on the same value.

use std::collections::BTreeSet;
use std::ops::Deref;

use super::address::{self, Class};
use super::exfiltration;
use super::origin::{Host, Origin, Scheme};
use super::request::{Method, Request};
use super::url::{CanonicalUrl, not_public};
use crate::plugin::{HttpRequirement, OriginScope};
use crate::reason::{Reason, Refusal};

/// Ends of names that are not looked up under a grant of any public origin: they are answered by
/// the local network or by nobody (RFC 6761, RFC 6762 and its appendix G, RFC 7686, RFC 8375,
/// RFC 9476, and `internal`, which ICANN reserved in 2024; clouds keep their metadata there).
const LOCAL_ENDS: &[&str] = &[
    "alt",
    "corp",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
];

/// A requirement can't be made into a scope.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScopeError {
    /// The setting that the origin is taken from has no value.
    #[error(
        "requirement `{requirement}`: setting `{setting}` has no value; set it in `tollgate.toml`"
    )]
    SettingAbsent {
        /// The requirement.
        requirement: String,
        /// The setting.
        setting: String,
    },
    /// The origin is not one.
    #[error(
        "requirement `{requirement}`: `{origin}` is not an origin such as `https://api.example.com`: {cause}"
    )]
    Origin {
        /// The requirement.
        requirement: String,
        /// The text, escaped.
        origin: String,
        /// Why.
        cause: String,
    },
    /// A method that there is not, or none at all.
    #[error(
        "requirement `{requirement}`: `{method}` is not one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
    )]
    Method {
        /// The requirement.
        requirement: String,
        /// The text, escaped.
        method: String,
    },
    /// A prefix that is not the canonical form of a path, or none at all.
    #[error(
        "requirement `{requirement}`: `{path}` is not a path prefix in canonical form: it starts with `/` and has no query, `.`, `..`, `//`, `;` or encoded separator"
    )]
    Path {
        /// The requirement.
        requirement: String,
        /// The text, escaped.
        path: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    Origin(Origin),
    AnyPublic,
}

/// What requests a grant covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    reach: Reach,
    methods: BTreeSet<Method>,
    /// Prefixes in canonical form; empty means every path.
    paths: Vec<Box<str>>,
}

/// A request that lies within the scope that it was asked under; nothing else is ever sent.
#[derive(Debug, Clone)]
pub struct ScopedRequest {
    request: Request,
    public_only: bool,
}

impl ScopedRequest {
    /// The request, and whether it may go to public addresses only, whatever network policy names.
    pub(super) fn into_parts(self) -> (Request, bool) {
        (self.request, self.public_only)
    }
}

impl Deref for ScopedRequest {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

impl Scope {
    /// The scope of a requirement; `setting` gives the values of the plugin's settings.
    ///
    /// # Errors
    ///
    /// What the requirement or a setting names is not canonical. Nothing is repaired: the text is
    /// part of the plugin's pin and is what the operator reviewed.
    pub fn new<'a>(
        requirement: &'a HttpRequirement,
        setting: impl FnOnce(&str) -> Option<&'a str>,
    ) -> Result<Self, ScopeError> {
        let name = || requirement.name.clone();
        let shown = |text: &str| {
            text.chars()
                .take(200)
                .flat_map(char::escape_debug)
                .collect::<String>()
        };
        let origin = |text: &str| {
            Origin::parse(text)
                .map(Reach::Origin)
                .map_err(|refusal| ScopeError::Origin {
                    requirement: name(),
                    origin: shown(text),
                    cause: refusal
                        .detail
                        .unwrap_or_else(|| refusal.message.into_owned()),
                })
        };
        let reach = match &requirement.origin {
            OriginScope::Literal(text) => origin(text)?,
            OriginScope::Setting(key) => match setting(key) {
                Some(text) => origin(text)?,
                None => {
                    return Err(ScopeError::SettingAbsent {
                        requirement: name(),
                        setting: shown(key),
                    });
                }
            },
            OriginScope::AnyPublic => Reach::AnyPublic,
        };
        let method = |text: &str| {
            Method::parse(text).map_err(|_| ScopeError::Method {
                requirement: name(),
                method: shown(text),
            })
        };
        let methods = requirement
            .methods
            .iter()
            .map(|text| method(text))
            .collect::<Result<BTreeSet<_>, _>>()?;
        if methods.is_empty() {
            return Err(ScopeError::Method {
                requirement: name(),
                method: String::new(),
            });
        }
        let unfit = |path: &str| ScopeError::Path {
            requirement: name(),
            path: shown(path),
        };
        if requirement.paths.is_empty() {
            return Err(unfit(""));
        }
        if let Some(path) = requirement.paths.iter().find(|path| !is_prefix(path)) {
            return Err(unfit(path));
        }
        let every = requirement.paths.iter().any(|path| path == "/");
        let paths = if every {
            Vec::new()
        } else {
            requirement
                .paths
                .iter()
                .map(|path| path.as_str().into())
                .collect()
        };
        Ok(Self {
            reach,
            methods,
            paths,
        })
    }

    /// The one origin that it covers; `None` where it is any public one.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match &self.reach {
            Reach::Origin(origin) => Some(origin),
            Reach::AnyPublic => None,
        }
    }

    /// Lets a request through that lies within this scope.
    ///
    /// An address that is not public and that the grant does not itself name is refused as such
    /// first, because that says more than that the host was not granted. One that the grant
    /// names is still refused before connecting, unless policy names its network too.
    ///
    /// # Errors
    ///
    /// `egress.ip_class`, `egress.host_not_granted`, `egress.scheme`, `egress.port`,
    /// `egress.name_entropy`, `egress.method`, `egress.path`, in this order.
    pub fn admit(&self, request: Request) -> Result<ScopedRequest, Refusal> {
        let url = request.url();
        self.admit_origin(url.origin())?;
        if !self.methods.contains(&request.method()) {
            return Err(Refusal::new(
                Reason::EgressMethod,
                "the method was not granted",
            ));
        }
        self.admit_path(url)?;
        Ok(ScopedRequest {
            request,
            // A network that policy names for one origin is not thereby open to every name.
            public_only: self.reach == Reach::AnyPublic,
        })
    }

    fn admit_origin(&self, asked: &Origin) -> Result<(), Refusal> {
        let granted_host = self.origin().map(Origin::host);
        if let Host::Address(address) = asked.host()
            && granted_host != Some(asked.host())
            && address::classify(*address) != Class::Public
        {
            return Err(not_public(*address));
        }
        let (scheme, port) = match &self.reach {
            Reach::Origin(granted) => {
                if granted.host() != asked.host() {
                    return Err(host_not_granted());
                }
                (granted.scheme(), granted.port())
            }
            Reach::AnyPublic => {
                if let Host::Name(name) = asked.host()
                    && is_local(name)
                {
                    return Err(host_not_granted());
                }
                (Scheme::Https, Scheme::Https.default_port())
            }
        };
        if asked.scheme() != scheme {
            return Err(Refusal::new(
                Reason::EgressScheme,
                "the scheme was not granted",
            ));
        }
        if asked.port() != port {
            return Err(Refusal::new(Reason::EgressPort, "the port was not granted"));
        }
        // Only where the plugin chooses the name: a look-up of a name that the grant spells out tells
        // its servers nothing.
        match (&self.reach, asked.host()) {
            (Reach::AnyPublic, Host::Name(name)) => exfiltration::admit_name(name),
            _ => Ok(()),
        }
    }

    fn admit_path(&self, url: &CanonicalUrl) -> Result<(), Refusal> {
        if self.paths.is_empty() {
            return Ok(());
        }
        if let Some(doubt) = url.doubt() {
            return Err(
                Refusal::new(Reason::EgressPath, "the path can be read in two ways").with_detail(
                    format!(
                        "it has {}, and the grant is limited to some paths",
                        doubt.name()
                    ),
                ),
            );
        }
        if self.paths.iter().any(|prefix| covers(prefix, url.path())) {
            Ok(())
        } else {
            Err(Refusal::new(Reason::EgressPath, "the path was not granted"))
        }
    }
}

fn host_not_granted() -> Refusal {
    Refusal::new(Reason::EgressHostNotGranted, "the host was not granted")
}

/// Whether `name` has one label, or an end that is answered locally.
fn is_local(name: &str) -> bool {
    !name.contains('.')
        || LOCAL_ENDS.iter().any(|end| {
            name.strip_suffix(end)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

/// A prefix that ends with `/` covers what is below it, any other itself and what is below it.
fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

/// Whether `text` is a path as the canonical form has it, so that it can match at all.
fn is_prefix(text: &str) -> bool {
    text.starts_with('/')
        && CanonicalUrl::parse(&format!("https://a.example{text}")).is_ok_and(|url| {
            url.doubt().is_none() && url.target().as_str() == text && url.query().is_none()
        })
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
