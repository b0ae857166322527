//! MCP over a stream of bytes, a message in each line: stdio and the daemon's socket.
//!
//! End of input is not the end: calls under way finish and are answered first, for a bounded time.
//! Nothing is written but whole messages, each by one task, so that none can be torn by another.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, RequestId, ServerJsonRpcMessage};
use rmcp::service::{RoleServer, RxJsonRpcMessage, TxJsonRpcMessage, serve_server_with_ct};
use rmcp::transport::Transport;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::MAX_MESSAGE;
use super::arrived::Arrived;
use super::backend::Backend;
use super::envelope::{self, Fault, IN_USE, INVALID_REQUEST, Kind};
use super::pending::{Answer, Answering, NotTaken, Pending};
use super::server::{Handler, Shared};
use crate::id::TaskId;
use crate::identity::{AgentId, Authenticated};
use crate::limits::protocol::{DRAIN, QUEUE, REQUESTS, WRITE};

/// Serves one session of MCP to `agent`, on `task` where it is bound to one, over `stream`. `transport`
/// is what records call it.
///
/// Returns once the input has ended, or the host drains, and what was asked has been answered.
///
/// # Errors
///
/// The stream failed, or the client began with what is no beginning.
pub async fn serve_stream<S>(
    backend: Arc<dyn Backend>,
    agent: AgentId,
    task: Option<TaskId>,
    stream: S,
    transport: &'static str,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let draining = backend.draining();
    let shared = Shared::new(backend, transport);
    let ending = CancellationToken::new();
    let (read, write) = tokio::io::split(stream);
    let (queue, outgoing) = mpsc::channel(QUEUE);
    let broken = CancellationToken::new();
    let writer = tokio::spawn(write_all(write, outgoing, broken.clone()));
    let lines = Lines {
        read: BufReader::new(read),
        line: Vec::new(),
        skipping: false,
        fault: None,
        shared: shared.clone(),
        who: Arc::new(Authenticated::of(agent)),
        task,
        pending: Arc::new(Pending::new(REQUESTS)),
        queue: Some(queue),
        draining,
        ending: ending.clone(),
        broken,
        deadline: None,
    };
    let session = CancellationToken::new();
    let handler = Handler::new(shared.clone(), ending);
    let ended = match serve_server_with_ct(handler, lines, session).await {
        Ok(running) => running.waiting().await.map(drop).map_err(io::Error::other),
        // What ended before it began.
        Err(rmcp::service::ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => {
            tracing::debug!(%error, "a session did not begin");
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the client did not begin with a request of MCP",
            ))
        }
    };
    // Calls whose requests were cancelled are recorded before this returns.
    shared.calls.close();
    if tokio::time::timeout(DRAIN, shared.calls.wait())
        .await
        .is_err()
    {
        tracing::warn!("calls were still under way when the time to drain was over");
    }
    // The transport is gone, and with it the last sender.
    writer.await.map_err(io::Error::other)?;
    ended
}

/// A line to write.
struct Outgoing {
    line: Vec<u8>,
    answers: Option<Answering>,
    /// Told once it is written.
    written: Option<oneshot::Sender<()>>,
}

async fn write_all<W: AsyncWrite + Unpin>(
    mut write: W,
    mut outgoing: mpsc::Receiver<Outgoing>,
    broken: CancellationToken,
) {
    while let Some(next) = outgoing.recv().await {
        let Outgoing {
            line,
            answers,
            written,
        } = next;
        let _writing = answers.map(Answering::goes_out);
        let sent = tokio::time::timeout(WRITE, async {
            write.write_all(&line).await?;
            write.flush().await
        });
        match sent.await {
            Ok(Ok(())) => {
                if let Some(written) = written {
                    let _ = written.send(());
                }
            }
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("a client went away before it read its answer");
                break;
            }
        }
    }
    broken.cancel();
    let _ = write.shutdown().await;
}

fn key(id: &RequestId) -> String {
    match id {
        RequestId::Number(number) => number.to_string(),
        RequestId::String(text) => format!("\"{text}"),
    }
}

/// One session's lines, as `rmcp` takes and gives messages.
struct Lines<R> {
    read: BufReader<R>,
    line: Vec<u8>,
    /// Within a line that was too long, up to its end.
    skipping: bool,
    /// An answer of ours that waits for a place in the queue.
    fault: Option<Fault>,
    shared: Arc<Shared>,
    who: Arc<Authenticated>,
    task: Option<TaskId>,
    pending: Arc<Pending>,
    queue: Option<mpsc::Sender<Outgoing>>,
    draining: CancellationToken,
    ending: CancellationToken,
    broken: CancellationToken,
    /// When draining is over, once it has begun.
    deadline: Option<Instant>,
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads up to the end of a line. What was read stays in `line` when this is dropped half-way.
async fn next_line<R: AsyncBufRead + Unpin>(
    read: &mut R,
    line: &mut Vec<u8>,
    skipping: &mut bool,
) -> io::Result<Line> {
    loop {
        let available = read.fill_buf().await?;
        if available.is_empty() {
            // A last line without its end is whole if it is anything.
            return Ok(if line.is_empty() {
                Line::End
            } else {
                Line::Whole
            });
        }
        let ends = available.iter().position(|byte| *byte == b'\n');
        let part = available
            .get(..ends.unwrap_or(available.len()))
            .unwrap_or_default();
        let used = part.len() + usize::from(ends.is_some());
        let fits = line.len() + part.len() <= MAX_MESSAGE;
        if !*skipping && fits {
            line.extend_from_slice(part);
        }
        read.consume(used);
        if *skipping {
            *skipping = ends.is_none();
        } else if !fits {
            *skipping = ends.is_none();
            *line = Vec::new();
            return Ok(Line::TooLong);
        } else if ends.is_some() {
            return Ok(Line::Whole);
        }
    }
}

impl<R: AsyncRead + Send + Unpin> Lines<R> {
    /// Waits until what was asked is answered, then ends subscriptions.
    async fn drain(&mut self) {
        let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + DRAIN);
        tokio::select! {
            () = self.pending.all_answered() => {}
            () = self.broken.cancelled() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
        self.ending.cancel();
    }

    /// The next message for `rmcp`, or a fault to answer, or nothing.
    fn take(&mut self) -> Result<Option<ClientJsonRpcMessage>, Fault> {
        let text = Bytes::from(std::mem::take(&mut self.line));
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let message = envelope::read(&text)?;
        if matches!(message.kind, Kind::Call(_) | Kind::Request)
            && let Err(why) = self.shared.backend.admits(&self.who)
        {
            return Err(Fault::too_often(&why).with_id(message.id()));
        }
        let keep = match &message.kind {
            Kind::Call(call) => self
                .shared
                .backend
                .tool(&call.name)
                .is_some_and(|tool| tool.in_headers()),
            _ => false,
        };
        let mut passed: ClientJsonRpcMessage = serde_json::from_slice(&message.rewritten(keep))
            .map_err(|_| message.fault(INVALID_REQUEST, "not a message of MCP"))?;
        match (&mut passed, message.id_key()) {
            (ClientJsonRpcMessage::Request(request), Some(id)) => {
                let waits = message.method() != Some("subscriptions/listen");
                let slot = self.pending.take(id, waits).map_err(|why| match why {
                    // Without the id: an answer by it belongs to the request that has it.
                    NotTaken::Again => Fault::new(INVALID_REQUEST, IN_USE),
                    NotTaken::Full => {
                        let fault = Fault::too_many("this session", REQUESTS, envelope::REQUESTS);
                        self.shared.backend.crowded(&self.who, &fault.message);
                        fault.with_id(message.id())
                    }
                })?;
                request.request.extensions_mut().insert(Arrived {
                    who: self.who.clone(),
                    task: self.task,
                    arguments: message.arguments(&text),
                    cancel: slot.cancel(),
                    slot: Some(Arc::new(slot)),
                });
            }
            (ClientJsonRpcMessage::Notification(_), _)
                if message.method() == Some("notifications/cancelled") =>
            {
                #[derive(serde::Deserialize)]
                #[serde(rename_all = "camelCase")]
                struct Cancelled {
                    request_id: RequestId,
                }
                let cancelled = message
                    .params()
                    .and_then(|params| serde_json::from_str::<Cancelled>(params.get()).ok());
                if let Some(cancelled) = cancelled {
                    // It is not answered; what carries it out may take a while to end.
                    self.pending.cancel(&key(&cancelled.request_id));
                    return Ok(None);
                }
            }
            _ => {}
        }
        Ok(Some(passed))
    }
}

impl<R: AsyncRead + Send + Unpin> Transport<RoleServer> for Lines<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let queue = self.queue.clone();
        let answered = match &message {
            ServerJsonRpcMessage::Response(response) => Some(key(&response.id)),
            ServerJsonRpcMessage::Error(error) => error.id.as_ref().map(key),
            _ => None,
        };
        // At once, and not when the future is first polled: what is cancelled from now on is answered.
        let answer = answered.map_or(Answer::Other, |id| self.pending.answers(id));
        async move {
            let answers = match answer {
                Answer::Wanted(answering) => Some(answering),
                Answer::Cancelled => return Ok(()),
                Answer::Other => None,
            };
            let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let (written, done) = oneshot::channel();
            let next = Outgoing {
                line,
                answers,
                written: Some(written),
            };
            let queue = queue.ok_or_else(gone)?;
            queue.send(next).await.map_err(|_| gone())?;
            done.await.map_err(|_| gone())
        }
    }

    // Dropped whenever `rmcp` has something else to do, and called again: all that lasts is in `self`.
    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            if self.fault.is_some() {
                let place = self.queue.as_ref()?.reserve().await.ok()?;
                if let Some(fault) = self.fault.take() {
                    let mut line = fault.to_json();
                    line.push(b'\n');
                    place.send(Outgoing {
                        line,
                        answers: None,
                        written: None,
                    });
                }
            }
            if self.deadline.is_some() || self.broken.is_cancelled() {
                self.drain().await;
                return None;
            }
            let read = tokio::select! {
                biased;
                () = self.draining.cancelled() => None,
                () = self.broken.cancelled() => None,
                read = next_line(&mut self.read, &mut self.line, &mut self.skipping) => {
                    Some(read)
                }
            };
            match read {
                Some(Ok(Line::Whole)) => match self.take() {
                    Ok(Some(message)) => return Some(message),
                    Ok(None) => {}
                    Err(fault) => self.fault = Some(fault),
                },
                Some(Ok(Line::TooLong)) => {
                    self.fault = Some(Fault::new(
                        INVALID_REQUEST,
                        format!("a message has at most {MAX_MESSAGE} bytes"),
                    ));
                }
                Some(Ok(Line::End) | Err(_)) | None => {
                    self.deadline = Some(Instant::now() + DRAIN);
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.queue = None;
        Ok(())
    }
}
