//! A host in this process, over real HTTP on loopback, whose clock a test moves; and an issuer of
//! tokens with a server of keys of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate::host::Host;
use tollgate::identity::AgentId;
use tollgate::mcp::HttpConfig;

use super::mcp::{Answer, Client};
use super::{NOW, Setup, TestClock};

/// What the tests' hosts are known as.
pub(crate) const HERE: &str = "https://tools.example/mcp";

/// A host that serves HTTP.
pub(crate) struct Served {
    pub(crate) host: Arc<Host>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) address: SocketAddr,
    _folder: TempDir,
}

impl Served {
    /// Starts `setup`; it must not name `[server]` itself.
    pub(crate) async fn start(setup: Setup) -> Self {
        let (folder, home) = setup
            .toml(&format!("[server]\nresource = \"{HERE}\""))
            .make()
            .await;
        let clock = Arc::new(TestClock(AtomicU64::new(0)));
        clock.set(NOW);
        let host = super::host(home, clock.clone()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(tollgate::mcp::serve(
            listener,
            host.clone(),
            HttpConfig::default(),
        ));
        Self {
            host,
            clock,
            address,
            _folder: folder,
        }
    }

    /// So many seconds after the start.
    pub(crate) fn at(&self, seconds: u64) {
        self.clock.set(NOW + Duration::from_secs(seconds));
    }

    /// Adds an agent and gives its token.
    pub(crate) fn agent(&self, name: &str) -> String {
        let issued = self.host.identities().issue(name, None).unwrap();
        issued.token.expose().to_owned()
    }

    pub(crate) fn client(&self, token: &str) -> Client {
        Client::new(self.address, token)
    }

    /// A call of the newest revision with further headers; the whole answer.
    pub(crate) async fn call(
        &self,
        token: &str,
        headers: &[(&str, &str)],
        tool: &str,
        arguments: &Value,
    ) -> Answer {
        self.client(token)
            .request_with(
                headers,
                "tools/call",
                json!({"name": tool, "arguments": arguments}),
            )
            .await
            .unwrap()
    }

    /// The code in the result of a call; `ok` where there is none.
    pub(crate) async fn code(
        &self,
        token: &str,
        handoff: Option<&str>,
        tool: &str,
        arguments: &Value,
    ) -> String {
        let headers: Vec<_> = handoff
            .map(|token| ("tollgate-handoff", token))
            .into_iter()
            .collect();
        code(&self.call(token, &headers, tool, arguments).await)
    }

    /// The code of a harmless call of `token`.
    pub(crate) async fn echo(&self, token: &str) -> String {
        self.code(token, None, "probe_echo", &json!({"text": "x"}))
            .await
    }

    /// The same, with what was handed on beside it.
    pub(crate) async fn echo_with(&self, token: &str, handoff: &str) -> String {
        self.code(token, Some(handoff), "probe_echo", &json!({"text": "x"}))
            .await
    }

    /// Asks for a token.
    pub(crate) async fn exchange(
        &self,
        token: &str,
        handoff: Option<&str>,
        more: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair(
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        )
        .append_pair(
            "subject_token_type",
            "urn:ietf:params:oauth:token-type:access_token",
        )
        .append_pair("subject_token", token);
        for (name, value) in more {
            form.append_pair(name, value);
        }
        let mut headers = vec![
            ("content-type", "application/x-www-form-urlencoded"),
            ("authorization", ""),
        ];
        headers.extend(handoff.map(|token| ("tollgate-handoff", token)));
        let answer = self
            .client("")
            .send("POST", "/token", &headers, form.finish())
            .await
            .unwrap();
        let body = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"));
        (answer.status, body)
    }

    /// A token that was asked for and given.
    pub(crate) async fn token(
        &self,
        token: &str,
        handoff: Option<&str>,
        more: &[(&str, &str)],
    ) -> String {
        let (status, body) = self.exchange(token, handoff, more).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn records(&self) -> Vec<tollgate::journal::record::Record> {
        super::records(&self.host.home().journal())
    }
}

/// The code in the answer to a call.
pub(crate) fn code(answer: &Answer) -> String {
    if answer.status != 200 {
        return format!("http {}", answer.status);
    }
    let last = answer.messages().pop().unwrap();
    match last["result"]["_meta"]["dev.tollgate/refusal"]["code"].as_str() {
        Some(code) if last["result"]["isError"] == true => code.to_owned(),
        _ => String::from("ok"),
    }
}

/// An agent of the tests' issuer.
pub(crate) fn foreign(name: &str) -> AgentId {
    format!("spiffe://login.example/agent/{name}")
        .parse()
        .unwrap()
}

/// A key that signs.
pub(crate) enum Signer {
    Ed(Ed25519KeyPair),
    P256(EcdsaKeyPair),
}

impl Signer {
    pub(crate) fn ed(seed: u8) -> Self {
        Self::Ed(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    pub(crate) fn p256() -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Self::P256(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::P256(_) => "ES256",
        }
    }

    pub(crate) fn jwk(&self, id: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Ed(key) => json!({
                "kty": "OKP", "crv": "Ed25519", "kid": id, "use": "sig", "alg": "EdDSA",
                "x": text(key.public_key().as_ref()),
            }),
            Self::P256(key) => {
                let point = key.public_key().as_ref();
                json!({
                    "kty": "EC", "crv": "P-256", "kid": id,
                    "x": text(&point[1..33]), "y": text(&point[33..]),
                })
            }
        }
    }

    /// Signs claims under a header of this key's algorithm, with `more` in it.
    pub(crate) fn sign(&self, id: &str, more: &Value, claims: &Value) -> String {
        let mut header = json!({"alg": self.algorithm(), "typ": "at+jwt", "kid": id});
        for (name, value) in more.as_object().unwrap() {
            header[name] = value.clone();
        }
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = match self {
            Self::Ed(key) => key.sign(message.as_bytes()).as_ref().to_vec(),
            Self::P256(key) => key
                .sign(&SystemRandom::new(), message.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A set of keys.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The claims of a good token for the client `client-1` and the person `ada`.
pub(crate) fn claims(more: &Value) -> Value {
    let now = NOW.as_secs();
    let mut claims = json!({
        "iss": "https://login.example", "aud": HERE, "iat": now, "exp": now + 300,
        "azp": "client-1", "sub": "ada", "jti": "t-1",
    });
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

/// A server of keys.
pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    set: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    pub(crate) async fn start(set: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let set = Arc::new(Mutex::new(Some(set.to_owned())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answers, count) = (set.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let body = answers.lock().unwrap().clone();
                answer(stream, body).await;
            }
        });
        Self {
            address,
            set,
            asked,
        }
    }

    /// What it answers from now on; an error where it is nothing.
    pub(crate) fn serves(&self, set: Option<&str>) {
        *self.set.lock().unwrap() = set.map(str::to_owned);
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(mut stream: TcpStream, body: Option<String>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let (status, body) = match body {
        Some(body) => ("200 OK", body),
        None => ("503 Service Unavailable", String::new()),
    };
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/jwk-set+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
