//! How long an instance may take, with the time left out that people take.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// A stopwatch for one call. It stands still while the call waits for a person.
#[derive(Debug, Clone)]
pub(crate) struct Patience(Arc<watch::Sender<Watch>>);

#[derive(Debug, Clone, Copy)]
struct Watch {
    used: Duration,
    /// None while it stands still.
    since: Option<Instant>,
}

impl Watch {
    fn used(self, now: Instant) -> Duration {
        let running = self.since.map(|since| now.saturating_duration_since(since));
        self.used + running.unwrap_or_default()
    }

    fn stop(&mut self, now: Instant) {
        self.used = self.used(now);
        self.since = None;
    }

    fn go_on(&mut self, now: Instant) {
        self.since = Some(now);
    }
}

impl Patience {
    /// A stopwatch that runs from now on.
    pub(crate) fn start() -> Self {
        Self(Arc::new(watch::Sender::new(Watch {
            used: Duration::ZERO,
            since: Some(Instant::now()),
        })))
    }

    /// Stops it until the value is dropped. Once at a time: an instance makes one host call at once.
    pub(crate) fn stand_still(&self) -> Still {
        self.0.send_modify(|watch| watch.stop(Instant::now()));
        Still(self.clone())
    }

    /// The time that was used so far.
    pub(crate) fn used(&self) -> Duration {
        self.0.borrow().used(Instant::now())
    }

    /// Ends once so much time was used.
    pub(crate) async fn over(&self, limit: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let watch = *changes.borrow_and_update();
            let left = limit.saturating_sub(watch.used(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep(left), if watch.since.is_some() => return,
                _ = changes.changed() => {}
            }
        }
    }
}

/// While it lives, the stopwatch stands still.
#[derive(Debug)]
pub(crate) struct Still(Patience);

impl Drop for Still {
    fn drop(&mut self) {
        self.0.0.send_modify(|watch| watch.go_on(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_a_person_takes_does_not_count() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watch = Watch {
            used: Duration::ZERO,
            since: Some(start),
        };
        assert_eq!(watch.used(at(2)).as_secs(), 2);
        watch.stop(at(3));
        assert_eq!(watch.used(at(600)).as_secs(), 3);
        watch.go_on(at(600));
        assert_eq!(watch.used(at(604)).as_secs(), 7);
    }

    #[tokio::test]
    async fn a_call_that_waits_for_a_person_is_not_over() {
        let patience = Patience::start();
        let still = patience.stand_still();
        tokio::select! {
            biased;
            () = patience.over(Duration::ZERO) => panic!("over while a person thinks"),
            () = tokio::task::yield_now() => {}
        }
        drop(still);
        patience.over(Duration::ZERO).await;
    }
}
