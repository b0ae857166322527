//! What goes back to the agent.

use serde_json::{Map, Value};

use crate::journal::record::CallId;
use crate::reason::Refusal;

/// The answer to a call, whichever way it ended. There is exactly one, and the journal has its digest.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The call, for `_meta` and for `tollgate audit show`.
    pub call: CallId,
    /// What the tool gave, or what the host says instead.
    pub completion: Completion,
    /// Why the host did not run it or ended it, when it did.
    pub refusal: Option<Refusal>,
}

/// A result, as MCP's `CallToolResult` has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    /// The blocks.
    pub content: Vec<Content>,
    /// The structured content.
    pub structured: Option<Value>,
    /// The tool ran and failed, or the host refused.
    pub is_error: bool,
    /// Further `_meta`, from the plugin.
    pub meta: Map<String, Value>,
}

/// One block of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Text.
    Text {
        /// The text.
        text: String,
        /// Hints about it.
        annotations: Option<Annotations>,
    },
    /// An image.
    Image(Media),
    /// Audio.
    Audio(Media),
    /// A resource, whole.
    Resource {
        /// Its URI.
        uri: String,
        /// Its media type.
        mime_type: Option<String>,
        /// What it holds.
        body: ResourceBody,
        /// Hints about it.
        annotations: Option<Annotations>,
    },
    /// A pointer to a resource.
    Link {
        /// Its URI.
        uri: String,
        /// Its name.
        name: String,
        /// For people.
        title: Option<String>,
        /// What it is.
        description: Option<String>,
        /// Its media type.
        mime_type: Option<String>,
        /// Its size in bytes.
        size: Option<u64>,
        /// Hints about it.
        annotations: Option<Annotations>,
    },
}

/// Bytes of an image or of audio.
#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    /// The bytes.
    pub data: Vec<u8>,
    /// Their media type.
    pub mime_type: String,
    /// Hints about it.
    pub annotations: Option<Annotations>,
}

/// What an embedded resource holds.
#[derive(Debug, Clone, PartialEq)]
pub enum ResourceBody {
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// Hints to the client about a block.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Annotations {
    /// Meant for the user.
    pub for_user: bool,
    /// Meant for the model.
    pub for_assistant: bool,
    /// From 0 to 1.
    pub priority: Option<f64>,
    /// RFC 3339.
    pub last_modified: Option<String>,
}
