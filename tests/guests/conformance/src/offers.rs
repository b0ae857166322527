//! Prompts, resources and completion.

use serde_json::Value;
use tollgate_plugin::offer::{
    Argument, Completes, Place, Prompt, PromptReply, Prompts, Resource, ResourceReply, Resources,
    Role, Typed,
};
use tollgate_plugin::prelude::*;

use crate::asks::{filled, form};
use crate::content::png;

#[derive(Debug)]
pub(crate) struct Fixtures;

#[derive(Debug)]
pub(crate) struct Words;

const fn prompt(
    name: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
) -> Prompt {
    Prompt {
        name,
        title: None,
        description,
        arguments,
        uses: &[],
    }
}

const fn argument(name: &'static str, description: &'static str) -> Argument {
    Argument {
        name,
        description: Some(description),
        required: true,
    }
}

impl Prompts for Fixtures {
    const ALL: &'static [Prompt] = &[
        prompt(
            "test_simple_prompt",
            "A simple prompt without arguments.",
            &[],
        ),
        prompt(
            "test_prompt_with_arguments",
            "A prompt with required arguments.",
            &[
                argument("arg1", "First test argument."),
                argument("arg2", "Second test argument."),
            ],
        ),
        prompt(
            "test_prompt_with_embedded_resource",
            "A prompt that includes an embedded resource.",
            &[argument("resourceUri", "URI of the resource to embed.")],
        ),
        prompt(
            "test_prompt_with_image",
            "A prompt that includes an image.",
            &[],
        ),
        prompt(
            "test_input_required_result_prompt",
            "A prompt that asks for its context.",
            &[],
        ),
    ];

    fn get(invocation: Invocation) -> Result<PromptReply, Error> {
        let arguments: Value = invocation.parse()?;
        let argument = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let user = |content| (Role::User, content);
        Ok(match invocation.tool() {
            "test_simple_prompt" => PromptReply::text("This is a simple prompt for testing."),
            "test_prompt_with_arguments" => PromptReply::text(format!(
                "Prompt with arguments: arg1='{}', arg2='{}'",
                argument("arg1"),
                argument("arg2")
            )),
            "test_prompt_with_embedded_resource" => PromptReply::Messages(vec![
                user(Content::text_resource(
                    argument("resourceUri"),
                    Some("text/plain".to_owned()),
                    "Embedded resource content for testing.",
                )),
                user(Content::text("Please process the embedded resource above.")),
            ]),
            "test_prompt_with_image" => PromptReply::Messages(vec![
                user(Content::image(png(), "image/png")),
                user(Content::text("Please analyze the image above.")),
            ]),
            "test_input_required_result_prompt" => {
                match filled(&invocation, "user_context", "context") {
                    Some(context) => PromptReply::text(format!("Prompt with context: {context}")),
                    None => PromptReply::Ask(InputRequest::new([form(
                        "user_context",
                        "What context should the prompt use?",
                        "context",
                        "string",
                    )])),
                }
            }
            other => return Err(Error::failed(format_args!("no prompt `{other}`"))),
        })
    }
}

const fn resource(
    name: &'static str,
    description: &'static str,
    at: Place,
    mime_type: &'static str,
) -> Resource {
    Resource {
        name,
        title: None,
        description,
        at,
        mime_type: Some(mime_type),
        uses: &[],
    }
}

impl Resources for Fixtures {
    const ALL: &'static [Resource] = &[
        resource(
            "static-text",
            "A static text resource for testing.",
            Place::Uri("test://static-text"),
            "text/plain",
        ),
        resource(
            "static-binary",
            "A static binary resource (an image) for testing.",
            Place::Uri("test://static-binary"),
            "image/png",
        ),
        resource(
            "watched-resource",
            "A resource that can be subscribed to.",
            Place::Uri("test://watched-resource"),
            "text/plain",
        ),
        resource(
            "template",
            "A family of resources.",
            Place::Template("test://template/{id}/data"),
            "application/json",
        ),
    ];

    fn read(invocation: Invocation) -> Result<ResourceReply, Error> {
        let arguments: Value = invocation.parse()?;
        let argument = |name: &str| {
            arguments
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let uri = argument("uri");
        Ok(match invocation.tool() {
            "static-text" => ResourceReply::text(
                uri,
                "text/plain",
                "This is the content of the static text resource.",
            ),
            "static-binary" => ResourceReply::bytes(uri, "image/png", png()),
            "watched-resource" => {
                ResourceReply::text(uri, "text/plain", "Watched resource content")
            }
            "template" => {
                let id = argument("id");
                let data = serde_json::json!({
                    "id": id, "templateTest": true, "data": format!("Data for ID: {id}"),
                });
                ResourceReply::text(uri, "application/json", data.to_string())
            }
            other => return Err(Error::failed(format_args!("no resource `{other}`"))),
        })
    }
}

impl Completes for Words {
    fn complete(typed: Typed) -> Result<Vec<String>, Error> {
        let words: &[&str] = match (typed.of.as_str(), typed.argument.as_str()) {
            ("test_prompt_with_arguments", _) => &["paris", "park", "party"],
            ("template", "id") => &["1", "12", "123"],
            _ => &[],
        };
        let fits = words.iter().filter(|word| word.starts_with(&typed.value));
        Ok(fits.map(|&word| word.to_owned()).collect())
    }
}
