//! Where a call enters an instance: one export for each kind of call, and what each of them gives.

use serde::Deserialize;
use serde_json::Value;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, Lift};

use super::bindings::{completion, jobs, prompts, questions, resources, tools, types};
use super::component::Code;
use super::described::Said;
use super::state::CallState;
use super::trap::Ending;
use crate::json;
use crate::plugin::Kind;
use crate::reason::{Reason, Refusal};

/// What kind of call it is, and what came back of the round before.
#[derive(Debug, Default)]
pub(crate) struct Entering {
    pub(crate) kind: Kind,
    pub(crate) answers: Vec<types::Answer>,
    pub(crate) state: Option<Vec<u8>>,
}

/// What a plugin gave.
#[derive(Debug)]
pub(crate) enum Answered {
    Tool(tools::Completion),
    Prompt(prompts::Messages),
    Resource(Vec<types::ResourceContent>),
    Values(completion::Values),
    /// Questions, before it goes on.
    Asks(types::InputRequest),
}

/// The same, or why there is none.
pub(crate) type Answer = Result<Answered, types::CallError>;

/// Calls `name` of `code` in a fresh instance, with this canonical text of its arguments.
pub(super) async fn call(
    store: &mut Store<CallState>,
    code: &Code,
    name: &str,
    arguments: String,
    entering: Entering,
) -> wasmtime::Result<Answer> {
    let instance = code.pre.instantiate_async(&mut *store).await?;
    let Entering {
        kind,
        answers,
        state,
    } = entering;
    match kind {
        Kind::Tool => {
            let invocation = tools::Invocation {
                tool: name.to_owned(),
                arguments,
                answers,
                state,
            };
            let call = instance
                .get_typed_func::<(&tools::Invocation,), (Result<tools::Outcome, types::CallError>,)>(
                    &mut *store,
                    &code.exports.call,
                )?;
            let (answer,) = call.call_async(&mut *store, (&invocation,)).await?;
            Ok(answer.map(|outcome| match outcome {
                tools::Outcome::Complete(said) => Answered::Tool(said),
                tools::Outcome::InputRequired(asks) => Answered::Asks(asks),
            }))
        }
        // Boxed: these are rare, and each would make the future of every tool's call larger.
        Kind::Prompt => {
            let invocation = prompts::Invocation {
                prompt: name.to_owned(),
                arguments,
                answers,
                state,
            };
            Box::pin(prompt(store, code, &instance, invocation)).await
        }
        Kind::Resource => {
            let invocation = resources::Invocation {
                name: name.to_owned(),
                arguments,
                answers,
                state,
            };
            Box::pin(resource(store, code, &instance, invocation)).await
        }
        Kind::Completion => Box::pin(complete(store, code, &instance, &arguments)).await,
    }
}

async fn prompt(
    store: &mut Store<CallState>,
    code: &Code,
    instance: &Instance,
    invocation: prompts::Invocation,
) -> wasmtime::Result<Answer> {
    let export = code.exports.prompts.as_ref().map(|pair| &pair.call);
    let get = instance
        .get_typed_func::<(&prompts::Invocation,), (Result<prompts::Outcome, types::CallError>,)>(
            &mut *store,
            export.ok_or_else(missing)?,
        )?;
    let (answer,) = get.call_async(&mut *store, (&invocation,)).await?;
    Ok(answer.map(|outcome| match outcome {
        prompts::Outcome::Complete(said) => Answered::Prompt(said),
        prompts::Outcome::InputRequired(asks) => Answered::Asks(asks),
    }))
}

async fn resource(
    store: &mut Store<CallState>,
    code: &Code,
    instance: &Instance,
    invocation: resources::Invocation,
) -> wasmtime::Result<Answer> {
    let export = code.exports.resources.as_ref().map(|pair| &pair.call);
    let read = instance
        .get_typed_func::<(&resources::Invocation,), (Result<resources::Outcome, types::CallError>,)>(
            &mut *store,
            export.ok_or_else(missing)?,
        )?;
    let (answer,) = read.call_async(&mut *store, (&invocation,)).await?;
    Ok(answer.map(|outcome| match outcome {
        resources::Outcome::Complete(said) => Answered::Resource(said),
        resources::Outcome::InputRequired(asks) => Answered::Asks(asks),
    }))
}

/// What a request for completion holds, as `plugin::describe` closes it.
#[derive(Deserialize)]
struct Typed {
    of: String,
    argument: String,
    value: String,
    #[serde(default)]
    known: Value,
}

async fn complete(
    store: &mut Store<CallState>,
    code: &Code,
    instance: &Instance,
    arguments: &str,
) -> wasmtime::Result<Answer> {
    let typed: Typed = serde_json::from_str(arguments).map_err(|_| missing())?;
    let request = completion::Request {
        of: typed.of,
        argument: typed.argument,
        value: typed.value,
        known: match typed.known {
            Value::Null => String::from("{}"),
            known => json::canonical(&known),
        },
    };
    let complete = instance
        .get_typed_func::<(&completion::Request,), (Result<completion::Values, types::CallError>,)>(
            &mut *store,
            code.exports.complete.as_ref().ok_or_else(missing)?,
        )?;
    let (answer,) = complete.call_async(&mut *store, (&request,)).await?;
    Ok(answer.map(Answered::Values))
}

/// What was described has its export, so this is a fault of the host's own.
fn missing() -> wasmtime::Error {
    let refusal = Refusal::new(
        Reason::HostInternal,
        "a call was to enter where there is no way in",
    );
    Ending::from(refusal).into()
}

/// Asks a plugin what it is: each of its interfaces, in one instance. Their types are all checked here,
/// so that a plugin that does not fit is found when it is loaded.
pub(super) async fn describe(store: &mut Store<CallState>, code: &Code) -> wasmtime::Result<Said> {
    let exports = &code.exports;
    let instance = code.pre.instantiate_async(&mut *store).await?;
    instance.get_typed_func::<(&tools::Invocation,), (Result<tools::Outcome, types::CallError>,)>(
        &mut *store,
        &exports.call,
    )?;
    if let Some(pair) = &exports.prompts {
        instance
            .get_typed_func::<(&prompts::Invocation,), (Result<prompts::Outcome, types::CallError>,)>(
                &mut *store,
                &pair.call,
            )?;
    }
    if let Some(pair) = &exports.resources {
        instance
            .get_typed_func::<(&resources::Invocation,), (Result<resources::Outcome, types::CallError>,)>(
                &mut *store,
                &pair.call,
            )?;
    }
    if let Some(complete) = &exports.complete {
        instance
            .get_typed_func::<(&completion::Request,), (Result<completion::Values, types::CallError>,)>(
                &mut *store,
                complete,
            )?;
    }
    let plugin = described(store, &instance, &exports.describe).await?;
    let prompts: Vec<prompts::Prompt> = match &exports.prompts {
        Some(pair) => described(store, &instance, &pair.describe).await?,
        None => Vec::new(),
    };
    let resources: Vec<resources::Offer> = match &exports.resources {
        Some(pair) => described(store, &instance, &pair.describe).await?,
        None => Vec::new(),
    };
    let questions: Vec<questions::Asking> = match &exports.questions {
        Some(export) => described(store, &instance, export).await?,
        None => Vec::new(),
    };
    let jobs: Vec<jobs::Lasting> = match &exports.jobs {
        Some(export) => described(store, &instance, export).await?,
        None => Vec::new(),
    };
    Ok(Said {
        plugin,
        prompts,
        resources,
        questions,
        jobs,
    })
}

async fn described<T>(
    store: &mut Store<CallState>,
    instance: &Instance,
    export: &ComponentExportIndex,
) -> wasmtime::Result<T>
where
    T: Lift + Send + Sync + 'static,
    (T,): ComponentNamedList + Lift,
{
    let describe = instance.get_typed_func::<(), (T,)>(&mut *store, export)?;
    let (said,) = describe.call_async(&mut *store, ()).await?;
    Ok(said)
}
