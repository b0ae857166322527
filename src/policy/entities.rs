//! `policies/entities.json`: agents and users, and the groups that they are in.
//!
//! Only these types: tools, origins and secrets are made by the host per question, so that no file
//! can put one into another plugin.

use std::collections::HashSet;
use std::fmt;
use std::sync::LazyLock;

use cedar_policy::{Entities, Entity, EntityId, EntityTypeName, EntityUid, Schema};
use serde_json::Value;

use super::load::{Finding, Severity};
use super::source::position;

/// The file's name.
pub(super) const FILE: &str = "entities.json";

/// The entity types, read once.
struct Types {
    agent: EntityTypeName,
    user: EntityTypeName,
    group: EntityTypeName,
    plugin: EntityTypeName,
    tool: EntityTypeName,
    prompt: EntityTypeName,
    resource: EntityTypeName,
    origin: EntityTypeName,
    secret: EntityTypeName,
    action: EntityTypeName,
}

static TYPES: LazyLock<Types> = LazyLock::new(|| {
    #[expect(clippy::unwrap_used, reason = "fixed names, each a Cedar identifier")]
    let named = |name: &str| name.parse().unwrap();
    Types {
        agent: named("Agent"),
        user: named("User"),
        group: named("Group"),
        plugin: named("Plugin"),
        tool: named("Tool"),
        prompt: named("Prompt"),
        resource: named("Resource"),
        origin: named("Origin"),
        secret: named("Secret"),
        action: named("Action"),
    }
});

macro_rules! uids {
    ($($name:ident),*) => {$(
        pub(super) fn $name(id: impl fmt::Display) -> EntityUid {
            EntityUid::from_type_name_and_id(TYPES.$name.clone(), EntityId::new(id.to_string()))
        }
    )*};
}

uids!(
    agent, user, plugin, tool, prompt, resource, origin, secret, action
);

/// Who is in which groups.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    entities: Entities,
    pub(super) text: String,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            entities: Entities::empty(),
            text: String::new(),
        }
    }
}

impl Directory {
    /// Reads the file's text.
    ///
    /// # Errors
    ///
    /// What is wrong, each with its place.
    pub(super) fn read(text: &str, schema: &Schema) -> Result<Self, Vec<Finding>> {
        let error = |line: usize, column: usize, message: String, help: &str| Finding {
            severity: Severity::Error,
            file: FILE.to_owned(),
            line,
            column,
            message,
            help: help.to_owned(),
        };
        let form = "expected an array of `{\"uid\": {\"type\": \"Agent\", \"id\": \"spiffe://…\"}, \"attrs\": {}, \"parents\": [{\"type\": \"Group\", \"id\": \"…\"}]}`";
        let items: Vec<Value> = serde_json::from_str(text)
            .map_err(|fault| vec![error(fault.line(), fault.column(), fault.to_string(), form)])?;
        let mut findings = Vec::new();
        let mut entities = Vec::new();
        for item in items {
            let id = item
                .pointer("/uid/id")
                .or_else(|| item.pointer("/uid/__entity/id"))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
            let (line, column) = text
                .find(&format!("\"{id}\""))
                .map_or((1, 1), |offset| position(text, offset));
            match Entity::from_json_value(item, Some(schema)) {
                Ok(entity) => {
                    let kind = entity.uid().type_name().clone();
                    if [&TYPES.agent, &TYPES.user, &TYPES.group].contains(&&kind) {
                        entities.push(entity);
                    } else {
                        findings.push(error(
                            line,
                            column,
                            format!("`{}` can't stand here", entity.uid()),
                            "only `Agent`, `User` and `Group` entities; the host makes all others",
                        ));
                    }
                }
                Err(fault) => findings.push(error(line, column, chain(&fault), form)),
            }
        }
        if !findings.is_empty() {
            return Err(findings);
        }
        let entities = Entities::from_entities(entities, Some(schema)).map_err(|fault| {
            vec![error(
                1,
                1,
                chain(&fault),
                "each entity once, and no group inside of itself",
            )]
        })?;
        Ok(Self {
            entities,
            text: text.to_owned(),
        })
    }

    /// The same, with this agent or person in these groups as well: for cases that try out a membership.
    pub(super) fn with(&self, uid: &EntityUid, groups: &[String]) -> Result<Self, String> {
        let mut parents = self.closure(uid);
        parents.remove(uid);
        for name in groups {
            let group = EntityUid::from_type_name_and_id(TYPES.group.clone(), EntityId::new(name));
            parents.extend(self.closure(&group));
        }
        let entities = self
            .entities
            .clone()
            .upsert_entities([Entity::new_no_attrs(uid.clone(), parents)], None)
            .map_err(|error| chain(&error))?;
        Ok(Self {
            entities,
            text: self.text.clone(),
        })
    }

    /// Everything that `uid` is in, itself included.
    pub(super) fn closure(&self, uid: &EntityUid) -> HashSet<EntityUid> {
        let mut all: HashSet<EntityUid> = self
            .entities
            .ancestors(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        all.insert(uid.clone());
        all
    }

    /// Whether the file names it, by itself or as a parent.
    pub(super) fn knows(&self, uid: &EntityUid) -> bool {
        self.entities.get(uid).is_some()
            || self
                .entities
                .iter()
                .any(|entity| self.entities.is_ancestor_of(uid, &entity.uid()))
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text.replace('\n', " ")
}
