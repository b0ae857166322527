//! Sends checkpoints to where the operator wants them kept, and notices where one that is kept there
//! is not of this journal.
//!
//! No call waits for it: an anchor that is late is late. What goes to a witness leaves the host, so a
//! record of it is on the disk first. A conflict is written down and told as loudly as the log can; it
//! does not stop the host, for a journal that was brought back from a backup is one too, and whoever
//! rewrote the journal would gain by a host that stands still.

mod witness;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Host;
use crate::config::{Anchor, AnchorTo};
use crate::entropy::Entropy;
use crate::home::Home;
use crate::journal::Unwritable;
use crate::journal::anchor::{self, LocalError};
use crate::journal::archive::{Archive, ArchiveError};
use crate::journal::note::{Signer, SignerError};
use crate::private::{self, PrivateError};

/// How often the configuration is looked at for anchors that are new.
const LOOK: Duration = Duration::from_secs(60);

/// How long a host that ends waits for its last checkpoint to get there.
const ENDING: Duration = Duration::from_secs(5);

/// A checkpoint did not get where it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnchorError {
    /// It is not to be had.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The place does not take it, or has another history.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// It could not be written down that it is sent.
    #[error("it is not sent, since that could not be written down: {0}")]
    Unwritable(#[from] Unwritable),
    /// The key for witnesses can't be had.
    #[error(transparent)]
    Key(#[from] PrivateError),
    /// The key for witnesses can't be made.
    #[error(transparent)]
    Signer(#[from] SignerError),
    /// The witness did not take it.
    #[error("the witness `{name}` did not sign: {why}")]
    Witness {
        /// By its key's name.
        name: String,
        /// Why not.
        why: String,
    },
    /// The witness saw another history.
    #[error("the witness `{name}` has seen another history of this log: {why}")]
    Conflict {
        /// By its key's name.
        name: String,
        /// How the two differ.
        why: String,
    },
    /// A thread of the host ended.
    #[error("the journal could not be read: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl AnchorError {
    /// Whether somewhere else there is another history of this log.
    #[must_use]
    pub const fn is_conflict(&self) -> bool {
        matches!(
            self,
            Self::Conflict { .. } | Self::Local(LocalError::Conflict { .. })
        )
    }
}

/// How sending a checkpoint to one place went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorReport {
    /// The place.
    pub to: String,
    /// The records that the checkpoint speaks of, where it got there.
    pub size: Option<u64>,
    /// Why it did not.
    pub error: Option<String>,
    /// Whether that is because there is another history of this log.
    pub conflict: bool,
}

/// The key that signs what goes to witnesses, beside that of the segment: made when first asked for.
///
/// # Errors
///
/// It can't be read or made.
pub fn submission_key(
    home: &Home,
    origin: &str,
    entropy: &dyn Entropy,
) -> Result<Signer, AnchorError> {
    let path = home.keys().join("anchor.key");
    let bytes = match private::read(&path, 64) {
        Ok(bytes) => bytes,
        Err(error) if error.is_missing() => {
            let signer = Signer::generate(origin, entropy)?;
            private::replace(&path, signer.to_bytes().as_slice())?;
            return Ok(signer);
        }
        Err(error) => return Err(error.into()),
    };
    let bytes = bytes
        .as_slice()
        .try_into()
        .map_err(|_| PrivateError::TooLarge { path, limit: 32 })?;
    Ok(Signer::from_bytes(origin, bytes)?)
}

/// What was sent where: when, and how many records it speaks of.
#[derive(Debug, Default)]
pub struct Told(HashMap<AnchorTo, (Instant, u64)>);

/// Sends checkpoints as `[[journal.anchor]]` has it, until the host drains.
pub async fn run(host: Arc<Host>) -> Told {
    let draining = host.draining();
    let mut told = Told::default();
    loop {
        let now = Instant::now();
        let mut next = now + LOOK;
        let mut due = Vec::new();
        for Anchor { to, every } in host.config().anchors.clone() {
            let last = told.0.get(&to).copied();
            let when = last.map_or(now, |(when, _)| when + every);
            if when <= now {
                due.push((to, last.map(|(_, size)| size)));
                next = next.min(now + every);
            } else {
                next = next.min(when);
            }
        }
        let sent = tokio::select! {
            biased;
            () = draining.cancelled() => return told,
            sent = tell(&host, due) => sent,
        };
        told.0
            .extend(sent.into_iter().map(|(to, size)| (to, (now, size))));
        tokio::select! {
            biased;
            () = draining.cancelled() => return told,
            () = tokio::time::sleep_until(next) => {}
        }
    }
}

/// Sends the last checkpoint of a host that has stopped to the places that take no time.
pub async fn last(host: &Arc<Host>, told: &Told) {
    let mut near = Vec::new();
    for Anchor { to, .. } in host.config().anchors.clone() {
        if !matches!(to, AnchorTo::Witness { .. }) {
            let last = told.0.get(&to).map(|(_, size)| *size);
            near.push((to, last));
        }
    }
    if tokio::time::timeout(ENDING, tell(host, near))
        .await
        .is_err()
    {
        tracing::warn!("the last checkpoint could not be anchored in time");
    }
}

/// Sends the newest checkpoint to each place, where it is newer than the last one there; says in the log
/// how that went.
async fn tell(host: &Arc<Host>, due: Vec<(AnchorTo, Option<u64>)>) -> Vec<(AnchorTo, u64)> {
    let mut told = Vec::new();
    for (to, last, sent) in send(host, due).await {
        let size = match sent {
            Ok(size) => {
                tracing::debug!(%to, size, "a checkpoint was anchored");
                size
            }
            Err(error) if error.is_conflict() => {
                tracing::error!(%to, %error, "the journal is not the one that was anchored");
                last.unwrap_or(0)
            }
            Err(error) => {
                tracing::warn!(%to, %error, "a checkpoint could not be anchored yet");
                last.unwrap_or(0)
            }
        };
        told.push((to, size));
    }
    told
}

/// Sends a checkpoint of all that there is everywhere, now.
pub async fn now(host: &Arc<Host>) -> Vec<AnchorReport> {
    // A record is signed a moment after those who wait for the disk go on: whoever asks may have its answer
    // before.
    let journal = host.journal().clone();
    let sealed = tokio::task::spawn_blocking(move || journal.seal()).await;
    if !matches!(sealed, Ok(Ok(()))) {
        // It has a last one all the same.
        tracing::warn!("the journal takes nothing more: an older checkpoint is anchored");
    }
    let anchors = host.config().anchors.clone();
    let due = anchors.into_iter().map(|anchor| (anchor.to, None));
    let sent = send(host, due.collect()).await;
    let report = |(to, _, sent): (AnchorTo, _, Result<u64, AnchorError>)| AnchorReport {
        to: to.to_string(),
        size: sent.as_ref().ok().copied(),
        conflict: sent.as_ref().err().is_some_and(AnchorError::is_conflict),
        error: sent.err().map(|error| error.to_string()),
    };
    sent.into_iter().map(report).collect()
}

type Sent = (AnchorTo, Option<u64>, Result<u64, AnchorError>);

/// Sends the newest checkpoint to each place, unless it speaks of no more records than the last one there.
async fn send(host: &Arc<Host>, due: Vec<(AnchorTo, Option<u64>)>) -> Vec<Sent> {
    // A later round's checkpoint that is there before this one's would look like another history.
    let _turn = host.anchoring.lock().await;
    let (witnesses, near): (Vec<_>, Vec<_>) = due
        .into_iter()
        .partition(|(to, _)| matches!(to, AnchorTo::Witness { .. }));
    let mut sent = Vec::new();
    for (to, last) in near {
        let result = near_by(host, to.clone(), last).await;
        sent.push((to, last, result));
    }
    sent.extend(witness::send(host, witnesses).await);
    for (to, _, result) in &mut sent {
        let Err(error) = result else { continue };
        if !error.is_conflict() {
            continue;
        }
        // Also where the journal itself was forged: what is written now is in the new history.
        let detail = error.to_string();
        if let Err(error) = host.changed_with("anchor.conflict", &to.to_string(), detail) {
            tracing::error!(%to, %error, "the conflict could not be written down");
        }
    }
    sent
}

/// To a place that takes no time.
async fn near_by(host: &Host, to: AnchorTo, last: Option<u64>) -> Result<u64, AnchorError> {
    let folder = host.home().journal();
    let time = crate::clock::rfc3339(host.now());
    tokio::task::spawn_blocking(move || {
        let mut archive = Archive::open(&folder)?;
        let (note, checkpoint) = archive.newest()?;
        if last.is_some_and(|last| checkpoint.size <= last) {
            return Ok(checkpoint.size);
        }
        match to {
            AnchorTo::File(path) => anchor::to_file(&path, &mut archive, &note, &time)?,
            AnchorTo::Stdout => anchor::to_stdout(&note)?,
            AnchorTo::Syslog => anchor::to_syslog(&note)?,
            AnchorTo::Witness { .. } => {}
        }
        Ok(checkpoint.size)
    })
    .await?
}
