//! What a client is told while its request runs: progress, and lines of the plugin's, where it asked for
//! either; in the order in which the plugin said them.

#![expect(
    deprecated,
    reason = "the protocol is about to give lines up, and clients of every revision may still ask for them"
)]

use std::sync::Arc;

use rmcp::RoleServer;
use rmcp::model::{
    LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, ProgressToken,
};
use rmcp::service::{Peer, RequestContext};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call::{LogLevel, LogLine, LogSink, Progress, ProgressSink};
use crate::limits::protocol::TOLD;

/// One thing that a client is told.
#[derive(Debug)]
enum Message {
    Progress(Progress),
    Line(LogLine),
}

/// What waits to be written, and the token of who wants progress.
pub(super) struct Queue {
    token: Option<ProgressToken>,
    messages: mpsc::Receiver<Message>,
}

/// Where a call says what its client is told.
pub(super) struct Told {
    pub(super) progress: Option<ProgressSink>,
    pub(super) log: Option<LogSink>,
    pub(super) queue: Option<Queue>,
}

impl Told {
    /// For a request whose client wants lines of at least this level.
    pub(super) fn of(context: &RequestContext<RoleServer>, least: Option<LogLevel>) -> Self {
        let token = context.meta.get_progress_token();
        if token.is_none() && least.is_none() {
            return Self {
                progress: None,
                log: None,
                queue: None,
            };
        }
        let (sender, messages) = mpsc::channel(TOLD);
        let progress = token.is_some().then(|| {
            let sender = sender.clone();
            ProgressSink(Arc::new(move |report| {
                let _ = sender.try_send(Message::Progress(report));
            }))
        });
        let log = least.map(|least| LogSink {
            least,
            sink: Arc::new(move |line| {
                let _ = sender.try_send(Message::Line(line));
            }),
        });
        Self {
            progress,
            log,
            queue: Some(Queue { token, messages }),
        }
    }
}

/// Writes what waits, each report of progress further than the one before, until the call has ended.
pub(super) async fn forward(
    queue: Option<Queue>,
    peer: Peer<RoleServer>,
    ended: CancellationToken,
) {
    let Some(Queue {
        token,
        mut messages,
    }) = queue
    else {
        return;
    };
    let mut last = f64::NEG_INFINITY;
    loop {
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            () = ended.cancelled() => {
                messages.close();
                messages.recv().await
            }
        };
        let sent = match (message, &token) {
            (None, _) => return,
            (Some(Message::Progress(report)), Some(token)) => {
                if !report.value.is_finite() || report.value <= last {
                    continue;
                }
                last = report.value;
                let mut note = ProgressNotificationParam::new(token.clone(), report.value);
                note.total = report.total.filter(|total| total.is_finite());
                note.message = report.message;
                peer.notify_progress(note).await
            }
            (Some(Message::Progress(_)), None) => continue,
            (Some(Message::Line(line)), _) => {
                let mut note = LoggingMessageNotificationParam::new(written(line.level), line.data);
                note.logger = line.logger;
                peer.notify_logging_message(note).await
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

/// Every level, and the protocol's word for it.
const LEVELS: [(LogLevel, LoggingLevel); 8] = [
    (LogLevel::Debug, LoggingLevel::Debug),
    (LogLevel::Info, LoggingLevel::Info),
    (LogLevel::Notice, LoggingLevel::Notice),
    (LogLevel::Warning, LoggingLevel::Warning),
    (LogLevel::Error, LoggingLevel::Error),
    (LogLevel::Critical, LoggingLevel::Critical),
    (LogLevel::Alert, LoggingLevel::Alert),
    (LogLevel::Emergency, LoggingLevel::Emergency),
];

/// A level as the client asked for it.
pub(super) fn level(asked: LoggingLevel) -> LogLevel {
    LEVELS
        .iter()
        .find(|(_, written)| *written == asked)
        .map_or(LogLevel::Emergency, |(level, _)| *level)
}

fn written(level: LogLevel) -> LoggingLevel {
    LEVELS
        .iter()
        .find(|(known, _)| *known == level)
        .map_or(LoggingLevel::Info, |(_, written)| *written)
}
