//! The admin listener: where people answer approvals and administer the host.
//!
//! A listener of its own, so that a network can give agents a way to `/mcp` and none to this; off
//! unless `tollgate.toml` has an `[admin]` table. It knows people, never agents: an agent's token is
//! refused here, and written down. It trusts nothing that it is sent, and no browser: `Host` and
//! `Origin` must be this server's own, bodies are bounded and read strictly, and pages have no script.
//!
//! # The API
//!
//! `Authorization: Bearer <a person's credential>` on each request; JSON in and out. An error is
//! `{"error": {"code": "approval.denied", "message": "…", "detail": "…"}}` with a fitting status: 400
//! and 413 for what can't be read, 401 without a person, 403 where host or policy says no, 404, 409
//! where it is too late, 503 where nothing can be written down.
//!
//! | request | answer |
//! | --- | --- |
//! | `GET /v1/me` | `{"person": "ada", "admin": true}` |
//! | `GET /v1/approvals[?which=pending\|all]` | `{"approvals": […]}`, the oldest first |
//! | `GET /v1/approvals/<id>` | one [`ApprovalReport`](crate::control::ApprovalReport) |
//! | `POST /v1/approvals/<id>/answer` `{"answer": "approve", "standing": "2h"}` | the same, answered; `standing` only where it is meant |
//! | `POST /v1/approvals/<id>/answer` `{"answer": "deny", "why": "not today"}` | the same, denied; the agent reads `why` |
//! | `GET /v1/approvals/watch` | server-sent events: `asked` for what waits, then `asked`, `answered`, `used`, `ended` as they happen, each with a report as its data; `lagged` before the end where the reader was too slow |
//! | `GET /v1/tasks[?agent=<name>&which=live\|all]` | `{"tasks": […]}`; from here on for administrators |
//! | `POST /v1/tasks` a [`TaskOrder`](crate::daemon::TaskOrder) | the [`TaskReport`](crate::control::TaskReport) of the task that was started |
//! | `GET /v1/tasks/<id>` | one report |
//! | `POST /v1/tasks/<id>/end` `{"why": "…"}` | `{"task": …, "ended": …}` |
//! | `POST /v1/revoke` `{"kind": "agent", "subject": "claude"}` | what was under way and was stopped; kinds as `tollgate revoke` has them, `all` without a subject |
//! | `POST /v1/lift` the same | the same; gives back |
//! | `GET /healthz` | `ok` |
//!
//! A further service is a `Router<Arc<Admin>>` of its own that [`router`] merges; its handlers take a
//! [`Person`] or an [`Administrator`] and a [`Strict`] body, and fail with a [`Fault`].
//!
//! # The pages
//!
//! `/approvals` and `/approvals/<id>`, for browsers: the credential goes in a form's body, and a session
//! cookie (`HttpOnly`, `SameSite=Strict`) comes back. The cookie is enough to look and to deny. To
//! approve takes the credential, typed into that very page at most five minutes before; see `session.rs`.

mod api;
mod door;
mod form;
mod govern;
mod html;
mod listen;
mod page;
mod session;
mod watch;

pub use door::{Administrator, Fault, Person, Strict, document};
pub use listen::{AdminError, Bound, bind};

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::sync::Semaphore;

use self::session::Sessions;
use crate::config;
use crate::host::Host;
use crate::mcp::{Gate, GateError};

/// Readers of events at once.
const WATCHERS: usize = 64;

/// What every request shares.
#[derive(Debug)]
pub struct Admin {
    pub(crate) host: Arc<Host>,
    gate: Gate,
    sessions: Sessions,
    /// Whether browsers reach it over TLS, so that cookies may insist on it.
    is_secure: bool,
    watchers: Arc<Semaphore>,
}

/// Where browsers reach the listener: what the operator says, or the address itself. Every address of
/// the machine is none that a browser can be sent to, so then it is the machine's own.
#[must_use]
pub fn base(config: &config::Admin, address: SocketAddr) -> String {
    if let Some(url) = &config.url {
        return url.clone();
    }
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// The routes, for a listener at `address`.
///
/// # Errors
///
/// The configuration names a host that is none.
pub fn router(
    host: &Arc<Host>,
    config: &config::Admin,
    address: SocketAddr,
) -> Result<Router, GateError> {
    let base = base(config, address);
    let mut hosts = config.allowed_hosts.clone();
    let mut origins = vec![base.clone()];
    hosts.extend(base.split_once("://").map(|(_, host)| host.to_owned()));
    let (ip, port) = (address.ip(), address.port());
    if ip.is_loopback() {
        for name in ["localhost", "127.0.0.1", "[::1]"] {
            hosts.push(format!("{name}:{port}"));
            origins.push(format!("http://{name}:{port}"));
        }
    }
    if !ip.is_unspecified() {
        hosts.push(address.to_string());
    }
    let admin = Arc::new(Admin {
        gate: Gate::new(&hosts, &origins)?,
        sessions: Sessions::new(Arc::clone(host.clock()), host.entropy()),
        is_secure: base.starts_with("https:"),
        watchers: Arc::new(Semaphore::new(WATCHERS)),
        host: Arc::clone(host),
    });
    Ok(Router::new()
        .merge(api::routes())
        .merge(govern::routes())
        .merge(page::routes())
        .fallback(|| async { Fault::not_found("page or service") })
        .layer(from_fn_with_state(Arc::clone(&admin), door::admit))
        .with_state(admin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_an_address_that_a_browser_can_be_sent_to() {
        let config = |url: Option<&str>| config::Admin {
            listen: SocketAddr::from(([0, 0, 0, 0], 1)),
            url: url.map(str::to_owned),
            allowed_hosts: Vec::new(),
        };
        for (address, expected) in [
            ("127.0.0.1:8788", "http://127.0.0.1:8788"),
            ("0.0.0.0:8788", "http://127.0.0.1:8788"),
            ("[::]:8788", "http://[::1]:8788"),
            ("192.0.2.7:8788", "http://192.0.2.7:8788"),
        ] {
            assert_eq!(base(&config(None), address.parse().unwrap()), expected);
        }
        let told = config(Some("https://approve.example"));
        let address = "0.0.0.0:8788".parse().unwrap();
        assert_eq!(base(&told, address), "https://approve.example");
    }
}
