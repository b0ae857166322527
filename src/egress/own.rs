//! Requests of the host itself: to a server of secrets, an authorization server, a webhook.
//!
//! They go to what the operator configured and carry the host's own credentials, so other rules hold
//! than for a plugin's requests: private addresses are allowed, and no policy is asked. The way is the
//! same: one canonical URL, one look-up, the checked address dialled, TLS to the name with the
//! configured authorities, no redirect followed, one connection per request, everything bounded.
//!
//! | rule | why |
//! | --- | --- |
//! | `http` to loopback only | a token in the clear on a network is everybody's |
//! | no metadata service, no link-local address | a name that leads there is an attack, whoever configured it |
//! | through the configured proxy only where every address is public | a proxy can't reach what is private here |
//!
//! Nothing is written down here: whoever sends a request writes the record that belongs before it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderName, HeaderValue};
use http_body_util::Full;
use tokio::time::{Instant, timeout};

use super::address::{Class, classify};
use super::client::{self, Outbound, Response, Trace};
use super::connect::{self, BoxedStream, OutboundConfig, OutboundConfigError};
use super::origin::{Origin, Scheme};
use super::resolve;
use super::url::CanonicalUrl;
use crate::clock::SharedClock;
use crate::limits::HttpLimits;
use crate::reason::{Reason, Refusal};

/// Sends requests of the host itself. Cheap to clone.
#[derive(Debug, Clone)]
pub struct OwnClient {
    outbound: Outbound,
}

/// How much time and room one request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnBounds {
    /// Looking up the name and connecting, TLS included.
    pub connect: Duration,
    /// In all.
    pub total: Duration,
    /// Bytes of the response's body.
    pub response_body: usize,
}

impl Default for OwnBounds {
    fn default() -> Self {
        Self {
            // A call may wait for this, and it has 30 s itself.
            connect: Duration::from_secs(5),
            total: Duration::from_secs(10),
            // A set of keys or a lease has a few KiB.
            response_body: 1 << 20,
        }
    }
}

/// There is no answer.
#[derive(Debug, thiserror::Error)]
#[error("`{to}` gave no answer: {}{}", refusal.message, detail(refusal))]
pub struct OwnError {
    to: String,
    refusal: Box<Refusal>,
    sent: bool,
}

fn detail(refusal: &Refusal) -> String {
    refusal
        .detail
        .as_ref()
        .map_or_else(String::new, |detail| format!(" ({detail})"))
}

impl OwnError {
    /// Why, from the closed list.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.refusal.reason
    }

    /// Whether the server may have got the request, and may have done what it asks.
    #[must_use]
    pub const fn may_have_arrived(&self) -> bool {
        self.sent
    }
}

impl OwnClient {
    /// The client over the resolver, the connector, the authorities and the proxy of `outbound`.
    #[must_use]
    pub fn of(outbound: &Outbound) -> Self {
        Self {
            outbound: outbound.clone(),
        }
    }

    /// The client over the system's resolver and TCP, for a command without a running host.
    ///
    /// # Errors
    ///
    /// The configuration can't be used.
    pub fn new(config: &OutboundConfig, clock: SharedClock) -> Result<Self, OutboundConfigError> {
        Ok(Self::of(&Outbound::new(config, clock)?))
    }

    /// Sends `request`, whose URI is absolute, and reads the whole answer, whatever its status.
    ///
    /// Mark headers that hold a credential as sensitive. Dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// The URI can't be used, the server can't be reached or did not prove its name, or it did not
    /// answer as HTTP asks, in time or within the bounds.
    pub async fn send(
        &self,
        request: http::Request<Bytes>,
        bounds: OwnBounds,
    ) -> Result<http::Response<Bytes>, OwnError> {
        let mut sent = false;
        let shown = shown(request.uri());
        let result = match timeout(bounds.total, self.run(request, bounds, &mut sent)).await {
            Ok(result) => result,
            Err(_) => Err(client::late("in all", "total", bounds.total)),
        };
        result.and_then(answer).map_err(|refusal| OwnError {
            to: shown,
            refusal: Box::new(refusal),
            sent,
        })
    }

    async fn run(
        &self,
        request: http::Request<Bytes>,
        bounds: OwnBounds,
        sent: &mut bool,
    ) -> Result<Response, Refusal> {
        let limits = limits(bounds);
        let url = CanonicalUrl::parse(&request.uri().to_string())?;
        let mut trace = Trace::default();
        let connecting = self.connect(url.origin(), &limits, &mut trace);
        let stream = timeout(bounds.connect, connecting)
            .await
            .unwrap_or_else(|_| Err(client::late("connecting", "connect", bounds.connect)))?;
        let (head, body) = request.into_parts();
        let mut message = http::Request::new(Full::new(body));
        *message.method_mut() = head.method;
        *message.uri_mut() = http::Uri::from(url.target().clone());
        *message.headers_mut() = head.headers;
        let host = HeaderValue::try_from(url.origin().authority()).map_err(|_| {
            Refusal::new(Reason::UrlInvalid, "the host can't be written as a header")
        })?;
        message.headers_mut().insert(HOST, host);
        message
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        *sent = true;
        client::exchange(stream, message, &limits, Instant::now(), &mut trace).await
    }

    async fn connect(
        &self,
        origin: &Origin,
        limits: &HttpLimits,
        trace: &mut Trace,
    ) -> Result<BoxedStream, Refusal> {
        let outbound = &self.outbound;
        let allowed = |_, class| !matches!(class, Class::Metadata | Class::LinkLocal);
        let checked = resolve::resolve(&*outbound.resolver, origin.host(), &allowed).await?;
        let all = |class| checked.as_slice().iter().all(|a| classify(*a) == class);
        if origin.scheme() == Scheme::Http && !all(Class::Loopback) {
            return Err(Refusal::new(
                Reason::EgressScheme,
                "plain `http` is for this machine only, use `https`",
            ));
        }
        let direct;
        let way = if all(Class::Public) {
            outbound
        } else {
            direct = outbound.without_proxy();
            &direct
        };
        let stream = way.dial(&checked, origin, limits, trace).await?;
        match origin.scheme() {
            Scheme::Https => connect::secure(&outbound.tls, origin.host(), stream).await,
            Scheme::Http => Ok(stream),
        }
    }
}

fn limits(bounds: OwnBounds) -> HttpLimits {
    HttpLimits {
        response_body: bounds.response_body,
        connect: bounds.connect,
        // The one bound of all is enough: these servers are the operator's.
        first_byte: bounds.total,
        idle: bounds.total,
        total: bounds.total,
        ..HttpLimits::default()
    }
}

fn answer(response: Response) -> Result<http::Response<Bytes>, Refusal> {
    let unreadable = || {
        Refusal::new(
            Reason::EgressProtocol,
            "the server did not answer as HTTP asks",
        )
    };
    let mut out = http::Response::new(Bytes::from(response.body));
    *out.status_mut() = http::StatusCode::from_u16(response.status).map_err(|_| unreadable())?;
    for (name, value) in response.headers {
        let name = HeaderName::try_from(name).map_err(|_| unreadable())?;
        let value = HeaderValue::try_from(value).map_err(|_| unreadable())?;
        out.headers_mut().append(name, value);
    }
    Ok(out)
}

/// Scheme, host and path: a query may hold what nobody else is to read, and so may a user name.
fn shown(uri: &http::Uri) -> String {
    let host = uri.authority().map_or("", |authority| authority.host());
    let port = uri
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let scheme = uri.scheme_str().unwrap_or("?");
    format!("{scheme}://{host}{port}{}", uri.path())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{After, Bench, Upstream};
    use super::*;

    const OK: &str = "HTTP/1.1 200 OK\r\nx-kind: a\r\ncontent-length: 2\r\n\r\nhi";

    fn get(url: &str) -> http::Request<Bytes> {
        http::Request::get(url).body(Bytes::new()).unwrap()
    }

    async fn reason(bench: &Bench, url: &str) -> OwnError {
        OwnClient::of(&bench.outbound)
            .send(get(url), OwnBounds::default())
            .await
            .expect_err("refused")
    }

    #[tokio::test]
    async fn a_request_goes_to_loopback_and_its_answer_comes_back() {
        let mut upstream = Upstream::plain(OK, After::Close).await;
        let bench = Bench::new(&[&["127.0.0.1"]], upstream.address);
        let client = OwnClient::of(&bench.outbound);
        let request = http::Request::post("http://vault.internal:8200/v1/x?list=true")
            .header("x-vault-token", "hvs.abc")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let response = client.send(request, OwnBounds::default()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-kind"], "a");
        assert_eq!(response.body().as_ref(), b"hi");
        let sent = upstream.captured().await;
        assert!(
            sent.starts_with("POST /v1/x?list=true HTTP/1.1\r\n"),
            "{sent}"
        );
        assert!(sent.contains("\r\nhost: vault.internal:8200\r\n"), "{sent}");
        assert!(sent.contains("\r\ncontent-length: 2\r\n"), "{sent}");
        assert!(sent.contains("\r\nx-vault-token: hvs.abc\r\n"), "{sent}");
        assert!(sent.ends_with("\r\n\r\n{}"), "{sent}");
    }

    #[tokio::test]
    async fn plain_http_does_not_leave_the_machine() {
        for addresses in [
            &["10.1.2.3"][..],
            &["93.184.216.34"],
            &["127.0.0.1", "10.1.2.3"],
        ] {
            let mut upstream = Upstream::plain(OK, After::Close).await;
            let bench = Bench::new(&[addresses], upstream.address);
            let error = reason(&bench, "http://vault.internal/v1/x").await;
            assert_eq!(error.reason(), Reason::EgressScheme);
            assert!(!error.may_have_arrived());
            assert!(upstream.is_untouched());
        }
    }

    #[tokio::test]
    async fn no_metadata_service_and_nothing_that_can_be_no_server() {
        for address in [
            "169.254.169.254",
            "169.254.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "fe80::1",
        ] {
            let mut upstream = Upstream::plain(OK, After::Close).await;
            let bench = Bench::new(&[&[address]], upstream.address);
            let error = reason(&bench, "https://vault.internal/v1/x").await;
            assert_eq!(error.reason(), Reason::EgressIpClass, "{address}");
            assert!(upstream.is_untouched());
        }
    }

    #[tokio::test]
    async fn a_redirect_comes_back_as_it_is_and_a_large_body_does_not() {
        let moved =
            "HTTP/1.1 302 Found\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n";
        let upstream = Upstream::plain(moved, After::Close).await;
        let bench = Bench::new(&[&["127.0.0.1"]], upstream.address);
        let client = OwnClient::of(&bench.outbound);
        let response = client
            .send(get("http://own.example/"), OwnBounds::default())
            .await
            .unwrap();
        assert_eq!(response.status(), 302);
        assert_eq!(bench.lookups(), 1);

        let upstream = Upstream::plain(OK, After::Close).await;
        let bench = Bench::new(&[&["127.0.0.1"]], upstream.address);
        let bounds = OwnBounds {
            response_body: 1,
            ..OwnBounds::default()
        };
        let client = OwnClient::of(&bench.outbound);
        let error = client
            .send(get("http://own.example/"), bounds)
            .await
            .expect_err("too large");
        assert_eq!(error.reason(), Reason::LimitResponseBytes);
        assert!(error.may_have_arrived());
    }

    #[tokio::test]
    async fn an_error_shows_neither_query_nor_user() {
        let bench = Bench::with(
            &[&["127.0.0.1"]],
            ([127, 0, 0, 1], 9).into(),
            &["127.0.0.1"],
            &OutboundConfig::default(),
        );
        let error = reason(&bench, "http://own.example:8200/a?token=canary").await;
        assert_eq!(error.reason(), Reason::EgressConnect);
        assert!(!error.may_have_arrived());
        let text = format!("{error} {error:?}");
        assert!(text.contains("http://own.example:8200/a"), "{text}");
        assert!(!text.contains("canary"), "{text}");
        let error = reason(&bench, "http://user:canary@own.example/").await;
        assert_eq!(error.reason(), Reason::UrlUserinfo);
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
