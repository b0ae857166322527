//! The client that a call is for. Needs no requirement.

use serde::Serialize;

use crate::bindings::tollgate::plugin::client;
pub use crate::bindings::tollgate::plugin::client::{Level, Offers};

/// What this call may ask.
#[must_use]
pub fn offers() -> Offers {
    client::offers_of_client()
}

/// A line for the client, where it asked for lines of this level.
pub fn log(level: Level, data: impl Serialize) {
    // What can't be written as JSON is no line.
    if let Ok(data) = serde_json::to_string(&data) {
        client::log(level, None, &data);
    }
}

/// What clients are shown of this plugin's tools may have changed.
pub fn tools_changed() {
    client::tools_changed();
}

/// The same of its prompts.
pub fn prompts_changed() {
    client::prompts_changed();
}

/// The same of its resources.
pub fn resources_changed() {
    client::resources_changed();
}

/// The resource at `uri`, one of this plugin's, has changed.
pub fn resource_updated(uri: &str) {
    client::resource_updated(uri);
}
