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
//! The state is sealed (`seal`), and holds the round that the call is in as well (`rounds`): what a client
//! answered before the call was held is not asked again.

use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ElicitRequest, ElicitRequestParams, ElicitationAction, InputRequest, InputRequests,
    InputRequiredResult, InputResponses, MetaObject,
};
use rmcp::service::{Peer, RequestContext};

use super::arrived::given_up;
use super::server::Handler;
use crate::call::Reply;
use crate::id::ApprovalId;
use crate::limits::protocol::SHOWING;

/// The one thing that is asked for, by name.
const PAGE: &str = "approval";

/// Whether this request's client opens pages for its user.
pub(super) fn opens_pages(context: &RequestContext<RoleServer>) -> bool {
    context
        .client_capabilities()
        .and_then(|capabilities| capabilities.elicitation)
        .is_some_and(|elicitation| elicitation.url.is_some())
}

/// Whether the client says that it showed the page. Nothing but waiting follows from it.
pub(super) fn was_opened(responses: Option<&InputResponses>) -> bool {
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

/// The request to show the page, by itself.
pub(super) fn request(tool: &str, url: String, id: ApprovalId) -> Option<serde_json::Value> {
    let request = InputRequest::Elicitation(ElicitRequest::new(page(tool, url, id)));
    serde_json::to_value(request).ok()
}

/// The result that asks the client to show the page, and to call again.
pub(super) fn ask(
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
pub(super) async fn show(peer: &Peer<RoleServer>, tool: &str, url: String, id: ApprovalId) -> bool {
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

impl Handler {
    /// The page of the approval that a call waits for, where its client can show one.
    pub(super) fn page_of(
        &self,
        reply: &Reply,
        context: &RequestContext<RoleServer>,
    ) -> Option<(ApprovalId, String)> {
        let refusal = reply.refusal.as_ref()?;
        let asked = refusal.approval.as_ref()?;
        let url = self.shared.backend.approval_url(asked.id)?;
        opens_pages(context).then_some((asked.id, url))
    }

    /// Waits for a person, unless the client gives up or the host ends. No time of the call passes.
    pub(super) async fn wait(
        &self,
        approval: ApprovalId,
        limit: Duration,
        context: &RequestContext<RoleServer>,
    ) {
        let draining = self.shared.backend.draining();
        tokio::select! {
            _ = self.shared.backend.answered(approval, limit) => {}
            () = given_up(context) => {}
            () = draining.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
