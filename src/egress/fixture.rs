//! What tests of the send path stand on: real servers on loopback, and a resolver and a connector that
//! lead the guard to them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::clock::Clock;
use crate::limits::HttpLimits;
use crate::plugin::{HttpRequirement, OriginScope};
use crate::reason::{Reason, Refusal};

/// 2026-11-22, when the certificates of these tests are valid.
#[derive(Debug)]
pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Duration {
        Duration::from_secs(1_795_305_600)
    }
}

/// Answers in turn, the last one for ever; and remembers what it was asked.
#[derive(Debug, Default)]
pub(super) struct FakeResolver {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    pub(super) asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Resolver for FakeResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.asked.lock().unwrap().push(name.to_owned());
        let mut answers = self.answers.lock().unwrap();
        let answer = answers.pop_front().unwrap_or_default();
        if answers.is_empty() {
            answers.push_back(answer.clone());
        }
        Ok(answer)
    }
}

/// Remembers which address the guard dials, and leads there where the fixture listens.
#[derive(Debug)]
pub(super) struct Detour {
    to: Mutex<SocketAddr>,
    refuse: Vec<IpAddr>,
    pub(super) dialled: Mutex<Vec<SocketAddr>>,
}

#[async_trait]
impl Connector for Detour {
    async fn dial(&self, address: SocketAddr) -> io::Result<BoxedStream> {
        self.dialled.lock().unwrap().push(address);
        if self.refuse.contains(&address.ip()) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let to = *self.to.lock().unwrap();
        TcpConnector.dial(to).await
    }
}

/// A way out whose parts can be looked at.
pub(super) struct Bench {
    pub(super) resolver: Arc<FakeResolver>,
    pub(super) connector: Arc<Detour>,
    pub(super) outbound: Outbound,
    pub(super) limits: HttpLimits,
}

impl Bench {
    pub(super) fn new(answers: &[&[&str]], to: SocketAddr) -> Self {
        Self::with(answers, to, &[], &OutboundConfig::default())
    }

    pub(super) fn with(
        answers: &[&[&str]],
        to: SocketAddr,
        refuse: &[&str],
        config: &OutboundConfig,
    ) -> Self {
        let parse = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<IpAddr>>()
        };
        let resolver = Arc::new(FakeResolver {
            answers: Mutex::new(answers.iter().map(|answer| parse(answer)).collect()),
            asked: Mutex::default(),
        });
        let connector = Arc::new(Detour {
            to: Mutex::new(to),
            refuse: parse(refuse),
            dialled: Mutex::default(),
        });
        let outbound = Outbound::with(
            config,
            Arc::new(FixedClock),
            resolver.clone(),
            connector.clone(),
        )
        .unwrap();
        Self {
            resolver,
            connector,
            outbound,
            limits: HttpLimits::default(),
        }
    }

    pub(super) async fn get(&self, url: &str) -> Exchange {
        self.send("GET", url, &[], "", &[]).await
    }

    pub(super) async fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &'static str,
        credentials: &[Credential<'_>],
    ) -> Exchange {
        let admitted = admitted(method, url, headers, body).unwrap();
        self.outbound
            .send(admitted, credentials, &|_, _| false, &self.limits)
            .await
    }

    pub(super) fn dialled(&self) -> Vec<String> {
        self.connector
            .dialled
            .lock()
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    pub(super) fn lookups(&self) -> usize {
        self.resolver.asked.lock().unwrap().len()
    }
}

/// Stands for policy's proof.
struct Checked(ScopedRequest);

impl CheckedRequest for Checked {
    fn into_scoped(self) -> ScopedRequest {
        self.0
    }
}

/// The request under a grant of its own origin, as policy would have passed it.
pub(super) fn admitted(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Result<Admitted, Refusal> {
    let request = Request::parse(method, url, headers, body, &HttpLimits::default())?;
    let origin = OriginScope::Literal(request.url().origin().to_string());
    admitted_under(origin, request)
}

/// The request under a grant of `origin`.
pub(super) fn admitted_under(origin: OriginScope, request: Request) -> Result<Admitted, Refusal> {
    let requirement = HttpRequirement {
        name: "api".into(),
        origin,
        methods: vec![request.method().as_str().into()],
        paths: vec!["/".into()],
        why: String::new(),
    };
    let scope = Scope::new(&requirement, |_| None).unwrap();
    Ok(Admitted::from_checked(Checked(scope.admit(request)?)))
}

/// A server that answers every connection with the same bytes and keeps what it was sent.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    ledger: mpsc::UnboundedReceiver<Vec<u8>>,
    arrived: Arc<Notify>,
}

/// What the server does after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Close,
    /// Says nothing more and waits for the client to close.
    Hold,
    /// Says this over and over until the client closes.
    Repeat(&'static str),
}

impl Upstream {
    pub(super) async fn plain(reply: impl Into<Vec<u8>>, after: After) -> Self {
        Self::start(reply.into(), after, None).await
    }

    pub(super) async fn tls(reply: impl Into<Vec<u8>>, config: rustls::ServerConfig) -> Self {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        Self::start(reply.into(), After::Close, Some(acceptor)).await
    }

    async fn start(reply: Vec<u8>, after: After, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, ledger) = mpsc::unbounded_channel();
        let arrived = Arc::new(Notify::new());
        let notify = arrived.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let captured = match &tls {
                    None => serve(stream, &reply, after, &notify).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &reply, after, &notify).await,
                        Err(_) => continue,
                    },
                };
                let _ = sender.send(captured);
            }
        });
        Self {
            address,
            ledger,
            arrived,
        }
    }

    /// All bytes of the next connection, once the client closed it.
    pub(super) async fn captured(&mut self) -> String {
        String::from_utf8(self.ledger.recv().await.unwrap()).unwrap()
    }

    /// Waits until a whole request has come.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Whether no connection has reached an HTTP server.
    pub(super) fn is_untouched(&mut self) -> bool {
        self.ledger.try_recv().is_err()
    }
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: &[u8],
    after: After,
    arrived: &Notify,
) -> Vec<u8> {
    let mut captured = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&captured).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                break;
            }
        }
        if stream.read_buf(&mut captured).await.unwrap_or(0) == 0 {
            return captured;
        }
    }
    arrived.notify_one();
    let _ = stream.write_all(reply).await;
    let _ = stream.flush().await;
    match after {
        After::Close => {
            let _ = stream.shutdown().await;
        }
        After::Hold => {}
        After::Repeat(text) => {
            // Yields, because a write to a socket with room never waits.
            while stream.write_all(text.as_bytes()).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
    }
    // Whatever follows the first request would be smuggled.
    let _ = stream.read_to_end(&mut captured).await;
    captured
}

/// The reason of an exchange that failed.
#[track_caller]
pub(super) fn reason(exchange: &Exchange) -> Reason {
    exchange.result.as_ref().expect_err("refused").reason
}
