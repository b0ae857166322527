//! The endpoint for agents, as `tollgate serve` opens it: an address, with TLS or without, or a Unix socket.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use super::args::Serve;
use super::exit::Exit;
use super::fault::{Fault, chain};
use super::finding::{Finding, Level, in_home};
use crate::config::{Config, Listen};
use crate::home::Home;
use crate::mcp::{Certificates, HttpConfig, Listener};

/// Takes the endpoint's place. A daemon that a local client started goes without where it is taken: that
/// client does not need it, and another home's daemon may have it rightly.
pub(super) async fn open(serve: &Serve, config: &Config) -> Result<Option<Listener>, Fault> {
    let place = serve.listen.as_ref().unwrap_or(&config.server.listen);
    let certificates = match certificates(place, config) {
        Ok(certificates) => certificates,
        Err(fault) if serve.background => {
            tracing::warn!(%place, error = fault.message, "no HTTP endpoint: it can't speak TLS");
            return Ok(None);
        }
        Err(fault) => return Err(fault),
    };
    let listener = match place {
        Listen::Address(address) => Listener::address(*address).await,
        Listen::Socket(path) => Listener::socket(path, config.server.socket_mode),
    };
    match (listener, certificates) {
        (Ok(listener), Some(certificates)) => Ok(Some(listener.with_tls(certificates))),
        (Ok(listener), None) => Ok(Some(listener)),
        (Err(error), _) if serve.background => {
            tracing::warn!(%place, %error, "no HTTP endpoint: its place can't be had");
            Ok(None)
        }
        (Err(error), _) => Err(taken(place, &error)),
    }
}

fn certificates(place: &Listen, config: &Config) -> Result<Option<Arc<Certificates>>, Fault> {
    // `--listen` may name a socket where the configuration has a certificate for an address.
    let (Listen::Address(_), Some(tls)) = (place, &config.server.tls) else {
        return Ok(None);
    };
    Certificates::load(&tls.certificate, &tls.key)
        .map(|certificates| Some(Arc::new(certificates)))
        .map_err(|error| {
            Fault::of(&error)
                .exit(Exit::Invalid)
                .context("can't speak TLS")
                .hint("mend `tls` in `[server]` of `tollgate.toml`")
        })
}

fn taken(place: &Listen, error: &io::Error) -> Fault {
    let fault = Fault::of(error).context(&format!("can't listen on `{place}`"));
    let fault = match error.kind() {
        io::ErrorKind::AddrInUse | io::ErrorKind::AlreadyExists => fault.exit(Exit::Conflict),
        _ => fault,
    };
    fault.hint("name another place with `--listen ADDRESS:PORT` or `--listen unix:PATH`, or in `[server]` of `tollgate.toml`")
}

/// What is wrong with the certificate, for `tollgate check`.
pub(super) fn findings(home: &Home, config: &Config) -> Vec<Finding> {
    let Some(tls) = &config.server.tls else {
        return Vec::new();
    };
    let found = |level, message: String| {
        let place = in_home(home, "tollgate.toml");
        Finding::new(level, place, message).at(config.line("server.tls"), 1)
    };
    if let Err(error) = Certificates::load(&tls.certificate, &tls.key) {
        return vec![found(Level::Error, chain(&error))];
    }
    let mode = fs::metadata(&tls.key).map_or(0, |found| found.mode());
    if mode & 0o004 == 0 {
        return Vec::new();
    }
    let key = tls.key.display();
    let message =
        format!("everyone on this machine can read `{key}`, and pass for this server with it");
    vec![found(Level::Warning, message).help(format!("run `chmod o-r '{key}'`"))]
}

/// Who may ask, by `Host` and `Origin`, and how many there may be.
pub(super) fn settings(config: &Config, listener: &Listener) -> HttpConfig {
    let server = &config.server;
    HttpConfig {
        hosts: hosts(config, listener.local_addr()),
        origins: server.allowed_origins.clone(),
        connections: server.connections,
        sessions: server.sessions,
        sessions_per_agent: server.sessions_per_agent,
        streams_per_agent: server.streams_per_agent,
        ..HttpConfig::default()
    }
}

/// Without an address it is a socket, which only this machine's processes reach.
fn hosts(config: &Config, address: Option<SocketAddr>) -> Vec<String> {
    let mut hosts = config.server.allowed_hosts.clone();
    if address.is_none_or(|address| address.ip().is_loopback()) {
        hosts.extend(HttpConfig::default().hosts);
    }
    // Every address of the machine is no address that a request can be sent to.
    if let Some(ip) = address.map(|address| address.ip())
        && !ip.is_unspecified()
    {
        hosts.push(ip.to_string());
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_answers_to_its_names_and_the_wildcard_address_to_none() {
        let config = Config::default();
        let loopback = hosts(&config, Some("127.0.0.2:80".parse().unwrap()));
        assert!(loopback.contains(&"localhost".to_owned()));
        assert!(loopback.contains(&"127.0.0.2".to_owned()));
        assert!(hosts(&config, Some("0.0.0.0:80".parse().unwrap())).is_empty());
        assert!(hosts(&config, None).contains(&"localhost".to_owned()));
    }
}
