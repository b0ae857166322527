//! Long work, in every way in which the suite wants it to end. Nothing here knows whether it runs as a job.

use std::time::Duration;

use serde_json::Value;
use tollgate_plugin::prelude::*;

use crate::asks::{filled, form};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    /// Whom to greet.
    name: String,
}

/// Greets, at once.
#[tool(read_only)]
pub(crate) fn greet(arguments: Named) -> String {
    format!("Hello, {}!", arguments.name)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Computing {
    /// How long it takes.
    seconds: f64,
    /// What it is called in the result.
    label: Option<String>,
}

/// Takes its time.
#[tool(read_only)]
pub(crate) fn slow_compute(arguments: Computing) -> String {
    let seconds = arguments.seconds.clamp(0.0, 3_600.0);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let label = arguments.label.unwrap_or_default();
    format!("Computed {label} in {seconds} s")
}

/// Takes a moment, and fails.
#[tool(read_only)]
pub(crate) fn failing_job() -> Completion {
    std::thread::sleep(Duration::from_secs(1));
    Completion::error("The job failed, as it always does")
}

/// Ends in the middle of its work.
#[tool(read_only)]
pub(crate) fn protocol_error_job() -> String {
    std::process::abort()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Which file.
    filename: String,
}

/// Asks before it would delete a file. It deletes nothing.
#[tool(read_only)]
pub(crate) fn confirm_delete(arguments: File, invocation: &Invocation) -> Reply<String> {
    match filled(invocation, "confirm", "confirm") {
        None if invocation.answer("confirm").is_none() => {
            let message = format!("Delete {}?", arguments.filename);
            let question = form("confirm", &message, "confirm", "boolean");
            Reply::Ask(InputRequest::new([question]))
        }
        Some(Value::Bool(true)) => Reply::Done(format!("Deleted {}", arguments.filename)),
        _ => Reply::Done(format!("Kept {}", arguments.filename)),
    }
}

/// Asks two things at once.
#[tool(read_only)]
pub(crate) fn multi_input(invocation: &Invocation) -> Reply<String> {
    match (invocation.answer("name"), invocation.answer("confirm")) {
        (Some(name), Some(confirm)) => Reply::Done(format!("{name} and {confirm}")),
        _ => Reply::Ask(
            InputRequest::new([
                form("name", "What is your name?", "name", "string"),
                form("confirm", "Are you sure?", "confirm", "boolean"),
            ])
            .state(*b"asked"),
        ),
    }
}

/// Asks who it is for, and then takes its time.
#[tool(read_only)]
pub(crate) fn test_tool_with_task(invocation: &Invocation) -> Reply<String> {
    match filled(invocation, "user_name", "name") {
        None => {
            let question = form("user_name", "What is your name?", "name", "string");
            Reply::Ask(InputRequest::new([question]))
        }
        Some(name) => {
            std::thread::sleep(Duration::from_millis(200));
            Reply::Done(format!("Done for {}", name.as_str().unwrap_or_default()))
        }
    }
}
