//! A Unix socket in the file system that a process may have left behind.

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// Removes the socket at `path`, where nobody listens on it any more. That is so only where connecting is
/// refused: whatever else comes of it leaves room for somebody who has it, and then it is left alone.
///
/// # Errors
///
/// Somebody listens (`AddrInUse`), or whether anybody does can't be told. Nothing was removed.
pub(crate) fn remove_left(path: &Path) -> io::Result<()> {
    match knock(path) {
        // One whose queue is full is there as well.
        Ok(()) | Err(Errno::AGAIN) => Err(io::ErrorKind::AddrInUse.into()),
        Err(Errno::CONNREFUSED) => fs::remove_file(path),
        // It went meanwhile.
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(io::Error::new(
            io::Error::from(error).kind(),
            format!(
                "whether anybody listens on the socket that is there can't be told ({error}): remove it if nobody does"
            ),
        )),
    }
}

/// Connects without waiting: a process that takes no connections must not keep this one from starting.
fn knock(path: &Path) -> Result<(), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use super::*;

    #[test]
    fn only_a_socket_that_refuses_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.sock");
        remove_left(&path).unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let error = remove_left(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
        drop(listener);
        remove_left(&path).unwrap();
        assert!(!path.exists());
        // Of another kind: somebody is there, and connecting fails otherwise.
        let other = UnixDatagram::bind(&path).unwrap();
        let error = remove_left(&path).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("can't be told"), "{error}");
        assert!(path.exists());
        drop(other);
    }
}
