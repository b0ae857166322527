//! A call that runs as a job: begun within its request, and carried on after it.
//!
//! Its request is answered with a handle once policy allows the call, or a person is asked. What is refused
//! before is refused in its answer, as any call, and there never was a job.
//!
//! Each round is a call of its own. Between two of them the job waits: for its client's answers, which come
//! by `tasks/update`, or for a person. What a plugin wants back stays here: it goes to no client, and into no
//! file.

use std::sync::Arc;

use rmcp::model::Implementation;
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
use tokio::sync::oneshot;

use super::answers::too_much;
use super::arrived::{Arrived, given_up, named, parent_of, task_of};
use super::declared;
use super::held;
use super::jobs::{created, has_jobs};
use super::rounds::{self, Answered, Request};
use super::server::{Handler, Shared};
use crate::call::{Arrival, ClientSide, Content, Progress, ProgressSink, Reply, Round};
use crate::id::{ApprovalId, TaskId};
use crate::job::{End, Job, Seat, Stop, late};
use crate::limits::protocol::{HOLDS, RESULT, ROUNDS};
use crate::plugin::{Kind, QuestionKind};
use crate::reason::{Reason, Refusal};
use crate::telemetry::TraceParent;

/// How a call that is to run as a job begins.
enum First {
    /// There is one.
    Job,
    /// It was refused before there was one.
    Reply(Box<Reply>),
}

/// What carries a job on.
struct Work {
    shared: Arc<Shared>,
    seat: Seat,
    arrived: Arrived,
    name: String,
    client: Option<Implementation>,
    task: Option<TaskId>,
    offers: Vec<QuestionKind>,
    /// Whether the client shows pages.
    pages: bool,
    /// The approval that the client named.
    approval: Option<String>,
    trace: Option<TraceParent>,
}

impl Handler {
    /// Runs a call as a job, where its tool does long work, the operator lets it and the client has jobs.
    pub(super) async fn as_job(
        &self,
        request: &Request<'_>,
        round: Option<&Round>,
        arrived: &Arrived,
        context: &RequestContext<RoleServer>,
    ) -> Result<Option<Answered>, ErrorData> {
        let capabilities = context.client_capabilities();
        if request.kind != Kind::Tool || !has_jobs(capabilities.as_ref()) {
            return Ok(None);
        }
        let backend = &self.shared.backend;
        let Some(lasts) = backend.lasts(&request.name) else {
            return Ok(None);
        };
        if lasts.asks_first && round.is_none_or(|round| round.answers.is_empty()) {
            return Ok(None);
        }
        let task = task_of(arrived, context)?;
        let client = context.client_info();
        let seat = match backend.job_of(&arrived.who, &request.name) {
            Ok(seat) => seat,
            Err(refusal) => {
                let arrival =
                    self.shared
                        .arrival(arrived, request.name.clone(), client.as_ref(), task);
                let reply = backend.clone().refuse(arrival, refusal).await;
                return Ok(Some(Answered::Complete(reply)));
            }
        };
        let job = Arc::clone(&seat.0);
        let work = Work {
            shared: Arc::clone(&self.shared),
            seat,
            arrived: Arrived {
                arguments: request.arguments.clone(),
                // The request's id is free again once it is answered.
                slot: None,
                ..arrived.clone()
            },
            name: request.name.clone(),
            client,
            task,
            offers: declared::offers(capabilities.as_ref()),
            pages: held::opens_pages(context),
            approval: named(context, "dev.tollgate/approval"),
            trace: parent_of(|key| context.meta.get(key)),
        };
        // Whatever drops this future leaves nobody who knows of the job.
        let guard = job.cancel().clone().drop_guard();
        let (sender, mut first) = oneshot::channel();
        tokio::spawn(work.run(round.cloned(), sender));
        let first = tokio::select! {
            biased;
            first = &mut first => first,
            () = given_up(context) => {
                job.stop(Stop::Owner);
                first.await
            }
        };
        guard.disarm();
        match first {
            Ok(First::Job) => {
                let shown = job.shown();
                let meta = self.job_meta(&shown);
                Ok(Some(Answered::Lasts(created(&shown, meta))))
            }
            Ok(First::Reply(reply)) => Ok(Some(Answered::Complete(*reply))),
            Err(_) => Err(ErrorData::internal_error("the job did not begin", None)),
        }
    }
}

impl Work {
    fn job(&self) -> &Arc<Job> {
        &self.seat.0
    }

    fn arrival(&self, round: Option<&Round>) -> Arrival {
        let job = Arc::clone(self.job());
        let arrived = Arrived {
            who: job.who(),
            ..self.arrived.clone()
        };
        let says = Arc::clone(&job);
        let task = self.task.or_else(|| job.task());
        Arrival {
            // One that was named is for the round that it was named in.
            approval: self.approval.clone().filter(|_| round.is_none()),
            progress: Some(ProgressSink(Arc::new(move |progress| {
                says.says(told(&progress));
            }))),
            client: ClientSide {
                offers: self.offers.clone(),
                log: None,
                jobs: true,
            },
            round: round.cloned(),
            job: Some(job),
            trace: self.trace.clone(),
            ..self
                .shared
                .arrival(&arrived, self.name.clone(), self.client.as_ref(), task)
        }
    }

    /// Carries the job on to its end; `first` is told once it is one, or what came instead.
    async fn run(self, round: Option<Round>, first: oneshot::Sender<First>) {
        let mut first = Some(first);
        if let Some(end) = self.rounds(round, &mut first).await {
            self.job().end(end).await;
        }
    }

    /// All rounds; none where there never was a job.
    async fn rounds(
        &self,
        mut round: Option<Round>,
        first: &mut Option<oneshot::Sender<First>>,
    ) -> Option<End> {
        let job = self.job();
        let backend = &self.shared.backend;
        let mut holds = 0;
        loop {
            let before = job.rounds();
            let cancel = job.cancel().clone();
            let mut call = backend.clone().call(self.arrival(round.as_ref()), cancel);
            let reply = tokio::select! {
                biased;
                () = job.kept(), if first.is_some() => {
                    say(first, First::Job);
                    call.await
                }
                reply = &mut call => reply,
            };
            // What ran is not tried again: it may have done something.
            let ran = job.rounds() > before;
            if let Some(approval) = waits_for(&reply).filter(|_| !ran && holds < HOLDS)
                && job.stopped().is_none()
            {
                holds += 1;
                let kept = job.held(reply.call, why(&reply), self.page(approval)).await;
                match (kept, first.take()) {
                    (Ok(()), told) => {
                        *first = told;
                        say(first, First::Job);
                    }
                    (Err(_), Some(first)) => {
                        let _ = first.send(First::Reply(Box::new(reply)));
                        return None;
                    }
                    (Err(refusal), None) => return Some(End::failed(&refusal, Some(reply.call))),
                }
                match self.agreed(approval).await {
                    Ok(true) => {
                        job.tried_again();
                        continue;
                    }
                    Ok(false) => return Some(self.end_of(reply)),
                    Err(refusal) => return Some(End::failed(&refusal, Some(reply.call))),
                }
            }
            if let Some(first) = first.take() {
                if ran {
                    let _ = first.send(First::Job);
                } else {
                    let _ = first.send(First::Reply(Box::new(reply)));
                    return None;
                }
            }
            let Some(questions) = reply.asks.as_ref().filter(|_| reply.refusal.is_none()) else {
                return Some(self.end_of(reply));
            };
            let mut next = rounds::next(round.as_ref(), &reply, questions);
            if next.number > ROUNDS {
                return Some(protocol(&rounds::too_many()));
            }
            let mut asked = Vec::with_capacity(questions.asked.len());
            for question in &questions.asked {
                let request = rounds::request_of(question);
                let Some(Ok(request)) = request.map(serde_json::to_value) else {
                    return Some(protocol(&rounds::unaskable()));
                };
                asked.push((question.key.clone(), question.ask.kind(), request));
            }
            if let Err(refusal) = job.asks(asked).await {
                return Some(End::failed(&refusal, Some(reply.call)));
            }
            let answers = tokio::select! {
                biased;
                () = job.cancel().cancelled() => return Some(self.end_of(reply)),
                answers = job.answered() => answers,
            };
            if let Err(much) = next.answer(answers) {
                return Some(protocol(&too_much(much)));
            }
            round = Some(next);
            holds = 0;
        }
    }

    /// What a client that shows pages is asked to show.
    fn page(&self, approval: ApprovalId) -> Option<Value> {
        let url = self.shared.backend.approval_url(approval)?;
        self.pages
            .then(|| held::request(&self.name, url, approval))
            .flatten()
    }

    /// Whether a person answered; not where the job was stopped meanwhile, which ends the waiting.
    ///
    /// # Errors
    ///
    /// Nobody answers any more: the approval was revoked, withdrawn or expired, or the job's time is over.
    async fn agreed(&self, approval: ApprovalId) -> Result<bool, Refusal> {
        let job = self.job();
        let left = job.expires().saturating_sub(self.shared.backend.now());
        tokio::select! {
            // What ends the job ends what it waits for as well, and is the reason.
            biased;
            () = job.cancel().cancelled() => Ok(false),
            answered = self.shared.backend.answered(approval, left) => match answered {
                Ok(false) => Err(late()),
                answered => answered,
            },
        }
    }

    /// What the last reply comes to.
    fn end_of(&self, reply: Reply) -> End {
        let call = Some(reply.call);
        // A stop that came first is the end, whatever the last word of the call is: see `Job::end`. What a
        // stopped job found is not handed out, and what it waited for is no result.
        match self.job().stopped() {
            Some(Stop::Owner) => return End::Cancelled,
            Some(Stop::For(refusal)) => return End::failed(&refusal, call),
            None => {}
        }
        if let Some(error) = declared::lacking(&reply, &self.offers) {
            return protocol(&error);
        }
        match &reply.refusal {
            // The tool's own word, and what its client can still do, are results.
            None => {}
            Some(refusal)
                if matches!(
                    refusal.reason,
                    Reason::PluginFailed | Reason::ArgsRejected | Reason::ApprovalRequired
                ) => {}
            Some(refusal) => return End::failed(refusal, call),
        }
        let result = match self.shared.complete(reply, &self.name) {
            Ok(result) => serde_json::to_string(&result),
            Err(error) => return protocol(&error),
        };
        match result {
            Ok(result) if result.len() <= RESULT => End::Completed(result),
            Ok(result) => {
                let what = format!(
                    "the result has {} bytes as it is written, at most {RESULT} are kept",
                    result.len()
                );
                End::failed(&Refusal::new(Reason::ResultTooLarge, what), call)
            }
            Err(error) => {
                let refusal = Refusal::new(Reason::HostInternal, "the result can't be written");
                End::failed(&refusal.with_detail(error.to_string()), call)
            }
        }
    }
}

fn say(first: &mut Option<oneshot::Sender<First>>, what: First) {
    if let Some(first) = first.take() {
        // Whoever asked may be gone; then the job is stopped.
        let _ = first.send(what);
    }
}

fn protocol(error: &ErrorData) -> End {
    let text = serde_json::to_string(error).unwrap_or_else(|_| "{}".to_owned());
    End::Failed(text, None)
}

/// The approval that a call waits for.
fn waits_for(reply: &Reply) -> Option<ApprovalId> {
    let refusal = reply.refusal.as_ref()?;
    let asked = refusal.approval.as_ref()?;
    (refusal.reason == Reason::ApprovalRequired).then_some(asked.id)
}

/// What a result would tell of that.
fn why(reply: &Reply) -> String {
    let text = reply
        .completion
        .content
        .iter()
        .find_map(|block| match block {
            Content::Text { text, .. } => Some(text.clone()),
            _ => None,
        });
    text.unwrap_or_else(|| "a person must agree to this call first".to_owned())
}

/// A report of progress, as one line.
fn told(progress: &Progress) -> String {
    let mut line = match progress.total {
        Some(total) => format!("{} of {total}", progress.value),
        None => progress.value.to_string(),
    };
    if let Some(message) = &progress.message {
        line.push_str(": ");
        line.push_str(message);
    }
    line
}

/// Where a job answers what has none.
pub(super) fn no_job() -> ErrorData {
    ErrorData::internal_error("only calls of tools run as jobs", None)
}
