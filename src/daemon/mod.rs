//! The daemon: one process owns state, journal and instances; everything else talks to it.
//!
//! Each MCP client starts its own `serve --stdio`, and people run commands; all of these are thin
//! and reach the one daemon over a Unix socket that only its owner can open. So budgets, revocation,
//! warm code and the journal's single writer hold across every client.

mod client;
mod protocol;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use client::holder;
pub use client::{ClientError, Connection, ControlClient, Start, bridge, bridge_stdio, end};
pub use protocol::{Command, ControlError, MintCommand, SecretText, TaskOrder};
pub(crate) use server::hold;
pub use server::{Control, Daemon, DaemonError, Report, detach};

use std::path::PathBuf;

/// Where a daemon is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The socket. Its directory belongs to the owner alone.
    pub socket: PathBuf,
    /// Locked by the daemon while it runs; holds its process id.
    pub lock: PathBuf,
    /// Locked by a client while it starts the daemon.
    pub start_lock: PathBuf,
    /// What a daemon in the background says.
    pub log: PathBuf,
}

impl Paths {
    /// The paths within the state directory.
    #[must_use]
    pub fn within(state: &std::path::Path) -> Self {
        Self {
            socket: state.join("run").join("tollgate.sock"),
            lock: state.join("daemon.lock"),
            start_lock: state.join("start.lock"),
            log: state.join("tollgate.log"),
        }
    }
}
