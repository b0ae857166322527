//! The thread that tidies up, and what wakes it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;

use super::{Keep, Tidy};
use crate::clock::SharedClock;
use crate::journal::append::{Change, with_event};
use crate::journal::commit::Shared;
use crate::journal::record::Event;
use crate::journal::storage::Storage;

/// What wakes the keeper.
#[derive(Debug, Default)]
pub(in crate::journal) struct Signal {
    is_wanted: Mutex<bool>,
    wake: Condvar,
    stop: Arc<AtomicBool>,
}

impl Signal {
    /// A segment was closed.
    pub(in crate::journal) fn want(&self) {
        *self
            .is_wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.want();
    }

    /// Returns when there may be something to do; false where there is nothing more.
    fn wait(&self) -> bool {
        let mut is_wanted = self
            .is_wanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while !*is_wanted {
            is_wanted = self
                .wake
                .wait(is_wanted)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *is_wanted = false;
        !self.stop.load(Ordering::Relaxed)
    }
}

/// The thread that tidies up. It has ended when this is dropped.
#[derive(Debug)]
pub(in crate::journal) struct Keeper {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    pub(in crate::journal) fn start(
        storage: Arc<dyn Storage>,
        keep: Keep,
        clock: SharedClock,
        signal: Arc<Signal>,
        shared: Weak<Shared>,
    ) -> io::Result<Self> {
        let tidy = Tidy {
            storage,
            keep,
            clock,
            stop: Arc::clone(&signal.stop),
        };
        // What an earlier host left, first.
        signal.want();
        let thread = std::thread::Builder::new()
            .name(String::from("journal-keep"))
            .spawn({
                let signal = Arc::clone(&signal);
                move || {
                    // Of this thread alone, on Linux: calls go first. It does no harm where it is refused.
                    let _ = rustix::process::nice(10);
                    while signal.wait() {
                        let done = tidy.run(&|event| match shared.upgrade() {
                            Some(shared) => record(&shared, event),
                            None => Err(io::Error::other("the host ends")),
                        });
                        match done {
                            Err(error) if !signal.stop.load(Ordering::Relaxed) => tracing::warn!(
                                %error,
                                "closed segments of the journal stay as they are until it is tried again"
                            ),
                            _ => {}
                        }
                    }
                }
            })?;
        Ok(Self {
            signal,
            thread: Some(thread),
        })
    }
}

/// Records an event, and returns once it is on the disk.
fn record(shared: &Shared, event: &Event) -> io::Result<()> {
    with_event(event, |event| shared.append(event, Change::None))
        .and_then(|_| shared.commit())
        .map_err(io::Error::other)
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
