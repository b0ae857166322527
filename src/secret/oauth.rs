//! Access tokens that a refresh token brings (RFC 6749 section 6).
//!
//! An access token is used until shortly before it ends, by all calls; one refresh at a time. A
//! server that rotates refresh tokens sends a new one along: it is in the host's store, on the disk,
//! before the access token that came with it is used. A host that dies between the server's answer
//! and that write has lost the refresh token, and a person must consent again; nothing can be done
//! about that on this side.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;
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
        // Others use the same one, so the end of one call can't take it back.
        Nature::Minted
    }

    async fn issue(&self, ask: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let place = self.reach.token(&ask.plugin, &ask.name);
        // In a task of its own: a call that ends meanwhile must not leave a rotated refresh token unwritten.
        let refreshing = Refreshing {
            config: self.config.clone(),
            store: self.store.clone(),
            reach: self.reach.clone(),
            plugin: ask.plugin.clone(),
            name: ask.name.clone(),
        };
        let (value, until, now) = tokio::spawn(async move {
            let mut kept = place.lock().await;
            let now = refreshing.reach.now();
            let of = format!("{:?}", refreshing.config);
            if let Some(access) = kept.as_ref().filter(|a| now < a.until && a.of == of) {
                return Ok((Arc::clone(&access.value), access.until, now));
            }
            let access = refreshing.refresh(of).await?;
            let given = (Arc::clone(&access.value), access.until, now);
            *kept = Some(access);
            Ok::<_, SourceError>(given)
        })
        .await
        .unwrap_or_else(|error| Err(SourceError::Unavailable(error.to_string())))?;
        Ok(Issued {
            value: SecretValue::new(value.expose().to_vec()),
            user: None,
            ttl: Some(until.saturating_sub(now)),
            handle: None,
        })
    }
}

struct Refreshing {
    config: OAuthSecret,
    store: Store,
    reach: Reach,
    plugin: PluginName,
    name: String,
}

impl Refreshing {
    async fn stored(&self, name: &str) -> Result<SecretValue, SourceError> {
        let (store, plugin, name) = (self.store.clone(), self.plugin.clone(), name.to_owned());
        blocking(move || store.get(&plugin, &name)).await
    }

    async fn refresh(&self, of: String) -> Result<Access, SourceError> {
        let token = self.stored(&self.name).await?;
        let answer = self.ask(&token).await?;
        let access = text(&answer, "/access_token")
            .filter(|token| !token.is_empty())
            .ok_or_else(|| {
                SourceError::Unavailable(String::from("the token endpoint gave no access token"))
            })?;
        let is_bearer =
            text(&answer, "/token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !is_bearer {
            return Err(SourceError::Unavailable(String::from(
                "the token endpoint gave a token of another type than `bearer`",
            )));
        }
        if let Some(next) = text(&answer, "/refresh_token") {
            let next = SecretValue::new(next.into());
            if next.expose() != token.expose() {
                let (store, plugin, name) =
                    (self.store.clone(), self.plugin.clone(), self.name.clone());
                // INVARIANT: on the disk before anything is done with what came along.
                blocking(move || {
                    store.set(&plugin, &name, &next).map_err(|error| {
                        SourceError::Unavailable(format!(
                            "the new refresh token could not be kept: {error}"
                        ))
                    })
                })
                .await?;
            }
        }
        let lives = answer
            .pointer("/expires_in")
            .and_then(Value::as_u64)
            .map_or(UNSAID, Duration::from_secs);
        // A short one is used for its first half.
        let used = lives.saturating_sub(MARGIN).max(lives / 2);
        Ok(Access {
            value: Arc::new(sized(SecretValue::new(access.into()), "the access token")?),
            until: self.reach.now() + used,
            of,
        })
    }

    async fn ask(&self, token: &SecretValue) -> Result<Value, SourceError> {
        let secret = match &self.config.client_secret {
            None => None,
            Some(name) => Some(self.stored(name).await?),
        };
        let (request, body) = self.request(token, secret.as_ref())?;
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

    /// The request for another access token, and its body.
    fn request(
        &self,
        token: &SecretValue,
        secret: Option<&SecretValue>,
    ) -> Result<(http::request::Builder, Bytes), SourceError> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        let shown = Zeroizing::new(String::from_utf8_lossy(token.expose()).into_owned());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("refresh_token", &shown);
        if let Some(scope) = &self.config.scope {
            form.append_pair("scope", scope);
        }
        let mut request = http::Request::post(&self.config.token_url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json");
        match secret {
            None => {
                form.append_pair("client_id", &self.config.client_id);
            }
            Some(secret) => {
                let secret = Zeroizing::new(String::from_utf8_lossy(secret.expose()).into_owned());
                // Each part is form-encoded before it is joined (section 2.3.1).
                let encode = |text: &str| -> String {
                    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let pair = Zeroizing::new(format!(
                    "{}:{}",
                    encode(&self.config.client_id),
                    encode(&secret)
                ));
                let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                request = request.header(AUTHORIZATION, sensitive(&basic)?);
            }
        }
        Ok((request, Bytes::from(form.finish())))
    }
}
