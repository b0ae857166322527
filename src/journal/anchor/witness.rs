//! What is said to a witness, and what it answers (C2SP tlog-witness, `add-checkpoint`); no network here.
//!
//! A witness knows a log by its origin and by keys that it was given once. This log changes its key
//! with each segment, so what is submitted bears a second signature, by a key that stays: the witness
//! knows that one. It says who submits, and nothing else rests on it: records and checkpoints are
//! verified by the keys of the segments.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;
use crate::journal::note::{self, Note, VerifierKey};

/// The media type of an answer that has a size in it.
const SIZE: &str = "text/x.tlog.size";

/// A checkpoint on its way to a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The size of the checkpoint that the witness signed last; 0 where that is not known.
    pub old: u64,
    /// That the new one goes on from it.
    pub proof: Vec<Digest>,
    /// The new one.
    pub note: Note,
}

impl Submission {
    /// The body of the request.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            // Writing into memory can't fail.
            let _ = writeln!(body, "{}", STANDARD.encode(hash.as_bytes()));
        }
        let _ = write!(body, "\n{}", self.note);
        body
    }
}

/// What a witness answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It signed; this is the checkpoint with its word on it.
    Cosigned(Note),
    /// Another checkpoint than the one named is the last that it signed; it is of this size.
    Other(u64),
    /// It holds what it was sent for another history than the one it saw.
    Fork,
    /// It did not take it.
    Refused(String),
}

impl Answer {
    /// Reads an answer to `note`.
    #[must_use]
    pub fn read(
        (status, media): (u16, Option<&str>),
        body: &[u8],
        note: &Note,
        key: &VerifierKey,
    ) -> Self {
        let text = str::from_utf8(body).unwrap_or_default();
        match status {
            200 => {
                let mut note = note.clone();
                match note.add(text, std::slice::from_ref(key)) {
                    Ok(0) => Self::Refused(String::from(
                        "it answered without a signature by the key that it is known by",
                    )),
                    Ok(_) => Self::Cosigned(note),
                    Err(error) => Self::Refused(error.to_string()),
                }
            }
            409 => {
                let size = text.strip_suffix('\n').and_then(note::plain_number);
                match size.filter(|_| media == Some(SIZE)) {
                    Some(size) => Self::Other(size),
                    None => Self::Refused(String::from("it answered 409 without a size")),
                }
            }
            422 => Self::Fork,
            403 => Self::Refused(String::from(
                "it answered 403: it does not know the key, which `tollgate audit anchor --key` prints",
            )),
            404 => Self::Refused(String::from(
                "it answered 404: it does not know this log; register the key that `tollgate audit anchor --key` prints",
            )),
            status => Self::Refused(format!("it answered {status}")),
        }
    }
}
