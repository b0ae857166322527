//! What goes on beside the calls: tasks expire, what was charged is written, and a clock that was set
//! back is noticed; jobs and tapes whose time is over go.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use super::{End, TaskError};
use crate::host::Host;
use crate::id::TaskId;
use crate::revocation;

/// How often the time is looked at while a task is live: its calls end well within a second.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is looked at while none is.
const IDLE: Duration = Duration::from_secs(2);
/// How soon what could not be kept is tried again.
const FAILED: Duration = Duration::from_secs(10);
/// How often the latest time is kept, and tapes are looked through.
const KEEP_TIME: Duration = Duration::from_secs(60);

/// Runs until the host is gone, or ends. It holds nothing of the host while it waits.
pub(crate) async fn keep(host: Weak<Host>) {
    let Some(wake) = host.upgrade().map(|host| host.tasks().wake()) else {
        return;
    };
    let mut time_kept = Instant::now();
    let mut later = Later::new();
    if let Some(host) = host.upgrade() {
        prune_tapes(&host).await;
    }
    loop {
        let wait = {
            let Some(host) = host.upgrade().filter(|host| !host.is_draining()) else {
                return;
            };
            host.look_at_the_clock();
            let tasks = host.tasks();
            expire(&host, &mut later).await;
            tasks.cover_pending().await;
            host.jobs().sweep().await;
            if time_kept.elapsed() >= KEEP_TIME {
                time_kept = Instant::now();
                tasks.keep_time().await;
                prune_tapes(&host).await;
            }
            if tasks.any_live() { LOOK } else { IDLE }
        };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Removes tapes whose time is over.
async fn prune_tapes(host: &Host) {
    let (tapes, settings, now) = (host.tapes().clone(), host.config().tapes, host.now());
    let pruned = tokio::task::spawn_blocking(move || tapes.prune(&settings, now)).await;
    if let Err(error) = pruned {
        tracing::error!(%error, "tapes could not be looked through");
    }
}

/// Tasks whose end could not be kept, and when that is tried again. The others are looked at meanwhile.
pub(super) type Later = HashMap<TaskId, Instant>;

/// Ends the tasks whose time is over.
pub(super) async fn expire(host: &Host, later: &mut Later) {
    let now = Instant::now();
    for id in host.tasks().expired() {
        if later.get(&id).is_some_and(|again| now < *again) {
            continue;
        }
        match host.end_task(id, End::Expired, "its time was over").await {
            // Also where it ended with the one that it lies within, a moment ago.
            Ok(_) | Err(TaskError::Over(..)) => {
                later.remove(&id);
            }
            Err(error) => {
                // Its calls end all the same: taking power back needs no journal and no disk.
                tracing::error!(task = %id, %error, "the end of a task could not be kept");
                revocation::ended(host, id, &End::Expired.refusal()).await;
                later.insert(id, now + FAILED);
            }
        }
    }
}
