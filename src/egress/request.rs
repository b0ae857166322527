//! The canonical request: the value that scope and policy decide on and that is then sent.
//!
//! It can't be changed once made. What the host adds while sending is the same for every request
//! (`host`, `connection`, framing), or a credential, which the decision knows by name.

use bytes::Bytes;
use http::header::HeaderMap;

use super::headers;
use super::url::CanonicalUrl;
use crate::digest::Digest;
use crate::limits::{HttpLimits, reached};
use crate::reason::{Reason, Refusal};

/// A method that may be granted. `CONNECT` opens a tunnel, `TRACE` echoes credentials, and what
/// else there is has no meaning that could be decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the methods of RFC 9110 and RFC 5789 by their own names"
)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::Head,
        Self::Post,
        Self::Put,
        Self::Patch,
        Self::Delete,
        Self::Options,
    ];

    /// Its text. Methods are case-sensitive (RFC 9110 section 9.1).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Reads a method.
    ///
    /// # Errors
    ///
    /// `egress.method` for any other text.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or_else(|| {
                Refusal::new(
                    Reason::EgressMethod,
                    "not a method that is served, or not in capitals",
                )
            })
    }

    /// Content of these has no defined meaning and some servers take it for the next request
    /// (RFC 9110 sections 9.3.1 and 9.3.2). That of `DELETE` has none either, but interfaces use it.
    const fn may_have_body(self) -> bool {
        !matches!(self, Self::Get | Self::Head)
    }

    pub(super) const fn wire(self) -> http::Method {
        match self {
            Self::Get => http::Method::GET,
            Self::Head => http::Method::HEAD,
            Self::Post => http::Method::POST,
            Self::Put => http::Method::PUT,
            Self::Patch => http::Method::PATCH,
            Self::Delete => http::Method::DELETE,
            Self::Options => http::Method::OPTIONS,
        }
    }
}

/// A request in canonical form.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: CanonicalUrl,
    headers: HeaderMap,
    body: Bytes,
    body_digest: Digest,
}

impl Request {
    /// Makes a request of what a plugin passed.
    ///
    /// The order is that of what a reader would want to hear first: where to, then what.
    ///
    /// # Errors
    ///
    /// Those of [`CanonicalUrl::parse`]; `egress.method`; `egress.forbidden_header`,
    /// `egress.request_invalid`; `limit.request_bytes`.
    pub fn parse<N, V>(
        method: &str,
        url: &str,
        headers: &[(N, V)],
        body: impl Into<Bytes>,
        limits: &HttpLimits,
    ) -> Result<Self, Refusal>
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        let url = CanonicalUrl::parse(url)?;
        let method = Method::parse(method)?;
        let headers = headers::parse(headers, limits)?;
        let body = body.into();
        if !body.is_empty() && !method.may_have_body() {
            return Err(Refusal::new(
                Reason::EgressMethod,
                "a body with `GET` or `HEAD`",
            ));
        }
        if body.len() > limits.request_body {
            return Err(Refusal::new(
                Reason::LimitRequestBytes,
                reached(
                    "http.request_body",
                    body.len(),
                    limits.request_body,
                    " bytes",
                ),
            ));
        }
        let body_digest = Digest::of(&body);
        Ok(Self {
            method,
            url,
            headers,
            body,
            body_digest,
        })
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The URL. Its text is what the record carries: a credential is never part of it.
    #[must_use]
    pub const fn url(&self) -> &CanonicalUrl {
        &self.url
    }

    /// The headers that the plugin sets, names in lower case; and `user-agent`.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body; empty where there is none.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// Digest of the body.
    #[must_use]
    pub const fn body_digest(&self) -> Digest {
        self.body_digest
    }

    /// Digest of all of it: what an approval is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let url = self.url.to_string();
        let fields = self
            .headers
            .iter()
            .flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        Digest::of_parts(
            [
                self.method.as_str().as_bytes(),
                url.as_bytes(),
                self.body_digest.as_bytes(),
            ]
            .into_iter()
            .chain(fields),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, body: &'static str) -> Result<Request, Reason> {
        let none: &[(&str, &str)] = &[];
        Request::parse(
            method,
            "https://granted.example/",
            none,
            body,
            &HttpLimits::default(),
        )
        .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn s27_other_methods_are_refused() {
        for method in [
            "CONNECT", "TRACE", "PRI", "get", "Get", "", "GET ", "GET\r\n", "PROPFIND", "*",
        ] {
            assert_eq!(
                request(method, "").err(),
                Some(Reason::EgressMethod),
                "{method:?}"
            );
        }
        for method in Method::ALL {
            assert_eq!(request(method.as_str(), "").unwrap().method(), method);
            assert_eq!(method.wire().as_str(), method.as_str());
        }
    }

    #[test]
    fn s34_no_body_with_get_or_head() {
        assert_eq!(request("GET", "x").err(), Some(Reason::EgressMethod));
        assert_eq!(request("HEAD", "x").err(), Some(Reason::EgressMethod));
        assert!(request("DELETE", "x").is_ok());
    }

    #[test]
    fn the_url_is_looked_at_first() {
        let none: &[(&str, &str)] = &[];
        let limits = HttpLimits::default();
        let first = Request::parse("get", "gopher://x/", none, "", &limits).unwrap_err();
        assert_eq!(first.reason, Reason::EgressScheme);
        let second =
            Request::parse("get", "https://x/", &[("host", "y")], "", &limits).unwrap_err();
        assert_eq!(second.reason, Reason::EgressMethod);
    }

    #[test]
    fn bodies_are_bounded_and_digested() {
        let limits = HttpLimits {
            request_body: 3,
            ..HttpLimits::default()
        };
        let none: &[(&str, &str)] = &[];
        let fits = Request::parse("POST", "https://x/", none, "abc", &limits).unwrap();
        assert_eq!(fits.body_digest(), Digest::of(b"abc"));
        let large = Request::parse("POST", "https://x/", none, "abcd", &limits).unwrap_err();
        assert_eq!(large.reason, Reason::LimitRequestBytes);
        let other = Request::parse("PUT", "https://x/", none, "abc", &limits).unwrap();
        assert_ne!(fits.digest(), other.digest());
    }
}
