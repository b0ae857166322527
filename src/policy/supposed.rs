//! A host call that nobody makes, put as the question that the host would ask: for cases and for
//! `tollgate policy explain`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use url::Url;

use crate::name::ToolName;
use crate::plugin::{Description, OriginScope, Requirement};

use super::question::{Fact, HostQuestion, Target};
use super::vocabulary::HostAction;

/// A host call that is only asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Supposed {
    action: HostAction,
    target: String,
    facts: Vec<(&'static str, Fact)>,
}

/// What is known of a request beside its URL. The default is a first one with nothing in it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SupposedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// By which requirement of the plugin.
    pub requirement: &'a str,
    /// Bytes of its body.
    pub body_bytes: i64,
    /// Names of the secrets that go along.
    pub secrets: &'a [String],
    /// Requests that the call sent before.
    pub http_calls: i64,
}

fn text(text: &str) -> Fact {
    Fact::Text(text.to_owned())
}

fn port(url: &Url) -> Fact {
    Fact::Whole(i64::from(url.port_or_known_default().unwrap_or_default()))
}

impl Supposed {
    /// A look at the clock, or a draw of random bytes: what is aimed at nothing beyond the plugin.
    #[must_use]
    pub const fn bare(action: HostAction) -> Self {
        Self {
            action,
            target: String::new(),
            facts: Vec::new(),
        }
    }

    /// A request.
    #[must_use]
    pub fn http(url: &Url, request: &SupposedRequest<'_>) -> Self {
        Self {
            action: HostAction::Http,
            target: url.origin().ascii_serialization(),
            facts: vec![
                ("method", text(request.method)),
                ("path", text(url.path())),
                ("scheme", text(url.scheme())),
                ("host", text(url.host_str().unwrap_or_default())),
                ("port", port(url)),
                ("requirement", text(request.requirement)),
                ("query", Fact::Truth(url.query().is_some())),
                ("body_bytes", Fact::Whole(request.body_bytes)),
                ("secrets", Fact::Texts(request.secrets.to_vec())),
                ("http_calls", Fact::Whole(request.http_calls)),
            ],
        }
    }

    /// A connection for `url` to an address that is not public.
    #[must_use]
    pub fn connect(url: &Url, address: IpAddr) -> Self {
        Self {
            action: HostAction::Connect,
            target: url.origin().ascii_serialization(),
            facts: vec![
                ("address", Fact::Address(address)),
                ("port", port(url)),
                ("host", text(url.host_str().unwrap_or_default())),
            ],
        }
    }

    /// The use of a secret towards `origin`, or (`reveal-secret`) a look at it.
    #[must_use]
    pub fn secret(action: HostAction, name: &str, origin: &str, scheme: &str) -> Self {
        Self {
            action,
            target: name.to_owned(),
            facts: vec![("origin", text(origin)), ("scheme", text(scheme))],
        }
    }
}

impl Supposed {
    /// A question to the client.
    #[must_use]
    pub fn ask(kind: &str, url: Option<&Url>) -> Self {
        let host = url.and_then(Url::host_str).unwrap_or_default();
        Self {
            action: HostAction::Ask,
            target: String::new(),
            facts: vec![("kind", text(kind)), ("host", text(host))],
        }
    }
}

impl HostQuestion for Supposed {
    fn action(&self) -> HostAction {
        self.action
    }

    fn target(&self) -> Target<'_> {
        match self.action {
            HostAction::Http | HostAction::Connect => Target::Origin(&self.target),
            HostAction::UseSecret | HostAction::RevealSecret => Target::Secret(&self.target),
            HostAction::Clock | HostAction::Random | HostAction::Ask => Target::Plugin,
        }
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        self.facts.clone()
    }
}

/// The requirement of `tool` that leads to `origin`: the one that names it, or else the open one.
/// `origins` has the origin of each requirement that has one.
#[must_use]
pub fn requirement_to<'d>(
    description: &'d Description,
    origins: &BTreeMap<String, String>,
    tool: &ToolName,
    origin: &str,
) -> Option<&'d str> {
    let uses = description
        .tool(tool)
        .map(|tool| tool.uses.as_slice())
        .unwrap_or_default();
    let of = |wanted: &dyn Fn(&str, &OriginScope) -> bool| {
        uses.iter().map(String::as_str).find(|name| {
            matches!(description.requirement(name), Some(Requirement::Http(http)) if wanted(name, &http.origin))
        })
    };
    of(&|name, _| origins.get(name).is_some_and(|known| known == origin))
        .or_else(|| of(&|_, scope| *scope == OriginScope::AnyPublic))
}
