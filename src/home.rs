//! Where things are: a Tollgate home, and the path of everything in it.
//!
//! ```text
//! tollgate.toml   plugins/   policies/        the operator's, worth a repository
//! state/                                      the host's, for its owner only (0700)
//!   tollgate.db  journal/  tapes/  artifacts/  keys/  secrets.store
//!   tollgate.sock  daemon.lock  tollgate.log
//! ```
//!
//! Asking for a path touches nothing; only `create` makes folders.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::private::{self, PrivateError};

/// The environment variable that names the home.
pub const VARIABLE: &str = "TOLLGATE_HOME";

/// The longest path of a Unix socket: `sun_path` has 108 bytes, and the last is a zero.
const LONGEST_SOCKET: usize = 107;

/// A Tollgate home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
    runtime: PathBuf,
}

impl Home {
    /// The home that `flag` names, else the one that `variable` (of `TOLLGATE_HOME`) names, else the
    /// current folder.
    ///
    /// # Errors
    ///
    /// The current folder is not known, and would be needed.
    pub fn find(flag: Option<&Path>, variable: Option<OsString>) -> Result<Self, PrivateError> {
        let named = flag
            .map(Path::to_owned)
            .or_else(|| variable.filter(|v| !v.is_empty()).map(PathBuf::from));
        Self::at(&named.unwrap_or_else(|| PathBuf::from(".")))
    }

    /// The home at `path`.
    ///
    /// # Errors
    ///
    /// `path` is relative and the current folder is not known.
    pub fn at(path: &Path) -> Result<Self, PrivateError> {
        let path = std::path::absolute(path).map_err(PrivateError::io(path, "find"))?;
        // One home has one path, whichever link led to it: the socket's place depends on it.
        let root = fs::canonicalize(&path).unwrap_or_else(|_| {
            match (
                path.parent().and_then(|p| fs::canonicalize(p).ok()),
                path.file_name(),
            ) {
                (Some(parent), Some(name)) => parent.join(name),
                _ => path,
            }
        });
        Ok(Self {
            root,
            runtime: runtime_folder(),
        })
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The operator's configuration; need not exist.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("tollgate.toml")
    }

    /// Where plugins are dropped.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Policies, shared rules, entities, schema, cases.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.root.join("policies")
    }

    /// What the host itself keeps. For its owner only.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The journal's segments.
    #[must_use]
    pub fn journal(&self) -> PathBuf {
        self.state().join("journal")
    }

    /// Journals from before a backup was put back, each in a folder of its own.
    #[must_use]
    pub fn earlier_journals(&self) -> PathBuf {
        self.state().join("journals")
    }

    /// What calls were given, where the operator has it kept.
    #[must_use]
    pub fn tapes(&self) -> PathBuf {
        self.state().join("tapes")
    }

    /// The key that tapes are encrypted under.
    #[must_use]
    pub fn tapes_key(&self) -> PathBuf {
        self.keys().join("tapes.key")
    }

    /// Compiled plugins.
    #[must_use]
    pub fn artifacts(&self) -> PathBuf {
        self.state().join("artifacts")
    }

    /// Keys.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.state().join("keys")
    }

    /// Agents and pins.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.state().join("tollgate.db")
    }

    /// The encrypted secrets.
    #[must_use]
    pub fn secrets(&self) -> PathBuf {
        self.state().join("secrets.store")
    }

    /// The key that the secrets are encrypted under.
    #[must_use]
    pub fn secrets_key(&self) -> PathBuf {
        self.keys().join("secrets.key")
    }

    /// Held by the daemon while it runs.
    #[must_use]
    pub fn daemon_lock(&self) -> PathBuf {
        self.state().join("daemon.lock")
    }

    /// The log of a daemon that nobody watches.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.state().join("tollgate.log")
    }

    /// The daemon's socket: in `state/`, or, where that path is too long for a socket, in a folder
    /// of its own under the runtime folder, named by a digest of the home's path.
    ///
    /// Whoever connects or binds calls `verify_socket_folder` first.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_folder().join("tollgate.sock")
    }

    fn socket_folder(&self) -> PathBuf {
        let state = self.state();
        if state.join("tollgate.sock").as_os_str().len() <= LONGEST_SOCKET {
            return state;
        }
        let user = rustix::process::geteuid().as_raw();
        let name = Digest::of(self.root.as_os_str().as_bytes()).short();
        self.runtime.join(format!("tollgate-{user}-{name}"))
    }

    /// Makes sure that nobody else can have put a socket in the place of the daemon's.
    ///
    /// # Errors
    ///
    /// The socket's folder is not there, or is not this user's alone.
    pub fn verify_socket_folder(&self) -> Result<(), PrivateError> {
        private::check_folder(&self.socket_folder())
    }

    /// Makes the folders that are not there yet, and verifies those that must be private.
    ///
    /// # Errors
    ///
    /// A folder can't be made, or `state/` or something in it is open to others.
    pub fn create(&self) -> Result<(), PrivateError> {
        for folder in [self.plugins(), self.policies()] {
            fs::create_dir_all(&folder).map_err(PrivateError::io(&folder, "make"))?;
        }
        for folder in [
            self.state(),
            self.journal(),
            self.artifacts(),
            self.keys(),
            self.socket_folder(),
        ] {
            private::make_folder(&folder)?;
        }
        Ok(())
    }
}

/// `/run/user/<id>` where the system has one for this user, else `/tmp`. Not from the environment:
/// a client that an editor starts and the daemon that a shell started must agree.
fn runtime_folder() -> PathBuf {
    let own = PathBuf::from(format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    if private::check_folder(&own).is_ok() {
        own
    } else {
        PathBuf::from("/tmp")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_flag_goes_before_the_variable() {
        let home = Home::find(Some(Path::new("/a")), Some("/b".into())).unwrap();
        assert_eq!(home.root(), Path::new("/a"));
        let home = Home::find(None, Some("/b".into())).unwrap();
        assert_eq!(home.config(), Path::new("/b/tollgate.toml"));
        let here = fs::canonicalize(".").unwrap();
        assert_eq!(Home::find(None, None).unwrap().root(), here);
        assert_eq!(Home::find(None, Some("".into())).unwrap().root(), here);
    }

    #[test]
    fn finding_makes_nothing_and_create_makes_all_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("home")).unwrap();
        assert!(!home.root().exists());
        home.create().unwrap();
        home.create().unwrap();
        home.verify_socket_folder().unwrap();
        for folder in [home.state(), home.journal(), home.artifacts(), home.keys()] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
        assert!(home.plugins().is_dir() && home.policies().is_dir());
    }

    #[test]
    fn a_state_that_others_can_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        fs::create_dir(home.state()).unwrap();
        fs::set_permissions(home.state(), fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(home.create(), Err(PrivateError::Open { .. })));
    }

    #[test]
    fn a_long_home_has_a_short_socket() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        let mut home = Home::at(&deep).unwrap();
        assert!(home.socket().as_os_str().len() <= LONGEST_SOCKET);
        home.runtime = dir.path().to_owned();
        assert_eq!(
            home.socket().parent().unwrap().parent().unwrap(),
            dir.path()
        );
        assert!(home.verify_socket_folder().is_err());
        home.create().unwrap();
        home.verify_socket_folder().unwrap();
        let other = Home::at(&dir.path().join("e".repeat(100))).unwrap();
        assert_ne!(other.socket().parent(), home.socket().parent());
        // One that somebody else made ready is not used.
        let folder = home.socket_folder();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(home.verify_socket_folder().is_err());
        assert!(home.create().is_err());
    }

    #[test]
    fn one_home_has_one_socket_whichever_link_leads_there() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert_eq!(Home::at(&link).unwrap(), Home::at(&real).unwrap());
    }
}
