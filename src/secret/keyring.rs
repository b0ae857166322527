//! The keyring of the operating system: Secret Service on Linux, the Keychain on macOS.
//!
//! It may ask a person to unlock it, and then it waits. A call does not: after a few seconds the
//! secret is unavailable, and the thread that waits ends by itself.

use std::time::Duration;

use async_trait::async_trait;
use keyring::{Entry, Error};

use super::source::{Ask, Issued, Nature, Source, SourceError, blocking, sized};
use super::value::SecretValue;

/// Longer than a keyring takes that is open, shorter than a call may.
const PATIENCE: Duration = Duration::from_secs(5);

/// One entry of the keyring.
#[derive(Debug, Clone)]
pub(super) struct Keyring {
    pub(super) service: String,
    pub(super) account: String,
}

#[async_trait]
impl Source for Keyring {
    fn kind(&self) -> &'static str {
        "keyring"
    }

    fn nature(&self) -> Nature {
        Nature::Standing
    }

    async fn issue(&self, _: &Ask, _: Option<&SecretValue>) -> Result<Issued, SourceError> {
        let entry = self.clone();
        tokio::time::timeout(PATIENCE, blocking(move || entry.read()))
            .await
            .unwrap_or_else(|_| {
                Err(SourceError::Unavailable(format!(
                    "the keyring did not answer within {PATIENCE:?}: unlock it"
                )))
            })
            .map(Issued::standing)
    }
}

impl Keyring {
    fn read(&self) -> Result<SecretValue, SourceError> {
        let named = format!("keyring:{}/{}", self.service, self.account);
        let value = Entry::new(&self.service, &self.account).and_then(|entry| entry.get_secret());
        match value {
            Ok(bytes) => sized(SecretValue::new(bytes), &named),
            Err(Error::NoEntry) => Err(SourceError::Missing(format!("`{named}` has no entry"))),
            Err(error) => Err(SourceError::Unavailable(format!(
                "`{named}`: {}",
                what(&error)
            ))),
        }
    }
}

/// What went wrong, without the bytes that some of these errors carry.
fn what(error: &Error) -> String {
    match error {
        Error::BadEncoding(_) | Error::BadDataFormat(..) => {
            String::from("the entry is not what the keyring can read")
        }
        Error::Ambiguous(_) => String::from("there are several entries of this name"),
        Error::NoStorageAccess(error) => {
            format!("it is locked, or can't be reached: unlock it ({error})")
        }
        Error::NoDefaultStore => String::from("this machine has no keyring, or none that answers"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_shows_what_an_entry_holds() {
        let error = Error::BadEncoding(b"canary".to_vec());
        assert!(!what(&error).contains("canary"));
        assert!(what(&Error::NoDefaultStore).contains("no keyring"));
        let locked = Error::NoStorageAccess("prompt dismissed".into());
        assert!(what(&locked).contains("unlock it"));
    }
}
