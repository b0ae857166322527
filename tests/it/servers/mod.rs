//! Real servers that credentials come from, started and stopped by the tests, on loopback.
//!
//! `tests/servers/setup` brings them; it is run by whoever comes first, and does nothing where they are
//! there. A machine without them fails these tests: nothing is skipped.

mod gate;
mod github;
mod oidc;
mod openbao;
mod queue;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::harness::repository;

pub(crate) use gate::Gate;
pub(crate) use github::{APP_KEY, GitHub};
pub(crate) use oidc::{CLIENT_SECRET, Oidc};
pub(crate) use openbao::OpenBao;
pub(crate) use queue::Queue;

/// Where the servers are, once they are installed.
fn servers() -> &'static Path {
    static SERVERS: OnceLock<PathBuf> = OnceLock::new();
    SERVERS.get_or_init(|| {
        // Of the target folder that this very binary is in.
        let target = std::env::current_exe()
            .unwrap()
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file())
            .map_or_else(|| repository().join("target"), Path::to_path_buf);
        let status = std::process::Command::new(repository().join("tests/servers/setup"))
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .unwrap();
        assert!(status.success(), "`tests/servers/setup` says why");
        target.join("servers")
    })
}

/// Runs a script of `tests/servers` beside the packages, and gives the one line that it says.
pub(crate) async fn node(script: &str, arguments: &[&str]) -> (Value, Child) {
    let node = servers().join("node");
    // Node looks for packages beside the script.
    let beside = node.join(script);
    let text = std::fs::read(repository().join("tests/servers").join(script)).unwrap();
    crate::harness::place(&beside, &text);
    let mut command = Command::new(node.join("run"));
    command.arg(&beside).args(arguments);
    let (child, mut said) = started(command, Stdio::piped());
    let line = said.next_line().await.unwrap();
    let line = serde_json::from_str(&line.expect("it ended before it served")).unwrap();
    read_on(said);
    (line, child)
}

/// Starts a server, which ends with the test; and what it says, line by line.
fn started(mut command: Command, input: Stdio) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, said)
}

/// Reads what a server says from now on: it would wait for a reader, or end for want of one.
fn read_on(mut said: Lines<BufReader<ChildStdout>>) {
    tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
}

/// A file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Waits for what another process does, which can't tell when it has done it. Half a minute is a failure.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("not within half a minute: {what}"));
}
