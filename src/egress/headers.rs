//! Request headers: which a plugin may set, and in what form.
//!
//! The host alone says where a message starts and ends, to whom it goes and through what; a plugin
//! that could say so too could smuggle a second request past the decision (RFC 9112 section 11.2).

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::limits::{HttpLimits, reached};
use crate::reason::{Reason, Refusal};

/// Names that belong to the host, `_` read as `-`; and see [`OWNED_PREFIXES`].
///
/// | names | why |
/// | --- | --- |
/// | `host` | the origin was decided on (RFC 9110 section 7.2) |
/// | `content-length`, `transfer-encoding`, `te`, `trailer` | framing (RFC 9112 section 6) |
/// | `connection`, `keep-alive`, `upgrade`, `http2-settings`, `close` | hop by hop (RFC 9110 section 7.6.1) |
/// | `expect` | the host sends the body at once (RFC 9110 section 10.1.1) |
/// | `forwarded`, `via`, `x-real-ip`, ... | whom a request comes from is for the host to say (RFC 7239) |
/// | `x-http-method-override`, ... | the method was decided on |
/// | `x-original-url`, `x-rewrite-url`, ... | the path was decided on |
pub(super) const OWNED: &[&str] = &[
    "client-ip",
    "cf-connecting-ip",
    "close",
    "connection",
    "content-length",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "forwarded-for",
    "host",
    "http2-settings",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-originating-ip",
    "x-override-url",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-rewrite-url",
];

/// Beginnings of names that belong to the host.
pub(super) const OWNED_PREFIXES: &[&str] = &[":", "proxy-", "x-forwarded-", "x-proxy-"];

/// What the host says of itself where a plugin says nothing: some servers refuse without it.
const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));

/// Whether the host alone may set this header. Servers that hand headers on as environment
/// variables (RFC 3875) can't tell `_` from `-`, so neither does this.
#[must_use]
pub fn is_owned(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    OWNED.contains(&name.as_str()) || OWNED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Headers that a plugin may send, checked.
///
/// # Errors
///
/// `egress.forbidden_header` for one of the host's, `egress.request_invalid` for what is no header,
/// `limit.request_bytes` for too many.
pub(super) fn parse<N, V>(headers: &[(N, V)], limits: &HttpLimits) -> Result<HeaderMap, Refusal>
where
    N: AsRef<str>,
    V: AsRef<[u8]>,
{
    if headers.len() > limits.header_fields {
        return Err(Refusal::new(
            Reason::LimitRequestBytes,
            reached(
                "http.header_fields",
                headers.len(),
                limits.header_fields,
                "",
            ),
        ));
    }
    // `: ` and the line's end.
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_ref().len() + value.as_ref().len() + 4)
        .sum();
    if bytes > limits.header_bytes {
        return Err(Refusal::new(
            Reason::LimitRequestBytes,
            reached("http.header_bytes", bytes, limits.header_bytes, " bytes"),
        ));
    }
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, value) in headers {
        let name = name.as_ref();
        if is_owned(name) {
            return Err(Refusal::new(
                Reason::EgressForbiddenHeader,
                "a header that the host alone sets",
            )
            .with_detail(format!("`{}`", name.escape_debug())));
        }
        map.append(header_name(name)?, header_value(value.as_ref())?);
    }
    if !map.contains_key(http::header::USER_AGENT) {
        map.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static(USER_AGENT),
        );
    }
    Ok(map)
}

/// A field name (RFC 9110 section 5.1), in lower case.
pub(super) fn header_name(name: &str) -> Result<HeaderName, Refusal> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| Refusal::new(Reason::EgressRequestInvalid, "not the name of a header"))
}

/// A field value of visible ASCII, spaces and tabs, with none of those at its ends. RFC 9110
/// section 5.5 allows other bytes too, and readers differ on what they mean.
pub(super) fn header_value(value: &[u8]) -> Result<HeaderValue, Refusal> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let plain = value.iter().all(|b| matches!(b, b'\t' | b' '..=b'~'));
    if !plain || blank(value.first()) || blank(value.last()) {
        return Err(Refusal::new(
            Reason::EgressRequestInvalid,
            "a header's value holds a line break, a character outside of ASCII, or spaces around it",
        ));
    }
    HeaderValue::from_bytes(value)
        .map_err(|_| Refusal::new(Reason::EgressRequestInvalid, "not the value of a header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(name: &str, value: &str) -> Option<Reason> {
        parse(&[(name, value)], &HttpLimits::default())
            .err()
            .map(|r| r.reason)
    }

    #[test]
    fn s24_s25_headers_of_the_host_are_refused() {
        for name in [
            "Host",
            ":authority",
            "Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Proxy-Authorization",
            "Proxy-Connection",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Forwarded",
            "X-HTTP-Method-Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "Content-Length",
            "Expect",
            "Keep-Alive",
            "Via",
            "X-Original-URL",
            "X_Forwarded_For",
            "content_length",
        ] {
            assert_eq!(
                reason(name, "1"),
                Some(Reason::EgressForbiddenHeader),
                "{name}"
            );
        }
        for name in [
            "accept",
            "Authorization",
            "x-github-api-version",
            "If-None-Match",
            "Cookie",
        ] {
            assert_eq!(reason(name, "1"), None, "{name}");
        }
    }

    #[test]
    fn s26_nothing_ends_a_line() {
        for (name, value) in [
            ("x", "a\r\nhost: evil"),
            ("x", "a\nb"),
            ("x", "a\rb"),
            ("x", "a\0b"),
            ("x", "a\r\n b"),
            ("x\r\nhost", "a"),
            ("x y", "a"),
            ("", "a"),
            ("x:", "a"),
            ("x", " a"),
            ("x", "a "),
            ("x", "é"),
            ("x", "\u{560a}"),
            ("\u{212a}ost", "a"),
        ] {
            assert_eq!(
                reason(name, value),
                Some(Reason::EgressRequestInvalid),
                "{name:?} {value:?}"
            );
        }
    }

    #[test]
    fn r08_counts_and_bytes_are_bounded() {
        let limits = HttpLimits::default();
        let many: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), "1")).collect();
        assert_eq!(
            parse(&many, &limits).unwrap_err().reason,
            Reason::LimitRequestBytes
        );
        let large = [("x", "a".repeat(limits.header_bytes))];
        assert_eq!(
            parse(&large, &limits).unwrap_err().reason,
            Reason::LimitRequestBytes
        );
    }
}
