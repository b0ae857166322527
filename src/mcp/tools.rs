//! Tools as lists of the protocol have them.

use rmcp::model::ToolAnnotations;

use super::backend::ListedTool;

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
