//! As much of GitHub as an App asks of it: tokens of an installation, made for a signed JWT, and dead
//! once they are given back.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};

use super::wire;

/// The private key of the App; for tests, and known to everybody.
pub(crate) const APP_KEY: &str = include_str!("app.pem");

/// The server. It ends with the test's runtime.
#[derive(Clone)]
pub(crate) struct GitHub {
    pub(crate) origin: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    alive: Vec<String>,
    made: Vec<String>,
    wishes: Vec<Value>,
    served: u32,
}

impl GitHub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let github = Self {
            origin: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        let state = github.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move { serve(stream, &state).await });
            }
        });
        github
    }

    /// How many tokens are alive.
    pub(crate) fn alive(&self) -> usize {
        self.state.lock().unwrap().alive.len()
    }

    /// Every token that there ever was.
    pub(crate) fn made(&self) -> Vec<String> {
        self.state.lock().unwrap().made.clone()
    }

    /// What was asked for, of each.
    pub(crate) fn wishes(&self) -> Vec<Value> {
        self.state.lock().unwrap().wishes.clone()
    }

    /// Requests that came with a token in force.
    pub(crate) fn served(&self) -> u32 {
        self.state.lock().unwrap().served
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) {
    let Some(request) = wire::read(&mut stream).await else {
        return;
    };
    let bearer = request
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default()
        .to_owned();
    let (status, body) = {
        let mut state = state.lock().unwrap();
        match (request.method(), request.path()) {
            ("POST", "/app/installations/7/access_tokens") if is_of_app(&bearer) => {
                let token = format!("ghs_canary{}", state.made.len());
                state.made.push(token.clone());
                state.alive.push(token.clone());
                state
                    .wishes
                    .push(serde_json::from_str(&request.body).unwrap());
                (
                    201,
                    json!({"token": token, "expires_at": "2099-01-01T00:00:00Z"}),
                )
            }
            ("DELETE", "/installation/token") if state.alive.contains(&bearer) => {
                state.alive.retain(|token| *token != bearer);
                (204, Value::Null)
            }
            ("GET", _) if state.alive.contains(&bearer) => {
                state.served += 1;
                (200, json!({}))
            }
            _ => (401, json!({"message": "Bad credentials"})),
        }
    };
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    wire::answer(&mut stream, status, &body).await;
}

/// Whether `jwt` is of the App: by its key, and not for longer than GitHub takes.
fn is_of_app(jwt: &str) -> bool {
    let key = rustls_pki_types::PrivatePkcs1KeyDer::from_pem_slice(APP_KEY.as_bytes()).unwrap();
    let key = RsaKeyPair::from_der(key.secret_pkcs1_der()).unwrap();
    let Some((message, signature)) = jwt.rsplit_once('.') else {
        return false;
    };
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
    let public = UnparsedPublicKey::new(
        &RSA_PKCS1_2048_8192_SHA256,
        key.public_key().as_ref().to_vec(),
    );
    if public.verify(message.as_bytes(), &signature).is_err() {
        return false;
    }
    let claims = message.split('.').nth(1).unwrap_or_default();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let (from, to) = (
        claims["iat"].as_u64().unwrap(),
        claims["exp"].as_u64().unwrap(),
    );
    claims["iss"] == "12345" && to - from <= 600
}
