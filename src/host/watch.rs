//! Watching the home for changes, so that dropping a file is all it takes.

use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio_util::sync::CancellationToken;

use super::Host;

/// Changes this close together are one: an editor or a copy makes several.
const SETTLE: Duration = Duration::from_millis(150);

/// Watches while it lives.
#[derive(Debug)]
pub struct Watch {
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches `plugins/`, `policies/` and `tollgate.toml`, and takes in what changes.
    ///
    /// # Errors
    ///
    /// The operating system can't watch.
    pub fn start(host: &Arc<Host>) -> notify::Result<Self> {
        let (wake, mut woken) = tokio::sync::mpsc::channel(1);
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                // Reading a file is no change, and the host itself reads.
                if !matches!(event, Ok(ref event) if event.kind.is_access()) {
                    // A wake-up that is waiting already covers this one.
                    let _ = wake.try_send(());
                }
            })?;
        let home = host.home();
        watcher.watch(home.root(), RecursiveMode::NonRecursive)?;
        for folder in [home.plugins(), home.policies()] {
            if folder.is_dir() {
                watcher.watch(&folder, RecursiveMode::NonRecursive)?;
            }
        }
        let host = Arc::clone(host);
        let draining: CancellationToken = host.draining();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = draining.cancelled() => return,
                    event = woken.recv() => if event.is_none() { return },
                }
                tokio::time::sleep(SETTLE).await;
                while woken.try_recv().is_ok() {}
                host.refresh().await;
            }
        });
        Ok(Self { _watcher: watcher })
    }
}
