//! A person's credential, for the commands that need one.
//!
//! It comes from a file that only its owner can read, from the environment, or from a prompt that
//! shows nothing; never from an argument, which every process of the machine can see.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::Exit;
use super::fault::Fault;
use super::prompt;
use crate::daemon::SecretText;
use crate::private;

/// Where a credential may stand, beside a file and the prompt.
pub(crate) const VARIABLE: &str = "TOLLGATE_PERSON_TOKEN";

/// Far more than a credential has.
const MOST: u64 = 4_096;

/// Where the credential is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Source {
    /// A file with your credential that only you can read (mode 600) [default: the variable
    /// `TOLLGATE_PERSON_TOKEN`, or a prompt].
    #[arg(long = "credential", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

impl Source {
    /// The credential; asks for it where it is nowhere else.
    pub(crate) fn needed(&self) -> Result<SecretText, Fault> {
        if let Some(credential) = self.given()? {
            return Ok(credential);
        }
        if !std::io::stdin().is_terminal() {
            return Err(Fault::new(Exit::Denied, "this needs a person's credential")
                .hint(format!("set `{VARIABLE}`, or name a file with `--credential FILE`; `tollgate person add NAME` makes one")));
        }
        let text = prompt::hidden("your credential: ").map_err(|error| {
            Fault::of(&error)
                .context("can't read the credential")
                .exit(Exit::Invalid)
        })?;
        Ok(SecretText::new(text.trim().to_owned()))
    }

    /// The credential, where a file or the environment has one.
    fn given(&self) -> Result<Option<SecretText>, Fault> {
        if let Some(path) = &self.file {
            return read(path).map(Some);
        }
        match std::env::var(VARIABLE) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            Ok(text) => Ok(Some(SecretText::new(text.trim().to_owned()))),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(error) => Err(Fault::invalid(format!("`{VARIABLE}`: {error}"))),
        }
    }
}

fn read(path: &Path) -> Result<SecretText, Fault> {
    let bytes = private::read(path, MOST).map_err(|error| {
        Fault::of(&error)
            .context("can't use the credential")
            .exit(Exit::Invalid)
    })?;
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(SecretText::new(text.trim().to_owned())),
        _ => Err(Fault::invalid(format!(
            "`{}` holds no credential",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_credential_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credential");
        let source = Source {
            file: Some(path.clone()),
        };
        assert!(source.needed().is_err());
        std::fs::write(&path, "tgp_x\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let fault = source.needed().unwrap_err();
        assert!(fault.message.contains("chmod 600"), "{}", fault.message);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(source.needed().unwrap().reveal(), "tgp_x");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(source.needed().unwrap_err().exit, Exit::Invalid);
    }
}
