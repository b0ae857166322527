//! Tools as lists of the protocol have them: page by page.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::ToolAnnotations;

use super::backend::ListedTool;

/// Tools in one page of a list. Some clients never ask for the second page, so that it holds far
/// more tools than any model can choose from.
pub(super) const PAGE: usize = 500;

pub(super) fn to_rmcp(tool: &ListedTool) -> rmcp::model::Tool {
    let mut out = rmcp::model::Tool::new(
        tool.name.clone(),
        tool.description.clone(),
        tool.input_schema.clone(),
    );
    out.title.clone_from(&tool.title);
    out.output_schema.clone_from(&tool.output_schema);
    let hints = tool.hints;
    out.annotations = Some(ToolAnnotations::from_raw(
        None,
        Some(hints.read_only),
        Some(hints.destructive),
        Some(hints.idempotent),
        Some(hints.open_world),
    ));
    out
}

/// The page after `cursor`, the last name of the page before. A name that this agent does not see
/// is no cursor, whether or not the tool exists.
pub(super) fn page(
    tools: &[Arc<ListedTool>],
    cursor: Option<&str>,
    size: usize,
) -> Result<(Vec<rmcp::model::Tool>, Option<String>), ErrorData> {
    let from = match cursor {
        None => 0,
        Some(last) => tools
            .iter()
            .position(|tool| tool.name == last)
            .ok_or_else(|| ErrorData::invalid_params("unknown cursor", None))?
            .saturating_add(1),
    };
    let rest = tools.get(from..).unwrap_or_default();
    let shown: Vec<_> = rest.iter().take(size).map(|tool| to_rmcp(tool)).collect();
    let next = (rest.len() > size)
        .then(|| shown.last().map(|tool| tool.name.to_string()))
        .flatten();
    Ok((shown, next))
}

#[cfg(test)]
mod tests {
    use rmcp::model::ErrorCode;

    use super::*;

    fn listed(names: &[&str]) -> Vec<Arc<ListedTool>> {
        names
            .iter()
            .map(|name| Arc::new(ListedTool::new(*name, "d", serde_json::Map::new())))
            .collect()
    }

    #[test]
    fn pages_cover_every_tool_once() {
        let tools = listed(&["a", "b", "c", "d", "e"]);
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let (some, next) = page(&tools, cursor.as_deref(), 2).unwrap();
            seen.extend(some.into_iter().map(|tool| tool.name.to_string()));
            match next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, ["a", "b", "c", "d", "e"]);
        let error = page(&tools, Some("hidden"), 2).unwrap_err();
        assert_eq!(error.code, ErrorCode::INVALID_PARAMS);
    }
}
