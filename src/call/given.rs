//! What prompts, resources and completion give, in the form of a tool's result: bounded, redacted and
//! digested in one way. `mcp` writes each in its own form.

use serde_json::json;

use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::{completion, prompts, tools, types};

/// Values that complete an argument, as MCP bounds them.
const MOST_VALUES: usize = 100;

fn result(
    content: Vec<types::Content>,
    structured: Option<serde_json::Value>,
) -> tools::Completion {
    tools::Completion {
        content,
        structured: structured.map(|value| value.to_string()),
        is_error: false,
        meta: None,
    }
}

/// Its messages as blocks, and beside them the role of each.
pub(super) fn prompt(said: prompts::Messages) -> tools::Completion {
    let role = |role: &types::Role| match role {
        types::Role::User => "user",
        types::Role::Assistant => "assistant",
    };
    let roles: Vec<_> = said
        .messages
        .iter()
        .map(|message| role(&message.role))
        .collect();
    let structured = json!({"description": said.description, "roles": roles});
    let content = said.messages.into_iter().map(|message| message.content);
    result(content.collect(), Some(structured))
}

/// Its parts as blocks.
pub(super) fn resource(said: Vec<types::ResourceContent>) -> Result<tools::Completion, Refusal> {
    if said.is_empty() {
        return Err(Refusal::new(
            Reason::ResultInvalid,
            "the plugin gave nothing for a resource",
        ));
    }
    let content = said.into_iter().map(types::Content::Resource);
    Ok(result(content.collect(), None))
}

/// The values, as MCP has them.
pub(super) fn values(said: completion::Values) -> Result<tools::Completion, Refusal> {
    if said.values.len() > MOST_VALUES {
        return Err(Refusal::new(
            Reason::ResultInvalid,
            format!(
                "the plugin gave {} values, at most {MOST_VALUES}",
                said.values.len()
            ),
        ));
    }
    let structured = json!({"values": said.values, "total": said.total, "hasMore": said.more});
    Ok(result(Vec::new(), Some(structured)))
}
