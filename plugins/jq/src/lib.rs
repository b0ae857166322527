//! The `jq` plugin: a filter over JSON. Pure: it needs nothing, and reaches nothing but its input.

mod dates;
mod math;
mod natives;
mod patterns;
pub mod program;

use tollgate_plugin::prelude::*;

/// A filter and its input.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// The jq filter, such as `.items[] | select(.open) | {title, url}`.
    #[schemars(length(min = 1, max = 8192))]
    filter: String,
    /// The input, any JSON value. Give either this or `text`; with neither the input is null.
    #[serde(default, deserialize_with = "present")]
    #[schemars(default, with = "serde_json::Value")]
    input: Option<serde_json::Value>,
    /// The input as JSON text, for JSON that came as text.
    #[serde(default)]
    text: Option<String>,
    /// How many results to give at most; 100 where it is left out.
    #[serde(default)]
    #[schemars(range(min = 1, max = 10_000))]
    limit: Option<u32>,
}

/// A `null` that is given is an input too.
fn present<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(deserializer).map(Some)
}

/// What the filter gave.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Results {
    /// The results, in order.
    results: Vec<serde_json::Value>,
    /// How many there are.
    count: usize,
    /// Whether there were more than the limits let through.
    truncated: bool,
}

/// Runs a jq filter over a JSON value and gives its results. Use it to pick, reshape, count, group or sort parts of JSON
/// instead of doing so by hand. The language is jq's, with regular expressions, dates in UTC and the `@` formats; there
/// is no `now`, no `env` and no `input`.
#[tool(read_only, idempotent, title = "Filter JSON")]
fn filter(arguments: Filter) -> Result<(Json<Results>, String), Error> {
    let input = match (arguments.input, arguments.text) {
        (Some(_), Some(_)) => {
            return Err(Error::arguments("give either `input` or `text`, not both"));
        }
        (Some(value), None) => value.to_string(),
        (None, Some(text)) => text,
        (None, None) => "null".to_owned(),
    };
    let limit = arguments.limit.map_or(program::DEFAULT_LIMIT, |limit| {
        usize::try_from(limit).unwrap_or(program::MAX_LIMIT)
    });
    let outputs = program::run(&arguments.filter, &input, limit)?;
    let mut text = String::new();
    for result in &outputs.results {
        text.push_str(&result.to_string());
        text.push('\n');
    }
    if outputs.truncated {
        text.push_str("(there are more results; ask for fewer, or raise `limit`)\n");
    }
    let count = outputs.results.len();
    Ok((
        Json(Results {
            results: outputs.results,
            count,
            truncated: outputs.truncated,
        }),
        text,
    ))
}

plugin! {
    summary: "A jq filter over JSON. It needs nothing and reaches nothing but its input.",
    tools: [filter],
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn call(arguments: serde_json::Value) -> Result<(Json<Results>, String), String> {
        let arguments = serde_json::from_value(arguments).map_err(|error| error.to_string())?;
        filter(arguments).map_err(|error| error.message())
    }

    #[test]
    fn text_and_structure_say_the_same() {
        let (Json(results), text) =
            call(json!({"filter": ".[]", "input": [1, {"a": "b"}]})).unwrap();
        assert_eq!(results.results, [json!(1), json!({"a": "b"})]);
        assert_eq!((results.count, results.truncated), (2, false));
        assert_eq!(text, "1\n{\"a\":\"b\"}\n");
    }

    #[test]
    fn input_comes_as_value_or_text_and_not_both() {
        assert_eq!(
            call(json!({"filter": ".a", "text": "{\"a\": 5}"}))
                .unwrap()
                .1,
            "5\n"
        );
        assert_eq!(call(json!({"filter": "."})).unwrap().1, "null\n");
        assert_eq!(
            call(json!({"filter": ".", "input": null})).unwrap().1,
            "null\n"
        );
        assert!(
            call(json!({"filter": ".", "input": null, "text": "1"}))
                .unwrap_err()
                .contains("not both")
        );
        assert!(call(json!({"filter": ".", "file": "/etc/passwd"})).is_err());
    }

    #[test]
    fn a_cut_is_said() {
        let (Json(results), text) = call(json!({"filter": "range(9)", "limit": 2})).unwrap();
        assert!(results.truncated && text.starts_with("0\n1\n(there are more"));
    }

    #[test]
    fn the_schema_takes_any_input() {
        let description = tollgate_plugin::Description::of::<ThisPlugin>();
        let schema = &description.tools[0].input_schema;
        assert_eq!(schema["required"], json!(["filter"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert!(
            schema["properties"]["input"].get("type").is_none(),
            "{schema}"
        );
    }
}
