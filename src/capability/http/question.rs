//! What policy is asked about a request, and about a connection for it.

use std::net::IpAddr;

use crate::egress::{CheckedRequest, ScopedRequest};
use crate::journal::record::SecretUse;
use crate::policy::{Checked, Fact, HostAction, HostQuestion, Target};

/// A request as policy decides on it.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) request: ScopedRequest,
    pub(super) origin: String,
    pub(super) requirement: String,
    pub(super) secrets: Vec<SecretUse>,
    pub(super) sent_before: u32,
}

impl HostQuestion for Outgoing {
    fn action(&self) -> HostAction {
        HostAction::Http
    }

    fn target(&self) -> Target<'_> {
        Target::Origin(&self.origin)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        let url = self.request.url();
        let origin = url.origin();
        let text = |text: &str| Fact::Text(text.to_owned());
        vec![
            ("method", text(self.request.method().as_str())),
            ("path", text(url.path())),
            ("scheme", text(origin.scheme().as_str())),
            ("host", Fact::Text(origin.host().to_string())),
            ("port", Fact::Whole(origin.port().into())),
            ("requirement", text(&self.requirement)),
            ("query", Fact::Truth(url.query().is_some())),
            (
                "body_bytes",
                Fact::Whole(i64::try_from(self.request.body().len()).unwrap_or(i64::MAX)),
            ),
            ("secrets", Fact::Texts(names(&self.secrets))),
            ("http_calls", Fact::Whole(self.sent_before.into())),
        ]
    }
}

impl CheckedRequest for Checked<Outgoing> {
    fn into_scoped(self) -> ScopedRequest {
        self.into_inner().0.request
    }
}

/// A connection to an address that is not public, as policy decides on it.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) address: IpAddr,
    pub(super) origin: String,
    pub(super) host: String,
    pub(super) port: u16,
}

impl HostQuestion for Dial {
    fn action(&self) -> HostAction {
        HostAction::Connect
    }

    fn target(&self) -> Target<'_> {
        Target::Origin(&self.origin)
    }

    fn facts(&self) -> Vec<(&'static str, Fact)> {
        vec![
            ("address", Fact::Address(self.address)),
            ("port", Fact::Whole(self.port.into())),
            ("host", Fact::Text(self.host.clone())),
        ]
    }
}

/// The secrets' names, as policy and the record have them.
pub(super) fn names(secrets: &[SecretUse]) -> Vec<String> {
    secrets.iter().map(|used| used.secret.clone()).collect()
}
