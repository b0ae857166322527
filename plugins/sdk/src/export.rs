//! From the traits of this crate to the exports of the component.

use std::marker::PhantomData;

use crate::bindings::exports::tollgate::plugin::tools::{self, CallError, Guest};
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
