//! Access tokens that a refresh token brings (RFC 6749 section 6), and that go back where their server
//! takes them back (RFC 7009).
//!
//! With a revocation endpoint each lease has an access token of its own, which is dead once the lease
//! ends. Without one an access token is used until shortly before it ends, by all calls. Either way
//! there is one refresh at a time. A server that rotates refresh tokens sends a new one along: it is
//! in the host's store, on the disk, before the access token that came with it is used. A host that
//! dies between the server's answer and that write has lost the refresh token, and a person must
//! consent again; nothing can be done about that on this side.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::reach::{Access, Reach, said, sensitive, text};
use super::source::{Ask, Issued, Nature, SecretSource as _, Source, SourceError, blocking, sized};
use super::store::Store;
use super::value::SecretValue;
use crate::config::OAuthSecret;
use crate::name::PluginName;

/// Where the server does not say how long a token lives (it should, section 5.1).
const UNSAID: Duration = Duration::from_secs(300);
/// A token is not used in its last moments: it has to arrive, too.
const MARGIN: Duration = Duration::from_secs(30);

/// One grant.
#[derive(Debug)]
pub(super) struct OAuth {
    pub(super) config: OAuthSecret,
    pub(super) store: Store,
    pub(super) reach: Reach,
}

#[async_trait]
impl Source for OAuth {
    fn kind(&self) -> &'static str {
        "oauth"
    }

    fn nature(&self) -> Nature {
        match self.config.revocation_url {
            Some(_) => Nature::Lent,
            // Others use the same one, so the end of one call can't take it back.
            None => Nature::Minted,
        }
    }

    async fn issue(&self, ask: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let place = self.reach.token(&ask.plugin, &ask.name);
        let refreshing = Refreshing {
            config: self.config.clone(),
            store: self.store.clone(),
            reach: self.reach.clone(),
            plugin: ask.plugin.clone(),
            name: ask.name.clone(),
        };
        // In a task of its own: a call that ends meanwhile must not leave a rotated refresh token unwritten.
        tokio::spawn(async move {
            let mut kept = place.lock().await;
            match &refreshing.config.revocation_url {
                Some(url) => refreshing.own(url).await,
                None => refreshing.shared(&mut kept).await,
            }
        })
        .await
        .unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))
    }
}

struct Refreshing {
    config: OAuthSecret,
    store: Store,
    reach: Reach,
    plugin: PluginName,
    name: String,
}

/// What a refresh brought.
struct Fresh {
    value: SecretValue,
    lives: Duration,
}

impl Refreshing {
    /// An access token for one lease, and what gives it back.
    async fn own(&self, revocation_url: &str) -> Result<Issued, SourceError> {
        let Fresh { value, lives } = self.refresh().await?;
        let token = Zeroizing::new(String::from_utf8_lossy(value.expose()).into_owned());
        let handle = json!({
            "revocation_url": revocation_url,
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
            "plugin": self.plugin,
            "token": *token,
        });
        Ok(Issued {
            value,
            user: None,
            ttl: Some(lives),
            handle: Some(handle.to_string().into()),
        })
    }

    /// The access token that all share, or a new one once that is nearly over.
    async fn shared(&self, kept: &mut Option<Access>) -> Result<Issued, SourceError> {
        let now = self.reach.now();
        let of = format!("{:?}", self.config);
        let good = kept.take().filter(|a| now < a.until && a.of == of);
        let access = match good {
            Some(access) => access,
            None => {
                let Fresh { value, lives } = self.refresh().await?;
                // A short one is used for its first half.
                let used = lives.saturating_sub(MARGIN).max(lives / 2);
                Access {
                    value,
                    until: self.reach.now() + used,
                    of,
                }
            }
        };
        let issued = Issued {
            value: SecretValue::new(access.value.expose().to_vec()),
            user: None,
            ttl: Some(access.until.saturating_sub(now)),
            handle: None,
        };
        *kept = Some(access);
        Ok(issued)
    }

    async fn refresh(&self) -> Result<Fresh, SourceError> {
        let token = stored(&self.store, &self.plugin, &self.name).await?;
        let answer = self.ask(&token).await?;
        // From here on there is an access token, whatever is wrong with it.
        let unusable =
            |what: &str| SourceError::Uncertain(format!("the token endpoint gave {what}"));
        let access = text(&answer, "/access_token")
            .filter(|token| !token.is_empty())
            .ok_or_else(|| unusable("no access token"))?;
        let is_bearer =
            text(&answer, "/token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !is_bearer {
            return Err(unusable("a token of another type than `bearer`"));
        }
        if let Some(next) = text(&answer, "/refresh_token") {
            let next = SecretValue::new(next.into());
            if next.expose() != token.expose() {
                // INVARIANT: on the disk before anything is done with what came along.
                self.keep(next).await?;
            }
        }
        let value = sized(SecretValue::new(access.into()), "the access token");
        Ok(Fresh {
            value: value.map_err(|error| SourceError::Uncertain(error.to_string()))?,
            lives: answer
                .pointer("/expires_in")
                .and_then(Value::as_u64)
                .map_or(UNSAID, Duration::from_secs),
        })
    }

    /// Keeps another refresh token in the place of the one that was used.
    async fn keep(&self, next: SecretValue) -> Result<(), SourceError> {
        let (store, plugin, name) = (self.store.clone(), self.plugin.clone(), self.name.clone());
        blocking(move || {
            store.set(&plugin, &name, &next).map_err(|error| {
                SourceError::Uncertain(format!("the new refresh token could not be kept: {error}"))
            })
        })
        .await
    }

    async fn ask(&self, token: &SecretValue) -> Result<Value, SourceError> {
        let client = Client {
            id: &self.config.client_id,
            secret: match &self.config.client_secret {
                None => None,
                Some(name) => Some(stored(&self.store, &self.plugin, name).await?),
            },
        };
        let shown = Zeroizing::new(String::from_utf8_lossy(token.expose()).into_owned());
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", shown.as_str()),
        ];
        form.extend(self.config.scope.as_deref().map(|scope| ("scope", scope)));
        let (request, body) = client.post(&self.config.token_url, &form)?;
        let (status, answer) = self.reach.ask(request, body).await?;
        if status == 200 {
            return Ok(answer);
        }
        let hint = match text(&answer, "/error") {
            Some("invalid_grant") => {
                ": the refresh token is not accepted any more; let a person consent again, and set it with `tollgate secret set`"
            }
            _ => "",
        };
        Err(SourceError::Unavailable(format!(
            "the token endpoint answered with status {status}: {}{hint}",
            said(&answer)
        )))
    }
}

/// Gives an access token back. Done where it is dead already: the server says the same of both.
pub(super) async fn revoke(store: &Store, reach: &Reach, handle: &str) -> Result<(), SourceError> {
    let handle: Value = serde_json::from_str(handle).unwrap_or_default();
    let of = |name: &str| text(&handle, name);
    let (Some(url), Some(client_id), Some(plugin), Some(token)) = (
        of("/revocation_url"),
        of("/client_id"),
        of("/plugin").and_then(|plugin| plugin.parse().ok()),
        of("/token"),
    ) else {
        return Err(SourceError::Unavailable(String::from(
            "the handle is not one of this source",
        )));
    };
    let client = Client {
        id: client_id,
        secret: match of("/client_secret") {
            None => None,
            Some(name) => Some(stored(store, &plugin, name).await?),
        },
    };
    let form = [("token", token), ("token_type_hint", "access_token")];
    let (request, body) = client.post(url, &form)?;
    match reach.send(request, body).await? {
        // What its body is does not matter (section 2.2).
        (200, _) => Ok(()),
        (status, body) => {
            let answer = serde_json::from_slice(&body).unwrap_or_default();
            Err(SourceError::Unavailable(format!(
                "the revocation endpoint answered with status {status}: {}",
                said(&answer)
            )))
        }
    }
}

async fn stored(
    store: &Store,
    plugin: &PluginName,
    name: &str,
) -> Result<SecretValue, SourceError> {
    let (store, plugin, name) = (store.clone(), plugin.clone(), name.to_owned());
    blocking(move || store.get(&plugin, &name)).await
}

/// The client that the host is to the authorization server.
struct Client<'a> {
    id: &'a str,
    secret: Option<SecretValue>,
}

impl Client<'_> {
    /// A request with this form, by which it proves who it is; and its body.
    fn post(
        &self,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<(http::request::Builder, Bytes), SourceError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(fields);
        let mut request = http::Request::post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        match &self.secret {
            None => {
                form.append_pair("client_id", self.id);
            }
            Some(secret) => {
                let secret = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
                // Each part is form-encoded before it is joined (section 2.3.1).
                let encode = |text: &str| -> String {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let pair = Zeroizing::new(format!("{}:{}", encode(self.id), encode(&secret)));
                let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                request = request.header(AUTHORIZATION, sensitive(&basic)?);
            }
        }
        Ok((request, Bytes::from(form.finish())))
    }
}
