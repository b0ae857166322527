//! Schemas of arguments and results: bounded when a plugin is loaded, enforced at every call.

use serde_json::Value;

use crate::name::shown;
use crate::reason::{Reason, Refusal};

/// Bytes of a schema's text.
const MAX_BYTES: usize = 64 << 10;
/// Levels of nesting; deeper ones are not written by people.
const MAX_DEPTH: usize = 32;
/// Bytes of one `pattern`. Patterns run on an engine that is linear in the text; its set-up is not free.
const MAX_PATTERN: usize = 1_000;

/// A schema, compiled.
#[derive(Debug)]
pub(crate) struct Schema {
    validator: jsonschema::Validator,
}

impl Schema {
    /// Checks and compiles `schema`, for `what`.
    ///
    /// # Errors
    ///
    /// `component.schema`: too large, too deep, not a schema, a reference that leaves it, or a pattern that only a backtracking engine could run.
    pub(crate) fn compile(schema: &Value, what: &str) -> Result<Self, Refusal> {
        let refuse =
            |message: String| Refusal::new(Reason::ComponentSchema, format!("{what}: {message}"));
        let bytes = schema.to_string().len();
        if bytes > MAX_BYTES {
            return Err(refuse(format!(
                "{bytes} bytes, at most {MAX_BYTES} are read"
            )));
        }
        check(schema, 0).map_err(refuse)?;
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            // Linear in the text; a backtracking engine can be kept busy for hours by a short one.
            .with_pattern_options(jsonschema::PatternOptions::regex().size_limit(1 << 20))
            .build(schema)
            .map_err(|error| refuse(error.to_string()))?;
        Ok(Self { validator })
    }

    /// The first thing in `value` that does not conform, with its place.
    #[must_use]
    pub(crate) fn fault(&self, value: &Value) -> Option<String> {
        if self.validator.is_valid(value) {
            return None;
        }
        self.validator.iter_errors(value).next().map(|error| {
            let place = error.instance_path().to_string();
            let text: String = error.masked().to_string().chars().take(300).collect();
            if place.is_empty() {
                text
            } else {
                format!("`{}`: {text}", shown(&place, 200))
            }
        })
    }
}

/// Keywords whose value is a map from names to schemas, so that a name is not taken for a keyword.
const MAPS: &[&str] = &[
    "properties",
    "patternProperties",
    "$defs",
    "definitions",
    "dependentSchemas",
];

fn check(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} levels"));
    }
    match schema {
        Value::Object(members) => {
            for (key, member) in members {
                match key.as_str() {
                    "$ref" | "$dynamicRef" | "$recursiveRef" => match member.as_str() {
                        Some(text) if text.starts_with('#') => {}
                        _ => return Err(format!("`{key}` must stay within the schema (`#...`)")),
                    },
                    "$id" | "id" if depth > 0 && member.is_string() => {
                        return Err(format!(
                            "`{key}` inside of a schema would change what `$ref` means"
                        ));
                    }
                    "$schema" if depth == 0 => {
                        let known = "https://json-schema.org/draft/2020-12/schema";
                        if member.as_str().map(|text| text.trim_end_matches('#')) != Some(known) {
                            return Err(format!("`$schema` must be `{known}`"));
                        }
                    }
                    "pattern" if member.as_str().is_some_and(|text| text.len() > MAX_PATTERN) => {
                        return Err(format!("a `pattern` is longer than {MAX_PATTERN} bytes"));
                    }
                    _ => {}
                }
                if MAPS.contains(&key.as_str()) && member.is_object() {
                    for inner in member.as_object().into_iter().flat_map(|map| map.values()) {
                        check(inner, depth + 1)?;
                    }
                } else if !matches!(key.as_str(), "const" | "enum" | "default" | "examples") {
                    check(member, depth + 1)?;
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn enforces_what_it_says() {
        let schema = Schema::compile(
            &json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}),
            "s",
        )
        .unwrap();
        assert_eq!(schema.fault(&json!({"n": 1})), None);
        assert!(
            schema
                .fault(&json!({"n": "secret"}))
                .unwrap()
                .contains("`/n`")
        );
        assert!(
            !schema
                .fault(&json!({"n": "secret"}))
                .unwrap()
                .contains("secret")
        );
        assert!(schema.fault(&json!({"n": 1, "m": 2})).is_some());
    }

    #[test]
    fn what_could_hurt_is_refused_at_load() {
        let deep = (0..40).fold(json!(true), |inner, _| json!({"items": inner}));
        for schema in [
            json!({"$ref": "https://evil.example/schema.json"}),
            json!({"properties": {"a": {"$ref": "file:///etc/passwd"}}}),
            json!({"properties": {"a": {"$id": "https://x.example/"}}}),
            json!({"pattern": "(a+)+\\1"}),
            json!({"pattern": "a".repeat(2000)}),
            json!({"type": "no such type"}),
            json!({"$schema": "http://json-schema.org/draft-04/schema#"}),
            json!({"description": "x".repeat(70_000)}),
            deep,
        ] {
            let error = Schema::compile(&schema, "s").unwrap_err();
            assert_eq!(error.reason, Reason::ComponentSchema, "{schema}");
        }
    }

    #[test]
    fn a_property_may_be_named_like_a_keyword() {
        let schema = json!({"type": "object", "properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}});
        assert!(Schema::compile(&schema, "s").is_ok());
    }

    #[test]
    fn recursion_is_bounded_by_the_arguments() {
        let schema = Schema::compile(
            &json!({"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}, "$ref": "#/$defs/n"}),
            "s",
        )
        .unwrap();
        assert_eq!(schema.fault(&json!({"next": {"next": {}}})), None);
        assert!(schema.fault(&json!({"next": {"next": 1}})).is_some());
    }

    #[test]
    fn a_pattern_that_keeps_others_busy_is_linear_here() {
        let schema =
            Schema::compile(&json!({"type": "string", "pattern": "^(a+)+$"}), "s").unwrap();
        let text = format!("{}!", "a".repeat(50_000));
        assert!(schema.fault(&json!(text)).is_some());
    }
}
