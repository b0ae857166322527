//! What the host says of a call that it refused, where every client finds it.
//!
//! It stands in `_meta`, under a key that no plugin can write, and beside it in `structuredContent`, which models
//! are shown; there not where the tool promises a form for that: clients may hold it against the tool's
//! output schema also where the result is an error. The official TypeScript SDK and the Inspector do, and
//! then throw away all that was said, text included.

use std::sync::Arc;

use rmcp::model::{CallToolResult, MetaObject};

use super::backend::ListedTool;

/// The key of `_meta`.
const REFUSAL: &str = "dev.tollgate/refusal";

/// The result of a call that the host refused. `tool` is asked only where that matters.
pub(super) fn told(
    mut result: CallToolResult,
    tool: impl FnOnce() -> Option<Arc<ListedTool>>,
) -> CallToolResult {
    let Some(said) = result.structured_content.take() else {
        return result;
    };
    if tool().is_none_or(|tool| tool.output_schema.is_none()) {
        result.structured_content = Some(said.clone());
    }
    let meta = result.meta.get_or_insert_with(MetaObject::default);
    meta.0.insert(REFUSAL.to_owned(), said);
    result
}

#[cfg(test)]
mod tests {
    use rmcp::model::ContentBlock;
    use serde_json::{Map, Value, json};

    use super::*;

    #[test]
    fn what_would_be_held_against_a_promise_stands_in_meta_alone() {
        for promises in [true, false] {
            let mut tool = ListedTool::new("t", "A tool.", Map::new());
            tool.output_schema = promises.then(Arc::default);
            let mut result = CallToolResult::error(vec![ContentBlock::text("refused")]);
            let said = json!({"code": "policy.forbidden"});
            result.structured_content = Some(said.clone());
            let written = serde_json::to_value(told(result, || Some(tool.into()))).unwrap();
            assert_eq!(written["content"][0]["text"], "refused");
            assert_eq!(written["_meta"][REFUSAL], said);
            let beside = if promises { Value::Null } else { said };
            assert_eq!(written["structuredContent"], beside);
        }
    }
}
