//! Connections: to a checked address, through the configured proxy where there is one, and TLS to
//! the name.
//!
//! Certificates are always verified; there is no switch. A proxy changes the way, never the
//! target: it is asked with `CONNECT`, for `http` as well, to connect to the address that was
//! checked. A proxy that was given the name would look it up again, and the check would be of
//! another answer. Proxies that the environment names are ignored: a plugin's request goes where the
//! configuration says.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::origin::{Host, Origin, Scheme};
use crate::clock::SharedClock;
use crate::name::shown;
use crate::reason::{Reason, Refusal};

/// A connection.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}
/// Any connection.
pub type BoxedStream = Box<dyn Stream>;

/// Dials.
#[async_trait]
pub trait Connector: Send + Sync + fmt::Debug {
    /// Connects to `address` and nothing else.
    async fn dial(&self, address: SocketAddr) -> io::Result<BoxedStream>;
}

/// TCP.
#[derive(Debug, Clone, Copy, Default)]
pub struct TcpConnector;

#[async_trait]
impl Connector for TcpConnector {
    async fn dial(&self, address: SocketAddr) -> io::Result<BoxedStream> {
        let stream = TcpStream::connect(address).await?;
        // A request is one write; waiting to fill a packet would only add a round trip.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// How this host reaches out, from its configuration.
#[derive(Debug, Clone, Default)]
pub struct OutboundConfig {
    /// PEM files of certificate authorities that are trusted beside the public ones.
    pub extra_authorities: Vec<PathBuf>,
    /// A proxy, `http://proxy.example:3128`. Its own address is the operator's word and not checked.
    pub proxy: Option<String>,
}

/// The configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboundConfigError {
    /// A file of authorities.
    #[error("certificate authorities in `{path}`: {cause}; expected PEM certificates")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The proxy.
    #[error("proxy `{proxy}`: {cause}; expected an origin such as `http://proxy.example:3128`")]
    Proxy {
        /// As configured.
        proxy: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The TLS library refused its own defaults.
    #[error("TLS could not be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// The host's clock, for the validity of certificates.
#[derive(Debug)]
struct ClockTime(SharedClock);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.now()))
    }
}

pub(super) fn tls(
    config: &OutboundConfig,
    clock: SharedClock,
) -> Result<TlsConnector, OutboundConfigError> {
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for path in &config.extra_authorities {
        let unusable = |cause: String| OutboundConfigError::Authorities {
            path: path.clone(),
            cause,
        };
        let before = roots.len();
        for certificate in
            CertificateDer::pem_file_iter(path).map_err(|e| unusable(e.to_string()))?
        {
            let certificate = certificate.map_err(|e| unusable(e.to_string()))?;
            roots
                .add(certificate)
                .map_err(|e| unusable(e.to_string()))?;
        }
        if roots.len() == before {
            return Err(unusable(String::from("no certificate in it")));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_details(provider, Arc::new(ClockTime(clock)))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A ticket kept from one plugin's connection would let the far side link another's to it.
    client.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(client)))
}

pub(super) fn proxy(config: &OutboundConfig) -> Result<Option<Origin>, OutboundConfigError> {
    let Some(text) = &config.proxy else {
        return Ok(None);
    };
    let unusable = |cause: String| OutboundConfigError::Proxy {
        // A password in it must not reach the log.
        proxy: text.rsplit('@').next().unwrap_or_default().to_owned(),
        cause,
    };
    let origin = Origin::parse(text).map_err(|refusal| unusable(refusal.message.into_owned()))?;
    match origin.scheme() {
        Scheme::Http => Ok(Some(origin)),
        Scheme::Https => Err(unusable(String::from(
            "TLS to the proxy itself is not supported",
        ))),
    }
}

/// TLS to the host that was decided on; for a name, whatever its address.
pub(super) async fn secure(
    tls: &TlsConnector,
    host: &Host,
    stream: BoxedStream,
) -> Result<BoxedStream, Refusal> {
    let failed = |detail: String| {
        Refusal::new(Reason::EgressTls, "the server did not prove its name")
            .with_detail(format!("`{host}`: {detail}"))
    };
    let name = match host {
        Host::Name(name) => {
            ServerName::try_from(name.to_string()).map_err(|e| failed(e.to_string()))?
        }
        Host::Address(address) => ServerName::from(*address),
    };
    let stream = tls
        .connect(name, stream)
        .await
        .map_err(|e| failed(e.to_string()))?;
    match stream.get_ref().1.alpn_protocol() {
        None | Some(b"http/1.1") => Ok(Box::new(stream)),
        Some(_) => Err(failed(String::from(
            "it chose a protocol that was not offered",
        ))),
    }
}

/// Asks a proxy for a tunnel to `target`, an address that was checked.
pub(super) async fn tunnel(stream: &mut BoxedStream, target: SocketAddr) -> Result<(), Refusal> {
    /// Enough for any status line with its headers.
    const MOST: usize = 8 << 10;
    let failed = |detail: String| {
        Refusal::new(Reason::EgressConnect, "no connection through the proxy").with_detail(detail)
    };
    let ask = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    stream
        .write_all(ask.as_bytes())
        .await
        .map_err(|e| failed(e.to_string()))?;
    stream.flush().await.map_err(|e| failed(e.to_string()))?;
    let mut head = Vec::new();
    // Byte by byte, so that nothing of the tunnel is taken for the proxy's answer.
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.map_err(|e| failed(e.to_string()))?;
        head.push(byte);
        if head.len() > MOST {
            return Err(failed(String::from("the proxy's answer is too long")));
        }
    }
    let line = head.split(|b| *b == b'\r').next().unwrap_or_default();
    let status = line
        .strip_prefix(b"HTTP/1.1 ")
        .or_else(|| line.strip_prefix(b"HTTP/1.0 "));
    if status.is_some_and(|status| status.starts_with(b"200")) {
        return Ok(());
    }
    let answer = shown(&String::from_utf8_lossy(line), 80);
    Err(failed(format!(
        "the proxy answered `{answer}` for {target}"
    )))
}

/// At most so many addresses are tried: more only spends the time that the next step needs.
const MOST_TRIES: usize = 4;

/// Both families in turn, in the order of the answer, so that one that is broken here costs one try.
pub(super) fn order(addresses: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v4 = addresses.first().is_some_and(IpAddr::is_ipv4);
    let (one, other): (Vec<IpAddr>, Vec<IpAddr>) =
        addresses.iter().partition(|a| a.is_ipv4() == first_is_v4);
    let mut one = one.into_iter();
    let mut other = other.into_iter();
    let mut out = Vec::with_capacity(MOST_TRIES);
    loop {
        let before = out.len();
        out.extend(one.next());
        out.extend(other.next());
        if out.len() == before || out.len() >= MOST_TRIES {
            out.truncate(MOST_TRIES);
            return out;
        }
    }
}
