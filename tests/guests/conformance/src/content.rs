//! Results of every kind, and schemas that have to stay as they are.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use tollgate_plugin::prelude::*;

/// One red pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg==";

/// No sound at all.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=";

pub(crate) fn png() -> Vec<u8> {
    STANDARD.decode(PNG).unwrap_or_default()
}

/// Gives text.
#[tool(read_only)]
pub(crate) fn test_simple_text() -> &'static str {
    "This is a simple text response for testing."
}

/// Gives an image.
#[tool(read_only)]
pub(crate) fn test_image_content() -> Content {
    Content::image(png(), "image/png")
}

/// Gives sound.
#[tool(read_only)]
pub(crate) fn test_audio_content() -> Content {
    Content::audio(STANDARD.decode(WAV).unwrap_or_default(), "audio/wav")
}

/// Gives a resource in full.
#[tool(read_only)]
pub(crate) fn test_embedded_resource() -> Content {
    Content::text_resource(
        "test://embedded-resource",
        Some("text/plain".to_owned()),
        "This is an embedded resource content.",
    )
}

/// Gives text, an image and a resource.
#[tool(read_only)]
pub(crate) fn test_multiple_content_types() -> Vec<Content> {
    vec![
        Content::text("Multiple content types test:"),
        Content::image(png(), "image/png"),
        Content::text_resource(
            "test://mixed-content-resource",
            Some("application/json".to_owned()),
            r#"{"test":"data","value":123}"#,
        ),
    ]
}

/// Runs and fails.
#[tool(read_only)]
pub(crate) fn test_error_handling() -> Completion {
    Completion::error("This tool intentionally returns an error for testing")
}

/// Takes a schema with much of JSON Schema 2020-12 in it.
#[tool(read_only)]
pub(crate) fn json_schema_2020_12_tool(arguments: Contact) -> String {
    format!("JSON Schema 2020-12 tool called with: {}", arguments.0)
}

/// What the suite wants to see again, keyword by keyword.
#[derive(Deserialize)]
pub(crate) struct Contact(Value);

impl JsonSchema for Contact {
    fn schema_name() -> Cow<'static, str> {
        "Contact".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "$anchor": "addressDef",
                    "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                },
            },
            "properties": {
                "name": {"type": "string"},
                "address": {"$ref": "#/$defs/address"},
                "contactMethod": {"type": "string", "enum": ["phone", "email"]},
                "phone": {"type": "string"},
                "email": {"type": "string"},
            },
            "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
            "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
            "then": {"required": ["phone"]},
            "else": {"required": ["email"]},
            "additionalProperties": false,
        })
    }
}

/// Takes an argument that clients repeat in a header.
#[tool(read_only)]
pub(crate) fn test_custom_header(arguments: InHeader) -> String {
    format!("value: {}", arguments.value)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InHeader {
    /// Any text.
    #[schemars(extend("x-mcp-header" = "Value"))]
    value: String,
}
