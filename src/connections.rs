//! Taking connections of HTTP: bounded in number and in time, and ended in order.
//!
//! The one place for every listener of the host, for agents and for people alike.

mod again;
mod left;
mod listener;
mod patient;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use self::again::Again;
pub(crate) use self::left::remove_left;
pub use self::listener::Listener;
use self::listener::Stream;
use self::patient::Patient;
pub use self::tls::{Certificates, TlsError};

/// How long connections may take to close once nothing is left to answer.
const CLOSING: Duration = Duration::from_secs(2);

/// How long a client may take nothing of what it is sent. One that reads a byte now and then opens its window
/// seldom, so this is generous: it is for those that are gone, or wait on purpose.
const TAKEN_WITHIN: Duration = Duration::from_secs(5 * 60);

/// A pause where the system is out of something, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener gives its connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) at_once: usize,
    /// How long the head of a request may take, and an idle connection stay open.
    pub(crate) head_time: Duration,
}

/// Connections that were open when a listener ended. Dropped, they are cut.
#[derive(Debug)]
#[must_use]
pub(crate) struct Open(JoinSet<()>);

/// Serves what connects to `listener` until `draining`; then no connection is taken any more, and those
/// that are open end with what they are being answered.
pub(crate) async fn serve(
    listener: impl Into<Listener>,
    router: &Router,
    bounds: Bounds,
    draining: &CancellationToken,
) -> Open {
    let listener = listener.into();
    let places = Arc::new(Semaphore::new(bounds.at_once));
    let mut open = JoinSet::new();
    loop {
        // The place comes first: what does not fit waits in the system's queue, not in memory.
        let place = tokio::select! {
            () = draining.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(_) = open.join_next() => continue,
            accepted = accept(&listener) => match accepted {
                Some(stream) => stream,
                None => continue,
            },
        };
        let (router, draining) = (router.clone(), draining.clone());
        let time = bounds.head_time;
        match (stream, &listener.tls) {
            (Stream::Tcp(stream), None) => open.spawn(Again::new(async move {
                let stream = Patient::new(stream, TAKEN_WITHIN);
                connection(stream, router, time, draining).await;
                drop(place);
            })),
            (Stream::Tcp(stream), Some(certificates)) => {
                let acceptor = certificates.acceptor();
                open.spawn(Again::new(async move {
                    let stream = Patient::new(stream, TAKEN_WITHIN);
                    if let Some(stream) = secured(stream, acceptor, time, &draining).await {
                        connection(stream, router, time, draining).await;
                    }
                    drop(place);
                }))
            }
            (Stream::Unix(stream), _) => open.spawn(Again::new(async move {
                let stream = Patient::new(stream, TAKEN_WITHIN);
                connection(stream, router, time, draining).await;
                drop(place);
            })),
        };
    }
    Open(open)
}

impl Open {
    /// Waits until they are closed, and cuts those that take too long.
    pub(crate) async fn close(mut self) {
        let closing = async { while self.0.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::debug!("connections were still open at the end");
        }
    }
}

/// The next connection; none where one could not be taken, after a pause where that is the system's.
async fn accept(listener: &Listener) -> Option<Stream> {
    match listener.accept().await {
        Ok(stream) => Some(stream),
        Err(error) if is_of_one_connection(&error) => None,
        Err(error) => {
            tracing::error!(%error, "no connection could be taken");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

/// Shakes hands over TLS, in bounded time and not once `draining`.
async fn secured(
    stream: Patient<TcpStream>,
    acceptor: TlsAcceptor,
    time: Duration,
    draining: &CancellationToken,
) -> Option<TlsStream<Patient<TcpStream>>> {
    let shaken = tokio::select! {
        () = draining.cancelled() => return None,
        shaken = tokio::time::timeout(time, acceptor.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a connection did not become TLS");
            None
        }
        Err(_) => {
            tracing::debug!("a connection took too long to become TLS");
            None
        }
    }
}

/// Serves one connection, until its end or until `draining`.
async fn connection<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    router: Router,
    head_time: Duration,
    draining: CancellationToken,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
