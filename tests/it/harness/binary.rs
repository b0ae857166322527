//! The real program: a daemon in a process of its own, and the commands that talk to it.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use tollgate::home::Home;

use super::mcp::Client;
use super::program;

/// `tollgate --home <home> <arguments>`, with nothing of this process's own environment that matters.
pub(crate) fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    configure(&mut command, home);
    command.args(arguments);
    command
}

fn configure(command: &mut Command, home: &Home) {
    command
        .env_remove("TOLLGATE_HOME")
        .env_remove("TOLLGATE_PERSON_TOKEN")
        .env("NO_COLOR", "1")
        .arg("--home")
        .arg(home.root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Its standard output as JSON lines.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.out
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }
}

/// Runs a command to its end.
pub(crate) async fn run(home: &Home, arguments: &[&str]) -> Said {
    run_with(home, arguments, "").await
}

/// Runs a command with something on its standard input.
pub(crate) async fn run_with(home: &Home, arguments: &[&str], input: &str) -> Said {
    let mut child = command(home, arguments)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    Said::of(child.wait_with_output().await.unwrap())
}

/// Runs a command to its end with a person's credential in its environment.
pub(crate) async fn run_as(home: &Home, credential: &str, arguments: &[&str]) -> Said {
    let output = command(home, arguments)
        .env("TOLLGATE_PERSON_TOKEN", credential)
        .output()
        .await
        .unwrap();
    Said::of(output)
}

/// A daemon that serves a home.
pub(crate) struct Daemon {
    child: Child,
    home: Home,
    pub(crate) address: SocketAddr,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts `tollgate serve` and waits until it says where it listens.
    pub(crate) async fn start(home: &Home) -> Self {
        Self::spawn(home, command(home, &["serve", "--listen", "127.0.0.1:0"])).await
    }

    /// The same with more in its environment.
    pub(crate) async fn start_with(home: &Home, environment: &[(&str, &str)]) -> Self {
        let mut command = command(home, &["serve", "--listen", "127.0.0.1:0"]);
        command.envs(environment.iter().copied());
        Self::spawn(home, command).await
    }

    /// The same, where no file may grow beyond so many KiB: a write beyond fails as on a full disk.
    pub(crate) async fn start_limited(home: &Home, kib: u64) -> Self {
        let mut command = Command::new("bash");
        command
            .arg("-c")
            // The signal would end the process; ignored, the write fails instead.
            .arg(format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\""))
            .arg(program());
        configure(&mut command, home);
        command.args(["serve", "--listen", "127.0.0.1:0"]);
        Self::spawn(home, command).await
    }

    async fn spawn(home: &Home, mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (sender, mut lines) = mpsc::unbounded_channel();
        read(child.stdout.take().unwrap(), said.clone(), sender.clone());
        read(child.stderr.take().unwrap(), said.clone(), sender);
        let address = loop {
            let Some(line) = lines.recv().await else {
                panic!("it ended before it served: {}", said.lock().unwrap());
            };
            if let Some((_, rest)) = line.split_once("http://127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
            }
        };
        Self {
            child,
            home: home.clone(),
            address,
            said,
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Adds an agent and gives its token.
    pub(crate) async fn agent(&self, name: &str) -> String {
        let said = run(&self.home, &["--format", "json", "agent", "add", name]).await;
        assert_eq!(said.code, 0, "{said:?}");
        said.lines()[0]["token"].as_str().unwrap().to_owned()
    }

    /// An MCP client over HTTP.
    pub(crate) fn client(&self, token: &str) -> Client {
        Client::new(self.address, token)
    }

    /// Everything that it has said so far, on both outputs.
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Ends it as a power failure would.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it, if it has not ended by itself.
    pub(crate) async fn end(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Ends it in order.
    pub(crate) async fn stop(&mut self) {
        let said = run(&self.home, &["stop"]).await;
        assert_eq!(said.code, 0, "{said:?}");
        self.ended().await;
    }

    /// Waits for its end, which is in order.
    pub(crate) async fn ended(&mut self) {
        let status = self.child.wait().await.unwrap();
        assert!(status.success(), "{status}: {}", self.said());
    }
}

/// Keeps what comes, line by line, so that the program never waits for a reader.
fn read(
    stream: impl AsyncRead + Unpin + Send + 'static,
    said: Arc<Mutex<String>>,
    to: mpsc::UnboundedSender<String>,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            said.lock().unwrap().push_str(&format!("{line}\n"));
            let _ = to.send(line);
        }
    });
}
