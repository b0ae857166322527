//! Results that are too much, or not what was promised.

use std::io::Write as _;

use tollgate_plugin::prelude::*;

/// Gives a result of about so many bytes.
#[tool(read_only)]
pub(crate) fn big_output(arguments: BigOutput) -> Completion {
    let bytes = arguments.bytes as usize;
    match arguments.shape {
        Shape::Text => Completion::text("a".repeat(bytes)),
        Shape::Deep => {
            let depth = bytes / 2;
            let json = [
                "{\"deep\":".to_owned(),
                "[".repeat(depth),
                "]".repeat(depth),
                "}".to_owned(),
            ]
            .concat();
            Completion::text("deep").structured_text(json)
        }
        Shape::Items => (0..bytes)
            .map(|_| Content::text("a"))
            .collect::<Vec<_>>()
            .into(),
        Shape::Structured => Completion::text("big")
            .structured_text(format!("{{\"big\":\"{}\"}}", "a".repeat(bytes))),
        Shape::NotJson => Completion::text("not JSON").structured_text("{\"a\":1,}"),
        Shape::DuplicateKeys => Completion::text("twice").structured_text("{\"a\":1,\"a\":2}"),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BigOutput {
    bytes: u32,
    shape: Shape,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// One text.
    Text,
    /// Structured content, nested half as deep.
    Deep,
    /// So many blocks.
    Items,
    /// One text within structured content.
    Structured,
    /// Structured content that does not parse.
    NotJson,
    /// Structured content with a key twice.
    DuplicateKeys,
}

/// Gives structured content that breaks its own schema.
#[tool(read_only)]
pub(crate) fn invalid_result() -> Json<Lie> {
    Json(Lie {
        number: "not a number".to_owned(),
    })
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Lie {
    #[schemars(with = "u32")]
    number: String,
}

/// Writes to standard output and standard error.
#[tool(read_only)]
pub(crate) fn stdout(arguments: crate::Text) -> Result<&'static str, Error> {
    println!("{}", arguments.text);
    eprintln!("{}", arguments.text);
    std::io::stdout().flush()?;
    Ok("written")
}
