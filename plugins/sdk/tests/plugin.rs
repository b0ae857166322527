//! A plugin as the host meets it: through the exports, natively.

use serde_json::{Value, json};
use tollgate_plugin::bindings::exports::tollgate::plugin::tools::{
    Answer, CallError, Guest, Hints, Invocation as Call, Outcome, QuestionKind, Requirement,
};
use tollgate_plugin::bindings::tollgate::plugin::types::Content as Block;
use tollgate_plugin::export::Component;
use tollgate_plugin::prelude::*;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sum {
    /// What to add.
    numbers: Vec<i32>,
}

#[derive(Serialize, JsonSchema)]
struct Total {
    total: i64,
}

/// Adds
/// numbers.
///
/// All of them.
#[tool(
    read_only,
    idempotent,
    name = "sum",
    title = "Sum",
    uses = ["api", "clock"]
)]
fn add(arguments: Sum) -> Result<(Json<Total>, String), Error> {
    if arguments.numbers.is_empty() {
        return Err(Error::arguments("there is nothing to add"));
    }
    let total = arguments.numbers.into_iter().map(i64::from).sum();
    Ok((Json(Total { total }), format!("it is {total}")))
}

/// Asks, then fails.
#[tool(destructive, uses = ["token"])]
fn ask(invocation: &Invocation) -> Result<Reply<Completion>, Error> {
    match invocation.form::<Sum>("numbers")? {
        Some(sum) => Ok(Reply::Done(Completion::error(format!(
            "{} is too many",
            sum.numbers.len()
        )))),
        None => Ok(Reply::Ask(
            InputRequest::new([Question::form(
                "numbers",
                "Which?",
                json!({ "type": "object" }),
            )])
            .state("kept"),
        )),
    }
}

/// Fails on text that is no number.
#[tool]
fn number() -> Result<String, Error> {
    Ok("x".parse::<u8>()?.to_string())
}

plugin! {
    summary: "Sums.",
    requires: [
        http("api", from_setting("origin"), "to ask").methods(["GET", "POST"]).paths(["/v1/"]),
        secret("token", literal("https://api.example.test"), "to sign in").reveal(),
        setting("origin", "Where").default("https://api.example.test"),
        clock("to know"),
    ],
    tools: [add, ask, number],
}

type Plugin = Component<ThisPlugin>;

fn call(tool: &str, arguments: Value, answers: Vec<Answer>) -> Result<Outcome, CallError> {
    Plugin::call(Call {
        tool: tool.to_owned(),
        arguments: arguments.to_string(),
        answers,
        state: None,
    })
}

#[test]
fn a_description_says_what_the_functions_say() {
    let description = Plugin::describe();
    assert_eq!(description.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(description.summary, "Sums.");
    let [sum, ask, _] = description.tools.as_slice() else {
        panic!("three tools")
    };
    assert_eq!(
        (sum.name.as_str(), sum.title.as_deref()),
        ("sum", Some("Sum"))
    );
    assert_eq!(sum.description, "Adds numbers.\n\nAll of them.");
    assert_eq!(sum.hints, Hints::READ_ONLY | Hints::IDEMPOTENT);
    assert_eq!(sum.uses, ["api", "clock"]);
    assert_eq!(
        serde_json::from_str::<Value>(&sum.input_schema).unwrap(),
        json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["numbers"],
            "properties": {
                "numbers": {
                    "type": "array",
                    "description": "What to add.",
                    "items": { "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }
                }
            }
        })
    );
    assert!(sum.output_schema.is_some());
    assert_eq!(ask.hints, Hints::DESTRUCTIVE);
    assert_eq!(ask.output_schema, None);
    let [
        Requirement::Http(http),
        Requirement::Secret(_),
        Requirement::Setting(setting),
        Requirement::Clock(_),
    ] = description.requirements.as_slice()
    else {
        panic!("four requirements, in order")
    };
    assert_eq!(
        (http.methods.as_slice(), http.paths.as_slice()),
        (
            ["GET".to_owned(), "POST".to_owned()].as_slice(),
            ["/v1/".to_owned()].as_slice()
        )
    );
    assert_eq!(setting.default.as_deref(), Some("https://api.example.test"));
}

#[test]
fn a_result_is_structured_and_text() {
    let Ok(Outcome::Complete(completion)) =
        call("sum", json!({ "numbers": [1, 2, 3] }), Vec::new())
    else {
        panic!("it completes")
    };
    assert_eq!(completion.structured.as_deref(), Some("{\"total\":6}"));
    assert!(matches!(completion.content.as_slice(), [Block::Text(text)] if text.text == "it is 6"));
    assert!(!completion.is_error);
}

#[test]
fn what_goes_wrong_is_told_apart() {
    assert!(matches!(
        call("nothing", json!({}), Vec::new()),
        Err(CallError::UnknownTool)
    ));
    assert!(
        matches!(call("sum", json!({ "numbers": [] }), Vec::new()), Err(CallError::InvalidArguments(message)) if message == "there is nothing to add")
    );
    assert!(matches!(
        call("sum", json!({ "number": 1 }), Vec::new()),
        Err(CallError::InvalidArguments(_))
    ));
    assert!(
        matches!(call("number", json!({}), Vec::new()), Err(CallError::Failed(message)) if message == "invalid digit found in string")
    );
}

#[test]
fn questions_come_back_as_answers() {
    let Ok(Outcome::InputRequired(request)) = call("ask", json!({}), Vec::new()) else {
        panic!("it asks")
    };
    assert_eq!(request.state.as_deref(), Some(b"kept".as_slice()));
    assert!(
        matches!(request.questions.as_slice(), [question] if matches!(question.kind, QuestionKind::Form(_)))
    );

    let answer = |value: Value| {
        vec![Answer {
            key: "numbers".to_owned(),
            value: value.to_string(),
        }]
    };
    let accepted = answer(json!({ "action": "accept", "content": { "numbers": [1, 2] } }));
    let Ok(Outcome::Complete(completion)) = call("ask", json!({}), accepted) else {
        panic!("it completes")
    };
    assert!(completion.is_error);

    let declined = answer(json!({ "action": "decline" }));
    assert!(matches!(
        call("ask", json!({}), declined),
        Ok(Outcome::InputRequired(_))
    ));
}
