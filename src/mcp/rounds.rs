//! Calls in rounds: what a plugin asks its client before it goes on, in both eras.
//!
//! | client | what it is asked by | what comes back |
//! | --- | --- | --- |
//! | stateless revision | `input_required`, with a sealed state (`seal`) | the call again, with answers and state |
//! | older session | requests of its own, within the call | their results; the host calls the plugin again |
//!
//! The plugin can't tell the two apart. Each round is a call of its own to the host, which decides and
//! records it; here it is only asked and carried. Answers that come without a state were not asked for: the
//! host refuses them (`call/round.rs`), and writes that down.

use bytes::Bytes;
use rmcp::model::{
    CreateTaskResult, InputRequest, InputRequests, InputRequiredResult, InputResponses,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::answers::{answers, as_asked, is_answer, too_much};
use super::arrived::{Arrived, given_up, is_stateless, task_of};
use super::held::{ask, show, was_opened};
use super::result::meta_of;
use super::seal::{Asked, Bound, Carried};
use super::server::Handler;
use crate::call::{Question, Questions, Reply, Round};
use crate::limits::protocol::{AGAIN, ANSWERING, ROUNDS, SHOWING};
use crate::plugin::Kind;

/// What a request asks for, whichever method it came by.
pub(super) struct Request<'a> {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) arguments: Bytes,
    pub(super) responses: Option<&'a InputResponses>,
    pub(super) state: Option<&'a str>,
}

/// How a request is answered.
pub(super) enum Answered {
    Complete(Reply),
    Asks(InputRequiredResult),
    /// It goes on, and is asked for later.
    Lasts(CreateTaskResult),
}

/// The round after the one that `reply` ended, without its answers.
pub(super) fn next(before: Option<&Round>, reply: &Reply, questions: &Questions) -> Round {
    Round {
        number: before.map_or(1, |round| round.number).saturating_add(1),
        first: before.and_then(|round| round.first).or(Some(reply.call)),
        answers: Vec::new(),
        state: questions.state.clone(),
        answered: before.map_or(0, |round| round.answered),
    }
}

/// A question in the types of the protocol; none where it is none there: a form with a schema that MCP does
/// not have.
pub(super) fn request_of(question: &Question) -> Option<InputRequest> {
    serde_json::from_value(question.ask.to_request())
        .inspect_err(|error| {
            tracing::warn!(key = question.key, %error, "a plugin asks what the protocol has no form for");
        })
        .ok()
}

pub(super) fn unaskable() -> ErrorData {
    ErrorData::internal_error(
        "the tool asks something that the protocol has no form for",
        None,
    )
}

pub(super) fn too_many() -> ErrorData {
    ErrorData::internal_error(format!("the tool asked {ROUNDS} times and more"), None)
}

/// The answers of a request that carries no state: of a round that nobody asked for.
fn unasked(responses: Option<&InputResponses>) -> Result<Option<Round>, ErrorData> {
    let answers = answers(responses, None)?;
    if answers.is_empty() {
        return Ok(None);
    }
    let mut round = Round {
        number: 2,
        ..Round::default()
    };
    round.answer(answers).map_err(too_much)?;
    Ok(Some(round))
}

/// A round that was carried, with the answers to what was `asked`.
fn answered(
    round: &Round,
    asked: &[Asked],
    responses: Option<&InputResponses>,
) -> Result<Round, ErrorData> {
    let mut round = round.clone();
    // A call that was held has its answers in the state already.
    if !asked.is_empty() {
        let answers = answers(responses, Some(asked))?;
        round.answer(answers).map_err(too_much)?;
    }
    Ok(round)
}

impl Handler {
    /// Hands a request to the host, as often as it takes: where the call is held, its client is asked to show
    /// the page of the approval; where the plugin asks something, the client is asked that.
    pub(super) async fn in_rounds(
        &self,
        request: &Request<'_>,
        arrived: &Arrived,
        context: &RequestContext<RoleServer>,
    ) -> Result<Answered, ErrorData> {
        let task = task_of(arrived, context)?;
        // Made where there is a state to open or to seal: most calls have neither.
        let bound = || {
            Bound::new(
                &arrived.who,
                task,
                request.kind,
                &request.name,
                &request.arguments,
            )
        };
        let (approval, round) = match request.state {
            None => (None, unasked(request.responses)?),
            Some(state) => {
                // Looked at, and then used, for one of those that come at once: what is refused here
                // leaves the state as it was.
                let opened = self.shared.seals.open(&bound(), state)?;
                let round = match opened.round() {
                    Some((round, asked)) => Some(answered(round, asked, request.responses)?),
                    None => None,
                };
                let carried = self.shared.seals.take(opened, &arrived.who.agent)?;
                (carried.approval, round)
            }
        };
        if let Some(approval) = approval
            && was_opened(request.responses)
        {
            self.wait(approval, AGAIN, context).await;
        }
        if !is_stateless(context) {
            return self.within(request, arrived, context).await;
        }
        if let Some(answered) =
            Box::pin(self.as_job(request, round.as_ref(), arrived, context)).await?
        {
            return Ok(answered);
        }
        let reply = self
            .carry_out(request, round.clone(), arrived, context)
            .await?;
        // The page is shown once: clients stop after some rounds, and the result says how to go on.
        if let Some((waits_for, url)) = self.page_of(&reply, context).filter(|_| approval.is_none())
        {
            let carried = Carried {
                approval: Some(waits_for),
                round: round.map(|round| (round, Vec::new())),
            };
            let Some(state) = self.shared.seals.seal(&bound(), &carried) else {
                return Ok(Answered::Complete(reply));
            };
            let meta = meta_of(serde_json::Map::new(), reply.call, &self.shared.server_info);
            let asking = ask(&request.name, url, waits_for, state, meta);
            return Ok(Answered::Asks(asking));
        }
        let Some(questions) = reply.asks.as_ref().filter(|_| reply.refusal.is_none()) else {
            return Ok(Answered::Complete(reply));
        };
        let next = next(round.as_ref(), &reply, questions);
        if next.number > ROUNDS {
            return Err(too_many());
        }
        let mut requests = InputRequests::new();
        for question in &questions.asked {
            let request = request_of(question).ok_or_else(unaskable)?;
            requests.insert(question.key.clone(), request);
        }
        let carried = Carried {
            approval: None,
            round: Some((next, questions.asked.iter().map(as_asked).collect())),
        };
        let state = self.shared.seals.seal(&bound(), &carried).ok_or_else(|| {
            ErrorData::internal_error("there is no key to seal the state of a question", None)
        })?;
        let mut result = InputRequiredResult::new(Some(requests), Some(state));
        let meta = meta_of(serde_json::Map::new(), reply.call, &self.shared.server_info);
        result.meta = Some(meta);
        Ok(Answered::Asks(result))
    }

    /// All rounds within one request, for an older session.
    async fn within(
        &self,
        request: &Request<'_>,
        arrived: &Arrived,
        context: &RequestContext<RoleServer>,
    ) -> Result<Answered, ErrorData> {
        let draining = self.shared.backend.draining();
        let mut round: Option<Round> = None;
        let mut shown = false;
        loop {
            let reply = self
                .carry_out(request, round.clone(), arrived, context)
                .await?;
            if let Some((approval, url)) = self.page_of(&reply, context).filter(|_| !shown) {
                shown = true;
                let opened = tokio::select! {
                    opened = show(&context.peer, &request.name, url, approval) => opened,
                    () = given_up(context) => false,
                    () = draining.cancelled() => false,
                };
                if !opened {
                    return Ok(Answered::Complete(reply));
                }
                self.wait(approval, SHOWING, context).await;
                continue;
            }
            let Some(questions) = reply.asks.as_ref().filter(|_| reply.refusal.is_none()) else {
                return Ok(Answered::Complete(reply));
            };
            let mut next = next(round.as_ref(), &reply, questions);
            if next.number > ROUNDS {
                return Err(too_many());
            }
            let mut answers = Vec::new();
            for question in &questions.asked {
                let asked = request_of(question).ok_or_else(unaskable)?;
                let answer = perform(asked, context, &draining).await?;
                if let Some(answer) = answer.filter(|a| is_answer(a, Some(&as_asked(question)))) {
                    answers.push((question.key.clone(), answer));
                }
            }
            next.answer(answers).map_err(too_much)?;
            round = Some(next);
            // What a person agreed to was the round before.
            shown = false;
        }
    }
}

/// Asks the client of an older session one thing. One that does not answer a person's question cancels it;
/// of another there is no answer, and the plugin sees that.
async fn perform(
    request: InputRequest,
    context: &RequestContext<RoleServer>,
    draining: &CancellationToken,
) -> Result<Option<Value>, ErrorData> {
    let over = || ErrorData::internal_error("the call ended while its client was asked", None);
    tokio::select! {
        answer = put(request, context) => Ok(answer),
        () = given_up(context) => Err(over()),
        () = draining.cancelled() => Err(over()),
    }
}

#[expect(
    deprecated,
    reason = "the protocol is about to give sampling and roots up, and clients of older revisions have them"
)]
async fn put(request: InputRequest, context: &RequestContext<RoleServer>) -> Option<Value> {
    let peer = &context.peer;
    let (answer, person) = match request {
        InputRequest::Elicitation(request) => {
            let answer = peer.create_elicitation_with_timeout(request.params, Some(ANSWERING));
            let answer = answer.await.map(|answer| serde_json::to_value(answer).ok());
            (answer, true)
        }
        InputRequest::CreateMessage(request) => {
            let answer = tokio::time::timeout(ANSWERING, peer.create_message(request.params)).await;
            let answer = answer.ok()?.map(|answer| serde_json::to_value(answer).ok());
            (answer, false)
        }
        InputRequest::ListRoots(_) => {
            let answer = tokio::time::timeout(ANSWERING, peer.list_roots()).await;
            let answer = answer.ok()?.map(|answer| serde_json::to_value(answer).ok());
            (answer, false)
        }
        _ => return None,
    };
    match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, "a client did not answer a plugin's question");
            person.then(|| serde_json::json!({"action": "cancel"}))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::Ask;

    #[test]
    fn every_question_has_its_form_in_the_protocol() {
        let question = |ask| Question {
            key: "k".into(),
            ask,
        };
        let form = Ask::Form {
            message: "m".into(),
            schema: json!({"type": "object", "properties": {"a": {"type": "string"}}}),
        };
        let url = Ask::Url {
            message: "m".into(),
            url: "https://a.example/".into(),
        };
        let sampling = Ask::Sampling(json!({
            "messages": [{"role": "user", "content": {"type": "text", "text": "t"}}],
            "maxTokens": 10,
        }));
        for ask in [form, url, sampling, Ask::Roots] {
            let method = ask.to_request()["method"].clone();
            let request = request_of(&question(ask)).unwrap();
            assert_eq!(serde_json::to_value(&request).unwrap()["method"], method);
        }
        let odd = Ask::Form {
            message: "m".into(),
            schema: json!({"type": "array"}),
        };
        assert!(request_of(&question(odd)).is_none());
    }
}
