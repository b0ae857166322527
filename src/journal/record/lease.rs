//! What is written of leases: each step of their lives.

use serde::{Deserialize, Serialize};

use super::CallId;
use crate::id::{LeaseId, TaskId};
use crate::name::PluginName;

/// Where a lease stands now. Never its value, nor what takes it back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseChange {
    /// The call that it was made for: first, by which the story of a call finds it.
    pub call: CallId,
    /// Which.
    pub lease: LeaseId,
    /// `wanted`, before it is asked for; `live`; `pending`, from its end until its source confirmed
    /// that it is dead, which is `revoked`; `lapsed`, where its time was over first; `left`, where it
    /// can't be taken back and its source keeps it alive; `unissued`.
    pub stage: String,
    /// The task that its call is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The plugin.
    pub plugin: PluginName,
    /// The secret's name; `(bond)` for what the leases of one call or task hang on.
    pub secret: String,
    /// The kind of its source: `store`, `vault`, ...
    pub source: String,
    /// The one origin that it is bound to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub origin: String,
    /// And how it stands in requests.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scheme: String,
    /// Whether it can be taken back.
    pub revocable: bool,
    /// When it ends by itself, RFC 3339; absent where nothing ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// How often it went into a request.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub uses: u32,
    /// How often taking it back failed.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub attempts: u32,
    /// Why, for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_none_yet(number: &u32) -> bool {
    *number == 0
}
