//! A tool that promises a form for its structured content, and a call of it that was refused.
//!
//! Revisions before 2026-07-28 let a client hold `structuredContent` against the tool's output schema also
//! where the result is an error, and the official TypeScript SDK does: what the host says of a refusal
//! is then thrown away with all the rest, text included. To such a client it is said in `_meta`.

use rmcp::model::{CallToolResponse, MetaObject, ProtocolVersion};

use super::backend::ListedTool;

/// The key of `_meta` under which an older client finds what a newer one finds in `structuredContent`.
const REFUSAL: &str = "dev.tollgate/refusal";

/// The response as a client of this revision can read it.
pub(super) fn kept(
    mut response: CallToolResponse,
    tool: Option<&ListedTool>,
    revision: Option<&ProtocolVersion>,
) -> CallToolResponse {
    let promises = tool.is_some_and(|tool| tool.output_schema.is_some());
    let is_older = revision.is_none_or(|revision| *revision < ProtocolVersion::V_2026_07_28);
    if let CallToolResponse::Complete(result) = &mut response
        && promises
        && is_older
        && result.is_error == Some(true)
        && let Some(said) = result.structured_content.take()
    {
        let meta = result.meta.get_or_insert_with(MetaObject::default);
        meta.0.insert(REFUSAL.to_owned(), said);
    }
    response
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolResult, ContentBlock};
    use serde_json::{Map, Value, json};

    use super::*;

    fn tool(promises: bool) -> ListedTool {
        let mut tool = ListedTool::new("t", "A tool.", Map::new());
        tool.output_schema = promises.then(Default::default);
        tool
    }

    fn shown(is_error: bool, promises: bool, revision: &ProtocolVersion) -> (Value, Value) {
        let content = vec![ContentBlock::text("refused")];
        let mut result = if is_error {
            CallToolResult::error(content)
        } else {
            CallToolResult::success(content)
        };
        result.structured_content = Some(json!({"code": "policy.forbidden"}));
        let response = CallToolResponse::Complete(result);
        let kept = kept(response, Some(&tool(promises)), Some(revision));
        let CallToolResponse::Complete(result) = kept else {
            panic!("another response");
        };
        let written = serde_json::to_value(&result).unwrap();
        assert_eq!(written["content"][0]["text"], "refused");
        (
            written["structuredContent"]["code"].clone(),
            written["_meta"][REFUSAL]["code"].clone(),
        )
    }

    #[test]
    fn only_who_would_throw_it_away_finds_it_elsewhere() {
        let (older, newest) = (ProtocolVersion::V_2025_06_18, ProtocolVersion::V_2026_07_28);
        let said = json!("policy.forbidden");
        assert_eq!(shown(true, true, &older), (Value::Null, said.clone()));
        for (is_error, promises, revision) in [
            (true, true, &newest),
            (true, false, &older),
            (false, true, &older),
        ] {
            let found = shown(is_error, promises, revision);
            assert_eq!(found, (said.clone(), Value::Null));
        }
    }
}
