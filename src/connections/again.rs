//! Polls a future once more, at once, where it woke itself while it was polled.
//!
//! A connection of `hyper` does so with each body: whoever reads the body wakes whoever brings it, and both are
//! the same task. The runtime takes a task that woke itself for one more piece of work, and wakes another
//! of its threads to share it: that costs a wake-up with every request, and moves the connection from
//! processor to processor, away from all that lies in their caches.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::task::{ArcWake, AtomicWaker, waker};

/// Polls in a row, before others have their turn: one brings a body, one reads it, and one is spare.
/// A task that is out of its budget wakes itself as well, and must not be kept here.
const POLLS: usize = 3;

/// Nothing woke it since it was last polled.
const QUIET: u8 = 0;
/// It is being polled.
const POLLED: u8 = 1;
/// It is to be polled once more.
const WOKEN: u8 = 2;

/// A future that is polled again at once where it woke itself.
#[derive(Debug)]
pub(crate) struct Again<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

#[derive(Debug, Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        // Woken while it is polled, it finds that out by itself; woken twice, once is enough.
        if bell.state.swap(WOKEN, Ordering::AcqRel) == QUIET {
            bell.task.wake();
        }
    }
}

impl<F: Future> Again<F> {
    pub(crate) fn new(future: F) -> Self {
        let bell = Arc::<Bell>::default();
        Self {
            future: Box::pin(future),
            waker: waker(Arc::clone(&bell)),
            bell,
        }
    }
}

impl<F: Future> Future for Again<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        this.bell.task.register(context.waker());
        let mut inner = Context::from_waker(&this.waker);
        for _ in 0..POLLS {
            this.bell.state.store(POLLED, Ordering::Release);
            if let Poll::Ready(output) = this.future.as_mut().poll(&mut inner) {
                return Poll::Ready(output);
            }
            let rests = this.bell.state.compare_exchange(
                POLLED,
                QUIET,
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            if rests.is_ok() {
                return Poll::Pending;
            }
        }
        // Still woken: the state stays so, and the task comes back here in its turn.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    use futures_util::task::waker;
    use tokio::sync::oneshot;

    use super::*;

    #[derive(Debug, Default)]
    struct Counted(AtomicUsize);

    impl ArcWake for Counted {
        fn wake_by_ref(counted: &Arc<Self>) {
            counted.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Polls once; how often the task was woken by that.
    fn poll<F: Future>(again: &mut Again<F>, counted: &Arc<Counted>) -> (Poll<F::Output>, usize) {
        let before = counted.0.load(Ordering::SeqCst);
        let waker = waker(Arc::clone(counted));
        let polled = Pin::new(again).poll(&mut Context::from_waker(&waker));
        (polled, counted.0.load(Ordering::SeqCst) - before)
    }

    /// Wakes itself so often, and then is ready.
    fn wakes_itself(mut times: usize) -> impl Future<Output = ()> {
        poll_fn(move |context| {
            if times == 0 {
                return Poll::Ready(());
            }
            times -= 1;
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    #[test]
    fn what_wakes_itself_is_polled_again_and_wakes_no_task() {
        let counted = Arc::<Counted>::default();
        let mut again = Again::new(wakes_itself(POLLS - 1));
        assert_eq!(poll(&mut again, &counted), (Poll::Ready(()), 0));
    }

    #[test]
    fn what_wakes_itself_for_ever_lets_others_have_their_turn() {
        let counted = Arc::<Counted>::default();
        let mut again = Again::new(wakes_itself(usize::MAX));
        for _ in 0..10 {
            assert_eq!(poll(&mut again, &counted), (Poll::Pending, 1));
        }
    }

    #[test]
    fn what_is_woken_by_others_wakes_its_task_each_time_it_rests() {
        let counted = Arc::<Counted>::default();
        let (sender, receiver) = oneshot::channel();
        let mut again = Again::new(receiver);
        assert_eq!(poll(&mut again, &counted), (Poll::Pending, 0));
        sender.send(7).unwrap();
        assert_eq!(counted.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut again, &counted), (Poll::Ready(Ok(7)), 0));
    }

    /// Threads that wake while it is polled: no wake-up is lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost() {
        for _ in 0..200 {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
            let reads = tokio::spawn(Again::new(async move {
                let mut read = 0;
                while receiver.recv().await.is_some() {
                    read += 1;
                }
                read
            }));
            let writes = tokio::spawn(Again::new(async move {
                for n in 0..50 {
                    sender.send(n).await.unwrap();
                }
            }));
            writes.await.unwrap();
            assert_eq!(reads.await.unwrap(), 50);
        }
    }
}
