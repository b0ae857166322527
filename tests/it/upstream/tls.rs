//! Certificates, made once: good ones for every name, and some that prove nothing.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

/// Names whose certificates prove nothing, and what is wrong with each.
const EXPIRED: &str = "expired.example";
const OTHER_NAME: &str = "other-name.example";
const SELF_SIGNED: &str = "self-signed.example";
const UNKNOWN: &str = "unknown-authority.example";

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority {
    issuer: authority("the tests"),
    stranger: authority("somebody else"),
});

/// The authority that every host of these tests trusts, as PEM.
pub(crate) fn authority_pem() -> String {
    AsRef::<rcgen::Certificate>::as_ref(&AUTHORITY.issuer).pem()
}

/// Makes a certificate for whatever name is asked for.
#[derive(Debug, Default)]
struct Any(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl ResolvesServerCert for Any {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_owned();
        let mut made = self.0.lock().unwrap();
        Some(
            made.entry(name.clone())
                .or_insert_with(|| Arc::new(certificate(&name)))
                .clone(),
        )
    }
}

fn certificate(name: &str) -> CertifiedKey {
    let key = KeyPair::generate().unwrap();
    let subject = if name == OTHER_NAME {
        "somewhere-else.example"
    } else {
        name
    };
    let mut params = CertificateParams::new(vec![subject.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(if name == EXPIRED { 2026 } else { 2030 }, 1, 1);
    let signed = match name {
        SELF_SIGNED => params.self_signed(&key),
        UNKNOWN => params.signed_by(&key, &*AUTHORITY.stranger),
        _ => params.signed_by(&key, &*AUTHORITY.issuer),
    }
    .unwrap();
    let chain: Vec<CertificateDer<'static>> = vec![signed.der().clone()];
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let signer = rustls::crypto::ring::sign::any_supported_type(&der).unwrap();
    CertifiedKey::new(chain, signer)
}

/// A certificate for `name` of the authority that every host of these tests trusts, and its key, as PEM.
pub(crate) fn pem(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let signed = params.signed_by(&key, &*AUTHORITY.issuer).unwrap();
    (signed.pem(), key.serialize_pem())
}

/// Accepts TLS for any name.
pub(super) fn acceptor() -> TlsAcceptor {
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_cert_resolver(Arc::new(Any::default()));
    TlsAcceptor::from(Arc::new(config))
}
