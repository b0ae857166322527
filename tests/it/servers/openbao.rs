//! OpenBao: what makes credentials, and says which of them it knows.

use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tollgate::clock::SystemClock;
use tollgate::egress::{OutboundConfig, OwnBounds, OwnClient};

use super::{Queue, read_on, servers, started, until, write_private};

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
        let mut command = Command::new(servers().join("python/bin/bao"));
        command
            .args(["server", "-dev", "-dev-no-store-token"])
            .arg(format!("-dev-root-token-id={ROOT}"))
            .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
            .env("HOME", folder.path());
        let (child, mut said) = started(command, Stdio::null());
        loop {
            let line = said.next_line().await.unwrap();
            let line = line.expect("OpenBao ended before it served");
            if line.contains("Root Token") {
                break;
            }
        }
        read_on(said);
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

    /// `[vault]` for a host that logs in as an AppRole, at `address`.
    pub(crate) async fn table(&self, address: &str) -> String {
        let (_, role) = self
            .ask("GET", "auth/approle/role/tollgate/role-id", None)
            .await;
        let secret = self
            .make("auth/approle/role/tollgate/secret-id", &json!({}))
            .await;
        let file = self.folder.path().join("secret-id");
        write_private(&file, secret["data"]["secret_id"].as_str().unwrap());
        format!(
            "[vault]\naddress = \"{address}\"\nrole_id = \"{}\"\nsecret_id_file = \"{}\"\n",
            role["data"]["role_id"].as_str().unwrap(),
            file.display()
        )
    }

    /// The tokens that the host made for calls and tasks, by their accessors.
    pub(crate) async fn children(&self) -> Vec<String> {
        let mut children = Vec::new();
        for accessor in self.list("auth/token/accessors").await {
            let (_, found) = self.token(&accessor).await;
            if found["data"]["meta"]["tollgate_lease"].is_string() {
                children.push(accessor);
            }
        }
        children
    }

    /// The credentials that the engine made, by their leases.
    pub(crate) async fn leases(&self) -> Vec<String> {
        let of = "rabbitmq/creds/worker";
        let listed = self.list(&format!("sys/leases/lookup/{of}")).await;
        listed.iter().map(|id| format!("{of}/{id}")).collect()
    }

    /// With which status a look-up of a token is answered.
    pub(crate) async fn look_up_token(&self, accessor: &str) -> u16 {
        self.token(accessor).await.0
    }

    /// With which status a look-up of a lease is answered.
    pub(crate) async fn look_up_lease(&self, lease: &str) -> u16 {
        let body = json!({"lease_id": lease});
        self.ask("PUT", "sys/leases/lookup", Some(&body)).await.0
    }

    async fn token(&self, accessor: &str) -> (u16, Value) {
        let body = json!({"accessor": accessor});
        let path = "auth/token/lookup-accessor";
        self.ask("POST", path, Some(&body)).await
    }

    async fn list(&self, path: &str) -> Vec<String> {
        let (_, listed) = self.ask("LIST", path, None).await;
        let keys = listed["data"]["keys"].as_array().cloned();
        let keys = keys.unwrap_or_default().into_iter();
        keys.map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    /// Waits until the host's tokens are gone.
    pub(crate) async fn childless(&self) {
        until("the call's token is dead", || async {
            self.children().await.is_empty()
        })
        .await;
    }
}
