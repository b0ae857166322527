//! Tools and plugins as types, and the check that a description is sound.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Invocation, Outcome, Output, Requirement, schema};

/// A tool. `#[tool]` implements it.
pub trait Tool {
    /// Its name, without the plugin's.
    const NAME: &'static str;
    /// For people.
    const TITLE: Option<&'static str>;
    /// For the model.
    const DESCRIPTION: &'static str;
    /// Names of the requirements that its calls need.
    const USES: &'static [&'static str];
    /// Its effects.
    const HINTS: Hints;
    /// What it takes.
    type Arguments: DeserializeOwned + JsonSchema;
    /// What it gives.
    type Output: Output;

    /// Carries out one call.
    fn call(invocation: Invocation) -> Result<Outcome, Error>;
}

/// What a tool says of its effects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hints {
    /// Changes nothing anywhere.
    pub read_only: bool,
    /// May destroy or overwrite.
    pub destructive: bool,
    /// The same call again changes nothing more.
    pub idempotent: bool,
    /// Reaches systems outside of the host.
    pub open_world: bool,
}

/// The arguments of a tool that takes none.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// A tool in a table.
#[derive(Debug, Clone, Copy)]
pub struct ToolEntry {
    pub(crate) name: &'static str,
    pub(crate) describe: fn() -> ToolDescription,
    pub(crate) call: fn(Invocation) -> Result<Outcome, Error>,
}

impl ToolEntry {
    /// The entry of this tool.
    #[must_use]
    pub const fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            describe: ToolDescription::of::<T>,
            call: T::call,
        }
    }
}

/// What a tool says of itself.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ToolDescription {
    /// Its name.
    pub name: &'static str,
    /// For people.
    pub title: Option<&'static str>,
    /// For the model.
    pub description: &'static str,
    /// JSON Schema of the arguments.
    pub input_schema: Value,
    /// JSON Schema of the structured content.
    pub output_schema: Option<Value>,
    /// Its effects.
    pub hints: Hints,
    /// Names of the requirements that its calls need.
    pub uses: &'static [&'static str],
}

impl ToolDescription {
    fn of<T: Tool>() -> Self {
        Self {
            name: T::NAME,
            title: T::TITLE,
            description: T::DESCRIPTION,
            input_schema: schema::input::<T::Arguments>(),
            output_schema: T::Output::schema(),
            hints: T::HINTS,
            uses: T::USES,
        }
    }
}

/// A plugin. [`plugin!`](crate::plugin) implements it.
pub trait Plugin {
    /// For people.
    const VERSION: &'static str;
    /// For the operator.
    const SUMMARY: &'static str;
    /// What it offers.
    const TOOLS: &'static [ToolEntry];

    /// What it needs.
    fn requirements() -> Vec<Requirement>;
}

/// What a plugin says of itself.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Description {
    /// What it offers.
    pub tools: Vec<ToolDescription>,
    /// What it needs.
    pub requirements: Vec<Requirement>,
}

impl Description {
    /// That of this plugin.
    #[must_use]
    pub fn of<P: Plugin>() -> Self {
        Self {
            tools: P::TOOLS.iter().map(|tool| (tool.describe)()).collect(),
            requirements: P::requirements(),
        }
    }
}

/// What the host would refuse the plugin for, as far as the description alone tells. `plugin!` makes it a unit test.
#[must_use]
pub fn check<P: Plugin>() -> Vec<String> {
    let description = Description::of::<P>();
    let mut faults = Vec::new();
    let mut requirements = BTreeSet::new();
    for requirement in &description.requirements {
        if !requirements.insert(requirement.name()) {
            faults.push(format!(
                "the requirement `{}` is declared twice",
                requirement.name()
            ));
        }
    }
    for requirement in &description.requirements {
        if let Some(setting) = requirement.origin_setting()
            && !requirements.contains(setting)
        {
            faults.push(format!(
                "the origin of `{}` is the setting `{setting}`, which is not declared",
                requirement.name()
            ));
        }
    }
    let mut used: BTreeSet<&str> = description
        .requirements
        .iter()
        .filter_map(Requirement::origin_setting)
        .collect();
    let mut names = BTreeSet::new();
    for tool in &description.tools {
        if !names.insert(tool.name) {
            faults.push(format!("the tool `{}` is there twice", tool.name));
        }
        if tool.input_schema.get("type").and_then(Value::as_str) != Some("object") {
            faults.push(format!(
                "the arguments of `{}` are not an object",
                tool.name
            ));
        }
        if tool
            .output_schema
            .as_ref()
            .is_some_and(|schema| schema.get("type").and_then(Value::as_str) != Some("object"))
        {
            faults.push(format!(
                "the structured content of `{}` is not an object",
                tool.name
            ));
        }
        for name in tool.uses {
            used.insert(name);
            if !requirements.contains(name) {
                faults.push(format!(
                    "`{}` uses `{name}`, which is not declared",
                    tool.name
                ));
            }
        }
    }
    for name in requirements.difference(&used) {
        faults.push(format!("the requirement `{name}` is used by no tool"));
    }
    faults
}
