//! The admin listener: serves people until the host drains.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::router;
use crate::config;
use crate::connections::{self, Bounds};
use crate::host::Host;
use crate::mcp::GateError;

const BOUNDS: Bounds = Bounds {
    // People, their browsers and a few programs of theirs.
    at_once: 128,
    head_time: Duration::from_secs(15),
};

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
        let open = connections::serve(listener, &router, BOUNDS, &draining).await;
        open.close().await;
    }
}
