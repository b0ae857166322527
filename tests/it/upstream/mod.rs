//! Servers on loopback that keep a ledger of every byte that they were sent.
//!
//! One listens in the clear, one with TLS; both answer the same. A connection is read to its end, so
//! that whatever was smuggled behind a request stands in the ledger too.

mod answer;
pub(crate) mod tls;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

pub(crate) use answer::TOTAL_OF_BOMB;

/// One request, as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Whether it came over TLS, and for which name.
    pub(crate) tls: Option<String>,
    /// Every byte of the connection.
    pub(crate) raw: Vec<u8>,
}

impl Seen {
    /// As text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    /// Its first line.
    pub(crate) fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The values of a header.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let text = self.text();
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .filter(|(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
            .collect()
    }

    /// What follows the head.
    pub(crate) fn body(&self) -> String {
        self.text()
            .split_once("\r\n\r\n")
            .map_or_else(String::new, |(_, body)| body.to_owned())
    }
}

#[derive(Debug)]
struct Shared {
    ledger: Mutex<Vec<Seen>>,
    /// Requests that have come whole.
    arrived: watch::Sender<usize>,
    /// Connections that are open.
    open: watch::Sender<usize>,
    release: Semaphore,
}

/// The fixture. Its servers end with the test's runtime.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) plain: SocketAddr,
    pub(crate) tls: SocketAddr,
    shared: Arc<Shared>,
}

impl Upstream {
    /// The origin of the listener in the clear.
    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.plain)
    }

    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            ledger: Mutex::default(),
            arrived: watch::Sender::new(0),
            open: watch::Sender::new(0),
            release: Semaphore::new(0),
        });
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = Self {
            plain: plain.local_addr().unwrap(),
            tls: secure.local_addr().unwrap(),
            shared: shared.clone(),
        };
        let for_plain = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = plain.accept().await {
                let connection = Open::of(&for_plain);
                let shared = for_plain.clone();
                tokio::spawn(async move {
                    serve(stream, None, &shared).await;
                    drop(connection);
                });
            }
        });
        let acceptor = tls::acceptor();
        tokio::spawn(async move {
            while let Ok((stream, _)) = secure.accept().await {
                let connection = Open::of(&shared);
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let name = stream
                            .get_ref()
                            .1
                            .server_name()
                            .unwrap_or_default()
                            .to_owned();
                        serve(stream, Some(name), &shared).await;
                    }
                    drop(connection);
                });
            }
        });
        upstream
    }

    /// Every request so far, once no connection is open.
    pub(crate) async fn ledger(&self) -> Vec<Seen> {
        self.shared
            .open
            .subscribe()
            .wait_for(|open| *open == 0)
            .await
            .unwrap();
        self.shared.ledger.lock().unwrap().clone()
    }

    /// Waits until so many requests have come whole.
    pub(crate) async fn arrived(&self, count: usize) {
        self.shared
            .arrived
            .subscribe()
            .wait_for(|arrived| *arrived >= count)
            .await
            .unwrap();
    }

    /// How many requests have come whole so far.
    pub(crate) fn arrivals(&self) -> usize {
        *self.shared.arrived.borrow()
    }

    /// Waits until every connection is closed.
    pub(crate) async fn closed(&self) {
        self.shared
            .open
            .subscribe()
            .wait_for(|open| *open == 0)
            .await
            .unwrap();
    }

    /// Lets one request of `/hold` be answered, now or when it comes.
    pub(crate) fn release(&self) {
        self.shared.release.add_permits(1);
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<Shared>);

impl Open {
    fn of(shared: &Arc<Shared>) -> Self {
        shared.open.send_modify(|open| *open += 1);
        Self(shared.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// Where the first request in `bytes` ends, once it is whole.
fn end_of_request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length: usize = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
        .unwrap_or(0);
    (bytes.len() >= head + length).then_some(head + length)
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    tls: Option<String>,
    shared: &Shared,
) {
    let mut raw = Vec::new();
    while end_of_request(&raw).is_none() {
        if stream.read_buf(&mut raw).await.unwrap_or(0) == 0 {
            if !raw.is_empty() {
                shared.ledger.lock().unwrap().push(Seen { tls, raw });
            }
            return;
        }
    }
    let at = {
        let mut ledger = shared.ledger.lock().unwrap();
        ledger.push(Seen {
            tls,
            raw: raw.clone(),
        });
        ledger.len() - 1
    };
    shared.arrived.send_modify(|arrived| *arrived += 1);
    let text = String::from_utf8_lossy(&raw).into_owned();
    // The host may well close before it has read all.
    let _ = answer::write(&mut stream, &text, &shared.release).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    shared.ledger.lock().unwrap()[at]
        .raw
        .extend_from_slice(&rest);
    let _ = stream.shutdown().await;
}
