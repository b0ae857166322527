//! A witness, as C2SP tlog-witness has it, strict and in memory.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use tollgate::digest::Digest;
use tollgate::journal::merkle::extends;
use tollgate::journal::note::{Note, VerifierKey};

const NAME: &str = "witness.example/w1";
const TIME: u64 = 1_795_305_600;

/// A witness that serves, and what it saw of each log.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    keys: Vec<VerifierKey>,
    logs: HashMap<String, (u64, Digest)>,
    /// The `old` line and the answer of each request.
    asked: Vec<(u64, u16)>,
}

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[42; 32])
}

fn key_bytes() -> Vec<u8> {
    [&[4], signing().verifying_key().as_bytes().as_slice()].concat()
}

fn id() -> [u8; 4] {
    let named = [NAME.as_bytes(), b"\n", &key_bytes()].concat();
    Digest::of(&named).as_bytes()[..4].try_into().unwrap()
}

impl Witness {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let witness = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
        };
        let app = Router::new()
            .route("/prefix/add-checkpoint", post(add_checkpoint))
            .with_state(witness.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        witness
    }

    /// What a host is configured with.
    pub(super) fn toml(&self) -> String {
        let key = format!(
            "{NAME}+{}+{}",
            hex::encode(id()),
            STANDARD.encode(key_bytes())
        );
        format!(
            "[[journal.anchor]]\nkind = \"witness\"\nurl = \"http://{}/prefix\"\nkey = \"{key}\"\nevery = \"24h\"\n",
            self.address
        )
    }

    pub(super) fn key(&self) -> String {
        format!(
            "{NAME}+{}+{}",
            hex::encode(id()),
            STANDARD.encode(key_bytes())
        )
    }

    /// The operator of the witness registers a log.
    pub(super) fn register(&self, key: &str) {
        self.seen.lock().unwrap().keys.push(key.parse().unwrap());
    }

    /// What was asked so far: the size that each request started from, and its answer.
    pub(super) fn asked(&self) -> Vec<(u64, u16)> {
        self.seen.lock().unwrap().asked.clone()
    }

    fn answer(&self, body: &str) -> Response {
        let (old, answer) = self
            .decide(body)
            .unwrap_or((0, StatusCode::BAD_REQUEST.into_response()));
        let mut seen = self.seen.lock().unwrap();
        seen.asked.push((old, answer.status().as_u16()));
        answer
    }

    fn decide(&self, body: &str) -> Option<(u64, Response)> {
        let (head, note) = body.split_once("\n\n")?;
        let mut lines = head.split('\n');
        let old: u64 = lines.next()?.strip_prefix("old ")?.parse().ok()?;
        let hash = |line: &str| {
            let bytes: [u8; 32] = STANDARD.decode(line).ok()?.try_into().ok()?;
            Some(Digest::from_bytes(bytes))
        };
        let proof: Vec<Digest> = lines.map(hash).collect::<Option<_>>()?;
        let note = Note::parse(note.as_bytes()).ok()?;
        let claimed = note.unverified().ok()?;
        let mut seen = self.seen.lock().unwrap();
        let keys: Vec<_> = seen
            .keys
            .iter()
            .filter(|key| key.name() == claimed.origin)
            .cloned()
            .collect();
        let status = |status: StatusCode| Some((old, status.into_response()));
        if keys.is_empty() {
            return status(StatusCode::NOT_FOUND);
        }
        let Ok(checkpoint) = note.verify(&keys) else {
            return status(StatusCode::FORBIDDEN);
        };
        if old > checkpoint.size {
            return status(StatusCode::BAD_REQUEST);
        }
        let (size, root) = seen
            .logs
            .get(&checkpoint.origin)
            .copied()
            .unwrap_or((0, Digest::of(b"")));
        if size != old {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, "text/x.tlog.size".parse().unwrap());
            let answer = (StatusCode::CONFLICT, headers, format!("{size}\n"));
            return Some((old, answer.into_response()));
        }
        if !extends(size, &root, checkpoint.size, &checkpoint.root, &proof) {
            return status(StatusCode::UNPROCESSABLE_ENTITY);
        }
        seen.logs.insert(
            checkpoint.origin.clone(),
            (checkpoint.size, checkpoint.root),
        );
        let message = format!("cosignature/v1\ntime {TIME}\n{}", note.text());
        let signature = signing().sign(message.as_bytes()).to_bytes();
        let signed = [id().as_slice(), &TIME.to_be_bytes(), &signature].concat();
        let line = format!("\u{2014} {NAME} {}\n", STANDARD.encode(signed));
        Some((old, line.into_response()))
    }
}

async fn add_checkpoint(State(witness): State<Witness>, body: String) -> Response {
    witness.answer(&body)
}
