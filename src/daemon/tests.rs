//! The daemon over real sockets, and once as a process of its own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::identity::AgentId;
use crate::mcp::tests::{Fake, OLDER, Seen, initialize, request};

/// Tells a process started by a test where to be a daemon.
const STATE: &str = "TOLLGATE_TEST_DAEMON";

#[derive(Debug)]
struct Operator {
    draining: CancellationToken,
    cancelled: mpsc::UnboundedSender<()>,
}

#[async_trait::async_trait]
impl Control for Operator {
    async fn admit(&self, agent: &AgentId) -> Result<(), ControlError> {
        if agent.name() == "nobody" {
            return Err(ControlError::new("agent.unknown", "no such agent").with_hint("add it"));
        }
        Ok(())
    }

    async fn handle(
        self: Arc<Self>,
        command: Command,
        report: Report,
        cancel: CancellationToken,
    ) -> Result<Value, ControlError> {
        match command {
            Command::Status {} => Ok(json!({"plugins": 3})),
            Command::Call { arguments, .. } => Ok(json!(arguments)),
            Command::Reload {} => {
                report.send(json!(1));
                report.send(json!(2));
                Ok(json!("done"))
            }
            Command::Plugins {} => {
                report.send(json!("begun"));
                cancel.cancelled().await;
                let _ = self.cancelled.send(());
                Ok(Value::Null)
            }
            Command::Stop {} => {
                self.draining.cancel();
                Ok(json!("ending"))
            }
            other => Err(ControlError::new("test.refused", format!("{other:?}"))),
        }
    }
}

struct Running {
    home: TempDir,
    paths: Paths,
    fake: Arc<Fake>,
    seen: mpsc::UnboundedReceiver<Seen>,
    cancelled: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

fn home() -> (TempDir, Paths) {
    let home = tempfile::tempdir().unwrap();
    std::fs::set_permissions(home.path(), Permissions::from_mode(0o700)).unwrap();
    let paths = Paths::within(home.path());
    (home, paths)
}

fn running() -> Running {
    let (home, paths) = home();
    let (fake, seen) = Fake::new();
    let (sender, cancelled) = mpsc::unbounded_channel();
    let operator = Arc::new(Operator {
        draining: fake.draining.clone(),
        cancelled: sender,
    });
    let daemon = Daemon::bind(&paths).unwrap();
    let task = tokio::spawn(daemon.serve(fake.clone(), operator, fake.draining.clone()));
    Running {
        home,
        paths,
        fake,
        seen,
        cancelled,
        task,
    }
}

async fn mcp(paths: &Paths) -> Connection {
    Connection::mcp(paths, None, &AgentId::local("alice").unwrap(), None)
        .await
        .unwrap()
}

/// Sends raw bytes as a client would and returns the daemon's first line.
async fn say(paths: &Paths, text: &[u8]) -> Value {
    let mut stream = UnixStream::connect(&paths.socket).await.unwrap();
    stream.write_all(text).await.unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn one_daemon_has_the_state() {
    let (_home, paths) = home();
    let first = Daemon::bind(&paths).unwrap();
    let second = Daemon::bind(&paths).unwrap_err();
    let DaemonError::Running { pid, .. } = &second else {
        panic!("{second}");
    };
    assert_eq!(*pid, std::process::id().to_string());
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&paths.socket), 0o600);
    assert_eq!(mode(paths.socket.parent().unwrap()), 0o700);
    drop(first);
    // The socket that is left is nobody's.
    assert!(paths.socket.exists());
    let _third = Daemon::bind(&paths).unwrap();
}

#[tokio::test]
async fn nothing_else_is_removed_or_trusted() {
    let (home, paths) = home();
    std::fs::create_dir_all(paths.socket.parent().unwrap()).unwrap();
    std::fs::set_permissions(
        paths.socket.parent().unwrap(),
        Permissions::from_mode(0o755),
    )
    .unwrap();
    assert!(matches!(Daemon::bind(&paths), Err(DaemonError::Exposed(_))));
    std::fs::set_permissions(
        paths.socket.parent().unwrap(),
        Permissions::from_mode(0o700),
    )
    .unwrap();
    std::fs::write(&paths.socket, "a file").unwrap();
    assert!(matches!(
        Daemon::bind(&paths),
        Err(DaemonError::NotASocket(_))
    ));
    // Sockets of others: one that answers, and one of which that can't be told.
    std::fs::remove_file(&paths.socket).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&paths.socket).unwrap();
    let error = Daemon::bind(&paths).unwrap_err();
    assert!(matches!(error, DaemonError::Answered(_)), "{error}");
    assert!(paths.socket.exists());
    drop(other);
    std::fs::remove_file(&paths.socket).unwrap();
    let other = std::os::unix::net::UnixDatagram::bind(&paths.socket).unwrap();
    let error = Daemon::bind(&paths).unwrap_err();
    assert!(matches!(error, DaemonError::Io { .. }), "{error}");
    assert!(paths.socket.exists());
    drop(other);
    std::fs::remove_file(&paths.socket).unwrap();
    let long = Paths {
        socket: home.path().join("x".repeat(120)),
        ..paths
    };
    assert!(matches!(Daemon::bind(&long), Err(DaemonError::TooLong(_))));
}

#[tokio::test]
async fn a_hello_is_needed_and_understood() {
    let running = running();
    for (text, code) in [
        ("garbage\n", "hello.invalid"),
        ("{\"tollgate\":1,\"mode\":\"other\"}\n", "hello.invalid"),
        ("{\"tollgate\":2,\"mode\":\"control\"}\n", "hello.version"),
        (
            "{\"tollgate\":1,\"mode\":\"mcp\",\"agent\":\"../x\"}\n",
            "hello.agent",
        ),
        (
            "{\"tollgate\":1,\"mode\":\"mcp\",\"agent\":\"nobody\"}\n",
            "agent.unknown",
        ),
    ] {
        let told = say(&running.paths, text.as_bytes()).await;
        assert_eq!(told["ok"], false, "{text}");
        assert_eq!(told["error"]["code"], code, "{text}");
    }
    let absent = Paths::within(&running.home.path().join("elsewhere"));
    assert!(matches!(
        Connection::control(&absent, None).await,
        Err(ClientError::Absent(_))
    ));
    let client = Connection::control(&running.paths, None).await.unwrap();
    assert_eq!(client.daemon().1, std::process::id());
}

#[tokio::test]
async fn commands_are_answered_with_their_progress() {
    let running = running();
    let mut client = Connection::control(&running.paths, None).await.unwrap();
    let status = client.run(Command::Status {}, |_| {}).await.unwrap();
    assert_eq!(status["plugins"], 3);
    let arguments = "{\"a\":1,\"a\":2}\n";
    let call = Command::Call {
        tool: "t".into(),
        arguments: arguments.into(),
        agent: "alice".into(),
        task: None,
    };
    assert_eq!(client.run(call, |_| {}).await.unwrap(), arguments);
    let mut reports = Vec::new();
    client
        .run(Command::Reload {}, |report| reports.push(report))
        .await
        .unwrap();
    assert_eq!(reports, [json!(1), json!(2)]);

    let value = SecretText::new("s3cr3t".into());
    let set = Command::SecretSet {
        plugin: "p".into(),
        name: "n".into(),
        value,
    };
    assert!(!format!("{set:?}").contains("s3cr3t"));
    let ClientError::Refused(error) = client.run(set, |_| {}).await.unwrap_err() else {
        panic!("not refused");
    };
    assert_eq!(error.code, "test.refused");
    assert!(!error.message.contains("s3cr3t"));

    let mut raw = UnixStream::connect(&running.paths.socket).await.unwrap();
    raw.write_all(b"{\"tollgate\":1,\"mode\":\"control\"}\n{\"id\":1,\"command\":\"fly\",\"params\":{\"value\":\"s3cr3t\"}}\n").await.unwrap();
    raw.shutdown().await.unwrap();
    let mut told = String::new();
    raw.read_to_string(&mut told).await.unwrap();
    assert!(
        told.contains("command.invalid") && !told.contains("s3cr3t"),
        "{told}"
    );
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_command() {
    let mut running = running();
    let mut client = Connection::control(&running.paths, None).await.unwrap();
    let (begun, mut begins) = mpsc::unbounded_channel();
    let command = tokio::spawn(async move {
        client
            .run(Command::Plugins {}, |report| begun.send(report).unwrap())
            .await
    });
    assert_eq!(begins.recv().await, Some(json!("begun")));
    command.abort();
    running.cancelled.recv().await.unwrap();
}

#[tokio::test]
async fn one_client_dies_in_the_middle_of_a_call_and_the_other_goes_on() {
    let mut running = running();
    let wait = request(1, "tools/call", json!({"name": "t_wait"}));
    let opening = format!("{}\n{wait}\n", initialize(OLDER[0]));
    let dying = mcp(&running.paths).await;
    let (mut input, near) = tokio::io::duplex(1 << 12);
    let bridged = tokio::spawn(bridge(dying, near, tokio::io::sink()));
    input.write_all(opening.as_bytes()).await.unwrap();
    assert!(matches!(
        running.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    bridged.abort();
    assert!(bridged.await.unwrap_err().is_cancelled());

    let echo = request(
        1,
        "tools/call",
        json!({"name": "t_echo", "arguments": {"x": 1}}),
    );
    let opening = format!("{}\n{echo}\n", initialize(OLDER[0]));
    let mut output = Vec::new();
    let other = mcp(&running.paths).await;
    bridge(other, opening.as_bytes(), &mut output)
        .await
        .unwrap();
    let answers: Vec<Value> = String::from_utf8(output)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[1]["result"]["content"][0]["text"], r#"{"x":1}"#);

    // The host drains: the call under way is waited for.
    running.fake.draining.cancel();
    running.fake.release.notify_one();
    running.task.await.unwrap();
    assert!(
        running
            .fake
            .log
            .lock()
            .unwrap()
            .contains(&Seen::Ended("t_wait".into()))
    );
    assert!(!running.paths.socket.exists());
}

#[tokio::test]
async fn power_can_be_taken_back_while_the_daemon_ends() {
    let mut running = running();
    let wait = request(1, "tools/call", json!({"name": "t_wait"}));
    let opening = format!("{}\n{wait}\n", initialize(OLDER[0]));
    let connection = mcp(&running.paths).await;
    let bridged = tokio::spawn(async move {
        bridge(connection, opening.as_bytes(), Vec::new())
            .await
            .unwrap();
    });
    assert!(matches!(
        running.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    running.fake.draining.cancel();
    // For others there is no daemon any more.
    assert!(matches!(
        Connection::control(&running.paths, None).await,
        Err(ClientError::Absent(_))
    ));
    let mut client = Connection::revoking(&running.paths, None).await.unwrap();
    let all = Command::Revoke {
        kind: "all".to_owned(),
        subject: String::new(),
    };
    for (command, code) in [
        (all, "test.refused"),
        (Command::Status {}, "command.invalid"),
    ] {
        let error = client.run(command, drop).await.unwrap_err();
        let ClientError::Refused(error) = error else {
            panic!("{error}");
        };
        // The first is this test's own answer: it was asked.
        assert_eq!(error.code, code, "{error}");
    }
    drop(client);
    running.fake.release.notify_one();
    bridged.await.unwrap();
    running.task.await.unwrap();
    assert!(!running.paths.socket.exists());
}

#[tokio::test]
async fn the_end_of_input_is_answered_first() {
    let mut running = running();
    let wait = request(1, "tools/call", json!({"name": "t_wait"}));
    let opening = format!("{}\n{wait}\n", initialize(OLDER[0]));
    let connection = mcp(&running.paths).await;
    let bridged = tokio::spawn(async move {
        let mut output = Vec::new();
        bridge(connection, opening.as_bytes(), &mut output)
            .await
            .unwrap();
        output
    });
    assert!(matches!(
        running.seen.recv().await,
        Some(Seen::Started { .. })
    ));
    running.fake.release.notify_one();
    let output = String::from_utf8(bridged.await.unwrap()).unwrap();
    let last: Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    assert_eq!(last["id"], 1);
}

#[tokio::test]
async fn a_daemon_that_does_not_start_says_why() {
    let (_home, paths) = home();
    let start = Start {
        program: "/bin/sh".into(),
        arguments: ["-c", "echo the reason >&2; exit 3"].map(Into::into).into(),
    };
    let error = Connection::control(&paths, Some(&start)).await.unwrap_err();
    let ClientError::Ended { tail, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(tail, "the reason");
}

/// This very program, as a daemon of `paths`.
fn start_of(home: &TempDir) -> Start {
    let mut state = std::ffi::OsString::from(STATE);
    state.push("=");
    state.push(home.path());
    let program = std::env::current_exe().unwrap();
    let only = [
        "--exact",
        "daemon::tests::is_a_daemon_where_a_test_asks_for_one",
        "--nocapture",
    ];
    let mut arguments = vec![state, program.into_os_string()];
    arguments.extend(only.map(Into::into));
    Start {
        program: "/usr/bin/env".into(),
        arguments,
    }
}

#[tokio::test]
async fn is_a_daemon_where_a_test_asks_for_one() {
    let Some(state) = std::env::var_os(STATE) else {
        return;
    };
    detach().unwrap();
    let (fake, _seen) = Fake::new();
    let (cancelled, _) = mpsc::unbounded_channel();
    let operator = Arc::new(Operator {
        draining: fake.draining.clone(),
        cancelled,
    });
    let daemon = Daemon::bind(&Paths::within(std::path::Path::new(&state))).unwrap();
    daemon
        .serve(fake.clone(), operator, fake.draining.clone())
        .await;
}

#[tokio::test]
async fn two_clients_at_once_start_one_daemon() {
    let (home, paths) = home();
    let start = start_of(&home);
    let (one, other) = tokio::join!(
        Connection::control(&paths, Some(&start)),
        Connection::control(&paths, Some(&start)),
    );
    let (mut one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.daemon().1, other.daemon().1);
    assert_ne!(one.daemon().1, std::process::id());
    let first = one.daemon().1;
    assert_eq!(one.run(Command::Stop {}, |_| {}).await.unwrap(), "ending");
    drop((one, other));

    // While the first ends, the next waits for its turn.
    let mut next = Connection::control(&paths, Some(&start)).await.unwrap();
    assert_ne!(next.daemon().1, first);
    next.run(Command::Stop {}, |_| {}).await.unwrap();
}
