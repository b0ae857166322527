//! An authorization server (`oidc-provider`), and what it knows of the access tokens that it gave.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::process::Child;
use tollgate::clock::SystemClock;
use tollgate::egress::{OutboundConfig, OwnBounds, OwnClient};

use super::node;

/// The authorization server.
pub(crate) struct Oidc {
    pub(crate) issuer: String,
    /// A refresh token that a person consented to.
    pub(crate) token: String,
    client: OwnClient,
    _child: Child,
}

/// The secret of the client `tollgate`, with what form encoding changes.
pub(crate) const CLIENT_SECRET: &str = "client-canary +&%/41";

impl Oidc {
    /// One that `keeps` the refresh token when an access token is taken back, or `voids` it with that.
    pub(crate) async fn start(grants: &str) -> Self {
        let (said, child) = node("oidc.mjs", &[CLIENT_SECRET, grants]).await;
        Self {
            issuer: said["issuer"].as_str().unwrap().to_owned(),
            token: said["token"].as_str().unwrap().to_owned(),
            client: OwnClient::new(&OutboundConfig::default(), Arc::new(SystemClock)).unwrap(),
            _child: child,
        }
    }

    /// Every access token that there ever was.
    pub(crate) async fn made(&self) -> Vec<String> {
        let state = self.state().await;
        let made = state["made"].as_array().unwrap().iter();
        made.map(|token| token["token"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How many access tokens it knows.
    pub(crate) async fn alive(&self) -> usize {
        let state = self.state().await;
        let made = state["made"].as_array().unwrap().iter();
        made.filter(|token| token["alive"] == true).count()
    }

    /// How many requests wait at `/hold`.
    pub(crate) async fn held(&self) -> u64 {
        self.state().await["held"].as_u64().unwrap()
    }

    /// With which status it answers who comes with this access token.
    pub(crate) async fn status(&self, token: &str) -> u16 {
        self.get("me", token).await.0
    }

    async fn state(&self) -> Value {
        serde_json::from_slice(&self.get("state", "").await.1).unwrap()
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Bytes) {
        let request = http::Request::get(format!("{}/{path}", self.issuer))
            .header("authorization", format!("Bearer {token}"))
            .body(Bytes::new())
            .unwrap();
        let answer = self.client.send(request, OwnBounds::default()).await;
        let answer = answer.unwrap();
        (answer.status().as_u16(), answer.into_body())
    }
}
