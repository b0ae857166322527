//! The listener: takes connections, bounded in number and in time, and ends them in order.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::again::Again;
use super::backend::Backend;
use super::gate::GateError;
use super::http::{HttpConfig, routes};
use super::server::Shared;

/// Serves MCP on `listener` until the host drains: then no connection is taken any more, calls
/// under way are answered, for `config.drain` at most, and what streams is ended.
///
/// # Errors
///
/// The configuration names a host or an origin that is none.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    config: HttpConfig,
) -> Result<(), GateError> {
    let draining = backend.draining();
    let end = CancellationToken::new();
    let _end_with_this = end.clone().drop_guard();
    let shared = Shared::new(backend, "http");
    let router = routes(&shared, &config, end.clone())?;
    let places = Arc::new(Semaphore::new(config.connections));
    let mut connections = JoinSet::new();
    loop {
        // The place comes first: what does not fit waits in the system's queue, not in memory.
        let place = tokio::select! {
            () = draining.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let Ok(place) = place else { break };
        let stream = tokio::select! {
            biased;
            () = draining.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener) => match accepted {
                Some(stream) => stream,
                None => continue,
            },
        };
        let connection = connection(stream, router.clone(), config.head_time, draining.clone());
        connections.spawn(Again::new(async move {
            connection.await;
            drop(place);
        }));
    }
    drop(listener);
    shared.calls.close();
    if tokio::time::timeout(config.drain, shared.calls.wait())
        .await
        .is_err()
    {
        tracing::warn!("calls were still under way when the time to drain was over");
    }
    end.cancel();
    let closing = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSING, closing).await.is_err() {
        tracing::debug!("connections were still open at the end");
    }
    Ok(())
}

/// How long connections may take to close once nothing is left to answer.
const CLOSING: Duration = Duration::from_secs(2);

/// A pause where the system is out of something, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The next connection; none where one could not be taken, after a pause where that is the system's.
pub(crate) async fn accept(listener: &TcpListener) -> Option<TcpStream> {
    match listener.accept().await {
        Ok((stream, _)) => {
            // Replies are small and written whole; waiting to fill a packet only delays them.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY");
            }
            Some(stream)
        }
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

/// Serves one connection, until its end or until `draining`.
pub(crate) async fn connection(
    stream: TcpStream,
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
