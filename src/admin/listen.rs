//! The admin listener: takes connections, bounded in number, and ends with the host.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::router;
use crate::config;
use crate::host::Host;
use crate::mcp::{GateError, accept, connection};

/// Connections at once: people, their browsers and a few programs of theirs.
const CONNECTIONS: usize = 128;

/// How long the head of a request may take, and an idle connection stay open.
const HEAD_TIME: Duration = Duration::from_secs(15);

/// How long connections may take to end once the host drains.
const CLOSING: Duration = Duration::from_secs(2);

/// The admin listener can't serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The configuration names a host or an origin that is none.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Its own address is not known.
    #[error("the admin listener's address is not known: {0}")]
    Address(#[from] std::io::Error),
}

/// A listener that is bound, with its routes: approvals have their address from here on.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    router: Router,
    draining: CancellationToken,
}

/// Makes the routes for `listener`, and tells the host where its page is.
///
/// # Errors
///
/// The configuration names a host that is none.
pub fn bind(
    listener: TcpListener,
    host: &Arc<Host>,
    config: &config::Admin,
) -> Result<Bound, AdminError> {
    let address = listener.local_addr()?;
    let router = router(host, config, address)?;
    host.page_is_at(super::base(config, address));
    Ok(Bound {
        listener,
        router,
        draining: host.draining(),
    })
}

impl Bound {
    /// Serves people until the host drains.
    pub async fn serve(self) {
        let Self {
            listener,
            router,
            draining,
        } = self;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
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
                Some(_) = connections.join_next() => continue,
                accepted = accept(&listener) => match accepted {
                    Some(stream) => stream,
                    None => continue,
                },
            };
            let connection = connection(stream, router.clone(), HEAD_TIME, draining.clone());
            connections.spawn(async move {
                connection.await;
                drop(place);
            });
        }
        drop(listener);
        let closing = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::debug!("connections of people were still open at the end");
        }
    }
}
