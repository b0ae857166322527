//! What a result is made of.

use serde::Serialize;
use serde_json::Value;

use crate::Error;
use crate::bindings::exports::tollgate::plugin::tools;
pub use crate::bindings::tollgate::plugin::types::Content;
use crate::bindings::tollgate::plugin::types::{
    LinkContent, MediaContent, ResourceBody, ResourceContent, TextContent,
};

/// Short ways to make a block.
pub trait ContentExt {
    /// Text.
    fn text(text: impl Into<String>) -> Content {
        Content::Text(TextContent {
            text: text.into(),
            annotations: None,
        })
    }

    /// An image; `media_type` such as `image/png`.
    fn image(data: Vec<u8>, media_type: impl Into<String>) -> Content {
        Content::Image(MediaContent {
            data,
            mime_type: media_type.into(),
            annotations: None,
        })
    }

    /// Sound; `media_type` such as `audio/wav`.
    fn audio(data: Vec<u8>, media_type: impl Into<String>) -> Content {
        Content::Audio(MediaContent {
            data,
            mime_type: media_type.into(),
            annotations: None,
        })
    }

    /// A resource that is text, in full.
    fn text_resource(
        uri: impl Into<String>,
        media_type: Option<String>,
        text: impl Into<String>,
    ) -> Content {
        Content::Resource(ResourceContent {
            uri: uri.into(),
            mime_type: media_type,
            body: ResourceBody::Text(text.into()),
            annotations: None,
        })
    }

    /// A resource that is bytes, in full.
    fn blob_resource(
        uri: impl Into<String>,
        media_type: Option<String>,
        bytes: Vec<u8>,
    ) -> Content {
        Content::Resource(ResourceContent {
            uri: uri.into(),
            mime_type: media_type,
            body: ResourceBody::Blob(bytes),
            annotations: None,
        })
    }

    /// A pointer to a resource. The host does not fetch it.
    fn link(uri: impl Into<String>, name: impl Into<String>) -> Content {
        Content::Link(LinkContent {
            uri: uri.into(),
            name: name.into(),
            title: None,
            description: None,
            mime_type: None,
            size: None,
            annotations: None,
        })
    }
}

impl ContentExt for Content {}

/// A result in full, for a tool that needs more than `Json` or text.
#[derive(Debug, Clone, Default)]
pub struct Completion {
    content: Vec<Content>,
    structured: Option<String>,
    is_error: bool,
    meta: Option<Value>,
}

impl Completion {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One block of text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new().with(Content::text(text))
    }

    /// The tool ran and failed in a way that the model should read.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self {
            is_error: true,
            ..Self::text(text)
        }
    }

    /// Adds a block.
    #[must_use]
    pub fn with(mut self, content: Content) -> Self {
        self.content.push(content);
        self
    }

    /// Sets the structured content.
    pub fn structured(mut self, value: &impl Serialize) -> Result<Self, Error> {
        self.structured = Some(serde_json::to_string(value)?);
        Ok(self)
    }

    /// Sets the structured content to what is JSON text already.
    #[must_use]
    pub fn structured_text(mut self, json: impl Into<String>) -> Self {
        self.structured = Some(json.into());
        self
    }

    /// Sets further `_meta`, an object.
    #[must_use]
    pub fn meta(mut self, meta: Value) -> Self {
        self.meta = Some(meta);
        self
    }

    pub(crate) fn into_binding(self) -> tools::Completion {
        tools::Completion {
            content: self.content,
            structured: self.structured,
            is_error: self.is_error,
            meta: self.meta.map(|value| value.to_string()),
        }
    }
}

impl From<Vec<Content>> for Completion {
    fn from(content: Vec<Content>) -> Self {
        Self {
            content,
            ..Self::default()
        }
    }
}
