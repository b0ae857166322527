//! The Cedar schema, generated: the built-in types and actions, and each plugin's own tools.
//!
//! An action is declared for a tool only where the tool's requirements can lead to it, so a rule
//! about a host call that can't happen fails at load like any other misspelling.

use std::collections::BTreeMap;

use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value, json};

use crate::name::{PluginName, ToolName};
use crate::plugin::{self, Description, Requirement, Tool};

use super::argument::{Field, Kind, Unmapped, fields};
use super::vocabulary::{
    APPROVE, APPROVE_KEYS, CALL, CALL_KEYS, CALLS, COMMON, HostAction, Key, TASK, Type, group_of,
    type_of,
};

/// What policy needs to know of one plugin.
#[derive(Debug, Clone)]
pub(super) struct Model {
    pub(super) plugin: PluginName,
    pub(super) tools: BTreeMap<ToolName, ToolModel>,
    pub(super) unmapped: Vec<Unmapped>,
}

/// What policy needs to know of one tool.
#[derive(Debug, Clone)]
pub(super) struct ToolModel {
    pub(super) arguments: Vec<Field>,
    pub(super) actions: Vec<HostAction>,
    /// What kind of call it takes.
    pub(super) kind: plugin::Kind,
}

impl Model {
    /// The names of all its actions.
    pub(super) fn actions(&self) -> impl Iterator<Item = String> {
        self.tools.iter().flat_map(|(name, tool)| {
            [group_of(tool.kind), APPROVE]
                .into_iter()
                .chain(tool.actions.iter().map(|kind| kind.group()))
                .map(move |group| format!("{group}:{name}"))
        })
    }

    pub(super) fn of(description: &Description) -> Self {
        let mut unmapped = Vec::new();
        let mut tools = BTreeMap::new();
        for tool in &description.tools {
            let (arguments, left) = fields(&tool.name.to_string(), &tool.input_schema);
            unmapped.extend(left);
            let actions = host_actions(description, tool);
            let model = ToolModel {
                arguments,
                actions,
                kind: tool.kind(),
            };
            tools.insert(tool.name.clone(), model);
        }
        Self {
            plugin: description.plugin.clone(),
            tools,
            unmapped,
        }
    }
}

/// The kinds of host call that this tool's requirements can lead to.
pub(super) fn host_actions(description: &Description, tool: &Tool) -> Vec<HostAction> {
    let mut actions = Vec::new();
    for name in &tool.uses {
        match description.requirement(name) {
            Some(Requirement::Http(_)) => actions.extend([HostAction::Http, HostAction::Connect]),
            Some(Requirement::Secret(secret)) => {
                actions.push(HostAction::UseSecret);
                if secret.reveal {
                    actions.push(HostAction::RevealSecret);
                }
            }
            Some(Requirement::Clock { .. }) => actions.push(HostAction::Clock),
            Some(Requirement::Random { .. }) => actions.push(HostAction::Random),
            Some(Requirement::Setting(_)) | None => {}
        }
    }
    if !tool.asks.is_empty() {
        actions.push(HostAction::Ask);
    }
    actions.sort_unstable();
    actions.dedup();
    actions
}

/// The schema of these plugins, in Cedar's JSON form. The actions in `bare` are declared as applying
/// to nothing: rules that name them are known, and never match.
pub(super) fn json<'a>(
    models: impl IntoIterator<Item = &'a Model>,
    bare: impl IntoIterator<Item = &'a String>,
) -> Value {
    let mut actions = Map::new();
    for group in CALLS {
        actions.insert(group.to_owned(), json!({}));
    }
    actions.insert(APPROVE.to_owned(), json!({}));
    for action in HostAction::ALL {
        actions.insert(action.group().to_owned(), json!({}));
    }
    for name in bare {
        let (group, _) = name.split_once(':').unwrap_or((CALL, ""));
        actions.insert(name.clone(), json!({ "memberOf": [{ "id": group }] }));
    }
    for model in models {
        for (name, tool) in &model.tools {
            let arguments = record(&tool.arguments);
            let (group, called) = (group_of(tool.kind), type_of(tool.kind));
            actions.insert(
                format!("{group}:{name}"),
                action(group, "Agent", called, CALL_KEYS, &arguments),
            );
            actions.insert(
                format!("{APPROVE}:{name}"),
                action(APPROVE, "User", called, APPROVE_KEYS, &arguments),
            );
            for kind in &tool.actions {
                actions.insert(
                    format!("{}:{name}", kind.group()),
                    action(
                        kind.group(),
                        "Agent",
                        kind.resource(),
                        kind.keys(),
                        &arguments,
                    ),
                );
            }
        }
    }
    let inside = |parent: &str| json!({ "memberOfTypes": [parent] });
    json!({ "": {
        "entityTypes": {
            "Agent": inside("Group"),
            "Group": inside("Group"),
            "User": inside("Group"),
            "Plugin": {},
            "Tool": inside("Plugin"),
            "Prompt": inside("Plugin"),
            "Resource": inside("Plugin"),
            "Origin": inside("Plugin"),
            "Secret": inside("Plugin"),
        },
        "actions": actions,
    }})
}

fn action(group: &str, principal: &str, resource: &str, keys: &[Key], arguments: &Value) -> Value {
    let mut attributes = Map::new();
    attributes.insert("args".to_owned(), arguments.clone());
    put_keys(&mut attributes, COMMON.iter().chain(keys));
    json!({
        "memberOf": [{ "id": group }],
        "appliesTo": {
            "principalTypes": [principal],
            "resourceTypes": [resource],
            "context": { "type": "Record", "attributes": attributes },
        },
    })
}

fn put_keys<'a>(attributes: &mut Map<String, Value>, keys: impl Iterator<Item = &'a Key>) {
    for key in keys {
        let mut attribute = key_type(key.kind);
        set(&mut attribute, "required", key.required.into());
        attributes.insert(key.name.to_owned(), attribute);
    }
}

fn set(value: &mut Value, key: &str, member: Value) {
    if let Value::Object(members) = value {
        members.insert(key.to_owned(), member);
    }
}

fn key_type(kind: Type) -> Value {
    match kind {
        Type::Text => json!({ "type": "String" }),
        Type::Whole => json!({ "type": "Long" }),
        Type::Truth => json!({ "type": "Boolean" }),
        Type::Texts => json!({ "type": "Set", "element": { "type": "String" } }),
        Type::Time => json!({ "type": "Extension", "name": "datetime" }),
        Type::Address => json!({ "type": "Extension", "name": "ipaddr" }),
        Type::User => json!({ "type": "Entity", "name": "User" }),
        Type::Agents => {
            json!({ "type": "Set", "element": { "type": "Entity", "name": "Agent" } })
        }
        Type::Users => {
            json!({ "type": "Set", "element": { "type": "Entity", "name": "User" } })
        }
        Type::Agent => json!({ "type": "Entity", "name": "Agent" }),
        Type::Task => {
            let mut attributes = Map::new();
            put_keys(&mut attributes, TASK.iter());
            json!({ "type": "Record", "attributes": attributes })
        }
    }
}

fn record(fields: &[Field]) -> Value {
    let mut attributes = Map::new();
    for field in fields {
        let mut attribute = argument_type(&field.kind);
        set(&mut attribute, "required", field.required.into());
        attributes.insert(field.name.clone(), attribute);
    }
    json!({ "type": "Record", "attributes": attributes })
}

fn argument_type(kind: &Kind) -> Value {
    match kind {
        Kind::Text => key_type(Type::Text),
        Kind::Whole => key_type(Type::Whole),
        Kind::Truth => key_type(Type::Truth),
        Kind::Set(item) => json!({ "type": "Set", "element": argument_type(item) }),
        Kind::Record(fields) => record(fields),
    }
}

/// Reads a generated schema.
///
/// # Errors
///
/// Cedar does not take it; names that it can't have are the only known cause.
pub(super) fn read(schema: &Value) -> Result<Schema, String> {
    Schema::from_json_value(schema.clone()).map_err(|error| error.to_string())
}

/// The schema in Cedar's own language, for people.
pub(super) fn text(schema: Value) -> Result<String, String> {
    SchemaFragment::from_json_value(schema)
        .map_err(|error| error.to_string())?
        .to_cedarschema()
        .map_err(|error| error.to_string())
}
