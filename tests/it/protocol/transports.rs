//! Where the endpoint listens: an address with TLS, and a Unix socket. Behind them it is the same door.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate::home::Home;

use super::{Door, NEWEST, request, until};
use crate::harness::Setup;
use crate::harness::binary::{command, run};
use crate::upstream::tls;

/// Lists the tools over a connection; the status and their names.
async fn tools<S>(stream: S, token: &str, host: &str) -> std::io::Result<(u16, Vec<String>)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| std::io::Error::other(error);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    tokio::spawn(connection);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": NEWEST,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    });
    let body = request(1, "tools/list", json!({"_meta": meta})).to_string();
    let request = http::Request::post("/mcp")
        .header("host", host)
        .header("authorization", format!("Bearer {token}"))
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", NEWEST)
        .header("mcp-method", "tools/list")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    let answer = sender.send_request(request).await.map_err(failed)?;
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .map_err(failed)?
        .to_bytes();
    let message: Value = serde_json::from_slice(&body).unwrap();
    let names = match status {
        200 => crate::harness::mcp::names(&message),
        _ => Vec::new(),
    };
    Ok((status, names))
}

/// A client that trusts the tests' authority alone.
async fn secure(
    address: std::net::SocketAddr,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(tls::authority_pem().as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn over_tls_it_is_the_same_door_and_nothing_goes_in_the_clear() {
    let door = Door::open().await;
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    let (cert_pem, key_pem) = tls::pem("tools.example");
    std::fs::write(&certificate, cert_pem).unwrap();
    std::fs::write(&key, key_pem).unwrap();
    let certificates = tollgate::mcp::Certificates::load(&certificate, &key).unwrap();
    let listener = tollgate::mcp::Listener::address("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.with_tls(Arc::new(certificates));
    assert_eq!(listener.endpoint(), format!("https://{address}/mcp"));
    let config = tollgate::mcp::HttpConfig {
        hosts: vec!["tools.example".into()],
        ..tollgate::mcp::HttpConfig::default()
    };
    tokio::spawn(tollgate::mcp::serve(
        listener,
        door.bench.host.clone(),
        config,
    ));

    let stream = secure(address, "tools.example").await.unwrap();
    let (status, names) = tools(stream, &door.alice, "tools.example").await.unwrap();
    assert_eq!(status, 200);
    assert!(names.contains(&String::from("probe_echo")), "{names:?}");
    // The gate is where it was.
    for (token, host, status) in [
        (door.alice.as_str(), "evil.example", 403),
        ("tg_none", "tools.example", 401),
    ] {
        let stream = secure(address, "tools.example").await.unwrap();
        assert_eq!(
            tools(stream, token, host).await.unwrap().0,
            status,
            "{host}"
        );
    }
    // Not by another name, and not without TLS: a token sent so reaches nobody.
    assert!(secure(address, "other.example").await.is_err());
    let plain = TcpStream::connect(address).await.unwrap();
    assert!(tools(plain, &door.alice, "tools.example").await.is_err());
}

/// Starts the daemon of `home` as it is configured, and waits until it answers.
async fn serving(home: &Home) -> (tokio::process::Child, Value) {
    let child = command(home, &["serve"]).spawn().unwrap();
    let mut status = Value::Null;
    until(async || {
        let said = run(home, &["--format", "json", "status"]).await;
        if said.code == 0 {
            status = said.lines()[0].clone();
        }
        said.code == 0
    })
    .await;
    (child, status)
}

#[tokio::test]
async fn over_a_unix_socket_it_asks_for_a_token_all_the_same() {
    let (folder, home) = Setup::probe()
        .toml("[server]\nlisten = \"unix:run.sock\"\nsocket_mode = \"660\"")
        .make()
        .await;
    let path = home.root().join("run.sock");
    // What a daemon left behind that was killed is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let (mut child, status) = serving(&home).await;
    assert_eq!(status["endpoint"], format!("unix:{}", path.display()));
    assert_eq!(
        std::fs::symlink_metadata(&path).unwrap().mode() & 0o777,
        0o660
    );
    let added = run(&home, &["--format", "json", "agent", "add", "alice"]).await;
    let token = added.lines()[0]["token"].as_str().unwrap().to_owned();
    let open = async || UnixStream::connect(&path).await.unwrap();
    let (status, names) = tools(open().await, &token, "localhost").await.unwrap();
    assert_eq!(status, 200);
    assert!(names.contains(&String::from("probe_echo")), "{names:?}");
    assert_eq!(
        tools(open().await, "tg_none", "localhost").await.unwrap().0,
        401
    );
    assert_eq!(
        tools(open().await, &token, "evil.example").await.unwrap().0,
        403
    );
    assert_eq!(run(&home, &["stop"]).await.code, 0);
    assert!(child.wait().await.unwrap().success());
    assert!(!path.exists(), "it goes with the daemon");
    drop(folder);
}

#[tokio::test]
async fn a_certificate_that_can_not_be_used_is_named() {
    let (folder, home) = Setup::empty()
        .toml("[server]\nlisten = \"127.0.0.1:0\"\ntls = { certificate = \"cert.pem\", key = \"key.pem\" }")
        .make()
        .await;
    let said = run(&home, &["serve"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    let checked = run(&home, &["check"]).await;
    assert!(checked.out.contains("cert.pem"), "{checked:?}");
    assert!(
        said.err.contains("can't speak TLS") && said.err.contains("cert.pem"),
        "{said:?}"
    );
    let (one, two) = (tls::pem("a.example"), tls::pem("a.example"));
    std::fs::write(home.root().join("cert.pem"), one.0).unwrap();
    std::fs::write(home.root().join("key.pem"), two.1).unwrap();
    let said = run(&home, &["serve"]).await;
    assert_eq!(said.code, 3, "{said:?}");
    assert!(
        said.err.contains("is not that of the first certificate"),
        "{said:?}"
    );
    std::fs::write(home.root().join("key.pem"), one.1).unwrap();
    let (mut child, status) = serving(&home).await;
    let endpoint = status["endpoint"].as_str().unwrap();
    let address = endpoint
        .strip_prefix("https://")
        .unwrap()
        .strip_suffix("/mcp")
        .unwrap();
    let stream = secure(address.parse().unwrap(), "a.example").await.unwrap();
    assert_eq!(tools(stream, "tg_none", "localhost").await.unwrap().0, 401);
    assert_eq!(run(&home, &["stop"]).await.code, 0);
    assert!(child.wait().await.unwrap().success());
    drop(folder);
}
