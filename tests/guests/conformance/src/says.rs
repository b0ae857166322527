//! What clients are told beside results: lines, progress, changes.

use std::time::Duration;

use tollgate_plugin::client::{self, Level};
use tollgate_plugin::prelude::*;

/// What lies between two things that are said: more than the host wants between reports of progress.
const PAUSE: Duration = Duration::from_millis(60);

fn pause() {
    std::thread::sleep(PAUSE);
}

/// Says three lines while it works.
#[tool(read_only)]
pub(crate) fn test_tool_with_logging() -> &'static str {
    client::log(Level::Info, "Tool execution started");
    pause();
    client::log(Level::Info, "Tool processing data");
    pause();
    client::log(Level::Info, "Tool execution completed");
    "Tool with logging executed successfully"
}

/// Says a line to whoever wants lines.
#[tool(read_only)]
pub(crate) fn test_logging_tool() -> &'static str {
    client::log(Level::Info, "A line");
    "logged"
}

/// Reports progress three times.
#[tool(read_only)]
pub(crate) fn test_tool_with_progress() -> &'static str {
    for value in [0.0, 50.0] {
        progress::report(value, Some(100.0), Some("Completed a step"));
        pause();
    }
    progress::report(100.0, Some(100.0), Some("Completed the last step"));
    "Tool with progress executed successfully"
}

/// Takes long enough for a client to lose its connection and come again.
#[tool(read_only)]
pub(crate) fn test_reconnection() -> &'static str {
    pause();
    pause();
    "Reconnection test completed successfully"
}

/// Says that the list of tools may have changed.
#[tool(read_only)]
pub(crate) fn test_trigger_tool_change() -> &'static str {
    client::tools_changed();
    "said"
}

/// Says that the list of prompts may have changed.
#[tool(read_only)]
pub(crate) fn test_trigger_prompt_change() -> &'static str {
    client::prompts_changed();
    "said"
}

/// Says that the resource that the suite watches has changed.
#[tool(read_only)]
pub(crate) fn test_trigger_resource_update() -> &'static str {
    client::resource_updated("test://watched-resource");
    "said"
}
