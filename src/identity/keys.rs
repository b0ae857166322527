//! The keys of an issuer, as they are now: from a file or a URL that the operator named.
//!
//! A token can make the host look again, for keys rotate; how often is bounded, so that tokens made
//! up with ever new ids are no way to drive requests. No part of a token decides where is looked.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use super::jwks::{KeySet, KeySetError, MAX_SET};
use super::jws::{Algorithm, PublicKey};
use crate::config::KeySource;
use crate::egress::{OwnBounds, OwnClient};

/// How long a set is used without looking again. A key that the issuer withdrew is good for as long.
const FRESH: Duration = Duration::from_secs(600);

/// How long a set is used while its source can't be read: an issuer that is down for an hour is
/// noticed, and one that is cut off must not be the way to keep a withdrawn key in force.
const STALE: Duration = Duration::from_secs(3_600);

/// The least time between two looks, whatever tokens ask for.
const AGAIN: Duration = Duration::from_secs(10);

/// The keys can't be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The source did not give them.
    #[error("the keys of the issuer can't be read: {0}")]
    Source(String),
    /// What it gave is no key set.
    #[error(transparent)]
    Set(#[from] KeySetError),
    /// Another issuer has one of these keys, so that each could speak for the other's agents.
    #[error("the issuer `{0}` has one of these keys: each issuer needs its own")]
    Shared(String),
}

#[derive(Debug)]
struct Read {
    set: KeySet,
    at: Duration,
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Keys {
    source: KeySource,
    algorithms: Vec<Algorithm>,
    now: ArcSwapOption<Read>,
    /// When it was last tried, and what came of it. Held while trying, so that many requests at
    /// once are one look.
    tried: tokio::sync::Mutex<Option<(Duration, Result<(), KeysError>)>>,
}

impl Keys {
    pub(super) fn new(source: KeySource, algorithms: Vec<Algorithm>) -> Self {
        Self {
            source,
            algorithms,
            now: ArcSwapOption::empty(),
            tried: tokio::sync::Mutex::default(),
        }
    }

    /// The set that was read last.
    pub(super) fn current(&self) -> Option<KeySet> {
        self.now.load().as_ref().map(|read| read.set.clone())
    }

    /// The key that a token names; none where the issuer has no such key. `accept` may refuse a new set.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: Duration,
        client: Option<&OwnClient>,
        accept: impl Fn(&KeySet) -> Result<(), KeysError>,
    ) -> Result<Option<PublicKey>, KeysError> {
        let look = |within: Duration| {
            let read = self.now.load();
            let read = read
                .as_ref()
                .filter(|r| now.saturating_sub(r.at) < within)?;
            Some(read.set.find(id, algorithm).cloned())
        };
        if let Some(Some(found)) = look(FRESH) {
            return Ok(Some(found));
        }
        let mut tried = self.tried.lock().await;
        // Another request may have looked while this one waited.
        if let Some(Some(found)) = look(FRESH) {
            return Ok(Some(found));
        }
        let due = tried
            .as_ref()
            .is_none_or(|(at, _)| now.saturating_sub(*at) >= AGAIN);
        if due {
            let outcome = match self.read(client).await {
                Ok(set) => accept(&set).map(|()| {
                    self.now.store(Some(Arc::new(Read { set, at: now })));
                }),
                Err(error) => Err(error),
            };
            if let Err(error) = &outcome {
                tracing::warn!(%error, "keys of an issuer");
            }
            *tried = Some((now, outcome));
        }
        match (look(STALE), tried.as_ref().map(|(_, outcome)| outcome)) {
            (Some(found), _) => Ok(found),
            (None, Some(Err(error))) => Err(error.clone()),
            (None, _) => Ok(None),
        }
    }

    async fn read(&self, client: Option<&OwnClient>) -> Result<KeySet, KeysError> {
        let text = match &self.source {
            KeySource::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                Bytes::from(read.map_err(|e| KeysError::Source(e.to_string()))??)
            }
            KeySource::Url(url) => fetch(url, client).await?,
        };
        Ok(KeySet::parse(&text, &self.algorithms)?)
    }
}

/// Reads a file of keys, up to the most that a set may have.
pub(crate) fn read_file(path: &std::path::Path) -> Result<Vec<u8>, KeysError> {
    use std::io::Read as _;
    let failed =
        |error: std::io::Error| KeysError::Source(format!("`{}`: {error}", path.display()));
    let mut text = Vec::new();
    let most = u64::try_from(MAX_SET).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)
        .map_err(failed)?
        .take(most)
        .read_to_end(&mut text)
        .map_err(failed)?;
    Ok(text)
}

async fn fetch(url: &str, client: Option<&OwnClient>) -> Result<Bytes, KeysError> {
    let client =
        client.ok_or_else(|| KeysError::Source(String::from("no way out of this host")))?;
    let request = http::Request::get(url)
        .header("accept", "application/jwk-set+json, application/json")
        .body(Bytes::new())
        .map_err(|error| KeysError::Source(error.to_string()))?;
    let bounds = OwnBounds {
        connect: Duration::from_secs(3),
        // A request of an agent waits for it.
        total: Duration::from_secs(5),
        response_body: MAX_SET,
    };
    let response = client
        .send(request, bounds)
        .await
        .map_err(|error| KeysError::Source(error.to_string()))?;
    if response.status() != http::StatusCode::OK {
        return Err(KeysError::Source(format!(
            "`{url}` answered {}",
            response.status()
        )));
    }
    Ok(response.into_body())
}
