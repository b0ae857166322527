//! From the traits of this crate to the exports of the component.

use std::marker::PhantomData;

use serde_json::Value;

use crate::bindings::asking::exports::tollgate::plugin::questions;
use crate::bindings::completing::exports::tollgate::plugin::completion;
use crate::bindings::exports::tollgate::plugin::tools::{self, CallError, Guest};
use crate::bindings::lasting::exports::tollgate::plugin::jobs;
use crate::bindings::prompting::exports::tollgate::plugin::prompts;
use crate::bindings::reading::exports::tollgate::plugin::resources;
use crate::offer::{
    Asking, Completes, Lasting, Place, PromptReply, Prompts, ResourceReply, Resources, Typed,
};
use crate::{Invocation, Plugin, ToolDescription};

/// The component of a plugin.
#[derive(Debug)]
pub struct Component<P>(PhantomData<P>);

impl<P: Plugin> Guest for Component<P> {
    fn describe() -> tools::Description {
        tools::Description {
            version: P::VERSION.to_owned(),
            summary: P::SUMMARY.to_owned(),
            tools: P::TOOLS
                .iter()
                .map(|tool| describe((tool.describe)()))
                .collect(),
            requirements: P::requirements()
                .into_iter()
                .map(|requirement| requirement.0)
                .collect(),
        }
    }

    fn call(invocation: tools::Invocation) -> Result<tools::Outcome, CallError> {
        let tool = P::TOOLS
            .iter()
            .find(|tool| tool.name == invocation.tool)
            .ok_or(CallError::UnknownTool)?;
        Invocation::from_binding(invocation)
            .and_then(tool.call)
            .map(crate::Outcome::into_binding)
            .map_err(crate::Error::into_call_error)
    }
}

fn describe(tool: ToolDescription) -> tools::Tool {
    let mut hints = tools::Hints::empty();
    hints.set(tools::Hints::READ_ONLY, tool.hints.read_only);
    hints.set(tools::Hints::DESTRUCTIVE, tool.hints.destructive);
    hints.set(tools::Hints::IDEMPOTENT, tool.hints.idempotent);
    hints.set(tools::Hints::OPEN_WORLD, tool.hints.open_world);
    tools::Tool {
        name: tool.name.to_owned(),
        title: tool.title.map(str::to_owned),
        description: tool.description.to_owned(),
        input_schema: tool.input_schema.to_string(),
        output_schema: tool.output_schema.map(|schema| schema.to_string()),
        hints,
        uses: tool.uses.iter().map(|&name| name.to_owned()).collect(),
    }
}

impl<P: Prompts> prompts::Guest for Component<P> {
    fn describe() -> Vec<prompts::Prompt> {
        let owned = |uses: &[&str]| uses.iter().map(|&name| name.to_owned()).collect();
        let all = P::ALL.iter().map(|prompt| prompts::Prompt {
            name: prompt.name.to_owned(),
            title: prompt.title.map(str::to_owned),
            description: prompt.description.to_owned(),
            arguments: prompt
                .arguments
                .iter()
                .map(|argument| prompts::Argument {
                    name: argument.name.to_owned(),
                    title: None,
                    description: argument.description.map(str::to_owned),
                    required: argument.required,
                })
                .collect(),
            uses: owned(prompt.uses),
        });
        all.collect()
    }

    fn get(said: prompts::Invocation) -> Result<prompts::Outcome, CallError> {
        Invocation::of(said.prompt, said.arguments, said.answers, said.state)
            .and_then(P::get)
            .map(|reply| match reply {
                PromptReply::Messages(messages) => prompts::Outcome::Complete(prompts::Messages {
                    description: None,
                    messages: messages
                        .into_iter()
                        .map(|(role, content)| prompts::Message { role, content })
                        .collect(),
                }),
                PromptReply::Ask(request) => {
                    prompts::Outcome::InputRequired(request.into_binding())
                }
            })
            .map_err(crate::Error::into_call_error)
    }
}

impl<R: Resources> resources::Guest for Component<R> {
    fn describe() -> Vec<resources::Offer> {
        let all = R::ALL.iter().map(|resource| resources::Offer {
            name: resource.name.to_owned(),
            title: resource.title.map(str::to_owned),
            description: resource.description.to_owned(),
            at: match resource.at {
                Place::Uri(uri) => resources::Place::Uri(uri.to_owned()),
                Place::Template(template) => resources::Place::Template(template.to_owned()),
            },
            mime_type: resource.mime_type.map(str::to_owned),
            size: None,
            uses: resource.uses.iter().map(|&name| name.to_owned()).collect(),
        });
        all.collect()
    }

    fn read(said: resources::Invocation) -> Result<resources::Outcome, CallError> {
        Invocation::of(said.name, said.arguments, said.answers, said.state)
            .and_then(R::read)
            .map(|reply| match reply {
                ResourceReply::Contents(contents) => resources::Outcome::Complete(contents),
                ResourceReply::Ask(request) => {
                    resources::Outcome::InputRequired(request.into_binding())
                }
            })
            .map_err(crate::Error::into_call_error)
    }
}

impl<C: Completes> completion::Guest for Component<C> {
    fn complete(request: completion::Request) -> Result<completion::Values, CallError> {
        let known = match serde_json::from_str(&request.known) {
            Ok(Value::Object(known)) => known,
            _ => serde_json::Map::new(),
        };
        let typed = Typed {
            of: request.of,
            argument: request.argument,
            value: request.value,
            known,
        };
        let mut values = C::complete(typed).map_err(crate::Error::into_call_error)?;
        let total = values.len();
        values.truncate(100);
        Ok(completion::Values {
            more: total > values.len(),
            total: u32::try_from(total).ok(),
            values,
        })
    }
}

impl<A: Asking> questions::Guest for Component<A> {
    fn describe() -> Vec<questions::Asking> {
        let all = A::all().into_iter().map(|asks| questions::Asking {
            of: asks.of.to_owned(),
            kinds: asks.kinds,
            why: asks.why.to_owned(),
        });
        all.collect()
    }
}

impl<L: Lasting> jobs::Guest for Component<L> {
    fn describe() -> Vec<jobs::Lasting> {
        let all = L::all().into_iter().map(|lasts| jobs::Lasting {
            of: lasts.of.to_owned(),
            how: lasts.how,
        });
        all.collect()
    }
}
