//! The daemon's end of the socket.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Paths;
use super::protocol::{
    Answer, Command, ControlError, DRAINING, Hello, MAX_HELLO, MAX_LINE, Mode, Outcome, Request,
    VERSION, Welcome, line, read_line,
};
use crate::connections::remove_left;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::mcp::{Backend, serve_stream};

/// How long a client may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// How long connections may take to end once the host drains: a call's own limit, and a little.
const DRAIN: Duration = Duration::from_secs(40);

/// Commands of one connection at once.
const COMMANDS: usize = 16;

/// What people may ask of the host.
#[async_trait::async_trait]
pub trait Control: Send + Sync + 'static {
    /// Whether an MCP session of `agent` may begin.
    ///
    /// # Errors
    ///
    /// There is no such agent, or it may not use this transport.
    async fn admit(&self, agent: &AgentId) -> Result<(), ControlError>;

    /// Carries out a command. `cancel` is cancelled once nobody waits for the answer.
    ///
    /// # Errors
    ///
    /// It was not done.
    async fn handle(
        self: Arc<Self>,
        command: Command,
        report: Report,
        cancel: CancellationToken,
    ) -> Result<Value, ControlError>;
}

/// Takes reports of how far a command has come. Reports that nobody reads in time are dropped.
#[derive(Debug, Clone)]
pub struct Report {
    id: u64,
    to: mpsc::Sender<Vec<u8>>,
}

impl Report {
    /// Reports.
    pub fn send(&self, progress: Value) {
        let answer = Answer {
            id: Some(self.id),
            outcome: Outcome::Progress(progress),
        };
        if let Ok(line) = line(&answer) {
            let _ = self.to.try_send(line);
        }
    }
}

/// Why there is no daemon here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// Another has the state.
    #[error("another daemon is running here: process {pid}, holding `{}`", .lock.display())]
    Running {
        /// Its process id, as the lock file has it.
        pid: String,
        /// The lock.
        lock: PathBuf,
    },
    /// The directory of the socket is open to others.
    #[error("`{}` must belong to this user and be closed to all others (mode 0700)", .0.display())]
    Exposed(PathBuf),
    /// Something stands where the socket belongs.
    #[error("`{}` is not a socket; move it away", .0.display())]
    NotASocket(PathBuf),
    /// Somebody answers on the socket, who does not hold the lock.
    #[error("something else listens on `{}`: end it, or move the socket away", .0.display())]
    Answered(PathBuf),
    /// The path of the socket is longer than the system takes.
    #[error("`{}` is too long for a socket's path; choose a shorter home", .0.display())]
    TooLong(PathBuf),
    /// The system said no.
    #[error("{what} `{}`", .path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> DaemonError + 'a {
    move |source| DaemonError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Leaves the terminal and session of the client that started this process, so that neither a
/// closed terminal nor its interrupt ends the daemon.
///
/// # Errors
///
/// This process leads a group already, as one started by a shell does.
pub fn detach() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// The one daemon of a state directory. Holds its lock for as long as it lives.
#[derive(Debug)]
pub struct Daemon {
    listener: UnixListener,
    socket: PathBuf,
    // Closing the file frees the lock, however the process ends.
    lock: File,
}

impl Daemon {
    /// Takes the lock, then the socket.
    ///
    /// # Errors
    ///
    /// Another daemon runs here, or the socket's directory is not the owner's alone.
    pub fn bind(paths: &Paths) -> Result<Self, DaemonError> {
        let lock = hold(&paths.lock)?;
        let socket = &paths.socket;
        if let Some(directory) = socket.parent() {
            private(directory)?;
        }
        // Only the holder of the lock gets here, so a socket that is left is no daemon's. It may be another
        // program's all the same.
        match std::fs::symlink_metadata(socket) {
            Ok(found) if found.file_type().is_socket() => {
                remove_left(socket).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => DaemonError::Answered(socket.clone()),
                    _ => failed("could not take the place of", socket)(error),
                })?;
            }
            Ok(_) => return Err(DaemonError::NotASocket(socket.clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("could not look at", socket)(error)),
        }
        let listener = UnixListener::bind(socket).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidInput {
                DaemonError::TooLong(socket.clone())
            } else {
                failed("could not listen on", socket)(error)
            }
        })?;
        std::fs::set_permissions(socket, Permissions::from_mode(0o600))
            .map_err(failed("could not close to others", socket))?;
        Ok(Self {
            listener,
            socket: socket.clone(),
            lock,
        })
    }

    /// A second hold on the lock: it is free once both are gone. Who has more to do after it has served
    /// keeps this until the last of it is done, so that a free lock says that all is over.
    ///
    /// # Errors
    ///
    /// The system has no file descriptor left.
    pub fn hold(&self) -> io::Result<File> {
        self.lock.try_clone()
    }

    /// Serves clients until the host drains, and then until what they asked is answered and `ended` is
    /// cancelled, which says that nothing else of the host runs any more. Until then power can be taken
    /// back: calls may be under way.
    pub async fn serve(
        self,
        backend: Arc<dyn Backend>,
        control: Arc<dyn Control>,
        ended: CancellationToken,
    ) {
        let Self {
            listener,
            socket,
            lock,
        } = self;
        let draining = backend.draining();
        let mut connections = JoinSet::new();
        let too_long = async {
            draining.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::pin!(too_long);
        let over = async {
            draining.cancelled().await;
            ended.cancelled().await;
        };
        tokio::pin!(over);
        let mut is_over = false;
        while !(is_over && connections.is_empty()) {
            let stream = tokio::select! {
                biased;
                () = &mut too_long => {
                    tracing::warn!("clients were still connected at the end");
                    break;
                }
                () = &mut over, if !is_over => {
                    is_over = true;
                    continue;
                }
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        tracing::error!(%error, "no client could be taken");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                        continue;
                    }
                },
            };
            let (backend, control) = (backend.clone(), control.clone());
            connections.spawn(async move {
                if let Err(error) = connection(stream, backend, control).await {
                    tracing::debug!(%error, "a client's connection ended early");
                }
            });
        }
        // New clients find nobody and wait for the lock, rather than for an answer that never comes.
        drop(listener);
        if let Err(error) = std::fs::remove_file(&socket) {
            tracing::debug!(%error, "the socket could not be removed");
        }
        drop(lock);
    }
}

/// Takes the place of the daemon; it is given back when the file is dropped.
pub(crate) fn hold(path: &Path) -> Result<File, DaemonError> {
    if let Some(directory) = path.parent() {
        private(directory)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed("could not open", path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(error) if error == rustix::io::Errno::WOULDBLOCK => {
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let digits: String = pid.chars().take_while(char::is_ascii_digit).collect();
            return Err(DaemonError::Running {
                pid: if digits.is_empty() {
                    "unknown".to_owned()
                } else {
                    digits
                },
                lock: path.to_owned(),
            });
        }
        Err(error) => return Err(failed("could not lock", path)(error.into())),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed("could not write", path))?;
    Ok(file)
}

/// Makes a directory for the owner alone, or makes sure that it is that.
fn private(directory: &Path) -> Result<(), DaemonError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(failed("could not make", directory))?;
    let found = std::fs::metadata(directory).map_err(failed("could not look at", directory))?;
    if found.mode() & 0o077 != 0 || found.uid() != rustix::process::geteuid().as_raw() {
        return Err(DaemonError::Exposed(directory.to_owned()));
    }
    Ok(())
}

async fn connection(
    stream: UnixStream,
    backend: Arc<dyn Backend>,
    control: Arc<dyn Control>,
) -> io::Result<()> {
    // The directory keeps others out already; this holds also where someone opened it.
    let peer = stream.peer_cred()?;
    if peer.uid() != rustix::process::geteuid().as_raw() {
        tracing::warn!(uid = peer.uid(), "refused a client of another user");
        return Ok(());
    }
    let mut stream = BufReader::new(stream);
    let mut text = Vec::new();
    let read = read_line(&mut stream, &mut text, MAX_HELLO);
    let Ok(said) = tokio::time::timeout(HELLO, read).await else {
        return Ok(());
    };
    if !said? {
        return Ok(());
    }
    let draining = backend.draining();
    match greet(&text, control.as_ref(), &draining).await {
        Err(error) => {
            let refused = Welcome {
                ok: false,
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                pid: Some(std::process::id()),
                error: Some(error),
            };
            stream.write_all(&line(&refused)?).await?;
            stream.shutdown().await
        }
        Ok(mode) => {
            let welcome = Welcome {
                ok: true,
                version: Some(env!("CARGO_PKG_VERSION").to_owned()),
                pid: Some(std::process::id()),
                error: None,
            };
            stream.write_all(&line(&welcome)?).await?;
            match mode {
                Opened::Session(agent, task) => {
                    serve_stream(backend, agent, task, stream, "stdio").await
                }
                Opened::Commands => commands(stream, control, draining, |_| true).await,
                Opened::Revoking => {
                    let revokes = |command: &Command| matches!(command, Command::Revoke { .. });
                    commands(stream, control, CancellationToken::new(), revokes).await
                }
            }
        }
    }
}

/// What a connection is for, once its hello was read.
enum Opened {
    /// MCP, by this agent, on this task.
    Session(AgentId, Option<TaskId>),
    Commands,
    Revoking,
}

async fn greet(
    text: &[u8],
    control: &dyn Control,
    draining: &CancellationToken,
) -> Result<Opened, ControlError> {
    let hello: Hello = serde_json::from_slice(text)
        .map_err(|_| ControlError::new("hello.invalid", "the first line is not a hello"))?;
    if hello.tollgate != VERSION {
        return Err(ControlError::new(
            "hello.version",
            format!(
                "the client speaks version {} of the daemon's protocol, this daemon version {VERSION}",
                hello.tollgate
            ),
        )
        .with_hint("stop the daemon, so that the next client starts its own version"));
    }
    if draining.is_cancelled() && hello.mode != Mode::Revoke {
        return Err(ControlError::new(DRAINING, "the daemon is ending"));
    }
    match hello.mode {
        Mode::Control => Ok(Opened::Commands),
        Mode::Revoke => Ok(Opened::Revoking),
        Mode::Mcp { agent, task } => {
            let agent: AgentId =
                agent
                    .parse()
                    .map_err(|error: crate::identity::ParseAgentError| {
                        ControlError::new("hello.agent", error.to_string())
                    })?;
            control.admit(&agent).await?;
            Ok(Opened::Session(agent, task))
        }
    }
}

/// Carries out commands of the kinds that `takes` names, until the client ends or the host drains.
async fn commands(
    stream: BufReader<UnixStream>,
    control: Arc<dyn Control>,
    draining: CancellationToken,
    takes: fn(&Command) -> bool,
) -> io::Result<()> {
    let (read, mut write) = tokio::io::split(stream);
    let mut read = BufReader::new(read);
    let (answers, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
    let writer = tokio::spawn(async move {
        while let Some(line) = outgoing.recv().await {
            write.write_all(&line).await?;
        }
        write.shutdown().await
    });
    // Cancelled when this ends in any way, the client's death included.
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    let mut running = JoinSet::new();
    let mut text = Vec::new();
    let ended = loop {
        let said = tokio::select! {
            biased;
            () = draining.cancelled() => break Ok(()),
            Some(_) = running.join_next() => continue,
            () = answers.closed() => break Ok(()),
            said = read_line(&mut read, &mut text, MAX_LINE), if running.len() < COMMANDS => said,
        };
        match said {
            Ok(true) => {}
            Ok(false) => break Ok(()),
            Err(error) => break Err(error),
        }
        let request = serde_json::from_slice::<Request>(&std::mem::take(&mut text)).ok();
        let Some(request) = request.filter(|request| takes(&request.command)) else {
            // Not what is wrong with it: that could quote a secret.
            let error = ControlError::new(
                "command.invalid",
                "not a command of this version, or none for this connection",
            );
            let refused = Answer {
                id: None,
                outcome: Outcome::Error(error),
            };
            let _ = answers.send(line(&refused)?).await;
            continue;
        };
        let (control, answers, cancel) = (control.clone(), answers.clone(), cancel.child_token());
        running.spawn(async move {
            let report = Report {
                id: request.id,
                to: answers.clone(),
            };
            let outcome = match control.handle(request.command, report, cancel).await {
                Ok(result) => Outcome::Result(result),
                Err(error) => Outcome::Error(error),
            };
            let answer = Answer {
                id: Some(request.id),
                outcome,
            };
            if let Ok(line) = line(&answer) {
                let _ = answers.send(line).await;
            }
        });
    };
    if draining.is_cancelled() {
        // What was asked before the end is answered, the request to end included.
        while running.join_next().await.is_some() {}
        drop(guard);
    } else {
        drop(guard);
        while running.join_next().await.is_some() {}
    }
    drop(answers);
    let _ = writer.await;
    ended
}
