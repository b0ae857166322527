//! The one function that connects: what was decided on goes out, and a bounded answer comes back.
//!
//! One connection for each request. A pool would have to be split by call and grant to keep one
//! plugin off a connection that another's grant opened, and a call makes few requests to one origin;
//! so there is nothing to share and nothing to mix up. Redirects come back as they are, each hop
//! being a new request to decide on. Nothing is decompressed: ten kilobytes could become ten
//! gigabytes here, and in the plugin it is the plugin's own memory and fuel.
//!
//! Everything happens within the caller's future, no task is spawned: dropping it closes the socket.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::admitted::Admitted;
use super::connect::{
    self, BoxedStream, Connector, OutboundConfig, OutboundConfigError, TcpConnector,
};
use super::credential::{self, Credential};
use super::origin::{Host, Origin, Scheme};
use super::request::Request;
use super::resolve::{self, AddressPolicy, CheckedAddresses, Resolver, SystemResolver};
use crate::clock::SharedClock;
use crate::limits::{HttpLimits, reached};
use crate::reason::{Reason, Refusal};

/// A response, whole.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case; values as they came.
    pub headers: Vec<(String, Vec<u8>)>,
    /// As it came, chunks joined.
    pub body: Vec<u8>,
}

/// What happened, for the record; filled as far as it went, also where the exchange failed.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// The addresses that were looked up and all allowed.
    pub resolved: Vec<IpAddr>,
    /// The address that was dialled last; with a proxy, the one that it was told to dial.
    pub address: Option<SocketAddr>,
    /// Whether a proxy was used.
    pub proxied: bool,
    /// Bytes of the request's body, once sending began.
    pub bytes_out: u64,
    /// Bytes of the response's body that came.
    pub bytes_in: u64,
    /// From the start until connected, TLS included.
    pub connected: Option<Duration>,
    /// From the start until the response's head.
    pub first_byte: Option<Duration>,
    /// In all.
    pub total: Duration,
}

/// How a request ended.
#[derive(Debug)]
pub struct Exchange {
    /// The response, or why there is none.
    pub result: Result<Response, Refusal>,
    /// What happened on the way.
    pub trace: Trace,
}

/// The way out of this host.
#[derive(Clone)]
pub struct Outbound {
    pub(super) resolver: Arc<dyn Resolver>,
    connector: Arc<dyn Connector>,
    pub(super) tls: TlsConnector,
    proxy: Option<Origin>,
}

impl std::fmt::Debug for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbound")
            .field("resolver", &self.resolver)
            .field("connector", &self.connector)
            .field("proxy", &self.proxy)
            .finish_non_exhaustive()
    }
}

impl Outbound {
    /// The way out over the system's resolver and TCP.
    ///
    /// # Errors
    ///
    /// The configuration can't be used.
    pub fn new(config: &OutboundConfig, clock: SharedClock) -> Result<Self, OutboundConfigError> {
        Self::with(
            config,
            clock,
            Arc::new(SystemResolver),
            Arc::new(TcpConnector),
        )
    }

    /// The same over another resolver and connector. They feed the guard: every address that the one
    /// answers is checked before the other is asked to dial it.
    ///
    /// # Errors
    ///
    /// The configuration can't be used.
    pub fn with(
        config: &OutboundConfig,
        clock: SharedClock,
        resolver: Arc<dyn Resolver>,
        connector: Arc<dyn Connector>,
    ) -> Result<Self, OutboundConfigError> {
        Ok(Self {
            resolver,
            connector,
            tls: connect::tls(config, clock)?,
            proxy: connect::proxy(config)?,
        })
    }

    /// The same way without the proxy, for what only this machine can reach.
    pub(super) fn without_proxy(&self) -> Self {
        Self {
            proxy: None,
            ..self.clone()
        }
    }

    /// Sends an admitted request and reads the whole response.
    ///
    /// The request's intent must be in the journal by now: the look-up of the name is the first
    /// byte that leaves the host.
    ///
    /// `addresses` is asked about each address that is not public and that policy may name; never
    /// under a grant of any public origin.
    ///
    /// Fails with `egress.ip_class`, `egress.dns`, `egress.connect`, `egress.tls`,
    /// `egress.protocol`, `limit.http_time`, `limit.response_bytes`; and, before anything leaves,
    /// with `egress.request_invalid` or `egress.forbidden_header` for a credential that does not fit.
    pub async fn send(
        &self,
        admitted: Admitted,
        credentials: &[Credential<'_>],
        addresses: &dyn AddressPolicy,
        limits: &HttpLimits,
    ) -> Exchange {
        let start = Instant::now();
        let mut trace = Trace::default();
        let (request, public_only) = admitted.into_parts();
        let nothing = |_, _| false;
        let addresses: &dyn AddressPolicy = if public_only { &nothing } else { addresses };
        let run = self.run(&request, credentials, addresses, limits, start, &mut trace);
        let result = timeout(limits.total, run)
            .await
            .unwrap_or_else(|_| Err(late("in all", "total", limits.total)));
        trace.total = start.elapsed();
        Exchange { result, trace }
    }

    async fn run(
        &self,
        request: &Request,
        credentials: &[Credential<'_>],
        addresses: &dyn AddressPolicy,
        limits: &HttpLimits,
        start: Instant,
        trace: &mut Trace,
    ) -> Result<Response, Refusal> {
        // Refused before a byte leaves where it does not fit; the copy in it goes with this future.
        let (headers, target) = credential::place(request, credentials)?;
        let stream = timeout(
            limits.connect,
            self.connect(request.url().origin(), addresses, limits, trace),
        )
        .await
        .unwrap_or_else(|_| Err(late("connecting", "connect", limits.connect)))?;
        trace.connected = Some(start.elapsed());
        let message = message(request, headers, target)?;
        exchange(stream, message, limits, start, trace).await
    }

    async fn connect(
        &self,
        origin: &Origin,
        policy: &dyn AddressPolicy,
        limits: &HttpLimits,
        trace: &mut Trace,
    ) -> Result<BoxedStream, Refusal> {
        let checked = resolve::resolve(&*self.resolver, origin.host(), policy).await?;
        trace.resolved = checked.as_slice().to_vec();
        let stream = self.dial(&checked, origin, limits, trace).await?;
        match origin.scheme() {
            Scheme::Https => connect::secure(&self.tls, origin.host(), stream).await,
            Scheme::Http => Ok(stream),
        }
    }

    /// Dials the checked addresses one after the other until one answers.
    pub(super) async fn dial(
        &self,
        checked: &CheckedAddresses,
        origin: &Origin,
        limits: &HttpLimits,
        trace: &mut Trace,
    ) -> Result<BoxedStream, Refusal> {
        let tries = connect::order(checked.as_slice());
        // So that one that does not answer leaves time for the others, and the last for TLS.
        let share = limits.connect / u32::try_from(tries.len() + 1).unwrap_or(u32::MAX);
        let mut last = None;
        for address in tries {
            let address = SocketAddr::new(address, origin.port());
            trace.address = Some(address);
            let attempt = self.reach(address, trace);
            match timeout(share, attempt).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(refusal)) => last = Some(refusal),
                Err(_) => last = Some(late("connecting", "connect", share)),
            }
        }
        Err(last.unwrap_or_else(|| Refusal::new(Reason::EgressConnect, "no connection")))
    }

    async fn reach(&self, address: SocketAddr, trace: &mut Trace) -> Result<BoxedStream, Refusal> {
        let Some(proxy) = &self.proxy else {
            return self.dial_one(address).await;
        };
        trace.proxied = true;
        let through = match proxy.host() {
            Host::Address(ip) => *ip,
            Host::Name(name) => {
                let answer = self
                    .resolver
                    .resolve(name)
                    .await
                    .ok()
                    .and_then(|found| found.first().copied());
                answer.ok_or_else(|| {
                    Refusal::new(Reason::EgressConnect, "no connection through the proxy")
                        .with_detail(format!("the proxy `{name}` has no address"))
                })?
            }
        };
        let mut stream = self
            .dial_one(SocketAddr::new(through, proxy.port()))
            .await?;
        connect::tunnel(&mut stream, address).await?;
        Ok(stream)
    }

    async fn dial_one(&self, address: SocketAddr) -> Result<BoxedStream, Refusal> {
        self.connector.dial(address).await.map_err(|error| {
            Refusal::new(Reason::EgressConnect, "no connection")
                .with_detail(format!("{address}: {error}"))
        })
    }
}

/// The limit `http.<which>` of time is used up, in doing `what`; `within` is all of it, or one address's
/// share. The record says it too, in the detail.
pub(super) fn late(what: &str, which: &str, within: Duration) -> Refusal {
    let (limit, spent) = (format!("http.{which}"), within.as_millis());
    let said = reached(&limit, spent, spent, " ms");
    Refusal::new(
        Reason::LimitHttpTime,
        format!("the server took too long: {said}"),
    )
    .with_detail(format!("{what}: {said}"))
}

/// The request as the HTTP client takes it, with what the host adds.
fn message(
    request: &Request,
    headers: HeaderMap,
    target: PathAndQuery,
) -> Result<http::Request<Full<Bytes>>, Refusal> {
    let host = HeaderValue::try_from(request.url().origin().authority())
        .map_err(|_| Refusal::new(Reason::UrlInvalid, "the host can't be written as a header"))?;
    let mut message = http::Request::new(Full::new(request.body().clone()));
    *message.method_mut() = request.method().wire();
    // Origin form (RFC 9112 section 3.2.1): a target without scheme and authority.
    *message.uri_mut() = http::Uri::from(target);
    *message.headers_mut() = headers;
    message.headers_mut().insert(HOST, host);
    message
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(message)
}

pub(super) async fn exchange(
    stream: BoxedStream,
    message: http::Request<Full<Bytes>>,
    limits: &HttpLimits,
    start: Instant,
    trace: &mut Trace,
) -> Result<Response, Refusal> {
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(limits.header_fields)
        // The buffer also bounds the head, and hyper wants 8 KiB at least; the exact bound follows.
        .max_buf_size(limits.header_bytes.max(8 << 10))
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| protocol(&error))?;
    let talk = async {
        trace.bytes_out = message.body().size_hint().exact().unwrap_or_default();
        let response = timeout(limits.first_byte, sender.send_request(message))
            .await
            .map_err(|_| late("waiting for the response", "first_byte", limits.first_byte))?
            .map_err(|error| protocol(&error))?;
        trace.first_byte = Some(start.elapsed());
        let (head, body) = response.into_parts();
        if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
            return Err(Refusal::new(
                Reason::EgressProtocol,
                "the server changed the protocol unasked",
            ));
        }
        let headers = bounded_head(&head.headers, limits)?;
        let body = bounded_body(body, limits, &mut trace.bytes_in).await?;
        Ok(Response {
            status: head.status.as_u16(),
            headers,
            body,
        })
    };
    alongside(connection, talk).await
}

/// Drives `connection` for as long as `talk` takes. Not a task of its own, so that nothing goes on
/// after the caller has given up.
async fn alongside<C: Future, T: Future>(connection: C, talk: T) -> T::Output {
    let mut connection = pin!(connection.fuse());
    let mut talk = pin!(talk);
    poll_fn(|cx| {
        // Its error reaches `talk` as well, with the message that it belongs to.
        let _ = connection.as_mut().poll(cx);
        talk.as_mut().poll(cx)
    })
    .await
}

fn bounded_head(
    headers: &HeaderMap,
    limits: &HttpLimits,
) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
    let bytes: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if headers.len() > limits.header_fields {
        let (fields, most) = (headers.len() as u64, limits.header_fields);
        return Err(too_large("header_fields", fields, most, ""));
    }
    if bytes > limits.header_bytes {
        let most = limits.header_bytes;
        return Err(too_large("header_bytes", bytes as u64, most, " bytes"));
    }
    Ok(headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec()))
        .collect())
}

async fn bounded_body(
    mut body: Incoming,
    limits: &HttpLimits,
    counted: &mut u64,
) -> Result<Vec<u8>, Refusal> {
    let most = limits.response_body;
    let promised = body.size_hint().lower();
    if promised > u64::try_from(most).unwrap_or(u64::MAX) {
        return Err(too_large("response_body", promised, most, " bytes"));
    }
    let mut out = Vec::new();
    loop {
        let frame = timeout(limits.idle, body.frame())
            .await
            .map_err(|_| late("waiting for more of the response", "idle", limits.idle))?;
        let Some(frame) = frame else { return Ok(out) };
        // Trailers are dropped: no tool needs them, and they come after every check of the head.
        let Ok(data) = frame.map_err(|error| protocol(&error))?.into_data() else {
            continue;
        };
        *counted += data.len() as u64;
        if out.len() + data.len() > most {
            return Err(too_large("response_body", *counted, most, " bytes"));
        }
        out.extend_from_slice(&data);
    }
}

fn too_large(which: &str, came: u64, most: usize, unit: &str) -> Refusal {
    let said = reached(&format!("http.{which}"), came, most, unit);
    Refusal::new(
        Reason::LimitResponseBytes,
        format!("the response is too large: {said}"),
    )
    .with_detail(said)
}

fn protocol(error: &hyper::Error) -> Refusal {
    if error.is_parse_too_large() {
        // How large, it does not say: it stops reading.
        return Refusal::new(
            Reason::LimitResponseBytes,
            "the response is too large: limit `http.header_fields` or `http.header_bytes` reached",
        );
    }
    let mut detail = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    Refusal::new(
        Reason::EgressProtocol,
        "the server did not answer as HTTP asks",
    )
    .with_detail(detail)
}
