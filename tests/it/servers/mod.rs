//! Real servers that credentials come from, started and stopped by the tests, on loopback.
//!
//! `tests/servers/setup` brings them; it is run by whoever comes first, and does nothing where they are
//! there. A machine without them fails these tests: nothing is skipped.

mod github;
mod queue;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tollgate::clock::SystemClock;
use tollgate::egress::{OutboundConfig, OwnBounds, OwnClient};

use crate::harness::repository;

pub(crate) use github::{APP_KEY, GitHub};
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

/// OpenBao, in memory, with one engine that makes credentials for a queue, and one that keeps values.
pub(crate) struct OpenBao {
    pub(crate) address: String,
    pub(crate) folder: TempDir,
    client: OwnClient,
    _child: Child,
}

const ROOT: &str = "root-of-the-tests";

impl OpenBao {
    /// Starts it, and lets it make users of `queue`.
    pub(crate) async fn start(queue: &Queue) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Nobody else takes it meanwhile: ports are given out in turn.
        let port = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let mut child = Command::new(servers().join("python/bin/bao"))
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = said.next_line().await.unwrap();
            let line = line.expect("OpenBao ended before it served");
            if line.contains("Root Token") {
                break;
            }
        }
        // Or it would wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = said.next_line().await {} });
        let bao = Self {
            address: format!("http://127.0.0.1:{port}"),
            folder,
            client: OwnClient::new(&OutboundConfig::default(), Arc::new(SystemClock)).unwrap(),
            _child: child,
        };
        bao.set_up(queue).await;
        bao
    }

    async fn set_up(&self, queue: &Queue) {
        self.make("sys/mounts/rabbitmq", &json!({"type": "rabbitmq"}))
            .await;
        let connection = json!({
            "connection_uri": queue.origin(), "username": "admin", "password": "admin", "verify_connection": false,
        });
        self.make("rabbitmq/config/connection", &connection).await;
        self.make(
            "rabbitmq/config/lease",
            &json!({"ttl": 300, "max_ttl": 600}),
        )
        .await;
        self.make(
            "rabbitmq/roles/worker",
            &json!({"vhosts": "{\"/\": {\"read\": \".*\", \"write\": \"\"}}"}),
        )
        .await;
        self.make(
            "secret/data/app",
            &json!({"data": {"key": "kept-canary-8d1f"}}),
        )
        .await;
        // What the host needs and no more.
        let rules = r#"
            path "rabbitmq/creds/worker" { capabilities = ["read"] }
            path "secret/data/app" { capabilities = ["read"] }
            path "auth/token/create" { capabilities = ["update"] }
            path "auth/token/revoke-accessor" { capabilities = ["update"] }
            path "auth/token/renew-self" { capabilities = ["update"] }
            path "sys/leases/revoke" { capabilities = ["update"] }
            path "sys/leases/renew" { capabilities = ["update"] }
        "#;
        self.make("sys/policies/acl/tollgate", &json!({"policy": rules}))
            .await;
        self.make("sys/auth/approle", &json!({"type": "approle"}))
            .await;
        self.make(
            "auth/approle/role/tollgate",
            &json!({"token_policies": ["tollgate"], "token_ttl": "1h"}),
        )
        .await;
    }

    /// One request as its administrator; the answer, whatever it is.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map_or_else(Bytes::new, |body| Bytes::from(body.to_string()));
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.address))
            .header("x-vault-token", ROOT)
            .body(body)
            .unwrap();
        let answer = self.client.send(request, OwnBounds::default()).await;
        let answer = answer.unwrap();
        let body = serde_json::from_slice(answer.body()).unwrap_or_default();
        (answer.status().as_u16(), body)
    }

    async fn make(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.ask("POST", path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// `[vault]` for a host that logs in as an AppRole.
    pub(crate) async fn table(&self) -> String {
        let (_, role) = self
            .ask("GET", "auth/approle/role/tollgate/role-id", None)
            .await;
        let secret = self
            .make("auth/approle/role/tollgate/secret-id", &json!({}))
            .await;
        let file = self.folder.path().join("secret-id");
        write_private(&file, secret["data"]["secret_id"].as_str().unwrap());
        format!(
            "[vault]\naddress = \"{}\"\nrole_id = \"{}\"\nsecret_id_file = \"{}\"\n",
            self.address,
            role["data"]["role_id"].as_str().unwrap(),
            file.display()
        )
    }

    /// How many tokens there are that the host made for calls and tasks.
    pub(crate) async fn children(&self) -> usize {
        let (_, listed) = self.ask("LIST", "auth/token/accessors", None).await;
        let accessors = listed["data"]["keys"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut children = 0;
        for accessor in accessors {
            let body = json!({"accessor": accessor});
            let (_, found) = self
                .ask("POST", "auth/token/lookup-accessor", Some(&body))
                .await;
            children += usize::from(found["data"]["meta"]["tollgate_lease"].is_string());
        }
        children
    }

    /// Waits until the host's tokens are gone.
    pub(crate) async fn childless(&self) {
        until("the call's token is dead", || async {
            self.children().await == 0
        })
        .await;
    }
}

/// The authorization server.
pub(crate) struct Oidc {
    pub(crate) issuer: String,
    /// A refresh token that a person consented to.
    pub(crate) token: String,
    _child: Child,
}

/// The secret of the client `tollgate`, with what form encoding changes.
pub(crate) const CLIENT_SECRET: &str = "client-canary +&%/41";

impl Oidc {
    pub(crate) async fn start() -> Self {
        let (said, child) = node("oidc.mjs", &[CLIENT_SECRET]).await;
        Self {
            issuer: said["issuer"].as_str().unwrap().to_owned(),
            token: said["token"].as_str().unwrap().to_owned(),
            _child: child,
        }
    }
}

/// Runs a script of `tests/servers` beside the packages, and gives the one line that it says.
pub(crate) async fn node(script: &str, arguments: &[&str]) -> (Value, Child) {
    let node = servers().join("node");
    // Node looks for packages beside the script.
    let beside = node.join(script);
    let text = std::fs::read(repository().join("tests/servers").join(script)).unwrap();
    crate::harness::place(&beside, &text);
    let mut child = Command::new("node")
        .arg(&beside)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = said.next_line().await.unwrap();
    let line = serde_json::from_str(&line.expect("it ended before it served")).unwrap();
    (line, child)
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
