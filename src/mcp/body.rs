//! Bodies of requests and of responses: read within bounds, and counted until they are sent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Frame, SizeHint};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::envelope::{Fault, INVALID_REQUEST};
use super::http::{Refused, refuse};

/// Reads a body of at most `most` bytes, within `time`. One that says that it is longer is not read at all.
pub(super) async fn read(body: Body, most: usize, time: Duration) -> Result<Bytes, Refused> {
    let fault =
        |status, message: String| Err(refuse(status, &Fault::new(INVALID_REQUEST, message)).into());
    let too_large = || {
        fault(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a message has at most {most} bytes"),
        )
    };
    if hyper::body::Body::size_hint(&body).lower() > most as u64 {
        return too_large();
    }
    match tokio::time::timeout(time, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
        Ok(Err(_)) => fault(
            StatusCode::BAD_REQUEST,
            "the body could not be read".to_owned(),
        ),
        Err(_) => fault(
            StatusCode::REQUEST_TIMEOUT,
            "the body took too long".to_owned(),
        ),
    }
}

/// A body that counts as a call under way until it has been sent, so that draining waits for it.
pub(super) struct Held<B> {
    body: B,
    _held: Option<TaskTrackerToken>,
}

impl<B> Held<B> {
    pub(super) const fn new(body: B, held: Option<TaskTrackerToken>) -> Self {
        Self { body, _held: held }
    }
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
