//! What a request's head must show before its body is read: whom it was sent to, from where, and
//! by which agent.
//!
//! A web page can reach a server on loopback, by rebinding a name or by posting across origins. It
//! can't choose the `Host` and `Origin` that its browser sends, so both must be on a list, and a
//! head with two of one of them, or with one that can't be read, is refused.

use axum::http::header::{AUTHORIZATION, HOST, HeaderName, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};

use crate::limits::protocol::TOKEN;

/// Hosts and origins that requests may name.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    hosts: Vec<Place>,
    origins: Vec<(String, Place)>,
}

/// A host, on one port or on any.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

/// The configuration names a host or an origin that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// Not a host.
    #[error(
        "`{0}` is not a host: expected a name or an address, and `:<port>` where only one port will do"
    )]
    Host(String),
    /// Not an origin.
    #[error(
        "`{0}` is not an origin: expected `<scheme>://<host>`, with `:<port>` or `:*` where the port is not the scheme's own"
    )]
    Origin(String),
}

impl Gate {
    pub(crate) fn new(hosts: &[String], origins: &[String]) -> Result<Self, GateError> {
        let hosts = hosts
            .iter()
            .map(|text| place(text).ok_or_else(|| GateError::Host(text.clone())))
            .collect::<Result<_, _>>()?;
        let origins = origins
            .iter()
            .map(|text| {
                let any_port = text.strip_suffix(":*");
                let (scheme, mut place) = origin(any_port.unwrap_or(text))
                    .ok_or_else(|| GateError::Origin(text.clone()))?;
                if any_port.is_some() {
                    place.port = None;
                }
                Ok((scheme, place))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { hosts, origins })
    }

    /// The origins in the form that `rmcp` reads without guessing a port.
    pub(super) fn origins(&self) -> Vec<String> {
        self.origins
            .iter()
            .map(|(scheme, place)| {
                let host = if place.host.contains(':') {
                    format!("[{}]", place.host)
                } else {
                    place.host.clone()
                };
                match place.port {
                    Some(port) => format!("{scheme}://{host}:{port}"),
                    None => format!("{scheme}://{host}:*"),
                }
            })
            .collect()
    }

    /// Whether the request was meant for this server, and sent from where it may be.
    pub(crate) fn admits(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
        let named = one(headers, &HOST).map_err(|()| "more than one Host header")?;
        let authority = match (named, uri.authority()) {
            (None, None) => return Err("no Host header"),
            (Some(named), None) => named.to_str().ok().and_then(|text| text.parse().ok()),
            (None, Some(authority)) => Some(authority.clone()),
            // The request line and the header must not name two hosts.
            (Some(named), Some(authority)) => named
                .to_str()
                .ok()
                .filter(|text| text.eq_ignore_ascii_case(authority.as_str()))
                .map(|_| authority.clone()),
        };
        let host = authority.and_then(|authority: Authority| of(&authority));
        if !host.is_some_and(|host| self.hosts.iter().any(|place| place.holds(&host))) {
            return Err("the Host header names no host of this server");
        }
        let Some(value) = one(headers, &ORIGIN).map_err(|()| "more than one Origin header")? else {
            return Ok(());
        };
        let from = value.to_str().ok().and_then(origin);
        if from.is_some_and(|(scheme, from)| {
            self.origins
                .iter()
                .any(|(allowed, place)| *allowed == scheme && place.holds(&from))
        }) {
            Ok(())
        } else {
            Err("the Origin header names no origin that may ask this server")
        }
    }
}

impl Place {
    fn holds(&self, other: &Self) -> bool {
        self.host == other.host && (self.port.is_none() || self.port == other.port)
    }
}

/// The one value of a header, if there is one.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(()),
    }
}

fn of(authority: &Authority) -> Option<Place> {
    // A user name in a Host or an Origin is none of theirs.
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host().to_ascii_lowercase();
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(&host);
    // A colon without a number after it is no port.
    let port = authority.port_u16();
    let rest = authority.as_str().get(authority.host().len()..)?;
    if bare.is_empty() || (port.is_none() && !rest.is_empty()) {
        return None;
    }
    Some(Place {
        host: bare.to_owned(),
        port,
    })
}

fn place(text: &str) -> Option<Place> {
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Some(Place {
            host: text.to_ascii_lowercase(),
            port: None,
        });
    }
    of(&text.parse().ok()?)
}

/// An origin as browsers write it; the port is the scheme's own where none is written.
fn origin(text: &str) -> Option<(String, Place)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let mut place = of(&rest.parse().ok()?)?;
    place.port = place.port.or(match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    });
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    (!scheme.is_empty() && scheme.bytes().all(plain)).then_some((scheme, place))
}

/// What the `Authorization` header holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bearer<'a> {
    /// No header.
    Absent,
    /// Something that is no bearer token, or more than one.
    Malformed,
    /// A token, not yet looked up.
    Token(&'a str),
}

/// Where a hand-off stands: beside the agent's own credential.
pub(super) const HANDOFF: HeaderName = HeaderName::from_static("tollgate-handoff");

/// The hand-off that comes with the request, if there is one.
pub(super) fn handoff(headers: &HeaderMap) -> Result<Option<&str>, ()> {
    let Some(value) = one(headers, &HANDOFF)? else {
        return Ok(None);
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_".contains(&b);
    value
        .to_str()
        .ok()
        .filter(|text| (1..=TOKEN).contains(&text.len()) && text.bytes().all(plain))
        .map(Some)
        .ok_or(())
}

pub(crate) fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let value = match one(headers, &AUTHORIZATION) {
        Ok(None) => return Bearer::Absent,
        Ok(Some(value)) => value,
        Err(()) => return Bearer::Malformed,
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token);
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    match token {
        Some(token) if !token.is_empty() && token.len() <= TOKEN && token.bytes().all(plain) => {
            Bearer::Token(token)
        }
        _ => Bearer::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(
            &["localhost".into(), "127.0.0.1:8787".into(), "::1".into()],
            &["http://localhost:*".into(), "https://app.example".into()],
        )
        .unwrap()
    }

    fn admits(heads: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in heads {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        gate().admits(&Uri::from_static("/mcp"), &headers).is_ok()
    }

    #[test]
    fn only_hosts_on_the_list_are_served() {
        for host in [
            "localhost",
            "LOCALHOST:1",
            "127.0.0.1:8787",
            "[::1]",
            "[::1]:9",
        ] {
            assert!(admits(&[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1",
            "127.0.0.1:8788",
            "localhost.",
            "localhost@evil.example",
            "evil@localhost",
            "localhost:",
            "localhost:99999",
            "",
            "localhost/x",
        ] {
            assert!(!admits(&[("host", host)]), "{host}");
        }
        assert!(!admits(&[]));
        assert!(!admits(&[("host", "localhost"), ("host", "localhost")]));
        let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static("localhost"))]);
        let other = Uri::from_static("http://evil.example/mcp");
        assert!(gate().admits(&other, &headers).is_err());
    }

    #[test]
    fn an_origin_must_be_on_the_list_if_there_is_one() {
        let from = |origin| admits(&[("host", "localhost"), ("origin", origin)]);
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://app.example",
            "https://APP.example:443",
        ] {
            assert!(from(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "https://evil.example",
            "https://localhost",
            "http://app.example",
            "https://app.example:444",
            "https://app.example/",
            "https://app.example.evil",
            "https://app.example@evil.example",
            "localhost",
            "://localhost",
        ] {
            assert!(!from(origin), "{origin}");
        }
        assert!(!admits(&[
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://localhost"),
        ]));
    }

    #[test]
    fn a_configuration_that_names_nothing_is_refused() {
        for host in ["", "a b", "http://localhost", "a@b"] {
            assert!(Gate::new(&[host.to_owned()], &[]).is_err(), "{host}");
        }
        for origin in ["null", "localhost", "*", "https://", "https://*"] {
            let made = Gate::new(&[], &[origin.to_owned()]);
            // A star is no host that any browser sends.
            assert!(made.is_err() || origin == "https://*", "{origin}");
        }
    }

    #[test]
    fn a_token_is_taken_from_one_plain_header() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            match bearer(&headers) {
                Bearer::Token(token) => token.to_owned(),
                other => format!("{other:?}"),
            }
        };
        assert_eq!(read(&["Bearer abc"]), "abc");
        assert_eq!(read(&["bearer abc"]), "abc");
        assert_eq!(read(&[]), "Absent");
        let long = format!("Bearer {}", "a".repeat(TOKEN + 1));
        for bad in [
            &["Basic abc"][..],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a", "Bearer a"],
            &[&long],
        ] {
            assert_eq!(read(bad), "Malformed", "{bad:?}");
        }
    }
}
