use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::state::AcceptedBy;

fn pin(component: &str, description: &Value, facts: Option<Facts>) -> Pin {
    Pin {
        plugin: "notes".parse().unwrap(),
        component: Digest::of(component.as_bytes()),
        description: json::canonical(description),
        settings: Digest::of_parts(
            facts
                .iter()
                .flat_map(|facts| &facts.settings)
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]),
        ),
        accepted: Duration::ZERO,
        accepted_by: AcceptedBy::Operator,
        facts,
    }
}

fn description() -> Value {
    json!({
        "plugin": "notes", "version": "1", "summary": "Notes.",
        "tools": [{
            "name": "notes.add", "title": null, "description": "Adds.", "output_schema": null,
            "input_schema": {"type": "object", "properties": {"text": {"type": "string"}}},
            "hints": {"read_only": false}, "uses": ["api"],
        }],
        "requirements": [
            {"capability": "http", "name": "api", "origin": {"literal": "https://a.example"}, "methods": ["GET"], "paths": ["/"], "why": "to read"},
            {"capability": "clock", "why": "to date"},
        ],
    })
}

fn facts(imports: &[&str], settings: &[(&str, &str)]) -> Facts {
    let text = |text: &&str| (*text).to_owned();
    Facts {
        imports: imports.iter().map(text).collect(),
        settings: settings
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        signed: None,
    }
}

/// Each change as `what name part`, and which of the sides there are.
fn places(diff: &Diff) -> Vec<String> {
    diff.changes
        .iter()
        .map(|change| {
            let sides = match (&change.before, &change.after) {
                (None, Some(_)) => '+',
                (Some(_), None) => '-',
                _ => '~',
            };
            format!("{sides} {:?} {} {}", change.what, change.name, change.part)
                .trim_end()
                .to_owned()
        })
        .collect()
}

#[test]
fn nothing_changed_is_no_change() {
    let one = pin("a", &description(), Some(facts(&["http"], &[])));
    assert_eq!(Diff::between(Some(&one), &one).changes, []);
}

#[test]
fn every_change_has_its_place() {
    let old = pin(
        "a",
        &description(),
        Some(facts(&["http"], &[("x", "1"), ("y", "1")])),
    );
    let mut new = description();
    new["version"] = json!("2");
    new["tools"][0]["description"] = json!("Adds, and tells everyone.");
    new["tools"][0]["input_schema"]["properties"]["to/~"] = json!({"type": "string"});
    new["tools"][0]["input_schema"]["properties"]["text"]["type"] = json!("number");
    new["tools"][0]["hints"]["read_only"] = json!(true);
    new["tools"][0]["title"] = json!("Add");
    let tool = json!({"name": "notes.drop", "description": "Drops."});
    new["tools"].as_array_mut().unwrap().push(tool);
    new["requirements"][0]["origin"] = json!("any-public");
    new["requirements"][0]["methods"] = json!(["GET", "POST"]);
    new["requirements"][1] = json!({"capability": "random", "why": "to roll"});
    let new = pin(
        "b",
        &new,
        Some(facts(&["http", "random"], &[("y", "2"), ("z", "1")])),
    );
    assert_eq!(
        places(&Diff::between(Some(&old), &new)),
        [
            "~ Component",
            "~ Version",
            "+ Import random",
            "~ Requirement api methods",
            "~ Requirement api origin",
            "- Requirement clock",
            "+ Requirement random",
            "- Setting x",
            "~ Setting y",
            "+ Setting z",
            "~ Tool notes.add description",
            "~ Tool notes.add hints/read_only",
            "~ Tool notes.add input_schema/properties/text/type",
            "+ Tool notes.add input_schema/properties/to~1~0",
            "+ Tool notes.add title",
            "+ Tool notes.drop",
        ]
    );
}

#[test]
fn where_nothing_was_accepted_all_is_new() {
    let new = pin("a", &description(), Some(facts(&["http"], &[])));
    let diff = Diff::between(None, &new);
    assert_eq!(
        places(&diff),
        [
            "+ Component",
            "+ Version",
            "+ Summary",
            "+ Import http",
            "+ Requirement api",
            "+ Requirement clock",
            "+ Tool notes.add",
        ]
    );
    assert_eq!(diff.accepted, None);
}

#[test]
fn a_pin_without_facts_says_what_it_can() {
    let old = Pin {
        facts: None,
        ..pin("a", &description(), Some(facts(&[], &[("x", "1")])))
    };
    let same = pin("a", &description(), Some(facts(&["http"], &[("x", "1")])));
    assert_eq!(places(&Diff::between(Some(&old), &same)), [""; 0]);
    let other = pin("a", &description(), Some(facts(&["http"], &[("x", "2")])));
    assert_eq!(places(&Diff::between(Some(&old), &other)), ["~ Setting"]);
}

#[test]
fn the_digest_is_of_exactly_what_is_shown() {
    let old = pin("a", &description(), Some(facts(&[], &[])));
    let new = pin("b", &description(), Some(facts(&[], &[])));
    let diff = Diff::between(Some(&old), &new);
    let text = serde_json::to_string(&diff).unwrap();
    let read: Diff = serde_json::from_str(&text).unwrap();
    assert_eq!((read.digest(), &read), (diff.digest(), &diff));
    assert_ne!(Diff::between(None, &new).digest(), diff.digest());
    assert_ne!(Diff::between(Some(&new), &old).digest(), diff.digest());
}

fn schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z/~]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z/~]{0,3}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Nothing changes unseen, and nothing is seen that did not change.
    #[test]
    fn a_changed_schema_is_always_seen(old in schema(), new in schema()) {
        let with = |schema: &Value| {
            let mut description = description();
            description["tools"][0]["input_schema"] = schema.clone();
            pin("a", &description, Some(facts(&[], &[])))
        };
        let diff = Diff::between(Some(&with(&old)), &with(&new));
        prop_assert_eq!(diff.changes.is_empty(), old == new, "{:?}", diff.changes);
        let text = serde_json::to_string(&diff).unwrap();
        prop_assert_eq!(serde_json::from_str::<Diff>(&text).unwrap().digest(), diff.digest());
    }
}
