//! A reply in MCP's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{
    AudioContent, CallToolResult, ContentBlock, EmbeddedResource, ImageContent, MetaObject,
    Resource, ResourceContents, Role, TextContent,
};
use serde_json::{Map, Value};

use crate::call::{Annotations, Completion, Content, Reply, ResourceBody};
use crate::journal::record::CallId;
use crate::reason::Reason;

/// The key in `_meta` under which a result carries its call, so that it can be found in the journal.
const CALL: &str = "dev.tollgate/call";
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// Prefixes of `_meta` keys that only the host writes.
const RESERVED: [&str; 3] = [
    "dev.tollgate/",
    "io.modelcontextprotocol/",
    "modelcontextprotocol.io/",
];

/// The result, or the protocol's own error for a tool that does not exist.
pub(super) fn result_of(
    reply: Reply,
    tool: &str,
    server_info: &Value,
) -> Result<CallToolResult, ErrorData> {
    if reply
        .refusal
        .as_ref()
        .is_some_and(|refusal| refusal.reason == Reason::NameUnknown)
    {
        return Err(unknown(reply.call, tool));
    }
    let Completion {
        content,
        structured,
        is_error,
        meta,
    } = reply.completion;
    let content = content.into_iter().map(block).collect();
    let mut result = if is_error {
        CallToolResult::error(content)
    } else {
        CallToolResult::success(content)
    };
    result.structured_content = structured;
    result.meta = Some(meta_of(meta, reply.call, server_info));
    Ok(result)
}

/// The same for a tool that does not exist and one that this agent may not know of.
fn unknown(call: CallId, tool: &str) -> ErrorData {
    let shown: String = tool
        .chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect();
    let mut data = Map::new();
    data.insert("code".to_owned(), Reason::NameUnknown.code().into());
    data.insert("call".to_owned(), call.to_string().into());
    ErrorData::invalid_params(format!("unknown tool `{shown}`"), Some(Value::Object(data)))
}

pub(super) fn meta_of(
    mut meta: Map<String, Value>,
    call: CallId,
    server_info: &Value,
) -> MetaObject {
    meta.retain(|key, _| !RESERVED.iter().any(|prefix| key.starts_with(prefix)));
    meta.insert(CALL.to_owned(), call.to_string().into());
    meta.insert(SERVER_INFO.to_owned(), server_info.clone());
    MetaObject(meta)
}

fn block(content: Content) -> ContentBlock {
    match content {
        Content::Text { text, annotations } => {
            let mut block = TextContent::new(text);
            block.annotations = annotations.map(hints);
            ContentBlock::Text(block)
        }
        Content::Image(media) => {
            let mut block = ImageContent::new(STANDARD.encode(media.data), media.mime_type);
            block.annotations = media.annotations.map(hints);
            ContentBlock::Image(block)
        }
        Content::Audio(media) => {
            let mut block = AudioContent::new(STANDARD.encode(media.data), media.mime_type);
            block.annotations = media.annotations.map(hints);
            ContentBlock::Audio(block)
        }
        Content::Resource {
            uri,
            mime_type,
            body,
            annotations,
        } => {
            let resource = match body {
                ResourceBody::Text(text) => ResourceContents::TextResourceContents {
                    uri,
                    mime_type,
                    text,
                    meta: None,
                },
                ResourceBody::Blob(bytes) => ResourceContents::BlobResourceContents {
                    uri,
                    mime_type,
                    blob: STANDARD.encode(bytes),
                    meta: None,
                },
            };
            let mut block = EmbeddedResource::new(resource);
            block.annotations = annotations.map(hints);
            ContentBlock::Resource(block)
        }
        Content::Link {
            uri,
            name,
            title,
            description,
            mime_type,
            size,
            annotations,
        } => {
            let mut block = Resource::new(uri, name);
            block.title = title;
            block.description = description;
            block.mime_type = mime_type;
            block.size = size;
            block.annotations = annotations.map(hints);
            ContentBlock::ResourceLink(block)
        }
    }
}

fn hints(annotations: Annotations) -> rmcp::model::Annotations {
    let mut audience = Vec::new();
    if annotations.for_user {
        audience.push(Role::User);
    }
    if annotations.for_assistant {
        audience.push(Role::Assistant);
    }
    let mut hints = rmcp::model::Annotations::default();
    if !audience.is_empty() {
        hints.audience = Some(audience);
    }
    hints.priority = annotations.priority.and_then(priority);
    hints.last_modified = annotations.last_modified;
    hints
}

/// MCP's range; anything else is left out rather than guessed at.
fn priority(value: f64) -> Option<f32> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a hint from 0 to 1 loses nothing that matters"
    )]
    (0.0..=1.0).contains(&value).then_some(value as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Media;
    use crate::reason::Refusal;
    use serde_json::json;

    fn reply(completion: Completion, refusal: Option<Refusal>) -> Reply {
        Reply {
            call: CallId(uuid::Uuid::nil()),
            completion,
            refusal,
            asks: None,
        }
    }

    #[test]
    fn every_kind_of_content_is_written_as_mcp_has_it() {
        let annotations = Some(Annotations {
            for_user: true,
            for_assistant: true,
            priority: Some(0.5),
            last_modified: Some("2026-11-22T00:00:00Z".into()),
        });
        let media = || Media {
            data: vec![0, 255],
            mime_type: "x/y".into(),
            annotations: None,
        };
        let resource = |body| Content::Resource {
            uri: "test://a".into(),
            mime_type: Some("text/plain".into()),
            body,
            annotations: None,
        };
        let content = vec![
            Content::Text {
                text: "t".into(),
                annotations,
            },
            Content::Image(media()),
            Content::Audio(media()),
            resource(ResourceBody::Text("r".into())),
            resource(ResourceBody::Blob(vec![1])),
            Content::Link {
                uri: "test://b".into(),
                name: "n".into(),
                title: None,
                description: Some("d".into()),
                mime_type: None,
                size: Some(9),
                annotations: Some(Annotations {
                    priority: Some(7.0),
                    ..Annotations::default()
                }),
            },
        ];
        let completion = Completion {
            content,
            ..Completion::default()
        };
        let result = result_of(reply(completion, None), "t", &json!({})).unwrap();
        assert_eq!(
            serde_json::to_value(result.content).unwrap(),
            json!([
                {"type": "text", "text": "t", "annotations": {
                    "audience": ["user", "assistant"], "priority": 0.5,
                    "lastModified": "2026-11-22T00:00:00Z"}},
                {"type": "image", "data": "AP8=", "mimeType": "x/y"},
                {"type": "audio", "data": "AP8=", "mimeType": "x/y"},
                {"type": "resource", "resource":
                    {"uri": "test://a", "mimeType": "text/plain", "text": "r"}},
                {"type": "resource", "resource":
                    {"uri": "test://a", "mimeType": "text/plain", "blob": "AQ=="}},
                {"type": "resource_link", "uri": "test://b", "name": "n", "description": "d",
                    "size": 9, "annotations": {}},
            ])
        );
    }

    #[test]
    fn a_refusal_is_a_result_that_says_so_and_an_unknown_tool_is_the_protocols_error() {
        let completion = Completion {
            structured: Some(json!({"code": "approval_required"})),
            is_error: true,
            ..Completion::default()
        };
        let held = Refusal::new(Reason::ApprovalRequired, "a person must agree");
        let result = result_of(reply(completion, Some(held)), "t", &json!({})).unwrap();
        assert_eq!(result.is_error, Some(true));
        assert_eq!(
            result.structured_content,
            Some(json!({"code": "approval_required"}))
        );
        let unknown = Refusal::new(Reason::NameUnknown, "no such tool").with_detail("inner");
        let name = format!("a\u{202e}\n{}", "x".repeat(500));
        let error = result_of(
            reply(Completion::default(), Some(unknown)),
            &name,
            &json!({}),
        )
        .unwrap_err();
        assert_eq!(error.code.0, -32602);
        let text = serde_json::to_string(&error).unwrap();
        assert!(text.len() < 300 && text.is_ascii(), "{text}");
        assert!(!text.contains("inner"), "{text}");
    }
}
