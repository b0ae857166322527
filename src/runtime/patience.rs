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
    fn used(self) -> Duration {
        self.used + self.since.map_or(Duration::ZERO, |since| since.elapsed())
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
        self.0.send_modify(|watch| {
            watch.used = watch.used();
            watch.since = None;
        });
        Still(self.clone())
    }

    /// Ends once so much time was used.
    pub(crate) async fn over(&self, limit: Duration) {
        let mut changes = self.0.subscribe();
        loop {
            let watch = *changes.borrow_and_update();
            let left = limit.saturating_sub(watch.used());
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
        self.0.0
            .send_modify(|watch| watch.since = Some(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_person_takes_no_time_of_the_call() {
        let began = Instant::now();
        let patience = Patience::start();
        let other = patience.clone();
        let person = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let still = other.stand_still();
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(still);
        });
        patience.over(Duration::from_secs(3)).await;
        let took = began.elapsed().as_secs();
        assert!((603..605).contains(&took), "{took}");
        person.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn without_waiting_it_is_a_time_limit() {
        let began = Instant::now();
        Patience::start().over(Duration::from_secs(3)).await;
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
