//! Why jobs are stopped, what comes of them, and waiting for the disk.

use super::{Status, fault};
use crate::journal::record::CallId;
use crate::reason::{Reason, Refusal};
use crate::state::StateError;

/// Why a job was stopped.
#[derive(Debug, Clone)]
pub(crate) enum Stop {
    /// Its client wanted that.
    Owner,
    /// What it rests on is no more, or its time is over.
    For(Refusal),
}

impl Stop {
    /// The time of a job is over.
    pub(super) fn late() -> Self {
        Self::For(late())
    }

    /// What a job that was stopped for this ends with. An end that says so stays: it names the last call.
    pub(super) fn instead_of(&self, end: End, call: Option<CallId>) -> End {
        match (self, end) {
            (Self::Owner, _) => End::Cancelled,
            (Self::For(refusal), End::Failed(body, reason)) if reason == Some(refusal.reason) => {
                End::Failed(body, reason)
            }
            (Self::For(refusal), _) => End::failed(refusal, call),
        }
    }
}

/// The time of a job is over.
pub(crate) fn late() -> Refusal {
    Refusal::new(Reason::JobLost, "the job's time is over")
}

/// Why a job that was in this state when the host ended has failed.
pub(super) fn lost(status: Status) -> Refusal {
    let what = match status {
        Status::Asking => {
            "the host ended while the job waited for its client's answers; nothing of it runs again, so call again"
        }
        Status::Held => {
            "the host ended while the job waited for a person; what was or is agreed to is good for the same call: call again"
        }
        _ => {
            "the host ended while the job was under way; what its call did is not known here, and it is not run again"
        }
    };
    Refusal::new(Reason::JobLost, what)
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum End {
    /// The tool's result, as JSON text.
    Completed(String),
    /// The protocol's error, as JSON text; and why, where the host has a word for it.
    Failed(String, Option<Reason>),
    /// Nothing: its client cancelled it.
    Cancelled,
}

impl End {
    /// There is no result, because of this.
    pub(crate) fn failed(refusal: &Refusal, call: Option<CallId>) -> Self {
        Self::Failed(fault(refusal, call).to_string(), Some(refusal.reason))
    }
}

/// Works where the disk may be waited for.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StateError> + Send + 'static,
) -> Result<T, Refusal> {
    let unkept = |error: String| {
        Refusal::new(
            Reason::HostInternal,
            "the job can't be kept, so nothing is done",
        )
        .with_detail(error)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| unkept(error.to_string())),
        Err(error) => Err(unkept(error.to_string())),
    }
}
