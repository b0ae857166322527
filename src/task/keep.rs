//! What goes on beside the calls: tasks expire, what was charged is written, and a clock that was set
//! back is noticed.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::Instant;

use super::End;
use crate::host::Host;
use crate::revocation;

/// How often the time is looked at while a task is live: its calls end well within a second.
const LOOK: Duration = Duration::from_millis(200);
/// How often it is looked at while none is.
const IDLE: Duration = Duration::from_secs(2);
/// How soon what could not be kept is tried again.
const FAILED: Duration = Duration::from_secs(10);
/// How often the latest time is kept.
const KEEP_TIME: Duration = Duration::from_secs(60);

/// Runs until the host is gone, or ends. It holds nothing of the host while it waits.
pub(crate) async fn keep(host: Weak<Host>) {
    let Some(wake) = host.upgrade().map(|host| host.tasks().wake()) else {
        return;
    };
    let mut time_kept = Instant::now();
    loop {
        let wait = {
            let Some(host) = host.upgrade().filter(|host| !host.is_draining()) else {
                return;
            };
            host.look_at_the_clock();
            let tasks = host.tasks();
            let mut failed = false;
            for id in tasks.expired() {
                if let Err(error) = host.end_task(id, End::Expired, "its time was over").await {
                    // Its calls end all the same: taking power back needs no journal and no disk.
                    tracing::error!(task = %id, %error, "the end of a task could not be kept");
                    revocation::ended(&host, id, &End::Expired.refusal()).await;
                    failed = true;
                }
            }
            tasks.cover_pending().await;
            if time_kept.elapsed() >= KEEP_TIME {
                time_kept = Instant::now();
                tasks.keep_time().await;
            }
            match (failed, tasks.any_live()) {
                (true, _) => FAILED,
                (false, true) => LOOK,
                (false, false) => IDLE,
            }
        };
        tokio::select! {
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}
