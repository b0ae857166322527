//! S30: the far side proves its name, or nothing is sent.

use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::fixture::*;
use super::*;
use crate::reason::Reason;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const PUBLIC: &[&[&str]] = &[&["93.184.216.34"]];

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    config: OutboundConfig,
    _directory: tempfile::TempDir,
}

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    std::fs::write(&path, AsRef::<rcgen::Certificate>::as_ref(&issuer).pem()).unwrap();
    let config = OutboundConfig {
        extra_authorities: vec![path],
        proxy: None,
    };
    Authority {
        issuer,
        config,
        _directory: directory,
    }
}

fn server(certificate: CertificateDer<'static>, key: &KeyPair) -> rustls::ServerConfig {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn leaf(authority: &Authority, name: &str, until: i32) -> rustls::ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &*authority.issuer).unwrap();
    server(certificate.der().clone(), &key)
}

/// The body of the page that every test here asks for.
async fn fetched(bench: &Bench) -> Vec<u8> {
    let exchange = bench.get("https://granted.example/").await;
    exchange.result.unwrap().body
}

#[tokio::test]
async fn a_configured_authority_is_trusted_for_the_name() {
    let authority = authority();
    let mut upstream = Upstream::tls(OK, leaf(&authority, "granted.example", 2030)).await;
    let bench = Bench::with(PUBLIC, upstream.address, &[], &authority.config);
    assert_eq!(fetched(&bench).await, b"hi");
    assert!(
        upstream
            .captured()
            .await
            .contains("\r\nhost: granted.example\r\n")
    );
    assert_eq!(bench.dialled(), ["93.184.216.34:443"]);
}

#[tokio::test]
async fn s30_expired_wrong_name_unknown_authority_and_no_tls_at_all() {
    let authority = authority();
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["granted.example".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let nobody = OutboundConfig::default();
    for (config, server) in [
        (&authority.config, leaf(&authority, "granted.example", 2021)),
        (&authority.config, leaf(&authority, "other.example", 2030)),
        (&authority.config, server(own.der().clone(), &key)),
        (&nobody, leaf(&authority, "granted.example", 2030)),
    ] {
        let mut upstream = Upstream::tls(OK, server).await;
        let bench = Bench::with(PUBLIC, upstream.address, &[], config);
        assert_eq!(
            reason(&bench.get("https://granted.example/").await),
            Reason::EgressTls
        );
        assert!(upstream.is_untouched());
    }
    let plain = Upstream::plain(OK, After::Close).await;
    let mut bench = Bench::with(PUBLIC, plain.address, &[], &authority.config);
    bench.limits.connect = std::time::Duration::from_millis(200);
    let refusal = reason(&bench.get("https://granted.example/").await);
    assert!(
        matches!(refusal, Reason::EgressTls | Reason::LimitHttpTime),
        "{refusal}"
    );
}

#[tokio::test]
async fn tls_goes_through_a_proxy_to_the_name() {
    let authority = authority();
    let mut upstream = Upstream::tls(OK, leaf(&authority, "granted.example", 2030)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap();
    let target = upstream.address;
    let told = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n")
            .await
            .unwrap();
        let mut server = TcpStream::connect(target).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        String::from_utf8(head).unwrap()
    });
    let config = OutboundConfig {
        proxy: Some("http://10.9.9.9:3128".into()),
        ..authority.config.clone()
    };
    let bench = Bench::with(PUBLIC, proxy, &[], &config);
    assert_eq!(fetched(&bench).await, b"hi");
    assert!(
        told.await
            .unwrap()
            .starts_with("CONNECT 93.184.216.34:443 HTTP/1.1\r\n")
    );
    assert!(upstream.captured().await.starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn files_of_authorities_must_hold_some() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ca.pem");
    let config = OutboundConfig {
        extra_authorities: vec![path.clone()],
        proxy: None,
    };
    let load = || {
        Outbound::new(&config, Arc::new(FixedClock))
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert!(load().is_err());
    std::fs::write(&path, "not a certificate").unwrap();
    assert!(load().unwrap_err().contains("no certificate in it"));
}
