//! A tape as a file: sealed under a key of the host's own.
//!
//! ```text
//! tollgate-tape 1 LF   the format and its version
//! 16 bytes             the call
//! 24 bytes             nonce
//! the rest             XChaCha20-Poly1305 of the text; the call and the version are bound to it
//! ```
//!
//! It protects what a call was given from whoever gets a copy of the file without the key; not from
//! the user that the host runs as. That a file is the one that was written is for its digest to say,
//! which stands in the journal.

use std::path::Path;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::keep::TapeError;
use crate::entropy::Entropy;
use crate::journal::record::CallId;
use crate::private;

/// The version of the format that this host writes, and the only one that it reads.
pub const VERSION: u32 = 1;

const NAME: &str = "tollgate-tape ";
const KEY: usize = 32;
const NONCE: usize = 24;

/// A key of tapes.
pub(super) struct Key(XChaCha20Poly1305);

impl Key {
    /// The key at `path`. Where there is none, and `entropy` to make one of, a new one.
    pub(super) fn at(path: &Path, entropy: Option<&dyn Entropy>) -> Result<Self, TapeError> {
        let bytes = match (private::read(path, KEY as u64), entropy) {
            (Ok(bytes), _) => bytes,
            (Err(error), Some(entropy)) if error.is_missing() => {
                let mut fresh = Zeroizing::new(vec![0; KEY]);
                entropy.fill(&mut fresh)?;
                private::replace(path, &fresh)?;
                fresh
            }
            (Err(error), None) if error.is_missing() => {
                return Err(TapeError::NoKey(path.to_owned()));
            }
            (Err(private::PrivateError::TooLarge { path, .. }), _) => {
                return Err(TapeError::BadKey(path));
            }
            (Err(error), _) => return Err(error.into()),
        };
        XChaCha20Poly1305::new_from_slice(&bytes)
            .map(Self)
            .map_err(|_| TapeError::BadKey(path.to_owned()))
    }

    /// The file of the tape of `call` with this text.
    pub(super) fn seal(
        &self,
        call: CallId,
        text: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, TapeError> {
        let mut file = head(call);
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce)?;
        let payload = Payload {
            msg: text,
            aad: &file,
        };
        let sealed = self.0.encrypt(XNonce::from_slice(&nonce), payload);
        // It fails for texts of 256 GiB and more.
        let sealed = sealed.map_err(|_| TapeError::TooLong)?;
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&sealed);
        Ok(file)
    }

    /// The text of the tape of `call` in `file`, which was read from `path`.
    pub(super) fn open(
        &self,
        call: CallId,
        file: &[u8],
        path: &Path,
    ) -> Result<Zeroizing<Vec<u8>>, TapeError> {
        let damaged = |why| TapeError::Damaged {
            path: path.to_owned(),
            why,
        };
        check_version(file, path)?;
        let head = head(call);
        let rest = file
            .strip_prefix(head.as_slice())
            .ok_or_else(|| damaged("it is the tape of another call"))?;
        let (nonce, sealed) = rest
            .split_at_checked(NONCE)
            .ok_or_else(|| damaged("it is cut off"))?;
        let payload = Payload {
            msg: sealed,
            aad: &head,
        };
        self.0
            .decrypt(XNonce::from_slice(nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_| {
                damaged("its seal does not fit: it was changed, or sealed under another key")
            })
    }
}

fn head(call: CallId) -> Vec<u8> {
    let mut head = format!("{NAME}{VERSION}\n").into_bytes();
    head.extend_from_slice(call.0.as_bytes());
    head
}

/// Refuses what another version of the host wrote, by name.
fn check_version(file: &[u8], path: &Path) -> Result<(), TapeError> {
    let damaged = || TapeError::Damaged {
        path: path.to_owned(),
        why: "it is no tape",
    };
    let rest = file.strip_prefix(NAME.as_bytes()).ok_or_else(damaged)?;
    // Ten digits are enough for any version.
    let digits = rest
        .iter()
        .take(11)
        .position(|byte| *byte == b'\n')
        .and_then(|end| rest.get(..end))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .ok_or_else(damaged)?;
    match digits.parse::<u32>() {
        Ok(VERSION) => Ok(()),
        Ok(found) => Err(TapeError::Version {
            path: path.to_owned(),
            found,
        }),
        Err(_) => Err(damaged()),
    }
}
