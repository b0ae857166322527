//! What goes back to the agent.

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::questions::Questions;
use crate::journal::record::CallId;
use crate::json::{write_canonical, write_canonical_string};
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
    /// What the plugin asks first; the completion says the same, for the record. Where it is refused
    /// as well, it was not to be asked.
    pub asks: Option<Questions>,
}

/// A result, as MCP's `CallToolResult` has it. A prompt's messages are its blocks, and `structured` has
/// its description and each message's role; what a resource holds are blocks as well; values that
/// complete an argument are `structured`.
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

impl Completion {
    /// The canonical text of the result, as MCP writes it: what the journal has the digest of.
    #[must_use]
    pub fn canonical(&self) -> String {
        // Written in the order of the canonical form: the members of a result are always the same.
        let mut out = String::with_capacity(256);
        out.push_str(r#"{"content":["#);
        for (i, block) in self.content.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            block.write(&mut out);
        }
        out.push_str(r#"],"isError":"#);
        out.push_str(if self.is_error { "true" } else { "false" });
        if let Some(structured) = &self.structured {
            out.push_str(r#","structuredContent":"#);
            write_canonical(structured, &mut out);
        }
        out.push('}');
        out
    }
}

impl Content {
    fn write(&self, out: &mut String) {
        match self {
            // What most results are.
            Self::Text {
                text,
                annotations: None,
            } => {
                out.push_str(r#"{"text":"#);
                write_canonical_string(text, out);
                out.push_str(r#","type":"text"}"#);
            }
            other => write_canonical(&other.to_value(), out),
        }
    }

    fn to_value(&self) -> Value {
        let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
        let (mut value, annotations) = match self {
            Self::Text { text, annotations } => {
                (json!({"type": "text", "text": text}), annotations)
            }
            Self::Image(media) => (
                json!({"type": "image", "data": base64(&media.data), "mimeType": media.mime_type}),
                &media.annotations,
            ),
            Self::Audio(media) => (
                json!({"type": "audio", "data": base64(&media.data), "mimeType": media.mime_type}),
                &media.annotations,
            ),
            Self::Resource {
                uri,
                mime_type,
                body,
                annotations,
            } => {
                let mut resource = json!({"uri": uri, "mimeType": mime_type});
                match body {
                    ResourceBody::Text(text) => put(&mut resource, "text", text.as_str().into()),
                    ResourceBody::Blob(bytes) => put(&mut resource, "blob", base64(bytes).into()),
                }
                (
                    json!({"type": "resource", "resource": resource}),
                    annotations,
                )
            }
            Self::Link {
                uri,
                name,
                title,
                description,
                mime_type,
                size,
                annotations,
            } => (
                json!({
                    "type": "resource_link", "uri": uri, "name": name, "title": title,
                    "description": description, "mimeType": mime_type, "size": size,
                }),
                annotations,
            ),
        };
        if let Some(annotations) = annotations {
            let mut audience = Vec::new();
            if annotations.for_user {
                audience.push("user");
            }
            if annotations.for_assistant {
                audience.push("assistant");
            }
            let said = json!({
                "audience": audience, "priority": annotations.priority, "lastModified": annotations.last_modified,
            });
            put(&mut value, "annotations", said);
        }
        without_nulls(value)
    }
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(key.into(), value);
    }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(key, member)| (key, without_nulls(member)))
            .collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_result_is_canonical() {
        let plain = |text: &str| Content::Text {
            text: text.to_owned(),
            annotations: None,
        };
        let completion = Completion {
            content: vec![
                plain("a\"\\\u{1}\u{7f}\n\u{e9}\u{2028}\u{10000}"),
                plain(""),
                Content::Text {
                    text: "hint".to_owned(),
                    annotations: Some(Annotations {
                        for_user: true,
                        ..Annotations::default()
                    }),
                },
            ],
            structured: Some(json!({"b": [1.0, "\t"], "a": null})),
            is_error: true,
            meta: Map::new(),
        };
        let mut whole = json!({
            "isError": true,
            "structuredContent": completion.structured,
            "content": [],
        });
        let blocks: Vec<_> = completion.content.iter().map(Content::to_value).collect();
        put(&mut whole, "content", Value::Array(blocks));
        assert_eq!(completion.canonical(), crate::json::canonical(&whole));
        insta::assert_snapshot!(Completion::default().canonical(), @r#"{"content":[],"isError":false}"#);
    }
}
