//! A client's end of the socket: finds the daemon, or starts it, and talks to it.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::Paths;
use super::protocol::{
    Answer, Command, ControlError, DRAINING, Hello, MAX_HELLO, MAX_LINE, Mode, Outcome, Request,
    VERSION, Welcome, line, read_line,
};
use crate::id::TaskId;
use crate::identity::AgentId;

/// How long a daemon may take from its start to its first answer. It checks its journal first.
const START: Duration = Duration::from_secs(60);

/// How often a client looks whether the daemon answers: one with its plugins compiled does within some 60 ms.
const POLL: Duration = Duration::from_millis(5);

/// How long the daemon may take to answer a hello.
const HELLO: Duration = Duration::from_secs(10);

/// Bytes of the log that are shown when the daemon did not start.
const TAIL: u64 = 2_048;

/// Why there is no daemon to talk to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// None is running, and none was to be started.
    #[error("no daemon answers on `{}`", .0.display())]
    Absent(PathBuf),
    /// It was started and ended at once.
    #[error("the daemon ended as it started ({status}); the end of `{}`:\n{tail}", .log.display())]
    Ended {
        /// How it ended.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The end of that.
        tail: String,
    },
    /// It was started and does not answer.
    #[error("the daemon was started and does not answer within {} s; see `{}`", START.as_secs(), .0.display())]
    Silent(PathBuf),
    /// It refused.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// It said what is not of this protocol.
    #[error("what answers on the socket is no daemon of this program")]
    Protocol,
    /// The connection failed.
    #[error("the connection to the daemon failed")]
    Io(#[from] io::Error),
}

/// How a daemon is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

impl Start {
    /// This program's own `serve --background`, with `arguments` after it.
    ///
    /// # Errors
    ///
    /// The system does not say which program this is.
    pub fn own(arguments: impl IntoIterator<Item = OsString>) -> io::Result<Self> {
        let mut all: Vec<OsString> = vec!["serve".into(), "--background".into()];
        all.extend(arguments);
        Ok(Self {
            program: std::env::current_exe()?,
            arguments: all,
        })
    }

    fn spawn(&self, log: &Path) -> io::Result<(Child, u64)> {
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(log)?;
        let from = log.metadata()?.len();
        let child = std::process::Command::new(&self.program)
            .args(&self.arguments)
            // A person's credential is the client's: a daemon that outlives the command must not keep it.
            .env_remove("TOLLGATE_PERSON_TOKEN")
            // Nothing of the client's protocol may reach the daemon, nor the reverse.
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok((child, from))
    }
}

/// A connection on which the daemon said welcome.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<UnixStream>,
    /// The daemon's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
}

impl Connection {
    /// Opens a session of MCP for `agent`, on `task` where one is named, starting the daemon by `start` where there is none.
    ///
    /// # Errors
    ///
    /// There is no daemon and none could be started, or it refused.
    pub async fn mcp(
        paths: &Paths,
        start: Option<&Start>,
        agent: &AgentId,
        task: Option<TaskId>,
    ) -> Result<Self, ClientError> {
        let agent = agent.as_str().to_owned();
        Self::open(paths, start, Mode::Mcp { agent, task }).await
    }

    /// Opens a connection for commands, starting the daemon by `start` where there is none.
    ///
    /// # Errors
    ///
    /// As for `mcp`.
    pub async fn control(
        paths: &Paths,
        start: Option<&Start>,
    ) -> Result<ControlClient, ClientError> {
        let connection = Self::open(paths, start, Mode::Control).await?;
        Ok(ControlClient::new(connection))
    }

    /// As `control`, for commands that take power back: a daemon that is ending takes them, too.
    ///
    /// # Errors
    ///
    /// As for `mcp`.
    pub async fn revoking(
        paths: &Paths,
        start: Option<&Start>,
    ) -> Result<ControlClient, ClientError> {
        let connection = Self::open(paths, start, Mode::Revoke).await?;
        Ok(ControlClient::new(connection))
    }

    async fn open(paths: &Paths, start: Option<&Start>, mode: Mode) -> Result<Self, ClientError> {
        let hello = Hello {
            tollgate: VERSION,
            mode,
        };
        let deadline = Instant::now() + START;
        loop {
            let stream = match reach(&paths.socket).await? {
                Some(stream) => stream,
                None => match start {
                    Some(start) => started(paths, start).await?,
                    None => return Err(ClientError::Absent(paths.socket.clone())),
                },
            };
            match tokio::time::timeout(HELLO, greet(stream, &hello)).await {
                // It ended between being reached and being greeted; the next one is found or started.
                Ok(Err(ClientError::Io(error))) if is_gone(&error) => {
                    pause(deadline, &paths.log).await?;
                }
                // It finishes what is under way. To one who would start the next, that comes after it.
                Ok(Err(ClientError::Refused(error))) if error.code == DRAINING => {
                    if start.is_none() {
                        return Err(ClientError::Absent(paths.socket.clone()));
                    }
                    pause(deadline, &paths.log).await?;
                }
                Ok(greeted) => return greeted,
                Err(_) => return Err(ClientError::Protocol),
            }
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof
    )
}

async fn greet(stream: UnixStream, hello: &Hello) -> Result<Connection, ClientError> {
    let mut stream = BufReader::new(stream);
    stream.write_all(&line(hello)?).await?;
    let mut text = Vec::new();
    if !read_line(&mut stream, &mut text, MAX_HELLO).await? {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    let welcome: Welcome = serde_json::from_slice(&text).map_err(|_| ClientError::Protocol)?;
    match welcome {
        Welcome {
            ok: true,
            version: Some(version),
            pid: Some(pid),
            error: None,
        } => Ok(Connection {
            stream,
            version,
            pid,
        }),
        Welcome {
            ok: false,
            error: Some(error),
            ..
        } => Err(ClientError::Refused(error)),
        _ => Err(ClientError::Protocol),
    }
}

/// Connects, or finds that nobody listens.
async fn reach(socket: &Path) -> Result<Option<UnixStream>, ClientError> {
    match UnixStream::connect(socket).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// Starts the daemon and waits until it answers. Of several clients that come at once, one starts
/// it and the others wait for that one.
async fn started(paths: &Paths, start: &Start) -> Result<UnixStream, ClientError> {
    let deadline = Instant::now() + START;
    if let Some(directory) = paths.start_lock.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let turn = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&paths.start_lock)?;
    while !try_lock(&turn)? {
        if let Some(stream) = reach(&paths.socket).await? {
            return Ok(stream);
        }
        pause(deadline, &paths.log).await?;
    }
    // A daemon that is about to listen, or one that is ending, still has the state.
    loop {
        if let Some(stream) = reach(&paths.socket).await? {
            return Ok(stream);
        }
        if is_free(&paths.lock)? {
            break;
        }
        pause(deadline, &paths.log).await?;
    }
    let (mut child, from) = start.spawn(&paths.log)?;
    loop {
        if let Some(stream) = reach(&paths.socket).await? {
            return Ok(stream);
        }
        if let Some(status) = child.try_wait()? {
            // Where one that nobody knew of won the race, that one serves.
            if let Some(stream) = reach(&paths.socket).await? {
                return Ok(stream);
            }
            return Err(ClientError::Ended {
                status: status.to_string(),
                log: paths.log.clone(),
                tail: tail(&paths.log, from),
            });
        }
        pause(deadline, &paths.log).await?;
    }
}

async fn pause(deadline: Instant, log: &Path) -> Result<(), ClientError> {
    if Instant::now() >= deadline {
        return Err(ClientError::Silent(log.to_owned()));
    }
    tokio::time::sleep(POLL).await;
    Ok(())
}

fn try_lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether no daemon has the state.
fn is_free(lock: &Path) -> io::Result<bool> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the file of a held lock says of its holder; none where no daemon has the state.
///
/// # Errors
///
/// The lock can't be looked at.
pub(crate) fn holder(lock: &Path) -> io::Result<Option<String>> {
    if is_free(lock)? {
        return Ok(None);
    }
    std::fs::read_to_string(lock).map(Some)
}

/// Waits until the daemon that has the state when `ask` is called has given it back, for at most
/// `within` once it was asked to end. Says whether it has.
///
/// # Errors
///
/// What `ask` says; or the lock can't be looked at.
pub fn end<T, E: From<io::Error>>(
    paths: &Paths,
    within: Duration,
    ask: impl FnOnce() -> Result<T, E>,
) -> Result<(T, bool), E> {
    let first = holder(&paths.lock)?;
    let answer = ask()?;
    let deadline = std::time::Instant::now() + within;
    loop {
        // Another one may have come since; that is not waited for.
        match holder(&paths.lock)? {
            Some(now) if first.as_ref() == Some(&now) => {}
            _ => return Ok((answer, true)),
        }
        if std::time::Instant::now() >= deadline {
            return Ok((answer, false));
        }
        std::thread::sleep(POLL);
    }
}

/// The end of what was written to the log since `from`.
fn tail(log: &Path, from: u64) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL))))?;
        let mut text = Vec::new();
        file.take(TAIL).read_to_end(&mut text)?;
        Ok(text)
    };
    read().map_or_else(
        |error| format!("(not readable: {error})"),
        |text| String::from_utf8_lossy(&text).trim_end().to_owned(),
    )
}

/// A connection for commands.
#[derive(Debug)]
pub struct ControlClient {
    connection: Connection,
    next: u64,
}

impl ControlClient {
    const fn new(connection: Connection) -> Self {
        Self {
            connection,
            next: 0,
        }
    }

    /// The daemon's version and process id.
    #[must_use]
    pub fn daemon(&self) -> (&str, u32) {
        (&self.connection.version, self.connection.pid)
    }

    /// Has a command done. Dropping this half-way, and the client with it, cancels the command.
    ///
    /// # Errors
    ///
    /// It was refused, it failed, or the connection did.
    pub async fn run(
        &mut self,
        command: Command,
        mut report: impl FnMut(Value),
    ) -> Result<Value, ClientError> {
        self.next += 1;
        let id = self.next;
        let stream = &mut self.connection.stream;
        stream.write_all(&line(&Request { id, command })?).await?;
        loop {
            let mut text = Vec::new();
            if !read_line(stream, &mut text, MAX_LINE).await? {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            let answer: Answer =
                serde_json::from_slice(&text).map_err(|_| ClientError::Protocol)?;
            if answer.id.is_some_and(|answered| answered != id) {
                continue;
            }
            match answer.outcome {
                Outcome::Progress(progress) => report(progress),
                Outcome::Result(result) => return Ok(result),
                Outcome::Error(error) => return Err(error.into()),
            }
        }
    }
}

/// Carries MCP between this process's own input and output and the daemon, until the daemon has
/// answered all that came before the end of input.
///
/// The runtime's thread that reads standard input can't be stopped: end the process after this by
/// `std::process::exit`, not by waiting for the runtime.
///
/// # Errors
///
/// The connection failed, or nobody reads the output any more.
pub async fn bridge_stdio(connection: Connection) -> io::Result<()> {
    bridge(connection, tokio::io::stdin(), tokio::io::stdout()).await
}

/// Carries bytes both ways: the end of `input` half-closes the connection, and its other half is
/// read to the end.
///
/// # Errors
///
/// As for `bridge_stdio`.
pub async fn bridge<I, O>(connection: Connection, mut input: I, mut output: O) -> io::Result<()>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
{
    let (mut read, mut write) = tokio::io::split(connection.stream);
    let up = async {
        // A daemon that ends first is seen by the other half.
        let _ = tokio::io::copy(&mut input, &mut write).await;
        let _ = write.shutdown().await;
        std::future::pending::<()>().await;
    };
    let down = async {
        tokio::io::copy(&mut read, &mut output).await?;
        output.flush().await
    };
    tokio::select! {
        () = up => Ok(()),
        ended = down => ended,
    }
}
