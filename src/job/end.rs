//! How jobs end, and waiting for the disk.

use super::fault;
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
