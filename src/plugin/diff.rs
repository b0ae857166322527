//! What changed between what was accepted of a plugin and what its file holds now.
//!
//! Every part of a pin is compared, and each change names its place, what stood there and what
//! stands there now: nothing is summed up, since a person is asked to agree to exactly this. Its
//! digest stands in the records of quarantine and of acceptance, and an acceptance names the digest
//! that was shown, so that what is agreed to is what was read.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use crate::digest::Digest;
use crate::json;
use crate::name::PluginName;
use crate::state::{Facts, Pin, Signed};

/// What changed of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// The plugin.
    pub plugin: PluginName,
    /// What was accepted; nothing where nothing was.
    pub accepted: Option<Side>,
    /// What its file holds now.
    pub found: Side,
    /// Each change, in the order of [`What`], then of names and places.
    pub changes: Vec<Change>,
}

/// One of the two sides, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// Digest of the component.
    pub component: Digest,
    /// What the plugin says of its version.
    pub version: String,
    /// The signature, where one was verified.
    pub signed: Option<Signed>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of what.
    pub what: What,
    /// Its name, where there are several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Which part of it; of a schema, the path of the place. Empty for all of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub part: String,
    /// What stood there; nothing where it is new.
    #[serde(
        default,
        deserialize_with = "there",
        skip_serializing_if = "Option::is_none"
    )]
    pub before: Option<Value>,
    /// What stands there now; nothing where it is gone.
    #[serde(
        default,
        deserialize_with = "there",
        skip_serializing_if = "Option::is_none"
    )]
    pub after: Option<Value>,
}

/// A `null` that stands there is a value: in a schema it says something else than nothing.
fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// What a change is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The file.
    Component,
    /// What the plugin says of its version.
    Version,
    /// What it says that it is for.
    Summary,
    /// Who signed it, and as which version.
    Signature,
    /// A capability that the component imports.
    Import,
    /// A requirement that it declares.
    Requirement,
    /// A value that the operator gives it.
    Setting,
    /// A tool.
    Tool,
}

impl Diff {
    /// What changed from `accepted` to `found`. Without the first, all of it is new.
    #[must_use]
    pub fn between(accepted: Option<&Pin>, found: &Pin) -> Self {
        let (old, new) = (accepted.map(describe), describe(found));
        let empty = Value::Null;
        let old = old.as_ref().unwrap_or(&empty);
        let mut changes = Changes(Vec::new());
        changes.compare(
            (What::Component, "", ""),
            accepted.map(|pin| json!(pin.component)),
            Some(json!(found.component)),
        );
        for (what, member) in [(What::Version, "version"), (What::Summary, "summary")] {
            changes.compare(
                (what, "", ""),
                old.get(member).cloned(),
                new.get(member).cloned(),
            );
        }
        changes.facts(accepted, found);
        for (what, list, name) in [
            (What::Requirement, "requirements", requirement_name as Name),
            (What::Tool, "tools", tool_name),
        ] {
            changes.named(what, &by_name(old, list, name), &by_name(&new, list, name));
        }
        let Changes(mut changes) = changes;
        changes.sort_by(|a, b| (a.what, &a.name, &a.part).cmp(&(b.what, &b.name, &b.part)));
        Self {
            plugin: found.plugin.clone(),
            accepted: accepted.map(Side::of),
            found: Side::of(found),
            changes,
        }
    }

    /// SHA-256 of the canonical JSON (RFC 8785) of the four members.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let text = serde_json::to_value(self)
            .map_or_else(|_| String::new(), |value| json::canonical(&value));
        Digest::of(text.as_bytes())
    }
}

impl Side {
    /// What a pin says of it.
    pub(super) fn of(pin: &Pin) -> Self {
        let version = describe(pin)
            .get("version")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        Self {
            component: pin.component,
            version,
            signed: pin.facts.as_ref().and_then(|facts| facts.signed.clone()),
        }
    }
}

/// The description as data, whatever version of the host wrote it.
fn describe(pin: &Pin) -> Value {
    serde_json::from_str(&pin.description).unwrap_or_default()
}

type Name = fn(&Value) -> Option<&str>;

fn tool_name(tool: &Value) -> Option<&str> {
    tool.get("name")?.as_str()
}

/// `clock` and `random` have no name but that of their capability.
fn requirement_name(requirement: &Value) -> Option<&str> {
    tool_name(requirement).or_else(|| requirement.get("capability")?.as_str())
}

fn by_name<'a>(description: &'a Value, list: &str, name: Name) -> BTreeMap<&'a str, &'a Value> {
    description
        .get(list)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|item| Some((name(item)?, item)))
        .collect()
}

/// A change's place: of what, by which name, which part.
type Place<'a> = (What, &'a str, &'a str);

struct Changes(Vec<Change>);

impl Changes {
    fn compare(
        &mut self,
        (what, name, part): Place<'_>,
        before: Option<Value>,
        after: Option<Value>,
    ) {
        if before != after {
            self.0.push(Change {
                what,
                name: name.to_owned(),
                part: part.to_owned(),
                before,
                after,
            });
        }
    }

    /// What stands beside the description.
    fn facts(&mut self, accepted: Option<&Pin>, found: &Pin) {
        let nothing = Facts::default();
        let new = found.facts.as_ref().unwrap_or(&nothing);
        let old = match accepted {
            None => &nothing,
            Some(pin) => match &pin.facts {
                Some(facts) => facts,
                // An earlier host kept digests alone: that the settings changed is known, and no more.
                // What is imported shows in the requirements, which agree with the imports.
                None => {
                    let digest = |pin: &Pin| Some(json!(pin.settings));
                    self.compare((What::Setting, "", ""), digest(pin), digest(found));
                    return;
                }
            },
        };
        let signed = |facts: &Facts| facts.signed.as_ref().map(|signed| json!(signed));
        self.compare((What::Signature, "", ""), signed(old), signed(new));
        for import in old.imports.union(&new.imports) {
            let in_facts = |facts: &Facts| facts.imports.contains(import).then(|| json!(true));
            self.compare((What::Import, import, ""), in_facts(old), in_facts(new));
        }
        for name in old.settings.keys().chain(new.settings.keys()) {
            let value = |facts: &Facts| facts.settings.get(name).map(|value| json!(value));
            let (before, after) = (value(old), value(new));
            if !self.knows(What::Setting, name) {
                self.compare((What::Setting, name, ""), before, after);
            }
        }
    }

    fn knows(&self, what: What, name: &str) -> bool {
        self.0
            .iter()
            .any(|change| change.what == what && change.name == name)
    }

    /// Requirements or tools: those that came or went as a whole, and of the others each part.
    fn named(&mut self, what: What, old: &BTreeMap<&str, &Value>, new: &BTreeMap<&str, &Value>) {
        for (name, before) in old {
            match new.get(name) {
                None => self.compare((what, name, ""), Some((*before).clone()), None),
                Some(after) => self.walk((what, name), String::new(), before, after),
            }
        }
        for (name, after) in new {
            if !old.contains_key(name) {
                self.compare((what, name, ""), None, Some((*after).clone()));
            }
        }
    }

    /// Goes down where both sides are objects. Depth is bounded: schemas have at most 32 levels.
    fn walk(&mut self, (what, name): (What, &str), at: String, before: &Value, after: &Value) {
        if let (Value::Object(old), Value::Object(new)) = (before, after) {
            // A tool without a title has one that is null: there it is the same as none.
            let get = |members: &Map<String, Value>, key: &String| {
                let value = members.get(key).cloned();
                value.filter(|value| !(at.is_empty() && value.is_null()))
            };
            for key in old
                .keys()
                .chain(new.keys().filter(|key| !old.contains_key(*key)))
            {
                let part = match at.as_str() {
                    "" => key.clone(),
                    // As in a JSON Pointer (RFC 6901): a key may hold anything.
                    at => format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")),
                };
                match (get(old, key), get(new, key)) {
                    (Some(before), Some(after)) => self.walk((what, name), part, &before, &after),
                    (before, after) => self.compare((what, name, &part), before, after),
                }
            }
            return;
        }
        self.compare((what, name, &at), Some(before.clone()), Some(after.clone()));
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
