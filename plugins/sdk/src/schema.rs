//! JSON Schemas (2020-12) of Rust types, made plain: all in one piece, nothing that only names Rust, and an optional
//! property is one that may be left out, never one that is null. So a policy can speak of the arguments.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// The schema of arguments.
#[must_use]
pub fn input<T: JsonSchema>() -> Value {
    let mut schema = generate::<T>(SchemaSettings::draft2020_12().for_deserialize());
    if let Some(object) = schema.as_object_mut() {
        // The host refuses what the schema does not name; saying so lets a client know before it asks.
        object
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
        object.entry("properties").or_insert_with(|| json!({}));
        // The tool's own description has said it.
        object.remove("description");
    }
    schema
}

/// The schema of structured content.
#[must_use]
pub fn output<T: JsonSchema>() -> Value {
    generate::<T>(SchemaSettings::draft2020_12().for_serialize())
}

fn generate<T: JsonSchema>(settings: SchemaSettings) -> Value {
    settings
        .with(|settings| {
            settings.meta_schema = None;
            settings.inline_subschemas = true;
        })
        .with_transform(RecursiveTransform(simplify))
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

fn simplify(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.remove("title");
    bound_integer(object);
    join_choices(object);
    let required: Vec<String> = object
        .get("required")
        .and_then(Value::as_array)
        .map(|names| {
            names
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        })
        .unwrap_or_default();
    if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, property) in properties {
            // A property that is always there may be null (in a result, an `Option` that is always written).
            if !required.contains(name)
                && let Some(property) = property.as_object_mut()
            {
                forbid_null(property);
            }
        }
    }
}

/// `format` of an integer says how Rust keeps it. What a client needs is its range; beyond 2^53 JSON numbers are not exact.
fn bound_integer(object: &mut Map<String, Value>) {
    const EXACT: i64 = 9_007_199_254_740_991;
    let Some(format) = object.get("format").and_then(Value::as_str) else {
        return;
    };
    let (least, most) = match format {
        "int8" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "int16" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "int32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "int64" | "int128" | "int" => (-EXACT, EXACT),
        "uint8" => (0, i64::from(u8::MAX)),
        "uint16" => (0, i64::from(u16::MAX)),
        "uint32" => (0, i64::from(u32::MAX)),
        "uint64" | "uint128" | "uint" => (0, EXACT),
        "float" | "double" => {
            object.remove("format");
            return;
        }
        _ => return,
    };
    object.remove("format");
    object.entry("minimum").or_insert_with(|| least.into());
    object.entry("maximum").or_insert_with(|| most.into());
}

/// An enum whose variants have doc comments comes as one schema for each. Of texts, one list says the same, and is what
/// a policy can compare with; the comments move into the description.
fn join_choices(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get("oneOf") else {
        return;
    };
    let mut texts = Vec::new();
    let mut comments: Vec<String> = Vec::new();
    for choice in choices {
        let of_choice = match (choice.get("const"), choice.get("enum")) {
            (Some(text), None) => vec![text.clone()],
            (None, Some(Value::Array(texts))) => texts.clone(),
            _ => return,
        };
        if !of_choice.iter().all(Value::is_string) {
            return;
        }
        if let Some(comment) = choice.get("description").and_then(Value::as_str)
            && let [Value::String(text)] = of_choice.as_slice()
        {
            comments.push(format!("`{text}`: {comment}"));
        }
        texts.extend(of_choice);
    }
    if let Some(own) = object.get("description").and_then(Value::as_str) {
        comments.insert(0, own.to_owned());
    }
    object.remove("oneOf");
    object.insert("type".to_owned(), "string".into());
    object.insert("enum".to_owned(), Value::Array(texts));
    if !comments.is_empty() {
        object.insert("description".to_owned(), comments.join("\n").into());
    }
}

/// Takes `null` out of what a property may be.
fn forbid_null(property: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = property.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_mut_slice() {
            let only = only.take();
            property.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(values)) = property.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::Array(choices)) = property.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").and_then(Value::as_str) != Some("null"));
        if let [only] = choices.as_mut_slice()
            && let Value::Object(only) = only.take()
        {
            property.remove("anyOf");
            for (key, value) in only {
                // The doc comment of the field says more than that of its type.
                property.entry(key).or_insert(value);
            }
        }
    }
    if property.get("default").is_some_and(Value::is_null) {
        property.remove("default");
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Arguments {
        /// The title.
        title: String,
        /// How many.
        count: Option<u32>,
        /// In which order.
        order: Option<Order>,
        /// Where.
        place: Option<Place>,
        #[serde(default)]
        labels: Vec<String>,
        #[serde(default)]
        note: Option<String>,
        ratio: Option<f64>,
    }

    /// The order.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Order {
        Up,
        Down,
    }

    /// A place.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Place {
        x: i8,
    }

    #[test]
    fn arguments_have_neither_references_nor_nulls() {
        assert_eq!(
            input::<Arguments>(),
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["title"],
                "properties": {
                    "title": { "type": "string", "description": "The title." },
                    "count": { "type": "integer", "description": "How many.", "minimum": 0, "maximum": 4_294_967_295_u32 },
                    "order": { "type": "string", "enum": ["up", "down"], "description": "In which order." },
                    "place": {
                        "type": "object",
                        "description": "Where.",
                        "required": ["x"],
                        "properties": { "x": { "type": "integer", "minimum": -128, "maximum": 127 } }
                    },
                    "labels": { "type": "array", "items": { "type": "string" }, "default": [] },
                    "note": { "type": "string" },
                    "ratio": { "type": "number" },
                }
            })
        );
    }

    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Pick {
        /// Which way.
        way: Option<Way>,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Way {
        /// To the top.
        Up,
        Down,
        Left,
    }

    #[test]
    fn a_choice_of_texts_is_one_list() {
        assert_eq!(
            input::<Pick>()["properties"]["way"],
            json!({ "type": "string", "enum": ["down", "left", "up"], "description": "Which way.\n`up`: To the top." })
        );
    }

    #[derive(Serialize, JsonSchema)]
    struct Given {
        always: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sometimes: Option<String>,
    }

    #[test]
    fn results_may_be_null_only_where_null_is_written() {
        assert_eq!(
            output::<Given>(),
            json!({
                "type": "object",
                "required": ["always"],
                "properties": { "always": { "type": ["string", "null"] }, "sometimes": { "type": "string" } }
            })
        );
    }

    #[test]
    fn no_arguments_is_an_empty_object() {
        assert_eq!(
            input::<crate::NoArguments>(),
            json!({ "type": "object", "properties": {}, "additionalProperties": false })
        );
    }
}
