//! The listener: serves agents over HTTP until the host drains, and then ends in order.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::backend::Backend;
use super::gate::GateError;
use super::http::routes;
use super::server::Shared;
use super::settings::HttpConfig;
use crate::connections::{self, Bounds, Listener};

/// Serves MCP on `listener` until the host drains: then no connection is taken any more, calls
/// under way are answered, for `config.drain` at most, and what streams is ended.
///
/// # Errors
///
/// The configuration names a host or an origin that is none.
pub async fn serve(
    listener: impl Into<Listener>,
    backend: Arc<dyn Backend>,
    config: HttpConfig,
) -> Result<(), GateError> {
    let draining = backend.draining();
    let end = CancellationToken::new();
    let _end_with_this = end.clone().drop_guard();
    let shared = Shared::new(backend, "http");
    let router = routes(&shared, &config, end.clone())?;
    let bounds = Bounds {
        at_once: config.connections,
        head_time: config.head_time,
    };
    let open = connections::serve(listener, &router, bounds, &draining).await;
    shared.calls.close();
    if tokio::time::timeout(config.drain, shared.calls.wait())
        .await
        .is_err()
    {
        tracing::warn!("calls were still under way when the time to drain was over");
    }
    end.cancel();
    open.close().await;
    Ok(())
}
