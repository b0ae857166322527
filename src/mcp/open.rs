//! The stream of an older session, which stays open to tell of changes: for as long as what opened it is in
//! force, and no longer, also where there is nothing to tell.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::body::{Body, Frame, SizeHint};

use super::share::Share;

/// The body of a response that is such a stream.
pub(super) struct Open<B> {
    /// None once it has ended.
    body: Option<B>,
    /// Done once the credential that opened it is worth nothing any more.
    ends: BoxFuture<'static, ()>,
    _share: Share,
}

impl<B> Open<B> {
    pub(super) fn new(body: B, ends: BoxFuture<'static, ()>, share: Share) -> Self {
        Self {
            body: Some(body),
            ends,
            _share: share,
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Open<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // Before what is to be told: whoever lost its right hears no more.
        if self.body.is_some() && self.ends.as_mut().poll(context).is_ready() {
            self.body = None;
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        // It may end early.
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::{BodyExt as _, Empty, StreamBody};
    use tokio::sync::{mpsc, oneshot};

    use super::super::share::Shares;
    use super::*;
    use crate::identity::AgentId;

    fn share() -> (Arc<Shares>, Share) {
        let shares = Arc::new(Shares::new(1));
        let share = shares.take(&AgentId::local("alice").unwrap()).unwrap();
        (shares, share)
    }

    #[tokio::test]
    async fn it_ends_with_its_credential_while_nothing_is_told() {
        let (_shares, share) = share();
        let (end, ended) = oneshot::channel::<()>();
        let (_quiet, told) = mpsc::channel::<Result<Frame<Bytes>, std::io::Error>>(1);
        let told = futures_util::stream::unfold(told, |mut told| async move {
            told.recv().await.map(|frame| (frame, told))
        });
        let ends = Box::pin(async move { drop(ended.await) });
        let body = Open::new(StreamBody::new(Box::pin(told)), ends, share);
        let read = tokio::spawn(async move {
            let mut body = body;
            body.frame().await.is_none()
        });
        tokio::task::yield_now().await;
        assert!(!read.is_finished());
        end.send(()).unwrap();
        assert!(read.await.unwrap());
    }

    #[tokio::test]
    async fn it_gives_its_place_back() {
        let (shares, share) = share();
        let alice = AgentId::local("alice").unwrap();
        let never = Box::pin(std::future::pending());
        let body = Open::new(Empty::<Bytes>::new(), never, share);
        assert!(shares.take(&alice).is_none());
        drop(body);
        assert!(shares.take(&alice).is_some());
    }
}
