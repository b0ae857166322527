//! What sources beyond this machine work with, and what they keep between two loadings of the configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::Value;

use super::source::SourceError;
use super::value::SecretValue;
use crate::clock::SharedClock;
use crate::egress::{OwnBounds, OwnClient};
use crate::name::{PluginName, shown};

/// The way to servers, the time, and what is remembered. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Reach {
    client: OwnClient,
    clock: SharedClock,
    tokens: Arc<Tokens>,
}

/// Access tokens that are good for a while, by secret. The lock of one is held while it is refreshed:
/// a refresh token that is sent twice may be taken for a stolen one.
type Tokens = Mutex<BTreeMap<(PluginName, String), Arc<tokio::sync::Mutex<Option<Access>>>>>;

/// An access token.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) value: SecretValue,
    /// Until when it is used.
    pub(super) until: Duration,
    /// For which configuration it was got.
    pub(super) of: String,
}

impl Reach {
    /// Over `client`, by `clock`.
    #[must_use]
    pub fn new(client: OwnClient, clock: SharedClock) -> Self {
        Self {
            client,
            clock,
            tokens: Arc::default(),
        }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// The place of the access token of a secret.
    pub(super) fn token(
        &self,
        plugin: &PluginName,
        name: &str,
    ) -> Arc<tokio::sync::Mutex<Option<Access>>> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tokens.entry((plugin.clone(), name.to_owned())).or_default())
    }

    /// Sends a request and reads the answer, which is JSON or nothing.
    pub(super) async fn ask(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(u16, Value), SourceError> {
        let (status, body) = self.send(request, body).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok((status, Value::Null));
        }
        // What is no JSON is an error page of something in between; its text may hold anything.
        let value = serde_json::from_slice(&body).map_err(|_| {
            SourceError::Uncertain(format!("status {status}, and the answer is no JSON"))
        })?;
        Ok((status, value))
    }

    /// Sends a request and reads the answer, whatever it is.
    pub(super) async fn send(
        &self,
        request: http::request::Builder,
        body: Bytes,
    ) -> Result<(u16, Bytes), SourceError> {
        let request = request
            .body(body)
            .map_err(|error| SourceError::Unavailable(error.to_string()))?;
        let response = self.client.send(request, OwnBounds::default()).await;
        let response = response.map_err(|error| {
            if error.may_have_arrived() {
                SourceError::Uncertain(error.to_string())
            } else {
                SourceError::Unavailable(error.to_string())
            }
        })?;
        Ok((response.status().as_u16(), response.into_body()))
    }
}

/// A header that no log shows.
pub(super) fn sensitive(text: &str) -> Result<HeaderValue, SourceError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        SourceError::Unavailable(String::from(
            "a credential of the host can't stand in a header",
        ))
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request whose body is `value`.
pub(super) fn json(
    request: http::request::Builder,
    value: &Value,
) -> (http::request::Builder, Bytes) {
    let request = request.header(CONTENT_TYPE, "application/json");
    (request, Bytes::from(value.to_string()))
}

/// What a server says of an error, within bounds and without what would disturb a line.
pub(super) fn said(value: &Value) -> String {
    let text = [
        value.pointer("/errors/0"),
        value.pointer("/error_description"),
        value.pointer("/error"),
        value.pointer("/message"),
    ]
    .into_iter()
    .flatten()
    .find_map(Value::as_str)
    .unwrap_or("no reason given");
    shown(text, 200)
}

/// The text of a member.
pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> Option<&'v str> {
    value.pointer(pointer).and_then(Value::as_str)
}
