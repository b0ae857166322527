//! A request on its way through the host: handed over, told of while it runs, cancelled with its client.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use tokio_util::sync::CancellationToken;

use super::arrived::{Arrived, given_up, is_stateless, named, parent_of, task_of};
use super::declared;
use super::jobs::has_jobs;
use super::rounds::Request;
use super::server::Handler;
use super::told::{self, Told};
use crate::call::{Arrival, ClientSide, LogLevel, Reply, Round};
use crate::limits::protocol::{CANCEL_GRACE, PROGRESS_GRACE};

impl Handler {
    /// The least of the lines that the client of this request wants; none where it wants none.
    fn level(&self, context: &RequestContext<RoleServer>) -> Option<LogLevel> {
        if is_stateless(context) {
            return context.meta.log_level().map(told::level);
        }
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a request to the host, as often as it comes.
    pub(super) async fn carry_out(
        &self,
        request: &Request<'_>,
        round: Option<Round>,
        arrived: &Arrived,
        context: &RequestContext<RoleServer>,
    ) -> Result<Reply, ErrorData> {
        let task = task_of(arrived, context)?;
        let Told {
            progress,
            log,
            queue,
        } = Told::of(context, self.level(context));
        let client = context.client_info();
        let capabilities = context.client_capabilities();
        let arrival = Arrival {
            kind: request.kind,
            arguments: request.arguments.clone(),
            // One that is named is for the first round: what a later one brings, its approver never saw. That one
            // finds its own.
            approval: named(context, "dev.tollgate/approval").filter(|_| round.is_none()),
            progress,
            client: ClientSide {
                offers: declared::offers(capabilities.as_ref()),
                log,
                jobs: is_stateless(context) && has_jobs(capabilities.as_ref()),
            },
            round,
            trace: parent_of(|key| context.meta.get(key)),
            ..self
                .shared
                .arrival(arrived, request.name.clone(), client.as_ref(), task)
        };
        self.run(arrival, context, queue, arrived.slot.clone())
            .await
    }

    async fn run(
        &self,
        arrival: Arrival,
        context: &RequestContext<RoleServer>,
        queue: Option<told::Queue>,
        slot: Option<Arc<dyn Send + Sync>>,
    ) -> Result<Reply, ErrorData> {
        let held = self.shared.calls.token();
        let cancel = CancellationToken::new();
        // Whatever drops this future drops the call with it; then it must know.
        let guard = cancel.clone().drop_guard();
        let mut call = self.shared.backend.clone().call(arrival, cancel.clone());

        let ended = CancellationToken::new();
        let forward = told::forward(queue, context.peer.clone(), ended.clone());
        tokio::pin!(forward);
        let mut forwarding = true;
        let grace = tokio::time::sleep(Duration::MAX);
        tokio::pin!(grace);
        let mut cancelled = false;
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut call => break Some(reply),
                () = given_up(context), if !cancelled => {
                    cancelled = true;
                    cancel.cancel();
                    grace.as_mut().reset(tokio::time::Instant::now() + CANCEL_GRACE);
                }
                () = &mut grace, if cancelled => break None,
                () = &mut forward, if forwarding => forwarding = false,
            }
        };
        guard.disarm();
        let Some(reply) = reply else {
            tracing::warn!("a cancelled call did not end in time; its request is given up");
            self.shared.calls.spawn(async move {
                let _reply = call.await;
                drop((held, slot));
            });
            return Err(ErrorData::internal_error(
                "the call was cancelled and has not ended yet",
                None,
            ));
        };
        ended.cancel();
        if forwarding && !cancelled {
            // A report that can't be written keeps no reply back.
            let _ = tokio::time::timeout(PROGRESS_GRACE, forward).await;
        }
        Ok(reply)
    }
}
