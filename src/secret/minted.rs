//! Credentials that the host makes with a private key from its store: JWTs, and tokens of
//! installations of a GitHub App.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::jws;
use super::reach::{self, Reach, said, sensitive, text};
use super::source::{Ask, Issued, Nature, SecretSource as _, Source, SourceError, blocking};
use super::store::Store;
use super::value::SecretValue;
use crate::config::{GitHubAppSecret, JwtSecret};
use crate::entropy::SharedEntropy;

/// A JWT can't be taken back, so it lives no longer than a call may take.
const JWT: Duration = Duration::from_secs(120);
/// GitHub takes ten minutes at most, and clocks differ.
const APP_JWT: u64 = 540;
const CLOCKS: u64 = 60;
/// GitHub's own for tokens of installations.
const INSTALLATION: Duration = Duration::from_secs(3_600);

/// A JWT for one audience.
#[derive(Debug)]
pub(super) struct Jwt {
    pub(super) config: JwtSecret,
    pub(super) store: Store,
    pub(super) reach: Reach,
    pub(super) entropy: SharedEntropy,
}

async fn key(store: &Store, ask: &Ask) -> Result<SecretValue, SourceError> {
    let (store, plugin, name) = (store.clone(), ask.plugin.clone(), ask.name.clone());
    blocking(move || store.get(&plugin, &name)).await
}

fn unsigned(error: &jws::SignError) -> SourceError {
    SourceError::Unavailable(error.to_string())
}

#[async_trait]
impl Source for Jwt {
    fn kind(&self) -> &'static str {
        "jwt"
    }

    fn nature(&self) -> Nature {
        Nature::Minted
    }

    async fn issue(&self, ask: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let mut id = [0; 16];
        self.entropy
            .fill(&mut id)
            .map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let ttl = ask.ttl.min(JWT);
        let now = self.reach.now().as_secs();
        let claims = json!({
            "iss": self.config.issuer,
            "sub": self.config.subject,
            "aud": self.config.audience,
            "iat": now,
            "nbf": now,
            "exp": now.saturating_add(ttl.as_secs()),
            "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let key = key(&self.store, ask).await?;
        let token = jws::signed(key.expose(), self.config.key_id.as_deref(), &claims)
            .map_err(|error| unsigned(&error))?;
        Ok(Issued {
            value: SecretValue::new(token.into_bytes()),
            user: None,
            ttl: Some(ttl),
            handle: None,
        })
    }
}

/// A token of an installation.
#[derive(Debug)]
pub(super) struct GitHubApp {
    pub(super) config: GitHubAppSecret,
    pub(super) store: Store,
    pub(super) reach: Reach,
}

fn to_github(request: http::request::Builder) -> http::request::Builder {
    request
        .header(ACCEPT, "application/vnd.github+json")
        .header(USER_AGENT, "tollgate")
        .header("x-github-api-version", "2022-11-28")
}

#[async_trait]
impl Source for GitHubApp {
    fn kind(&self) -> &'static str {
        "github-app"
    }

    fn nature(&self) -> Nature {
        Nature::Lent
    }

    async fn issue(&self, ask: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let now = self.reach.now().as_secs();
        let claims = json!({
            "iss": self.config.app,
            "iat": now.saturating_sub(CLOCKS),
            "exp": now.saturating_add(APP_JWT),
        });
        let key = key(&self.store, ask).await?;
        let jwt = jws::signed(key.expose(), None, &claims).map_err(|error| unsigned(&error))?;
        let mut wanted = json!({});
        if let Some(wanted) = wanted.as_object_mut() {
            if !self.config.repositories.is_empty() {
                wanted.insert("repositories".into(), json!(self.config.repositories));
            }
            if !self.config.permissions.is_empty() {
                wanted.insert("permissions".into(), json!(self.config.permissions));
            }
        }
        let url = format!(
            "{}/app/installations/{}/access_tokens",
            self.config.api, self.config.installation
        );
        let bearer = Zeroizing::new(format!("Bearer {jwt}"));
        let request =
            to_github(http::Request::post(url)).header(AUTHORIZATION, sensitive(&bearer)?);
        let (request, body) = reach::json(request, &wanted);
        let (status, answer) = self.reach.ask(request, body).await?;
        match text(&answer, "/token").filter(|_| status == 201) {
            Some(token) => Ok(Issued {
                value: SecretValue::new(token.into()),
                user: None,
                ttl: Some(self.lives(&answer)),
                handle: Some(
                    json!({"api": self.config.api, "token": token})
                        .to_string()
                        .into(),
                ),
            }),
            None => {
                let text = format!(
                    "the API refused a token for the installation (status {status}): {}",
                    said(&answer)
                );
                Err(if status >= 500 {
                    SourceError::Uncertain(text)
                } else {
                    SourceError::Unavailable(text)
                })
            }
        }
    }
}

impl GitHubApp {
    fn lives(&self, answer: &Value) -> Duration {
        text(answer, "/expires_at")
            .and_then(|end| end.parse::<jiff::Timestamp>().ok())
            .and_then(|end| u64::try_from(end.as_second()).ok())
            .map_or(INSTALLATION, |end| {
                Duration::from_secs(end).saturating_sub(self.reach.now())
            })
    }
}

/// Takes a token of an installation back. Done where it is dead already.
pub(super) async fn revoke_installation(reach: &Reach, handle: &str) -> Result<(), SourceError> {
    let handle: Zeroizing<String> = Zeroizing::new(handle.to_owned());
    let parsed: Value = serde_json::from_str(&handle).unwrap_or_default();
    let (Some(api), Some(token)) = (text(&parsed, "/api"), text(&parsed, "/token")) else {
        return Err(SourceError::Unavailable(String::from(
            "the handle is not one of this source",
        )));
    };
    let bearer = Zeroizing::new(format!("Bearer {token}"));
    let request = to_github(http::Request::delete(format!("{api}/installation/token")))
        .header(AUTHORIZATION, sensitive(&bearer)?);
    let (status, answer) = reach.ask(request, Bytes::new()).await?;
    match status {
        // 401: nobody knows the token any more.
        204 | 401 => Ok(()),
        status => Err(SourceError::Unavailable(format!(
            "the API did not take the token back (status {status}): {}",
            said(&answer)
        ))),
    }
}
