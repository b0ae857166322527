//! What of a task's use goes to the disk, and when.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use super::live::Live;
use super::{TaskError, Tasks, Used};
use crate::id::TaskId;
use crate::reason::{Reason, Refusal};

impl Tasks {
    /// Has the disk cover what `live` has used.
    pub(super) async fn cover(&self, live: &Live) -> Result<(), Refusal> {
        if live.ledger().is_covered() {
            return Ok(());
        }
        let _one = live.writing.lock().await;
        let ahead = {
            let ledger = live.ledger();
            if ledger.is_covered() {
                return Ok(());
            }
            ledger.ahead()
        };
        let (id, used) = (live.task.id, ahead.clone());
        self.kept(move |state| state.write_used(&[(id, used)]))
            .await
            .map_err(|error| not_kept(&error))?;
        live.ledger().wrote(ahead);
        Ok(())
    }

    /// Asks for a write soon, where nothing waits for it.
    pub(super) fn cover_soon(&self, live: &Live) {
        if !live.ledger().is_covered() && !live.pending.swap(true, Ordering::AcqRel) {
            self.0.wake.notify_one();
        }
    }

    /// Writes what was asked for.
    pub(super) async fn cover_pending(&self) {
        let pending: Vec<Arc<Live>> = self
            .read()
            .live()
            .filter(|live| live.pending.swap(false, Ordering::AcqRel))
            .cloned()
            .collect();
        for live in pending {
            if let Err(refusal) = self.cover(&live).await {
                tracing::error!(task = %live.task.id, %refusal, "what a task has used could not be kept");
            }
        }
    }

    /// Adds labels to tasks; durable once this returns.
    pub(super) async fn label(
        &self,
        line: &[Arc<Live>],
        labels: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        let changed: Vec<(TaskId, BTreeSet<String>)> = line
            .iter()
            .filter_map(|live| {
                let mut known = live.labels();
                if labels.is_subset(&known) {
                    return None;
                }
                known.extend(labels.iter().cloned());
                Some((live.task.id, known.clone()))
            })
            .collect();
        if changed.is_empty() {
            return Ok(());
        }
        self.kept(move |state| state.write_labels(&changed))
            .await
            .map_err(|error| not_kept(&error))
    }

    /// Keeps exactly what was used, and the time: at an orderly end.
    pub(crate) async fn close(&self) {
        let used: Vec<(TaskId, Used)> = self
            .read()
            .live()
            .map(|live| (live.task.id, live.ledger().used().clone()))
            .collect();
        let now = self.now();
        let kept = self
            .kept(move |state| {
                state.write_used(&used)?;
                state.keep_time(now)
            })
            .await;
        if let Err(error) = kept {
            tracing::error!(%error, "what tasks have used could not be kept");
        }
    }

    /// Keeps the time, so that a start under an earlier one is seen.
    pub(super) async fn keep_time(&self) {
        let now = self.now();
        if let Err(error) = self.kept(move |state| state.keep_time(now)).await {
            tracing::error!(%error, "the time could not be kept");
        }
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.0.wake)
    }
}

fn not_kept(error: &TaskError) -> Refusal {
    Refusal::new(Reason::HostInternal, "what the task uses could not be kept")
        .with_detail(error.to_string())
}
