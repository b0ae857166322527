//! TLS for a listener: a certificate and its key from files, read again when they change.
//!
//! Whoever renews certificates puts new files in the place of the old ones and restarts nothing. What can't
//! be used then changes nothing: the pair that was good goes on, and the log says why.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

/// How often a new connection has the files looked at: two calls of the system, and nobody waits for longer
/// for a renewed certificate.
const LOOK: Duration = Duration::from_secs(10);

/// The largest file that is read. A chain of three certificates has a few KiB.
const LARGEST: u64 = 1 << 20;

/// A certificate or its key can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Not PEM of what it should be.
    #[error("`{}` holds no {wanted} as PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// The key is not that of the certificate.
    #[error("the key in `{}` is not that of the first certificate in `{}`", key.display(), certificate.display())]
    Pair {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Neither can be used for TLS.
    #[error("`{}` and its key can't be used for TLS: {source}", certificate.display())]
    Unusable {
        /// The certificate.
        certificate: PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// A certificate and its key, as they are now.
#[derive(Debug)]
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
    looked: Mutex<Looked>,
}

#[derive(Debug)]
struct Looked {
    at: Instant,
    stamps: [Option<Stamp>; 2],
}

/// What tells one content of a file from another without reading it.
type Stamp = (u64, u64, u64, i64, i64);

fn stamp(path: &Path) -> Option<Stamp> {
    // Through links: that is how certificates are often put in place.
    let found = fs::metadata(path).ok()?;
    Some((
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
    ))
}

/// The pair that answers.
#[derive(Debug)]
struct Current(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Certificates {
    /// The certificate (and those that lead to its authority) in one file, and its key in the other.
    ///
    /// # Errors
    ///
    /// One of them can't be read, or they can't be used.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let stamps = [stamp(certificate), stamp(key)];
        let pair = pair(certificate, key, &provider)?;
        let current = Arc::new(Current(ArcSwap::from_pointee(pair)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Unusable {
                certificate: certificate.to_owned(),
                source,
            })?
            // Who asks is told by its token.
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            provider,
            current,
            config: Arc::new(config),
            looked: Mutex::new(Looked {
                at: Instant::now(),
                stamps,
            }),
        })
    }

    /// For one connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.look(Instant::now());
        TlsAcceptor::from(Arc::clone(&self.config))
    }

    /// Reads the files again where they changed, unless they were just looked at.
    fn look(&self, now: Instant) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(looked.at) < LOOK {
            return;
        }
        looked.at = now;
        let stamps = [stamp(&self.certificate), stamp(&self.key)];
        if stamps == looked.stamps {
            return;
        }
        // Also where they can't be used: it is said once, and looked at again when they change.
        looked.stamps = stamps;
        match pair(&self.certificate, &self.key, &self.provider) {
            Ok(pair) => {
                self.current.0.store(Arc::new(pair));
                tracing::info!(certificate = %self.certificate.display(), "read the certificate again, since it changed");
            }
            Err(error) => {
                tracing::error!(%error, "the certificate changed, and the one before stays in force");
            }
        }
    }
}

fn pair(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let none = |path: &Path, wanted| TlsError::Pem {
        path: path.to_owned(),
        wanted,
    };
    let text = read(certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| none(certificate, "certificate"))?;
    if chain.is_empty() {
        return Err(none(certificate, "certificate"));
    }
    let secret =
        PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|_| none(key, "private key"))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|source| match source {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        },
        source => TlsError::Unusable {
            certificate: certificate.to_owned(),
            source,
        },
    })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let failed = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    fs::read(path).map(Zeroizing::new).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn what_changed_is_read_again_and_what_is_wrong_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        let put = |pair: &(String, String)| {
            fs::write(&certificate, &pair.0).unwrap();
            fs::write(&key, &pair.1).unwrap();
        };
        let (one, two) = (made("one.example"), made("two.example, and a longer name"));
        put(&one);
        let certificates = Certificates::load(&certificate, &key).unwrap();
        let shown = || certificates.current.0.load().cert.clone();
        let first = shown();
        let start = certificates.looked.lock().unwrap().at;

        put(&two);
        certificates.look(start + Duration::from_secs(1));
        assert_eq!(shown(), first, "not at every connection");
        certificates.look(start + LOOK);
        let second = shown();
        assert_ne!(second, first);

        // Half of a renewal, and what is none.
        fs::write(&certificate, &one.0).unwrap();
        certificates.look(start + 2 * LOOK);
        assert_eq!(shown(), second);
        fs::write(&certificate, "no certificate at all, of yet another length").unwrap();
        certificates.look(start + 3 * LOOK);
        fs::remove_file(&key).unwrap();
        certificates.look(start + 4 * LOOK);
        assert_eq!(shown(), second);
        put(&one);
        certificates.look(start + 5 * LOOK);
        assert_eq!(shown(), first);
    }

    #[test]
    fn what_is_wrong_at_the_start_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        let said = || {
            Certificates::load(&certificate, &key)
                .unwrap_err()
                .to_string()
        };
        assert!(said().starts_with("can't read"), "{}", said());
        let (one, two) = (made("one.example"), made("two.example"));
        fs::write(&certificate, "x").unwrap();
        fs::write(&key, &two.1).unwrap();
        assert!(said().contains("no certificate as PEM"), "{}", said());
        fs::write(&certificate, &one.0).unwrap();
        assert!(
            said().contains("is not that of the first certificate"),
            "{}",
            said()
        );
        fs::write(&key, &one.0).unwrap();
        assert!(said().contains("no private key as PEM"), "{}", said());
        fs::write(&key, &one.1).unwrap();
        assert!(Certificates::load(&certificate, &key).is_ok());
    }
}
