//! From what the plugin returned to what may leave the host.

use serde_json::{Map, Value};

use super::given;
use super::questions::Questions;
use super::reply::{Annotations, Completion, Content, Media, ResourceBody};
use crate::capability::CallContext;
use crate::capability::Usage;
use crate::json;
use crate::limits::{CallLimits, reached};
use crate::name::ToolName;
use crate::plugin::Plugin;
use crate::reason::{Reason, Refusal};
use crate::runtime::bindings::{tools as wit, types};
use crate::runtime::{Answered, Ended};
use crate::secret::{Lent, aside};
use crate::tape::Recorder;

/// The end of a call, checked.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) completion: Completion,
    /// Why there is no completion of the plugin's.
    pub(super) refusal: Option<Refusal>,
    /// What it asks first.
    pub(super) asks: Option<Questions>,
    pub(super) fuel: u64,
    pub(super) usage: Usage,
    pub(super) redacted: u64,
    /// What the call was given, where that is kept.
    pub(super) tape: Option<Box<Recorder>>,
}

/// Checks, bounds and redacts what `ended` brought.
pub(super) async fn settle(
    plugin: &Plugin,
    tool: &ToolName,
    limits: &CallLimits,
    mut ended: Ended,
) -> Answer {
    let none = Lent::default();
    let mut asks = None;
    // Before what was used is counted: each question is a host call.
    let asked = match &mut ended {
        Ended {
            answer: answer @ Ok(Ok(Answered::Asks(_))),
            context: Some(context),
            ..
        } => Some(ask(plugin, tool, answer, context)),
        _ => None,
    };
    if let Some((questions, refused)) = asked {
        asks = questions;
        if let Err(refusal) = refused {
            ended.answer = Err(refusal);
        }
    }
    let (usage, tape, context) = match ended.context {
        Some(mut context) => (context.take_usage(), context.take_tape(), Some(context)),
        None => (Usage::default(), None, None),
    };
    let lent = context.as_ref().map_or(&none, |context| context.lent());
    let mut redacted = 0;
    let result = if let Some(held) = &usage.held {
        Err(held.clone())
    } else {
        let bounded = match (ended.answer, &mut asks) {
            (Ok(Ok(Answered::Asks(_))), Some(questions)) => {
                redacted += questions.redact(lent);
                Ok((asking(questions), 0))
            }
            (answer, _) => answer.and_then(|answer| completion(answer, limits)),
        };
        match bounded {
            Err(refusal) => Err(refusal),
            Ok((mut completion, bytes)) => {
                let clean = aside(lent, bytes, move |lent| {
                    let count = lent.redact_completion(&mut completion);
                    (completion, count)
                });
                clean.await.and_then(|(completion, count)| {
                    redacted += count;
                    conforming(plugin, tool, completion)
                })
            }
        }
    };
    let (completion, refusal) = match result {
        Ok(completion) => (completion, None),
        Err(mut refusal) => {
            // Text of the plugin's may stand in these.
            let mut message = refusal.message.into_owned();
            redacted += lent.redact_in_place(&mut message);
            refusal.message = message.into();
            if let Some(detail) = &mut refusal.detail {
                redacted += lent.redact_in_place(detail);
            }
            (Completion::default(), Some(refusal))
        }
    };
    Answer {
        completion,
        refusal,
        asks,
        fuel: ended.fuel,
        usage,
        redacted,
        tape,
    }
}

/// What the plugin asks, and whether it may: declared, offered by the client, allowed by policy, and written
/// down, each question by itself.
fn ask(
    plugin: &Plugin,
    tool: &ToolName,
    answer: &mut Result<crate::runtime::Answer, Refusal>,
    context: &mut CallContext,
) -> (Option<Questions>, Result<(), Refusal>) {
    let Ok(Ok(Answered::Asks(said))) = answer else {
        return (None, Ok(()));
    };
    let questions = match Questions::read(said.clone()) {
        Ok(questions) => questions,
        Err(refusal) => return (None, Err(refusal)),
    };
    // Before anyone is asked about it: nothing of such a question is kept.
    if let Err(refusal) = questions.withhold(context.lent()) {
        return (None, Err(refusal));
    }
    let Some((described, _)) = plugin.tool(tool) else {
        let refusal = Refusal::new(Reason::HostInternal, "a plugin that was not described asks");
        return (None, Err(refusal));
    };
    let allowed = questions
        .may_be_asked(described, context.offers())
        .and_then(|()| context.asks(&questions));
    (Some(questions), allowed)
}

/// The result that a question stands for, in the record.
fn asking(questions: &Questions) -> Completion {
    Completion {
        structured: Some(questions.to_value()),
        ..Completion::default()
    }
}

/// What an agent got of `answer`, where nothing was lent to the call: for a replay.
pub(crate) fn of_replay(
    answer: crate::runtime::Answer,
    limits: &CallLimits,
) -> Result<Completion, Refusal> {
    completion(answer, limits).map(|(completion, _)| completion)
}

/// Bytes of a plugin's error message; a model reads a sentence.
const MESSAGE: usize = 2 << 10;

fn completion(
    answer: crate::runtime::Answer,
    limits: &CallLimits,
) -> Result<(Completion, usize), Refusal> {
    match answer {
        Ok(Answered::Tool(said)) => bounded(said, limits),
        Ok(Answered::Prompt(said)) => bounded(given::prompt(said), limits),
        Ok(Answered::Resource(said)) => bounded(given::resource(said)?, limits),
        Ok(Answered::Values(said)) => bounded(given::values(said)?, limits),
        Ok(Answered::Asks(said)) => Questions::read(said).map(|questions| (asking(&questions), 0)),
        Err(types::CallError::UnknownTool) => Err(Refusal::new(
            Reason::PluginFailed,
            "the plugin does not know what it described",
        )),
        Err(types::CallError::InvalidArguments(message)) => {
            Err(Refusal::new(Reason::ArgsRejected, cut(message)))
        }
        Err(types::CallError::Failed(message)) => {
            Err(Refusal::new(Reason::PluginFailed, cut(message)))
        }
    }
}

fn cut(mut message: String) -> String {
    if message.len() > MESSAGE {
        let end = (0..=MESSAGE)
            .rev()
            .find(|end| message.is_char_boundary(*end))
            .unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A result within the call's bounds, every text of JSON in it read; and its size.
fn bounded(said: wit::Completion, limits: &CallLimits) -> Result<(Completion, usize), Refusal> {
    let size = said.structured.as_ref().map_or(0, String::len)
        + said.meta.as_ref().map_or(0, String::len)
        + said.content.iter().map(size).sum::<usize>();
    if size > limits.output {
        return Err(Refusal::new(
            Reason::ResultTooLarge,
            reached("output", size, limits.output, " bytes"),
        ));
    }
    let bounds = json::Limits {
        bytes: limits.output,
        depth: limits.arguments.depth,
        // A result is data for a program as well, and may be longer than any argument.
        nodes: 100_000,
    };
    let read = |what: &str, text: &str| {
        json::parse_any_number(text.as_bytes(), &bounds).map_err(|fault| {
            let reason = match fault.kind {
                json::FaultKind::TooDeep | json::FaultKind::TooLarge => Reason::ResultTooLarge,
                _ => Reason::ResultInvalid,
            };
            let said = match fault.over {
                // The result's own bound of this is the arguments'.
                Some(over) if over.limit == "depth" => {
                    reached("arguments.depth", over.used, over.allowed, "")
                }
                _ => fault.to_string(),
            };
            Refusal::new(reason, format!("{what} of the result: {said}"))
        })
    };
    let structured = said
        .structured
        .as_deref()
        .map(|text| read("the structured content", text))
        .transpose()?;
    let meta = match said
        .meta
        .as_deref()
        .map(|text| read("`_meta`", text))
        .transpose()?
    {
        None => Map::new(),
        Some(Value::Object(members)) if members.keys().all(|key| may_set(key)) => members,
        Some(_) => {
            return Err(Refusal::new(
                Reason::ResultInvalid,
                "`_meta` of the result is not an object, or has a key that belongs to the host or to MCP",
            ));
        }
    };
    let completion = Completion {
        content: said.content.into_iter().map(content).collect(),
        structured,
        is_error: said.is_error,
        meta,
    };
    Ok((completion, size))
}

/// Whether a plugin may set this key of `_meta`: not one of the host's, nor one that MCP reserves
/// (a prefix whose second label is `mcp` or `modelcontextprotocol`), nor one without a prefix.
fn may_set(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return false;
    };
    let mut labels = prefix.split('.');
    let reserved = |label: Option<&str>| matches!(label, Some("mcp" | "modelcontextprotocol"));
    let (first, second) = (labels.next(), labels.next());
    !reserved(first) && !reserved(second) && !prefix.starts_with("dev.tollgate")
}

fn size(content: &types::Content) -> usize {
    let some = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    match content {
        types::Content::Text(text) => text.text.len(),
        types::Content::Image(media) | types::Content::Audio(media) => {
            // As the protocol carries it: base64.
            media.data.len().div_ceil(3) * 4 + media.mime_type.len()
        }
        types::Content::Resource(resource) => {
            resource.uri.len()
                + some(&resource.mime_type)
                + match &resource.body {
                    types::ResourceBody::Text(text) => text.len(),
                    types::ResourceBody::Blob(bytes) => bytes.len().div_ceil(3) * 4,
                }
        }
        types::Content::Link(link) => {
            link.uri.len()
                + link.name.len()
                + some(&link.title)
                + some(&link.description)
                + some(&link.mime_type)
        }
    }
}

fn content(said: types::Content) -> Content {
    let media = |media: types::MediaContent| Media {
        data: media.data,
        mime_type: media.mime_type,
        annotations: annotations(media.annotations),
    };
    match said {
        types::Content::Text(text) => Content::Text {
            text: text.text,
            annotations: annotations(text.annotations),
        },
        types::Content::Image(image) => Content::Image(media(image)),
        types::Content::Audio(audio) => Content::Audio(media(audio)),
        types::Content::Resource(resource) => Content::Resource {
            uri: resource.uri,
            mime_type: resource.mime_type,
            body: match resource.body {
                types::ResourceBody::Text(text) => ResourceBody::Text(text),
                types::ResourceBody::Blob(bytes) => ResourceBody::Blob(bytes),
            },
            annotations: annotations(resource.annotations),
        },
        types::Content::Link(link) => Content::Link {
            uri: link.uri,
            name: link.name,
            title: link.title,
            description: link.description,
            mime_type: link.mime_type,
            size: link.size,
            annotations: annotations(link.annotations),
        },
    }
}

fn annotations(said: Option<types::Annotations>) -> Option<Annotations> {
    let said = said?;
    Some(Annotations {
        for_user: said.audience.contains(&types::Role::User),
        for_assistant: said.audience.contains(&types::Role::Assistant),
        priority: said.priority.filter(|p| (0.0..=1.0).contains(p)),
        last_modified: said
            .last_modified
            .filter(|time| time.parse::<jiff::Timestamp>().is_ok()),
    })
}

/// A tool that declares what its structured content looks like keeps to it. Where it says that it failed, what
/// does not conform is left out: some clients would throw the whole result away for it.
fn conforming(
    plugin: &Plugin,
    tool: &ToolName,
    mut completion: Completion,
) -> Result<Completion, Refusal> {
    let Some(schema) = plugin
        .tool(tool)
        .and_then(|(_, schemas)| schemas.output.as_ref())
    else {
        return Ok(completion);
    };
    let fault = match &completion.structured {
        Some(structured) => schema.fault(structured),
        None => Some("there is no structured content".to_owned()),
    };
    match fault {
        Some(_) if completion.is_error => completion.structured = None,
        Some(fault) => {
            return Err(Refusal::new(
                Reason::ResultSchema,
                "the plugin's result does not conform to its own output schema",
            )
            .with_detail(fault));
        }
        None => {}
    }
    Ok(completion)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_keys_of_meta_are_not_the_plugins() {
        assert!(may_set("com.example/page"));
        for key in [
            "page",
            "dev.tollgate/call",
            "io.modelcontextprotocol/x",
            "mcp.dev/x",
            "a.mcp/x",
        ] {
            assert!(!may_set(key), "{key}");
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = cut("é".repeat(2000));
        assert!(text.len() <= MESSAGE + '…'.len_utf8());
        assert!(text.ends_with('…'));
    }
}
