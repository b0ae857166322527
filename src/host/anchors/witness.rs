//! Witnesses: all of them are sent one checkpoint, so that one has the word of all of them on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};

use super::{AnchorError, Sent, submission_key};
use crate::config::AnchorTo;
use crate::egress::{OwnBounds, OwnClient};
use crate::host::Host;
use crate::journal::anchor::{Answer, Submission};
use crate::journal::archive::Archive;
use crate::journal::note::{MAX_NOTE, Note, VerifierKey};
use crate::private::{self, PrivateError};

/// A witness that names another checkpoint as its last is asked again at most this often.
const ATTEMPTS: usize = 3;

/// Checkpoints and signatures are small; the largest that a witness may sign with have 5 KiB each.
const BOUNDS: OwnBounds = OwnBounds {
    connect: Duration::from_secs(5),
    total: Duration::from_secs(20),
    response_body: 128 << 10,
};

/// What is submitted, and where the answers are kept.
#[derive(Clone)]
struct Newest {
    note: Note,
    size: u64,
    kept: PathBuf,
}

/// Sends the newest checkpoint to each witness.
pub(super) async fn send(host: &Arc<Host>, due: Vec<(AnchorTo, Option<u64>)>) -> Vec<Sent> {
    let mut sent: Vec<Sent> = Vec::new();
    if due.is_empty() {
        return sent;
    }
    let newest = async {
        let size = newest(host).await?.size;
        if due
            .iter()
            .all(|(_, last)| last.is_some_and(|last| size <= last))
        {
            return Ok(None);
        }
        record(host, &due).await?;
        newest(host).await.map(Some)
    };
    let newest = match newest.await {
        Ok(Some(newest)) => newest,
        Ok(None) => {
            let nothing = |(to, last): (AnchorTo, Option<u64>)| (to, last, Ok(last.unwrap_or(0)));
            return due.into_iter().map(nothing).collect();
        }
        Err(error) => {
            // One of them says why; the others wait for the same.
            let why = error.to_string();
            let mut error = Some(error);
            for (to, last) in due {
                let error = error.take().unwrap_or_else(|| AnchorError::Witness {
                    name: to.to_string(),
                    why: why.clone(),
                });
                sent.push((to, last, Err(error)));
            }
            return sent;
        }
    };
    let mut cosigned = newest.note.clone();
    for (to, last) in due {
        let AnchorTo::Witness { url, key } = &to else {
            continue;
        };
        let witness = Witness { host, url, key };
        let result = witness.submit(&newest).await.map(|note| {
            cosigned.merge(&note);
            newest.size
        });
        sent.push((to, last, result));
    }
    if cosigned != newest.note
        && let Err(error) = keep(newest.kept, cosigned).await
    {
        tracing::warn!(%error, "what witnesses signed could not be kept");
    }
    sent
}

/// What leaves the host is written down before it does.
async fn record(host: &Host, due: &[(AnchorTo, Option<u64>)]) -> Result<(), AnchorError> {
    let mut last = None;
    for (to, _) in due {
        if let AnchorTo::Witness { url, key } = to {
            let detail = format!("to {url}");
            last = Some(host.changed_with("anchor.sent", key.name(), detail)?);
        }
    }
    if let Some(position) = last {
        host.journal().durable(position).await?;
    }
    Ok(())
}

/// The newest checkpoint, signed by the key that witnesses know too.
async fn newest(host: &Host) -> Result<Newest, AnchorError> {
    let (home, entropy) = (host.home().clone(), host.entropy());
    tokio::task::spawn_blocking(move || {
        let archive = Archive::open(&home.journal())?;
        let (mut note, checkpoint) = archive.newest()?;
        let signer = submission_key(&home, archive.origin(), &*entropy)?;
        note.countersign(&signer);
        let name = archive.cosigned_name(checkpoint.size);
        Ok(Newest {
            note,
            size: checkpoint.size,
            kept: home.journal().join(name),
        })
    })
    .await?
}

/// Keeps what was signed, and before it is what other witnesses said of the same checkpoint.
async fn keep(kept: PathBuf, mut note: Note) -> Result<(), AnchorError> {
    let keep = move || -> Result<(), PrivateError> {
        let before = private::read(&kept, MAX_NOTE as u64).ok();
        if let Some(before) = before.and_then(|bytes| Note::parse(&bytes).ok()) {
            note.merge(&before);
        }
        private::replace(&kept, note.to_string().as_bytes())
    };
    Ok(tokio::task::spawn_blocking(keep).await??)
}

/// A witness, as C2SP tlog-witness has it.
struct Witness<'a> {
    host: &'a Arc<Host>,
    url: &'a str,
    key: &'a VerifierKey,
}

impl Witness<'_> {
    /// The checkpoint with the witness's word on it.
    async fn submit(&self, newest: &Newest) -> Result<Note, AnchorError> {
        let mut old = None;
        for _ in 0..ATTEMPTS {
            let submission = self.prepared(newest, old).await?;
            match self.ask(&submission).await? {
                Answer::Cosigned(note) => return Ok(note),
                Answer::Other(size) if size > newest.size => {
                    return Err(self.conflict(format!(
                        "it signed {size} records, and the journal has {}: its end was cut off, or an older copy was put in its place",
                        newest.size
                    )));
                }
                Answer::Other(size) => old = Some(size),
                Answer::Fork => {
                    return Err(self.conflict(format!(
                        "the {} records that it signed are not the beginning of these {}",
                        submission.old, newest.size
                    )));
                }
                Answer::Refused(why) => return Err(self.refused(why)),
            }
        }
        Err(self.refused(String::from("others submit checkpoints of this log too")))
    }

    fn conflict(&self, why: String) -> AnchorError {
        AnchorError::Conflict {
            name: self.key.name().to_owned(),
            why,
        }
    }

    fn refused(&self, why: String) -> AnchorError {
        AnchorError::Witness {
            name: self.key.name().to_owned(),
            why,
        }
    }

    /// That the checkpoint goes on from the one of `old` records, or else from the last one that is
    /// known to be signed by this witness.
    async fn prepared(&self, newest: &Newest, old: Option<u64>) -> Result<Submission, AnchorError> {
        let folder = self.host.home().journal();
        let (key, newest) = (self.key.clone(), newest.clone());
        tokio::task::spawn_blocking(move || {
            let mut archive = Archive::open(&folder)?;
            let old = old
                .or_else(|| archive.signed_by(&key))
                .filter(|old| *old <= newest.size)
                .unwrap_or(0);
            Ok(Submission {
                old,
                proof: archive.consistency(old, newest.size)?,
                note: newest.note,
            })
        })
        .await?
    }

    async fn ask(&self, submission: &Submission) -> Result<Answer, AnchorError> {
        let request = http::Request::post(format!("{}/add-checkpoint", self.url))
            .header(
                CONTENT_TYPE,
                HeaderValue::from_static("text/plain; charset=utf-8"),
            )
            .header(USER_AGENT, HeaderValue::from_static("tollgate"))
            .body(Bytes::from(submission.body()))
            .map_err(|error| self.refused(error.to_string()))?;
        let client = OwnClient::of(&self.host.services().outbound);
        let response = client
            .send(request, BOUNDS)
            .await
            .map_err(|error| self.refused(error.to_string()))?;
        let media = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|media| media.to_str().ok());
        let status = response.status().as_u16();
        Ok(Answer::read(
            (status, media),
            response.body(),
            &submission.note,
            self.key,
        ))
    }
}
