//! Where connections come from: an address, with TLS or without, or a Unix socket.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::left::remove_left;
use super::tls::Certificates;

/// A listener for HTTP.
#[derive(Debug)]
pub struct Listener {
    place: Place,
    pub(super) tls: Option<Arc<Certificates>>,
}

#[derive(Debug)]
enum Place {
    Address(TcpListener),
    Socket(UnixListener, Socket),
}

/// A connection as it was taken.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self {
            place: Place::Address(listener),
            tls: None,
        }
    }
}

impl Listener {
    /// Listens on an address.
    ///
    /// # Errors
    ///
    /// The address can't be had.
    pub async fn address(address: SocketAddr) -> io::Result<Self> {
        Ok(TcpListener::bind(address).await?.into())
    }

    /// Listens on a Unix socket at `path`, to which those may connect whom `mode` lets. A socket that a
    /// process left behind is removed; one on which somebody answers, or may, is not.
    ///
    /// # Errors
    ///
    /// The path is taken (`AddrInUse`) or may be, or the socket can't be made.
    pub fn socket(path: &Path, mode: u32) -> io::Result<Self> {
        match fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => {
                remove_left(path)?;
            }
            Ok(_) => {
                let what = "something that is no socket is there; move it away";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        // Whoever came in before this has to show a token all the same.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        let socket = Socket::of(path)?;
        Ok(Self {
            place: Place::Socket(listener, socket),
            tls: None,
        })
    }

    /// The same, with TLS before anything else.
    #[must_use]
    pub fn with_tls(self, certificates: Arc<Certificates>) -> Self {
        Self {
            tls: Some(certificates),
            ..self
        }
    }

    /// The address, where it is one.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.place {
            Place::Address(listener) => listener.local_addr().ok(),
            Place::Socket(..) => None,
        }
    }

    /// Where agents find MCP on it, for people: `http://127.0.0.1:8787/mcp`, `https://…`, or `unix:/run/mcp.sock`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match &self.place {
            Place::Address(listener) => match listener.local_addr() {
                Ok(address) => format!("{scheme}://{address}/mcp"),
                Err(_) => format!("{scheme}:"),
            },
            Place::Socket(_, socket) => format!("unix:{}", socket.path.display()),
        }
    }

    /// The next connection.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match &self.place {
            Place::Address(listener) => {
                let (stream, _) = listener.accept().await?;
                // Replies are small and written whole; waiting to fill a packet only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY");
                }
                Ok(Stream::Tcp(stream))
            }
            Place::Socket(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

/// A socket of ours in the file system, which goes with its listener.
#[derive(Debug)]
struct Socket {
    path: PathBuf,
    identity: (u64, u64),
}

impl Socket {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another process may have put its own in this place.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            drop(fs::remove_file(&self.path));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_whom_it_is_meant_and_goes_with_its_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        for mode in [0o600, 0o666] {
            let listener = Listener::socket(&path, mode).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.mode() & 0o777, mode);
            assert_eq!(listener.endpoint(), format!("unix:{}", path.display()));
            let error = Listener::socket(&path, mode).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            drop(listener);
            assert!(!path.exists());
        }
    }

    #[tokio::test]
    async fn what_was_left_behind_is_replaced_and_what_is_no_socket_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mcp.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as after kill -9");
        let listener = Listener::socket(&path, 0o600).unwrap();
        // Somebody else's in its place is left alone.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "x").unwrap();
        drop(listener);
        assert_eq!(fs::read(&path).unwrap(), b"x");
        let error = Listener::socket(&path, 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        // And so is a socket that does not refuse, though nothing that speaks HTTP is behind it.
        fs::remove_file(&path).unwrap();
        let other = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
        let error = Listener::socket(&path, 0o600).unwrap_err();
        assert!(error.to_string().contains("can't be told"), "{error}");
        assert!(path.exists());
        drop(other);
    }
}
