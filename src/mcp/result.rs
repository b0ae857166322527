//! A reply in MCP's form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::ErrorData;
use rmcp::model::{
    AudioContent, CacheScope, CallToolResult, CompleteResult, CompletionInfo, ContentBlock,
    EmbeddedResource, ErrorCode, GetPromptResult, ImageContent, MetaObject, PromptMessage,
    ReadResourceResult, Resource, ResourceContents, Role, TextContent,
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
        let message = format!("unknown tool `{}`", shown(tool));
        return Err(unknown(message, Some(reply.call)));
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

/// A name that a client wrote, as an error shows it.
pub(super) fn shown(name: &str) -> String {
    name.chars()
        .take(64)
        .flat_map(char::escape_default)
        .collect()
}

/// The same for what does not exist and for what this agent may not know of.
fn unknown(message: String, call: Option<CallId>) -> ErrorData {
    ErrorData::invalid_params(message, Some(absent(Map::new(), call)))
}

/// The data of an error that says so.
fn absent(mut data: Map<String, Value>, call: Option<CallId>) -> Value {
    data.insert("code".to_owned(), Reason::NameUnknown.code().into());
    if let Some(call) = call {
        data.insert("call".to_owned(), call.to_string().into());
    }
    Value::Object(data)
}

/// What is refused of a request whose result has no word for it. JSON-RPC leaves this code to servers.
const REFUSED: ErrorCode = ErrorCode(-32000);

/// The error of a call that has no result: what a tool's result would say is its data.
fn refused(reply: Reply, name: &str) -> Result<Completion, ErrorData> {
    let Some(refusal) = &reply.refusal else {
        return Ok(reply.completion);
    };
    let code = match refusal.reason {
        Reason::NameUnknown => return Err(unknown_offer(name, Some(reply.call))),
        reason if reason.code().starts_with("args.") => ErrorCode::INVALID_PARAMS,
        _ => REFUSED,
    };
    let message = format!("{}: {}", refusal.reason.code(), refusal.message);
    Err(ErrorData::new(code, message, reply.completion.structured))
}

/// The same for a prompt, or what else is used by its name.
pub(super) fn unknown_offer(name: &str, call: Option<CallId>) -> ErrorData {
    unknown(format!("there is no `{}`", shown(name)), call)
}

/// The same for a resource. `rmcp` gives it the code of the client's revision.
pub(super) fn no_resource(uri: &str, call: Option<CallId>) -> ErrorData {
    let data = absent(Map::from_iter([("uri".to_owned(), uri.into())]), call);
    ErrorData::resource_not_found("there is no such resource", Some(data))
}

/// A prompt's result.
pub(super) fn prompt_of(
    reply: Reply,
    name: &str,
    server_info: &Value,
) -> Result<GetPromptResult, ErrorData> {
    let call = reply.call;
    let Completion {
        content,
        structured,
        meta,
        ..
    } = refused(reply, name)?;
    let member = |key: &str| structured.as_ref().and_then(|said| said.get(key));
    let roles = member("roles").and_then(Value::as_array);
    let messages = roles
        .into_iter()
        .flatten()
        .zip(content)
        .map(|(role, content)| {
            let role = if role == "assistant" {
                Role::Assistant
            } else {
                Role::User
            };
            PromptMessage::new(role, block(content))
        });
    let mut result = GetPromptResult::new(messages.collect());
    result.description = member("description")
        .and_then(Value::as_str)
        .map(str::to_owned);
    result.meta = Some(meta_of(meta, call, server_info));
    Ok(result)
}

/// What a resource holds.
pub(super) fn resource_of(
    reply: Reply,
    uri: &str,
    server_info: &Value,
) -> Result<ReadResourceResult, ErrorData> {
    let call = reply.call;
    if reply
        .refusal
        .as_ref()
        .is_some_and(|refusal| refusal.reason == Reason::NameUnknown)
    {
        return Err(no_resource(uri, Some(call)));
    }
    let Completion { content, meta, .. } = refused(reply, uri)?;
    let contents = content
        .into_iter()
        .filter_map(|content| match block(content) {
            ContentBlock::Resource(resource) => Some(resource.resource),
            _ => None,
        });
    let mut result = ReadResourceResult::new(contents.collect())
        // It may be another thing the next time, and is nobody else's to read.
        .with_ttl_ms(0)
        .with_cache_scope(CacheScope::Private);
    result.meta = Some(meta_of(meta, call, server_info));
    Ok(result)
}

/// Values that complete an argument.
pub(super) fn completion_of(
    reply: Reply,
    name: &str,
    server_info: &Value,
) -> Result<CompleteResult, ErrorData> {
    let call = reply.call;
    let Completion {
        structured, meta, ..
    } = refused(reply, name)?;
    let completion: CompletionInfo = structured
        .and_then(|said| serde_json::from_value(said).ok())
        .unwrap_or_default();
    let mut result = CompleteResult::new(completion);
    result.meta = Some(meta_of(meta, call, server_info));
    Ok(result)
}

pub(super) fn meta_of(
    mut meta: Map<String, Value>,
    call: CallId,
    server_info: &Value,
) -> MetaObject {
    meta.retain(|key, _| !RESERVED.iter().any(|prefix| key.starts_with(prefix)));
    host_meta(meta, Some(call), server_info)
}

/// The same of a job, whose result has its own.
pub(super) fn meta_of_job(call: Option<CallId>, server_info: &Value) -> MetaObject {
    host_meta(Map::new(), call, server_info)
}

fn host_meta(
    mut meta: Map<String, Value>,
    call: Option<CallId>,
    server_info: &Value,
) -> MetaObject {
    if let Some(call) = call {
        meta.insert(CALL.to_owned(), call.to_string().into());
    }
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
