//! The requests of one byte stream that are under way: how many there may be, and when an id is free again.
//!
//! A client that cancels a request gets no answer to it, but what carries it out may still run. Its id stays
//! taken, and its place too, until that is gone and its answer has come and was left out: by an id that was
//! given out anew it would be taken for the new request's, and whoever cancels at once could have any number
//! under way. `rmcp` forgets an id when it is cancelled, so it is not told: the request itself is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// One of its id is under way.
    Again,
    /// As many as there may be are under way.
    Full,
}

/// The requests that were passed on.
#[derive(Debug)]
pub(super) struct Pending {
    inner: Mutex<Inner>,
    settled: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct Inner {
    under_way: HashMap<String, Request>,
    next: u64,
    /// Answers that are being written.
    writing: usize,
}

#[derive(Debug)]
struct Request {
    /// Tells it from another one of its id.
    number: u64,
    /// Whether the end of the stream waits for its answer.
    waits: bool,
    /// Its answer is on its way out.
    answers: bool,
    /// It was answered, or never will be.
    settled: bool,
    /// What carries it out is gone.
    gone: bool,
    /// Cancelled once its client wants no answer any more.
    cancel: CancellationToken,
}

/// The place of a request. Whatever carries it out keeps this until it is gone.
#[derive(Debug)]
pub(super) struct Slot {
    of: Arc<Pending>,
    id: String,
    number: u64,
    cancel: CancellationToken,
}

/// What becomes of an answer.
#[derive(Debug)]
pub(super) enum Answer {
    /// It goes out.
    Wanted(Answering),
    /// It is left out.
    Cancelled,
    /// It is to no request that was taken here.
    Other,
}

/// An answer on its way out: dropped, it can't go out any more.
#[derive(Debug)]
pub(super) struct Answering {
    of: Arc<Pending>,
    id: String,
    number: u64,
}

/// An answer that is being written, for as long as this is there.
#[derive(Debug)]
pub(super) struct Writing(Arc<Pending>);

impl Pending {
    pub(super) fn new(most: usize) -> Self {
        Self {
            inner: Mutex::default(),
            settled: Notify::new(),
            most,
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request of this id. `waits` says whether the end of the stream waits for its answer.
    pub(super) fn take(self: &Arc<Self>, id: String, waits: bool) -> Result<Slot, NotTaken> {
        let mut inner = self.inner();
        if inner.under_way.contains_key(&id) {
            return Err(NotTaken::Again);
        }
        if inner.under_way.len() >= self.most {
            return Err(NotTaken::Full);
        }
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        let cancel = CancellationToken::new();
        let request = Request {
            number,
            waits,
            answers: false,
            settled: false,
            gone: false,
            cancel: cancel.clone(),
        };
        inner.under_way.insert(id.clone(), request);
        drop(inner);
        Ok(Slot {
            of: Arc::clone(self),
            id,
            number,
            cancel,
        })
    }

    /// Its client wants no answer any more, and gets none but one that is on its way.
    pub(super) fn cancel(&self, id: &str) {
        self.change(id, None, |request| {
            if !request.answers {
                request.cancel.cancel();
            }
        });
    }

    /// There is an answer to the request of this id; none where nobody wants it.
    pub(super) fn answers(self: &Arc<Self>, id: String) -> Answer {
        let mut inner = self.inner();
        let Some(request) = inner.under_way.get_mut(&id) else {
            return Answer::Other;
        };
        request.answers = true;
        let number = request.number;
        let is_wanted = !request.cancel.is_cancelled();
        drop(inner);
        let answering = Answering {
            of: Arc::clone(self),
            id,
            number,
        };
        if is_wanted {
            Answer::Wanted(answering)
        } else {
            drop(answering);
            Answer::Cancelled
        }
    }

    /// Changes a request, which is over once it is settled and nothing carries it out.
    fn change(&self, id: &str, number: Option<u64>, change: impl FnOnce(&mut Request)) {
        let mut inner = self.inner();
        let Some(request) = inner.under_way.get_mut(id) else {
            return;
        };
        if number.is_some_and(|number| number != request.number) {
            return;
        }
        change(request);
        if request.settled && request.gone {
            inner.under_way.remove(id);
        }
        drop(inner);
        self.settled.notify_waiters();
    }

    /// Waits until all answers are written.
    pub(super) async fn all_answered(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            let waits = |request: &Request| {
                request.waits && !request.settled && !request.cancel.is_cancelled()
            };
            let is_over = {
                let inner = self.inner();
                inner.writing == 0 && !inner.under_way.values().any(waits)
            };
            if is_over {
                return;
            }
            settled.await;
        }
    }
}

impl Slot {
    /// Cancelled once its client wants no answer any more.
    pub(super) fn cancel(&self) -> CancellationToken {
        self.cancel.clone()
    }
}

impl Answering {
    /// It is written next. From now on the id and the place are free: whoever reads the answer may ask again
    /// before this knows that it was read.
    pub(super) fn goes_out(self) -> Writing {
        let of = Arc::clone(&self.of);
        of.inner().writing += 1;
        Writing(of)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let settle = |request: &mut Request| request.settled = true;
        self.of.change(&self.id, Some(self.number), settle);
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.writing = inner.writing.saturating_sub(1);
        drop(inner);
        self.0.settled.notify_waiters();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // What panics answers nothing.
        let panics = std::thread::panicking();
        self.of.change(&self.id, Some(self.number), |request| {
            request.gone = true;
            request.settled |= panics;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending() -> Arc<Pending> {
        Arc::new(Pending::new(2))
    }

    fn take(pending: &Arc<Pending>, id: &str) -> Result<Slot, NotTaken> {
        pending.take(id.to_owned(), true)
    }

    fn answer(pending: &Arc<Pending>, id: &str) -> Answering {
        match pending.answers(id.to_owned()) {
            Answer::Wanted(answering) => answering,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_id_is_free_once_it_is_answered_and_nothing_carries_it_out() {
        let pending = pending();
        let slot = take(&pending, "1").unwrap();
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        drop(slot);
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        let answering = answer(&pending, "1");
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        let writing = answering.goes_out();
        let again = take(&pending, "1").unwrap();
        drop(writing);
        drop(again);
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        // An answer that can't go out is none any more.
        drop(answer(&pending, "1"));
        let _again = take(&pending, "1").unwrap();
    }

    #[test]
    fn a_cancelled_request_keeps_its_id_and_its_place_until_it_is_gone() {
        let pending = pending();
        let one = take(&pending, "1").unwrap();
        let _two = take(&pending, "2").unwrap();
        assert!(!one.cancel().is_cancelled());
        pending.cancel("1");
        assert!(one.cancel().is_cancelled());
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        assert_eq!(take(&pending, "3").unwrap_err(), NotTaken::Full);
        drop(one);
        // Its answer is still to come, and is not taken for another's.
        assert_eq!(take(&pending, "1").unwrap_err(), NotTaken::Again);
        assert!(matches!(pending.answers("1".to_owned()), Answer::Cancelled));
        let _three = take(&pending, "3").unwrap();
        // One that came too late changes nothing: the answer is being written.
        let four = answer(&pending, "2");
        pending.cancel("2");
        assert_eq!(take(&pending, "2").unwrap_err(), NotTaken::Again);
        drop(four);
        pending.cancel("none");
        let none = pending.answers("none".to_owned());
        assert!(matches!(none, Answer::Other));
    }

    #[tokio::test]
    async fn the_end_waits_for_answers_that_are_still_to_come() {
        let pending = pending();
        let _listens = pending.take("1".to_owned(), false).unwrap();
        let call = take(&pending, "2").unwrap();
        let waiting = pending.clone();
        let waits = tokio::spawn(async move { waiting.all_answered().await });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let writing = answer(&pending, "2").goes_out();
        drop(call);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished(), "it is not written yet");
        drop(writing);
        waits.await.unwrap();
        // What is cancelled is not waited for.
        let _call = take(&pending, "3").unwrap();
        pending.cancel("3");
        pending.all_answered().await;
    }
}
