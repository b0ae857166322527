//! OpenBao and Vault: values that are kept there, and credentials that engines make.
//!
//! What an engine makes for a call or a task is made under a token of its own, a child of the host's.
//! Its accessor is on the disk before the token is used, so a host that dies can take back all that
//! it got, also what it never heard of. The child has no more than the host's own rights, and fewer
//! where `policies` says so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::reach::{self, Reach, said, sensitive, text};
use super::source::{Ask, Issued, Nature, Renewed, Source, SourceError};
use super::value::SecretValue;
use crate::config::{VaultLogin, VaultSecret};
use crate::private;

/// A token has some hundred bytes.
const MAX_TOKEN: u64 = 16 << 10;

/// The server.
#[derive(Debug)]
pub(super) struct Vault {
    config: crate::config::Vault,
    reach: Reach,
    login: Mutex<Option<Login>>,
}

/// The host's own token.
#[derive(Debug)]
struct Login {
    token: Arc<SecretValue>,
    /// When it is renewed, where it does not live for ever.
    renew: Option<Duration>,
}

/// What a request is answered with.
struct Answer {
    status: u16,
    body: Value,
}

impl Vault {
    pub(super) fn new(config: crate::config::Vault, reach: Reach) -> Self {
        Self {
            config,
            reach,
            login: Mutex::default(),
        }
    }

    /// One request, under `token`.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        token: Option<&SecretValue>,
    ) -> Result<Answer, SourceError> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{path}", self.config.address));
        if let Some(token) = token {
            let shown = Zeroizing::new(String::from_utf8_lossy(token.expose()).into_owned());
            request = request.header("x-vault-token", sensitive(&shown)?);
        }
        if let Some(namespace) = &self.config.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        let (request, body) = match body {
            Some(body) => reach::json(request, body),
            None => (request, Bytes::new()),
        };
        let (status, body) = self.reach.ask(request, body).await?;
        Ok(Answer { status, body })
    }

    /// One request under the host's own token, which is got anew where it is refused.
    async fn ask_as_host(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, SourceError> {
        let token = self.token(None).await?;
        let answer = self.ask(method.clone(), path, body, Some(&token)).await?;
        if answer.status != 403 {
            return Ok(answer);
        }
        let token = self.token(Some(&token)).await?;
        self.ask(method, path, body, Some(&token)).await
    }

    /// The host's token; another one than `refused`.
    async fn token(
        &self,
        refused: Option<&Arc<SecretValue>>,
    ) -> Result<Arc<SecretValue>, SourceError> {
        let mut kept = self.login.lock().await;
        if let Some(login) = kept.as_mut() {
            let is_refused = refused.is_some_and(|refused| Arc::ptr_eq(refused, &login.token));
            let now = self.reach.now();
            if !is_refused && login.renew.is_none_or(|at| now < at) {
                return Ok(Arc::clone(&login.token));
            }
            // Or the children of a token that ends would end with it.
            if !is_refused && let Some(renewed) = self.renew_own(&login.token).await {
                login.renew = renewed;
                return Ok(Arc::clone(&login.token));
            }
        }
        let login = self.log_in().await?;
        let token = Arc::clone(&login.token);
        *kept = Some(login);
        Ok(token)
    }

    async fn renew_own(&self, token: &SecretValue) -> Option<Option<Duration>> {
        let answer = self
            .ask(
                Method::POST,
                "auth/token/renew-self",
                Some(&json!({})),
                Some(token),
            )
            .await
            .ok()?;
        (answer.status == 200).then(|| self.renew_at(answer.body.pointer("/auth/lease_duration")))
    }

    /// When two thirds of a token's time are over.
    fn renew_at(&self, seconds: Option<&Value>) -> Option<Duration> {
        let seconds = seconds.and_then(Value::as_u64).filter(|s| *s > 0)?;
        Some(self.reach.now() + Duration::from_secs(seconds) * 2 / 3)
    }

    async fn log_in(&self) -> Result<Login, SourceError> {
        match &self.config.login {
            VaultLogin::TokenFile(file) => {
                let token = Arc::new(from_file(file.clone()).await?);
                // Whoever writes the file renews the token; here it is only asked how long it lives,
                // and one that can't be looked up is found out when it is used.
                Ok(Login { token, renew: None })
            }
            VaultLogin::AppRole {
                mount,
                role_id,
                secret_id_file,
            } => {
                let secret = from_file(secret_id_file.clone()).await?;
                let body = json!({
                    "role_id": role_id,
                    "secret_id": String::from_utf8_lossy(secret.expose()),
                });
                let path = format!("auth/{mount}/login");
                let answer = self.ask(Method::POST, &path, Some(&body), None).await?;
                let token = text(&answer.body, "/auth/client_token").ok_or_else(|| {
                    SourceError::Unavailable(format!(
                        "the login as AppRole was refused (status {}): {}",
                        answer.status,
                        said(&answer.body)
                    ))
                })?;
                Ok(Login {
                    token: Arc::new(SecretValue::new(token.into())),
                    renew: self.renew_at(answer.body.pointer("/auth/lease_duration")),
                })
            }
        }
    }

    /// What takes something back: by which name, at which server.
    fn handle(&self, kind: &str, name: &str) -> Zeroizing<String> {
        Zeroizing::new(json!({"at": self.config.address, kind: name}).to_string())
    }

    /// What `handle` says, where this very server gave it: another one would call what it stands for
    /// dead, and get to see tokens that are not its own.
    fn own_handle(&self, handle: &str) -> Result<Value, SourceError> {
        let handle: Value = serde_json::from_str(handle).unwrap_or_default();
        let at = text(&handle, "/at").unwrap_or_default();
        if at != self.config.address {
            return Err(SourceError::Unavailable(format!(
                "it was made by `{at}`, and `[vault]` names another server"
            )));
        }
        Ok(handle)
    }

    /// Takes back what a handle of this source stands for. Done where it is dead already.
    pub(super) async fn revoke(&self, handle: &str) -> Result<(), SourceError> {
        let handle = self.own_handle(handle)?;
        let (path, body) = match (text(&handle, "/accessor"), text(&handle, "/lease")) {
            (Some(accessor), _) => ("auth/token/revoke-accessor", json!({"accessor": accessor})),
            // Waits until the engine did it, so that what failed there is seen here.
            (None, Some(lease)) => (
                "sys/leases/revoke",
                json!({"lease_id": lease, "sync": true}),
            ),
            (None, None) => {
                return Err(SourceError::Unavailable(String::from(
                    "the handle is not one of this source",
                )));
            }
        };
        let answer = self.ask_as_host(Method::PUT, path, Some(&body)).await?;
        match answer.status {
            200 | 204 => Ok(()),
            400 if is_gone(&said(&answer.body)) => Ok(()),
            status => Err(SourceError::Unavailable(format!(
                "`{path}` was answered with status {status}: {}",
                said(&answer.body)
            ))),
        }
    }
}

/// Vault's words for what is dead already.
fn is_gone(said: &str) -> bool {
    ["invalid accessor", "lease not found", "invalid lease"]
        .iter()
        .any(|words| said.contains(words))
}

async fn from_file(path: std::path::PathBuf) -> Result<SecretValue, SourceError> {
    super::source::blocking(move || {
        let mut bytes = private::read(&path, MAX_TOKEN)?;
        let value = SecretValue::new(std::mem::take(&mut *bytes)).without_line_end();
        super::source::sized(value, &path.display().to_string())
    })
    .await
}

/// One secret of the server.
#[derive(Debug)]
pub(super) struct VaultSource {
    pub(super) vault: Arc<Vault>,
    pub(super) secret: VaultSecret,
}

#[async_trait]
impl Source for VaultSource {
    fn kind(&self) -> &'static str {
        "vault"
    }

    fn nature(&self) -> Nature {
        if self.secret.dynamic {
            Nature::Lent
        } else {
            Nature::Standing
        }
    }

    fn bond_key(&self) -> Option<&str> {
        self.secret.dynamic.then_some(&self.vault.config.address)
    }

    /// A token of its own, a child of the host's. It can do nothing for anyone before `issue` used
    /// it, and whoever does not know its value, which is nowhere written, can't use it.
    async fn bond(&self, ask: &Ask) -> Result<Issued, SourceError> {
        let seconds = format!("{}s", ask.ttl.as_secs().max(1));
        let mut body = json!({
            "ttl": seconds,
            "renewable": true,
            "display_name": "tollgate",
            "meta": {"tollgate_lease": ask.lease.to_string()},
        });
        if let Some(body) = body
            .as_object_mut()
            .filter(|_| !self.vault.config.policies.is_empty())
        {
            body.insert("policies".into(), json!(self.vault.config.policies));
        }
        let answer = self
            .vault
            .ask_as_host(Method::POST, "auth/token/create", Some(&body))
            .await?;
        let token = text(&answer.body, "/auth/client_token");
        let accessor = text(&answer.body, "/auth/accessor");
        match (token, accessor) {
            (Some(token), Some(accessor)) => Ok(Issued {
                value: SecretValue::new(token.into()),
                user: None,
                ttl: seconds_of(&answer.body, "/auth/lease_duration").or(Some(ask.ttl)),
                handle: Some(self.vault.handle("accessor", accessor)),
            }),
            _ => Err(refused("a token for this call", &answer)),
        }
    }

    async fn issue(&self, ask: &Ask, bond: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let path = &self.secret.path;
        let body = (!self.secret.parameters.is_empty()).then(|| json!(self.secret.parameters));
        let method = if body.is_some() {
            Method::POST
        } else {
            Method::GET
        };
        let answer = match bond {
            Some(bond) => {
                self.vault
                    .ask(method, path, body.as_ref(), Some(bond))
                    .await?
            }
            None => self.vault.ask_as_host(method, path, body.as_ref()).await?,
        };
        if answer.status == 404 {
            return Err(SourceError::Missing(format!(
                "there is nothing at `{path}`"
            )));
        }
        if answer.status != 200 {
            return Err(refused(&format!("`{path}`"), &answer));
        }
        let lease = text(&answer.body, "/lease_id").filter(|lease| !lease.is_empty());
        // Version 2 of the key-value engine wraps what it keeps.
        let data = match answer.body.pointer("/data/metadata/version") {
            Some(_) => answer.body.pointer("/data/data"),
            None => answer.body.pointer("/data"),
        };
        let member = |name: &str| data.and_then(|data| data.get(name)).and_then(Value::as_str);
        let value = match self.secret.field.as_str() {
            "*" => data.map(Value::to_string),
            field => member(field).map(str::to_owned),
        };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(|| {
            SourceError::Missing(format!(
                "what is at `{path}` has no text `{}`",
                self.secret.field
            ))
        })?;
        let user = match &self.secret.user_field {
            None => None,
            Some(field) => Some(member(field).map(str::to_owned).ok_or_else(|| {
                SourceError::Missing(format!("what is at `{path}` has no text `{field}`"))
            })?),
        };
        let value = super::source::sized(SecretValue::new(value.into()), path)?;
        let handle = lease.map(|lease| self.vault.handle("lease", lease));
        let ttl = seconds_of(&answer.body, "/lease_duration").filter(|_| lease.is_some());
        Ok(Issued {
            value,
            user,
            // An engine may give longer than the token lives that it hangs on.
            ttl: match (ttl, self.nature()) {
                (Some(ttl), _) => Some(ttl.min(ask.ttl)),
                (None, Nature::Lent) => Some(ask.ttl),
                (None, _) => None,
            },
            handle,
        })
    }

    fn renews(&self) -> bool {
        self.secret.dynamic
    }

    async fn renew(
        &self,
        handle: &str,
        bond: Option<&SecretValue>,
        ttl: Duration,
    ) -> Result<Renewed, SourceError> {
        let handle = self.vault.own_handle(handle)?;
        let (Some(lease), Some(bond)) = (text(&handle, "/lease"), bond) else {
            return Err(SourceError::Unavailable(String::from(
                "it has no lease that could be renewed",
            )));
        };
        let increment = ttl.as_secs().max(1);
        let body = json!({"increment": format!("{increment}s")});
        let path = "auth/token/renew-self";
        let own = self.vault.ask(Method::POST, path, Some(&body), Some(bond));
        let own = own.await?;
        if own.status != 200 {
            return Err(refused("to renew the call's token", &own));
        }
        let body = json!({"lease_id": lease, "increment": increment});
        let path = "sys/leases/renew";
        let answer = self.vault.ask(Method::PUT, path, Some(&body), Some(bond));
        // Half of it is done already.
        let half = |error: SourceError| SourceError::Uncertain(error.to_string());
        let answer = answer.await.map_err(half)?;
        match seconds_of(&answer.body, "/lease_duration") {
            Some(lives) if answer.status == 200 => Ok(Renewed {
                ttl: lives.min(ttl),
                bond: Some(seconds_of(&own.body, "/auth/lease_duration").unwrap_or(ttl)),
            }),
            _ => Err(half(refused("to renew a lease", &answer))),
        }
    }
}

fn seconds_of(body: &Value, pointer: &str) -> Option<Duration> {
    body.pointer(pointer)
        .and_then(Value::as_u64)
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

fn refused(what: &str, answer: &Answer) -> SourceError {
    let text = format!(
        "the server of secrets refused {what} (status {}): {}",
        answer.status,
        said(&answer.body)
    );
    // With a status of its own fault it may have done part of it.
    if answer.status >= 500 {
        SourceError::Uncertain(text)
    } else {
        SourceError::Unavailable(text)
    }
}
