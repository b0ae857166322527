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

    /// Adds labels to tasks; durable once this returns. Policy sees them at once, whatever the disk does.
    pub(super) async fn label(
        &self,
        line: &[Arc<Live>],
        labels: &BTreeSet<String>,
    ) -> Result<(), Refusal> {
        for live in line {
            live.labels().extend(labels.iter().cloned());
        }
        // From the inner to the outer, as the ledgers. Who finds its labels on the disk need not wait for
        // it; who finds them in memory alone must, for that write may fail.
        let mut behind = Vec::new();
        for live in line {
            let kept = live.kept_labels.lock().await;
            if !labels.is_subset(&kept) {
                behind.push((live.task.id, live.labels().clone(), kept));
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        let rows: Vec<(TaskId, BTreeSet<String>)> = behind
            .iter()
            .map(|(id, labels, _)| (*id, labels.clone()))
            .collect();
        self.kept(move |state| state.write_labels(&rows))
            .await
            .map_err(|error| not_kept(&error))?;
        for (_, labels, mut kept) in behind {
            *kept = labels;
        }
        Ok(())
    }

    /// Keeps exactly what was used, and the time: at an orderly end.
    pub(crate) async fn close(&self) {
        let live: Vec<Arc<Live>> = self.read().live().cloned().collect();
        let mut writing = Vec::with_capacity(live.len());
        let mut used = Vec::with_capacity(live.len());
        for live in &live {
            writing.push(live.writing.lock().await);
            let mut ledger = live.ledger();
            used.push((live.task.id, ledger.used().clone()));
            // Less than the disk has now: a call that is still there waits for this, and then writes itself.
            ledger.wrote(Used::default());
        }
        let (now, rows) = (self.now(), used.clone());
        let kept = self
            .kept(move |state| {
                state.write_used(&rows)?;
                state.keep_time(now)
            })
            .await;
        match kept {
            Ok(()) => {
                for (live, (_, exactly)) in live.iter().zip(used) {
                    live.ledger().wrote(exactly);
                }
            }
            Err(error) => tracing::error!(%error, "what tasks have used could not be kept"),
        }
        drop(writing);
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
