//! Looking at what came of a call, or of a change.

use serde_json::Value;
use tollgate::call::{Content, Reply};
use tollgate::journal::record::{Changed, Event, Intent, Record};
use tollgate::reason::Reason;

/// Every reason that stands in an event.
pub(crate) fn reason_of(event: &Event) -> Option<Reason> {
    match event {
        Event::Refusal(refused) => Some(refused.reason),
        Event::Hold(held) => Some(held.reason),
        Event::HostCallOutcome(outcome) => outcome.reason,
        Event::Outcome(outcome) => outcome.reason,
        Event::Changed(changed) => changed.reason,
        _ => None,
    }
}

/// The change of this kind; there is one.
#[track_caller]
pub(crate) fn change<'a>(about: &'a [Changed], kind: &str) -> &'a Changed {
    about
        .iter()
        .find(|change| change.change == kind)
        .unwrap_or_else(|| panic!("no `{kind}` in {about:?}"))
}

/// Every call that ran, by the record of its intent.
pub(crate) fn intents(records: Vec<Record>) -> Vec<Intent> {
    let intent = |record: Record| match record.event {
        Event::Intent(intent) => Some(intent),
        _ => None,
    };
    records.into_iter().filter_map(intent).collect()
}

/// Looking at a reply.
pub(crate) trait Look {
    /// The reason for which the host gave no result.
    fn reason(&self) -> Option<Reason>;
    /// All text of the result.
    fn text(&self) -> String;
    /// A member of the structured content.
    fn at(&self, pointer: &str) -> &Value;
    /// How often each reason was refused during the call, as the result says.
    fn refused(&self, code: &str) -> u64;
    /// Everything that goes to the agent, as text.
    fn everything(&self) -> String;
}

impl Look for Reply {
    fn reason(&self) -> Option<Reason> {
        self.refusal.as_ref().map(|refusal| refusal.reason)
    }

    fn text(&self) -> String {
        self.completion
            .content
            .iter()
            .filter_map(|content| match content {
                Content::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn at(&self, pointer: &str) -> &Value {
        self.completion
            .structured
            .as_ref()
            .and_then(|value| value.pointer(pointer))
            .unwrap_or(&Value::Null)
    }

    fn refused(&self, code: &str) -> u64 {
        self.completion
            .meta
            .get("dev.tollgate/refused")
            .and_then(|refused| refused[code].as_u64())
            .unwrap_or(0)
    }

    fn everything(&self) -> String {
        format!(
            "{}\n{:?}\n{:?}",
            self.completion.canonical(),
            self.completion.meta,
            self.refusal
        )
    }
}
