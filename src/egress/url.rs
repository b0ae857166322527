//! The canonical URL: what is decided on and what is sent, from one parse.
//!
//! Parsers disagree about URLs, and each disagreement is a way around a rule: `url` folds
//! `2130706433` and `①⑥⑨.②⑤④.①⑥⑨.②⑤④` into addresses, `http::Uri` keeps them as names that the
//! system's resolver turns into addresses later. So the text is parsed once, by `url` (WHATWG), and
//! what was written as the host must already be what came out, ASCII case apart. Everything after
//! that reads this value, never the text again.
//!
//! | written | reason |
//! | --- | --- |
//! | a scheme other than `https` and `http` | `egress.scheme`, before anything else: for `gopher:` the rest means something else |
//! | white space, control characters, `\`, `http:x`, `http:///x`, a fragment | `egress.url_noncanonical` |
//! | `user@`, `user:password@` | `egress.url_userinfo` (RFC 3986 section 7.5) |
//! | `[fe80::1%25eth0]` | `egress.url_invalid`: a zone has no meaning off the host (RFC 6874) |
//! | `127.1`, `0x7f.1`, Unicode digits, `a%2eb`, a trailing dot, IDN other than as its A-label | `egress.url_noncanonical` |
//! | `256.256.256.256`, `xn--example-.org`, `a..b`, letters that no host name has (RFC 1123) | `egress.url_invalid` |
//! | `:0`, `:080`, `:65536`, `:` | `egress.port` |
//! | `/a/..%2f..%2fb`, `/%0d%0a`, `/%zz` | `egress.path`, see `path.rs` |

use std::fmt;
use std::net::IpAddr;

use http::uri::PathAndQuery;

use super::address::{self, Class};
use super::origin::{Host, Origin, Scheme};
use super::path::{self, Doubt};
use crate::reason::{Reason, Refusal};

/// The longest URL: what servers and proxies take (RFC 9110 section 4.1 asks for 8000 at least).
pub const MAX_URL: usize = 8 << 10;

/// A URL in canonical form. There is no other way to get one than through [`Self::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalUrl {
    origin: Origin,
    target: PathAndQuery,
    doubt: Option<Doubt>,
}

impl CanonicalUrl {
    /// Parses a URL that must be canonical already as far as its meaning could change.
    ///
    /// What is changed without a refusal can't change where a request goes: ASCII case of scheme
    /// and host, a default port written out, an empty path, the escapes of unreserved characters.
    ///
    /// # Errors
    ///
    /// Those of the table above.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.len() > MAX_URL {
            return Err(Refusal::new(
                Reason::LimitRequestBytes,
                "the URL is longer than 8 KiB",
            ));
        }
        let (scheme, rest) = scheme(text)?;
        if text.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
            return Err(noncanonical(
                "white space, a control character or a backslash in the URL",
            ));
        }
        if rest.contains('#') {
            return Err(noncanonical("the URL has a fragment, which is never sent"));
        }
        let rest = rest
            .strip_prefix("//")
            .filter(|rest| !rest.starts_with('/'))
            .ok_or_else(|| noncanonical("expected `//` and a host after the scheme"))?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, written) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.contains('@') {
            return Err(Refusal::new(
                Reason::UrlUserinfo,
                "the URL has a user name or a password",
            ));
        }
        let (host, port) = split_port(authority)?;
        check_host_text(host)?;
        let port = port.map_or(Ok(scheme.default_port()), parse_port)?;
        // INVARIANT: the one parse. What was checked above only refuses; every value comes from here.
        let parsed = url::Url::parse(text).map_err(|error| {
            Refusal::new(Reason::UrlInvalid, "not a URL").with_detail(error.to_string())
        })?;
        let host = canonical_host(host, &parsed)?;
        if parsed.scheme() != scheme.as_str() || parsed.port_or_known_default() != Some(port) {
            return Err(Refusal::new(
                Reason::UrlInvalid,
                "the URL can be read in two ways",
            ));
        }
        let written = written.split_once('?').map_or(written, |(path, _)| path);
        let path = path::normalise(parsed.path());
        let doubt = path::examine(written, &path)?;
        let target = match parsed.query() {
            None => path.into_owned(),
            Some(query) => format!("{path}?{query}"),
        };
        Ok(Self {
            origin: Origin::new(scheme, host, port),
            target: exact_target(&target)?,
            doubt,
        })
    }

    /// Scheme, host and port.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path, exactly as it is sent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query, exactly as it is sent, without `?`.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Path and query: the request target (RFC 9112 section 3.2.1).
    #[must_use]
    pub const fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// What some server may read differently in the path, where there is something.
    #[must_use]
    pub const fn doubt(&self) -> Option<Doubt> {
        self.doubt
    }
}

impl fmt::Display for CanonicalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

/// The whole of what a URL alone can be refused for: its form, and an address in it that is not
/// public. Pure, and total over all texts; what the fuzz target calls.
///
/// # Errors
///
/// As [`CanonicalUrl::parse`], and `egress.ip_class`.
pub fn admit_url(text: &str) -> Result<CanonicalUrl, Refusal> {
    let url = CanonicalUrl::parse(text)?;
    if let Host::Address(address) = url.origin().host()
        && address::classify(*address) != Class::Public
    {
        return Err(not_public(*address));
    }
    Ok(url)
}

/// The refusal of an address, the same wherever it is found.
pub(super) fn not_public(address: IpAddr) -> Refusal {
    Refusal::new(Reason::EgressIpClass, "the address is not public")
        .with_detail(why_not_public(address))
}

/// For the operator: the class, where that is written, and what would allow it.
pub(super) fn why_not_public(address: IpAddr) -> String {
    let (class, source) = address::describe(address);
    let inside = match address {
        IpAddr::V6(address) => {
            address::embedded(address).map(|inner| format!(" with {inner} inside"))
        }
        IpAddr::V4(_) => None,
    };
    let remedy = if class.can_be_named() {
        "a policy must name its network to allow it"
    } else {
        "no policy can allow it"
    };
    format!(
        "{address}{} is {class} ({source}); {remedy}",
        inside.unwrap_or_default()
    )
}

pub(super) fn noncanonical(what: &'static str) -> Refusal {
    Refusal::new(Reason::UrlNoncanonical, what)
}

/// Scheme first: for schemes that are not special, `url` reads all that follows by other rules.
fn scheme(text: &str) -> Result<(Scheme, &str), Refusal> {
    let (name, rest) = text
        .split_once(':')
        .ok_or_else(|| Refusal::new(Reason::UrlInvalid, "not an absolute URL"))?;
    if name.bytes().any(|b| b <= b' ' || b == 0x7f || b == b'\\') {
        return Err(noncanonical(
            "white space, a control character or a backslash in the URL",
        ));
    }
    let scheme = [Scheme::Https, Scheme::Http]
        .into_iter()
        .find(|scheme| name.eq_ignore_ascii_case(scheme.as_str()));
    match scheme {
        Some(scheme) => Ok((scheme, rest)),
        None if name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !name.is_empty() =>
        {
            Err(Refusal::new(
                Reason::EgressScheme,
                "only `https` is served, and `http` where it is granted",
            ))
        }
        None => Err(Refusal::new(Reason::UrlInvalid, "not an absolute URL")),
    }
}

/// The host as written and the digits of the port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), Refusal> {
    let invalid = |what| Refusal::new(Reason::UrlInvalid, what);
    if authority.starts_with('[') {
        let (inside, after) = authority
            .split_once(']')
            .ok_or_else(|| invalid("an IPv6 address lacks its closing bracket"))?;
        let host = authority.get(..=inside.len()).unwrap_or(authority);
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(invalid("something stands between host and path")),
        };
    }
    match authority.split_once(':') {
        None => Ok((authority, None)),
        Some((_, port)) if port.contains(':') => Err(invalid("an IPv6 address stands in brackets")),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

/// 1 to 65535, as a person writes it: `080`, `+80` and nothing at all are read in several ways.
fn parse_port(digits: &str) -> Result<u16, Refusal> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits
        .parse()
        .ok()
        .filter(|port| plain && *port != 0)
        .ok_or_else(|| {
            Refusal::new(
                Reason::EgressPort,
                "the port is not one of 1 to 65535, without leading zeros",
            )
        })
}

/// Refuses what `url` would silently change, or what no reader agrees on.
fn check_host_text(host: &str) -> Result<(), Refusal> {
    let invalid = |what| Err(Refusal::new(Reason::UrlInvalid, what));
    if host.is_empty() {
        return invalid("the URL has no host");
    }
    if host.starts_with('[') {
        if host.contains('%') {
            return invalid("a zone in an IPv6 address");
        }
        return Ok(());
    }
    if host.contains('%') {
        return Err(noncanonical("the host is percent-encoded"));
    }
    if !host.is_ascii() {
        return Err(noncanonical(
            "the host is not ASCII; write its A-label (`xn--...`)",
        ));
    }
    if host.ends_with('.') {
        return Err(noncanonical("the host ends with a dot"));
    }
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(plain)
    };
    if host.len() > 253 || !host.split('.').all(label) {
        return invalid(
            "not a host name: 1 to 63 letters, digits and hyphens between dots, 253 in all",
        );
    }
    Ok(())
}

/// The host that `url` read, provided that it is what was written.
fn canonical_host(written: &str, parsed: &url::Url) -> Result<Host, Refusal> {
    let canonical = parsed.host_str().unwrap_or_default();
    let host = match parsed.host() {
        Some(url::Host::Domain(name)) => Host::Name(name.into()),
        Some(url::Host::Ipv4(address)) => Host::Address(address.into()),
        Some(url::Host::Ipv6(address)) => Host::Address(address.into()),
        None => return Err(Refusal::new(Reason::UrlInvalid, "the URL has no host")),
    };
    if written.eq_ignore_ascii_case(canonical) {
        return Ok(host);
    }
    // `[::ffff:127.0.0.1]`: the dotted tail is how people write an address inside another, and
    // that is the better reason to name. There is no such address that is public.
    if let Host::Address(IpAddr::V6(address)) = host
        && written.contains('.')
        && address::classify(address.into()) == Class::Embedded
    {
        return Err(not_public(address.into()));
    }
    Err(
        noncanonical("the host is not written in its canonical form")
            .with_detail(format!("`{written}` is read as `{canonical}`")),
    )
}

/// The target in the type that the HTTP client writes, provided that it keeps every byte.
fn exact_target(target: &str) -> Result<PathAndQuery, Refusal> {
    target
        .parse::<PathAndQuery>()
        .ok()
        .filter(|parsed| parsed.as_str() == target)
        .ok_or_else(|| {
            Refusal::new(
                Reason::UrlInvalid,
                "path or query hold a character that HTTP does not send",
            )
        })
}

#[cfg(test)]
#[path = "url_tests.rs"]
mod tests;
