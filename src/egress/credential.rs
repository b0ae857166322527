//! Credentials: put into one named place of a request after it was decided on, and nowhere else.
//!
//! The value is borrowed for the time of one send. It is in no canonical request, no record and no
//! `Debug`. What the HTTP client writes is a copy that can't be wiped; it lives for one exchange.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use http::uri::PathAndQuery;
use zeroize::Zeroizing;

use super::headers;
use super::request::Request;
use crate::reason::{Reason, Refusal};

/// Where a credential goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialScheme {
    /// `authorization: Bearer <value>` (RFC 6750).
    Bearer,
    /// `authorization: Basic ...` (RFC 7617) with this user name.
    Basic(String),
    /// The value alone, in the header of this name.
    Header(String),
    /// The value, percent-encoded, as the query parameter of this name.
    Query(String),
    /// The value, whole, in place of what the plugin set the header of this name to: it built the
    /// header itself, with a placeholder where the secret goes.
    Instead(String),
}

/// A credential, borrowed for one request.
#[derive(Clone, Copy)]
pub struct Credential<'a> {
    scheme: &'a CredentialScheme,
    value: &'a [u8],
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("scheme", self.scheme)
            .finish_non_exhaustive()
    }
}

impl<'a> Credential<'a> {
    /// `value`, to be put where `scheme` says.
    #[must_use]
    pub const fn new(scheme: &'a CredentialScheme, value: &'a [u8]) -> Self {
        Self { scheme, value }
    }

    /// The header that it goes into.
    fn header(&self) -> Result<Option<HeaderName>, Refusal> {
        Ok(match self.scheme {
            CredentialScheme::Bearer | CredentialScheme::Basic(_) => Some(AUTHORIZATION),
            CredentialScheme::Header(name) if headers::is_owned(name) => {
                return Err(Refusal::new(
                    Reason::EgressForbiddenHeader,
                    "a header that the host alone sets",
                ));
            }
            CredentialScheme::Header(name) => Some(headers::header_name(name)?),
            CredentialScheme::Query(_) | CredentialScheme::Instead(_) => None,
        })
    }

    /// The text of the header. Refused where it would end the line; the message never holds it.
    fn header_text(&self) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let plain =
            |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(|b| matches!(b, b' '..=b'~'));
        if !plain(self.value) {
            return Err(invalid(
                "the secret's value is empty, or holds a line break or what is not ASCII",
            ));
        }
        Ok(Zeroizing::new(match self.scheme {
            CredentialScheme::Bearer => [b"Bearer ", self.value].concat(),
            CredentialScheme::Basic(user) => {
                if user.contains(':') || !plain(user.as_bytes()) {
                    return Err(invalid(
                        "the user name is empty, or holds a colon or what is not ASCII",
                    ));
                }
                let pair = Zeroizing::new([user.as_bytes(), b":", self.value].concat());
                let coded = Zeroizing::new(STANDARD.encode(&*pair));
                [b"Basic ", coded.as_bytes()].concat()
            }
            CredentialScheme::Header(_)
            | CredentialScheme::Query(_)
            | CredentialScheme::Instead(_) => self.value.to_vec(),
        }))
    }
}

fn invalid(what: &'static str) -> Refusal {
    Refusal::new(Reason::EgressRequestInvalid, what)
}

/// What is written to the wire for `request` with `credentials` in place.
///
/// # Errors
///
/// `egress.request_invalid` where a place is taken already, by the plugin or by another
/// credential, or a value does not fit into it; `egress.forbidden_header`.
pub(super) fn place(
    request: &Request,
    credentials: &[Credential<'_>],
) -> Result<(HeaderMap, PathAndQuery), Refusal> {
    let mut map = request.headers().clone();
    let mut target = Zeroizing::new(request.url().target().to_string());
    for credential in credentials {
        let text = credential.header_text()?;
        if let Some(name) = credential.header()? {
            if map.contains_key(&name) {
                return Err(invalid(
                    "the request has a header already where the credential goes",
                ));
            }
            let mut value = headers::header_value(&text)?;
            value.set_sensitive(true);
            map.insert(name, value);
        } else if let CredentialScheme::Instead(name) = credential.scheme {
            let name = headers::header_name(name)?;
            let field = map
                .get_mut(&name)
                .ok_or_else(|| invalid("the request has no such header"))?;
            *field = headers::header_value(&text)?;
            field.set_sensitive(true);
        } else if let CredentialScheme::Query(name) = credential.scheme {
            let query = target.split_once('?').map_or("", |(_, query)| query);
            // Decoded, as the server does: `%74oken` is `token` as well.
            let taken =
                url::form_urlencoded::parse(query.as_bytes()).any(|(key, _)| key == name.as_str());
            if taken || name.is_empty() {
                return Err(invalid(
                    "the request has a query parameter already where the credential goes",
                ));
            }
            let joint = if target.contains('?') { '&' } else { '?' };
            target.push(joint);
            target.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
            target.push('=');
            target.extend(url::form_urlencoded::byte_serialize(&text));
        }
    }
    let target = target
        .parse()
        .map_err(|_| invalid("the credential does not fit into the query"))?;
    Ok((map, target))
}
