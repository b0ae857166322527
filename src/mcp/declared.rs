//! What a client declares that it can be asked, and the protocol's error where that is too little.

use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ElicitationCapability, RootsCapabilities, SamplingCapability,
};

use super::jobs;
use crate::call::Reply;
use crate::plugin::QuestionKind;
use crate::reason::Reason;

/// What a client can be asked, by what it declares.
pub(super) fn offers(capabilities: Option<&ClientCapabilities>) -> Vec<QuestionKind> {
    let Some(capabilities) = capabilities else {
        return Vec::new();
    };
    let mut offers = Vec::new();
    if let Some(elicitation) = &capabilities.elicitation {
        // One that names no mode has forms: there was nothing else when it was written.
        if elicitation.form.is_some() || elicitation.url.is_none() {
            offers.push(QuestionKind::Form);
        }
        if elicitation.url.is_some() {
            offers.push(QuestionKind::Url);
        }
    }
    if capabilities.sampling.is_some() {
        offers.push(QuestionKind::Sampling);
    }
    if capabilities.roots.is_some() {
        offers.push(QuestionKind::Roots);
    }
    offers
}

/// The capabilities that these kinds take, as the client would declare them.
fn capabilities(kinds: &[QuestionKind]) -> ClientCapabilities {
    let mut wanted = ClientCapabilities::default();
    for kind in kinds {
        match kind {
            QuestionKind::Form => {
                wanted
                    .elicitation
                    .get_or_insert_default()
                    .form
                    .get_or_insert_default();
            }
            QuestionKind::Url => {
                let elicitation: &mut ElicitationCapability =
                    wanted.elicitation.get_or_insert_default();
                elicitation.url.get_or_insert_default();
            }
            QuestionKind::Sampling => wanted.sampling = Some(SamplingCapability::default()),
            QuestionKind::Roots => wanted.roots = Some(RootsCapabilities::default()),
        }
    }
    wanted
}

/// The protocol's own error for a call that has to ask what the client does not offer.
pub(super) fn lacking(reply: &Reply, offers: &[QuestionKind]) -> Option<ErrorData> {
    let reason = reply.refusal.as_ref()?.reason;
    if reason == Reason::JobRequired {
        return Some(jobs::required());
    }
    let refused = reason == Reason::InputUnsupported;
    let questions = reply.asks.as_ref().filter(|_| refused)?;
    let lacking = capabilities(&questions.beyond(offers));
    Some(ErrorData::missing_required_client_capability(lacking))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn what_a_client_declares_is_what_it_is_asked() {
        let of = |value: Value| offers(Some(&serde_json::from_value(value).unwrap()));
        assert!(of(json!({})).is_empty());
        assert_eq!(of(json!({"elicitation": {}})), [QuestionKind::Form]);
        assert_eq!(of(json!({"elicitation": {"url": {}}})), [QuestionKind::Url]);
        assert_eq!(
            of(json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})),
            QuestionKind::ALL
        );
        let wanted = capabilities(&QuestionKind::ALL);
        assert_eq!(offers(Some(&wanted)), QuestionKind::ALL);
        let sampling = serde_json::to_value(capabilities(&[QuestionKind::Sampling])).unwrap();
        assert_eq!(sampling, json!({"sampling": {}}));
    }
}
