//! The addresses that a daemon listens on for people and for Prometheus; `cli::endpoint` has that for agents.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::args::Serve;
use crate::cli::exit::Exit;
use crate::cli::fault::Fault;
use crate::config::Config;
use crate::host::Host;
use crate::telemetry;

/// What an address is for.
struct Purpose {
    /// What can't be done where it is not to be had.
    listen: &'static str,
    /// What a daemon without it has not.
    missing: &'static str,
    /// Where it is set.
    mend: &'static str,
}

const PEOPLE: Purpose = Purpose {
    listen: "listen for people",
    missing: "no admin listener (`tollgate approvals` needs none)",
    mend: "mend `[admin]` in `tollgate.toml`",
};
const PROMETHEUS: Purpose = Purpose {
    listen: "listen for Prometheus",
    missing: "no metrics for Prometheus",
    mend: "mend `prometheus` in `[telemetry]` of `tollgate.toml`",
};

/// Takes an address. A daemon that a local client started goes without where it is taken: that client
/// does not need it, and another home's daemon may have it rightly.
async fn bind(
    serve: &Serve,
    address: SocketAddr,
    purpose: &Purpose,
) -> Result<Option<TcpListener>, Fault> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) => error,
    };
    if serve.background {
        tracing::warn!(%address, %error, "{}: the address can't be had", purpose.missing);
        return Ok(None);
    }
    let fault = Fault::of(&error)
        .context(&format!("can't {} on `{address}`", purpose.listen))
        .hint(purpose.mend);
    Err(match error.kind() {
        ErrorKind::AddrInUse => fault.exit(Exit::Conflict),
        _ => fault,
    })
}

/// Takes the admin listener's address, where the configuration asks for one, and serves people there.
pub(super) async fn admin(
    serve: &Serve,
    host: &Arc<Host>,
    config: &Config,
) -> Result<Option<JoinHandle<()>>, Fault> {
    let Some(admin) = config.admin.clone() else {
        return Ok(None);
    };
    let Some(listener) = bind(serve, admin.listen, &PEOPLE).await? else {
        return Ok(None);
    };
    let bound = crate::admin::bind(listener, host, &admin).map_err(|error| {
        Fault::of(&error)
            .exit(Exit::Invalid)
            .context("can't serve people")
            .hint(PEOPLE.mend)
    })?;
    Ok(Some(tokio::spawn(bound.serve())))
}

/// Takes the address for Prometheus, where the configuration names one, and answers there.
pub(super) async fn prometheus(
    serve: &Serve,
    host: &Arc<Host>,
    config: &Config,
) -> Result<(), Fault> {
    let Some(address) = config.telemetry.prometheus else {
        return Ok(());
    };
    if let Some(listener) = bind(serve, address, &PROMETHEUS).await? {
        let serving = telemetry::serve(listener, Arc::clone(host));
        tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "metrics can't be served");
            }
        });
    }
    Ok(())
}
