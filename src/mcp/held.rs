//! What a client is asked where its call waits for a person: to open the page where that person answers.
//!
//! The page is the only thing that a client is asked to show, and that it was shown changes nothing:
//! whether the call may run is what the record of the approval says when the call comes again. A form
//! in the client is never asked for an answer, since an agent's own client could fill it in.
//!
//! | client | first | then |
//! | --- | --- | --- |
//! | stateless revision, declares `elicitation.url` | `input_required` with the page | the call again, with the state that was given: waits a while for the person, then runs or says what stands in the way |
//! | older session, declares `elicitation.url` | `elicitation/create` with the page, within the call | the same, once the page was opened |
//! | any other | `approval_required`, with the page in it | the call again, whenever |
//!
//! The state is sealed: it holds the approval and a word that is good once, under a key of this process,
//! and is bound to agent, method, tool and arguments, for five minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ElicitRequest, ElicitRequestParams, ElicitationAction,
    InputRequest, InputRequests, InputRequiredResult, InputResponses, MetaObject,
    RequestStateCodec, SealOptions,
};
use rmcp::service::{Peer, RequestContext};
use rmcp::{ErrorData, RoleServer};
use tokio::time::Instant;

use super::result::{meta_of, result_of};
use super::server::{Arrived, Handler};
use crate::digest::Digest;
use crate::entropy::{Entropy, SystemEntropy};
use crate::id::ApprovalId;
use crate::identity::AgentId;
use crate::json::{Arguments, Limits};

/// The first revision without sessions.
const STATELESS: &str = "2026-07-28";

/// How long a state is good.
const STATE: Duration = Duration::from_secs(5 * 60);

/// States that were used and are not over, at once. Each took a call and a person's page.
const MOST_USED: usize = 16_384;

/// How long a call that came again waits for the person. Most clients give a call up after a minute.
const AGAIN: Duration = Duration::from_secs(25);

/// How long a session's client may take to show the page, and the person to answer.
const SHOWING: Duration = Duration::from_secs(50);

/// The one thing that is asked for, by name.
const PAGE: &str = "approval";

/// Whether this request's client opens pages for its user.
fn opens_pages(context: &RequestContext<RoleServer>) -> bool {
    context
        .client_capabilities()
        .and_then(|capabilities| capabilities.elicitation)
        .is_some_and(|elicitation| elicitation.url.is_some())
}

/// Whether it speaks the revision that asks by its results.
fn is_stateless(context: &RequestContext<RoleServer>) -> bool {
    context
        .protocol_version()
        .is_some_and(|version| version.as_str() >= STATELESS)
}

/// Whether the client says that it showed the page. Nothing but waiting follows from it.
fn was_opened(responses: Option<&InputResponses>) -> bool {
    responses
        .and_then(|responses| responses.get(PAGE))
        .and_then(|response| response.get("action"))
        .is_some_and(|action| action == "accept")
}

fn page(tool: &str, url: String, id: ApprovalId) -> ElicitRequestParams {
    // The tool's name is the host's; nothing of the arguments stands here, since this text is shown by
    // the agent's own client, and the page is what counts.
    let shown: String = tool
        .chars()
        .take(128)
        .flat_map(char::escape_default)
        .collect();
    ElicitRequestParams::UrlElicitationParams {
        meta: None,
        message: format!(
            "A person must agree to this call of `{shown}`. Open the page to see what it would do, and answer there."
        ),
        url,
        elicitation_id: id.to_string(),
    }
}

/// The result that asks the client to show the page, and to call again.
fn ask(
    tool: &str,
    url: String,
    id: ApprovalId,
    state: String,
    meta: MetaObject,
) -> InputRequiredResult {
    let request = InputRequest::Elicitation(ElicitRequest::new(page(tool, url, id)));
    let requests = InputRequests::from([(PAGE.to_owned(), request)]);
    let mut result = InputRequiredResult::new(Some(requests), Some(state));
    result.meta = Some(meta);
    result
}

/// Asks the client of an older session to show the page; whether it says that it did.
async fn show(peer: &Peer<RoleServer>, tool: &str, url: String, id: ApprovalId) -> bool {
    let shown = peer
        .create_elicitation_with_timeout(page(tool, url, id), Some(SHOWING))
        .await;
    match shown {
        Ok(result) => result.action == ElicitationAction::Accept,
        Err(error) => {
            tracing::debug!(%error, "a client did not show the page of an approval");
            false
        }
    }
}

/// What a state is bound to.
struct Round(Digest);

impl Round {
    fn new(agent: &AgentId, tool: &str, arguments: &[u8]) -> Self {
        // By their canonical text, where they have one: a client may write the same object anew.
        let digest = match arguments {
            [] => Arguments::empty().digest(),
            text => Arguments::parse(text, &Limits::default())
                .map_or_else(|_| Digest::of(text), |arguments| arguments.digest()),
        };
        Self(Digest::of_parts([
            agent.as_str().as_bytes(),
            b"tools/call",
            tool.as_bytes(),
            digest.as_bytes(),
        ]))
    }
}

/// Seals states, and opens each of them once.
pub(super) struct Seals {
    /// None where there were no random bytes for a key; then no client is asked.
    codec: Option<RequestStateCodec>,
    used: Mutex<HashMap<[u8; 16], Instant>>,
}

impl Seals {
    pub(super) fn new() -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        let codec = SystemEntropy
            .fill(&mut *key)
            .ok()
            .and_then(|()| RequestStateCodec::try_new(key.to_vec()).ok());
        Self {
            codec,
            used: Mutex::default(),
        }
    }

    /// A state for `id`, within `round`.
    fn seal(&self, round: &Round, id: ApprovalId) -> Option<String> {
        let mut word = [0; 16];
        SystemEntropy.fill(&mut word).ok()?;
        let text = format!("{id} {}", hex::encode(word));
        let options = SealOptions::new()
            .associated_data(round.0.as_bytes())
            .ttl(STATE);
        Some(self.codec.as_ref()?.seal_with(text.as_bytes(), &options))
    }

    /// The approval that a state is about, if it was given for this round and did not come before.
    fn open(&self, round: &Round, state: &str) -> Result<ApprovalId, ErrorData> {
        self.opened(round, state).ok_or_else(|| {
            tracing::warn!("a call came with a request state that was not given for it");
            ErrorData::invalid_params(
                "the request state is not one for this call, or not any more; call again without it",
                None,
            )
        })
    }

    fn opened(&self, round: &Round, state: &str) -> Option<ApprovalId> {
        let codec = self.codec.as_ref()?;
        let text = codec.open_with(state, round.0.as_bytes()).ok()?;
        let (id, word) = std::str::from_utf8(&text).ok()?.split_once(' ')?;
        let id = id.parse().ok()?;
        let mut bytes = [0; 16];
        hex::decode_to_slice(word, &mut bytes).ok()?;
        let now = Instant::now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, over| *over > now);
        if used.len() >= MOST_USED {
            return None;
        }
        // As long as it could come again.
        used.insert(bytes, now + STATE).is_none().then_some(id)
    }
}

impl Handler {
    /// Hands a call to the host; where it is held and its client can show the page, asks for that.
    pub(super) async fn call_or_ask(
        &self,
        request: &CallToolRequestParams,
        arrived: &Arrived,
        tool: &str,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // Made where there is a state to open or to seal: most calls have neither.
        let round = || Round::new(&arrived.who.agent, tool, &arrived.arguments);
        let before = match &request.request_state {
            Some(state) => Some(self.shared.seals.open(&round(), state)?),
            None => None,
        };
        if let Some(approval) = before
            && was_opened(request.input_responses.as_ref())
        {
            self.wait(approval, AGAIN, context).await;
        }
        let reply = self.carry_out(arrived, tool, context).await?;
        let server_info = &self.shared.server_info;
        let complete = |reply| result_of(reply, tool, server_info).map(CallToolResponse::Complete);
        // One round is enough: clients stop after some, and the result says how to go on.
        let Some((approval, url)) = self.page_of(&reply, context).filter(|_| before.is_none())
        else {
            return complete(reply);
        };
        if is_stateless(context) {
            let Some(state) = self.shared.seals.seal(&round(), approval) else {
                return complete(reply);
            };
            let meta = meta_of(serde_json::Map::new(), reply.call, server_info);
            let asking = ask(tool, url, approval, state, meta);
            return Ok(CallToolResponse::InputRequired(asking));
        }
        let draining = self.shared.backend.draining();
        let shown = tokio::select! {
            shown = show(&context.peer, tool, url, approval) => shown,
            () = context.ct.cancelled() => false,
            () = draining.cancelled() => false,
        };
        if !shown {
            return complete(reply);
        }
        self.wait(approval, SHOWING, context).await;
        complete(self.carry_out(arrived, tool, context).await?)
    }

    /// The page of the approval that a call waits for, where its client can show one.
    fn page_of(
        &self,
        reply: &crate::call::Reply,
        context: &RequestContext<RoleServer>,
    ) -> Option<(ApprovalId, String)> {
        let refusal = reply.refusal.as_ref()?;
        let asked = refusal.approval.as_ref()?;
        let url = self.shared.backend.approval_url(asked.id)?;
        opens_pages(context).then_some((asked.id, url))
    }

    /// Waits for a person, unless the client gives up or the host ends. No time of the call passes.
    async fn wait(
        &self,
        approval: ApprovalId,
        limit: Duration,
        context: &RequestContext<RoleServer>,
    ) {
        let draining = self.shared.backend.draining();
        tokio::select! {
            () = self.shared.backend.answered(approval, limit) => {}
            () = context.ct.cancelled() => {}
            () = draining.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn round(agent: &str, tool: &str, arguments: &str) -> Round {
        Round::new(&AgentId::local(agent).unwrap(), tool, arguments.as_bytes())
    }

    fn id() -> ApprovalId {
        "approval_aaaaaaaaaaaaaaaa".parse().unwrap()
    }

    #[test]
    fn a_state_is_for_one_call_of_one_agent_once() {
        let seals = Seals::new();
        let own = || round("alice", "p_t", r#"{"a":1,"b":2}"#);
        for other in [
            round("bob", "p_t", r#"{"a":1,"b":2}"#),
            round("alice", "p_u", r#"{"a":1,"b":2}"#),
            round("alice", "p_t", r#"{"a":1,"b":3}"#),
            round("alice", "p_t", ""),
        ] {
            let state = seals.seal(&own(), id()).unwrap();
            assert_eq!(seals.opened(&other, &state), None);
        }
        let state = seals.seal(&own(), id()).unwrap();
        let same = round("alice", "p_t", r#"{ "b":2, "a":1 }"#);
        assert_eq!(seals.opened(&same, &state), Some(id()));
        assert_eq!(seals.opened(&own(), &state), None, "once");
        let elsewhere = Seals::new();
        let state = seals.seal(&own(), id()).unwrap();
        assert_eq!(elsewhere.opened(&own(), &state), None, "another key");
    }

    #[test]
    fn a_state_that_was_touched_is_none() {
        let seals = Seals::new();
        let own = round("alice", "p_t", "{}");
        let state = seals.seal(&own, id()).unwrap();
        for at in 0..state.len() {
            let mut touched = state.clone().into_bytes();
            touched[at] = if touched[at] == b'x' { b'y' } else { b'x' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(seals.opened(&own, &touched), None, "{at}");
        }
        assert!(seals.open(&own, "").is_err());
        assert_eq!(seals.opened(&own, &state), Some(id()));
    }

    #[test]
    fn only_the_word_that_the_page_was_shown_waits() {
        let said = |value| InputResponses::from([("approval".to_owned(), value)]);
        assert!(was_opened(Some(&said(json!({"action": "accept"})))));
        for other in [
            json!({"action": "decline"}),
            json!({"action": "cancel"}),
            json!({"action": true}),
            json!("accept"),
        ] {
            assert!(!was_opened(Some(&said(other))));
        }
        assert!(!was_opened(None));
    }
}
