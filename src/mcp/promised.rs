//! A tool that promises a form for its structured content, and a call of it that was refused.
//!
//! Clients may hold `structuredContent` against the tool's output schema also where the result is an error. The
//! official TypeScript SDK and the Inspector do, and then throw away all that was said, text included. So
//! what the host says of such a refusal stands in `_meta`; where nothing was promised it stays where it is.

use std::sync::Arc;

use rmcp::model::{CallToolResult, MetaObject};

use super::backend::ListedTool;

/// The key of `_meta` that holds what otherwise stands in `structuredContent`.
const REFUSAL: &str = "dev.tollgate/refusal";

/// The result in a form that every client takes. `tool` is asked only where that matters.
pub(super) fn fitting(
    mut result: CallToolResult,
    tool: impl FnOnce() -> Option<Arc<ListedTool>>,
) -> CallToolResult {
    if result.is_error != Some(true) || result.structured_content.is_none() {
        return result;
    }
    if tool().is_none_or(|tool| tool.output_schema.is_none()) {
        return result;
    }
    if let Some(said) = result.structured_content.take() {
        let meta = result.meta.get_or_insert_with(MetaObject::default);
        meta.0.insert(REFUSAL.to_owned(), said);
    }
    result
}

#[cfg(test)]
mod tests {
    use rmcp::model::ContentBlock;
    use serde_json::{Map, Value, json};

    use super::*;

    fn tool(promises: bool) -> Arc<ListedTool> {
        let mut tool = ListedTool::new("t", "A tool.", Map::new());
        tool.output_schema = promises.then(Arc::default);
        Arc::new(tool)
    }

    fn shown(is_error: bool, promises: bool) -> (Value, Value) {
        let content = vec![ContentBlock::text("refused")];
        let mut result = if is_error {
            CallToolResult::error(content)
        } else {
            CallToolResult::success(content)
        };
        result.structured_content = Some(json!({"code": "policy.forbidden"}));
        let fitting = fitting(result, || Some(tool(promises)));
        let written = serde_json::to_value(&fitting).unwrap();
        assert_eq!(written["content"][0]["text"], "refused");
        (
            written["structuredContent"]["code"].clone(),
            written["_meta"][REFUSAL]["code"].clone(),
        )
    }

    #[test]
    fn what_would_be_held_against_a_promise_stands_elsewhere() {
        let said = json!("policy.forbidden");
        assert_eq!(shown(true, true), (Value::Null, said.clone()));
        for (is_error, promises) in [(true, false), (false, true), (false, false)] {
            assert_eq!(shown(is_error, promises), (said.clone(), Value::Null));
        }
    }
}
