//! What is asked of clients. Each tool is written as rounds: what came back decides what comes next, and the same code
//! serves clients of every revision.

use serde_json::{Value, json};
use tollgate_plugin::client::{self, Offers};
use tollgate_plugin::prelude::*;

fn object(properties: Value, required: &[&str]) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

pub(crate) fn form(key: &str, message: &str, field: &str, kind: &str) -> Question {
    let schema = object(json!({field: {"type": kind}}), &[field]);
    Question::form(key, message, schema)
}

fn capital(key: &str) -> Question {
    sampling(key, "What is the capital of France?")
}

fn sampling(key: &str, prompt: &str) -> Question {
    Question::sampling(
        key,
        json!({
            "messages": [{"role": "user", "content": {"type": "text", "text": prompt}}],
            "maxTokens": 100,
        }),
    )
}

fn ask(question: Question) -> Reply<String> {
    Reply::Ask(InputRequest::new([question]))
}

/// A field of a form that was filled in.
pub(crate) fn filled(invocation: &Invocation, key: &str, field: &str) -> Option<Value> {
    let content = invocation.form::<Value>(key).ok()??;
    content.get(field).cloned()
}

fn word(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompted {
    /// What the client's model is asked.
    prompt: String,
}

/// Has the client's model complete something.
#[tool(read_only)]
pub(crate) fn test_sampling(arguments: Prompted, invocation: &Invocation) -> Reply<String> {
    match invocation.answer("completion") {
        None => ask(sampling("completion", &arguments.prompt)),
        Some(answer) => {
            let text = answer.pointer("/content/text").map(word);
            Reply::Done(format!("LLM response: {}", text.unwrap_or_default()))
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    /// What the user is told.
    message: String,
}

/// Asks the user for a name and an address.
#[tool(read_only)]
pub(crate) fn test_elicitation(arguments: Message, invocation: &Invocation) -> Reply<String> {
    match invocation.answer("user") {
        None => {
            let properties = json!({
                "username": {"type": "string", "description": "User's response"},
                "email": {"type": "string", "description": "User's email address"},
            });
            ask(Question::form(
                "user",
                arguments.message,
                object(properties, &["username", "email"]),
            ))
        }
        Some(answer) => Reply::Done(format!("User response: {answer}")),
    }
}

/// Asks with a default for every kind of field.
#[tool(read_only)]
pub(crate) fn test_elicitation_sep1034_defaults(invocation: &Invocation) -> Reply<String> {
    match invocation.answer("fields") {
        None => {
            let properties = json!({
                "name": {"type": "string", "description": "User name", "default": "John Doe"},
                "age": {"type": "integer", "description": "User age", "default": 30},
                "score": {"type": "number", "description": "User score", "default": 95.5},
                "status": {
                    "type": "string", "description": "User status",
                    "enum": ["active", "inactive", "pending"], "default": "active",
                },
                "verified": {"type": "boolean", "description": "Verification status", "default": true},
            });
            ask(Question::form(
                "fields",
                "Please review and update the form fields with defaults",
                object(properties, &[]),
            ))
        }
        Some(answer) => Reply::Done(format!("Elicitation completed: {answer}")),
    }
}

/// Asks with every kind of choice.
#[tool(read_only)]
pub(crate) fn test_elicitation_sep1330_enums(invocation: &Invocation) -> Reply<String> {
    match invocation.answer("choices") {
        None => {
            let titled = json!([
                {"const": "value1", "title": "First Option"},
                {"const": "value2", "title": "Second Option"},
                {"const": "value3", "title": "Third Option"},
            ]);
            let plain = json!(["option1", "option2", "option3"]);
            let properties = json!({
                "untitledSingle": {"type": "string", "description": "Select one option", "enum": plain},
                "titledSingle": {"type": "string", "description": "Select one option with titles", "oneOf": titled},
                "legacyEnum": {
                    "type": "string", "description": "Select one option (legacy)",
                    "enum": ["opt1", "opt2", "opt3"],
                    "enumNames": ["Option One", "Option Two", "Option Three"],
                },
                "untitledMulti": {
                    "type": "array", "description": "Select multiple options", "minItems": 1, "maxItems": 3,
                    "items": {"type": "string", "enum": plain},
                },
                "titledMulti": {
                    "type": "array", "description": "Select multiple options with titles", "minItems": 1, "maxItems": 3,
                    "items": {"anyOf": titled},
                },
            });
            ask(Question::form(
                "choices",
                "Please select options from the enum fields",
                object(properties, &[]),
            ))
        }
        Some(answer) => Reply::Done(format!("Elicitation completed: {answer}")),
    }
}

/// Can't do without the client's model.
#[tool(read_only)]
pub(crate) fn test_missing_capability(invocation: &Invocation) -> Reply<String> {
    match invocation.answer("capital") {
        None => ask(capital("capital")),
        Some(_) => Reply::Done("Success".to_owned()),
    }
}

/// Reports progress, and then asks.
#[tool(read_only)]
pub(crate) fn test_streaming_elicitation(invocation: &Invocation) -> Reply<String> {
    progress::report(1.0, Some(2.0), None);
    match filled(invocation, "user_name", "name") {
        None => ask(form("user_name", "What is your name?", "name", "string")),
        Some(name) => Reply::Done(format!("Hello, {}!", word(&name))),
    }
}

/// Asks for a name.
#[tool(read_only)]
pub(crate) fn test_input_required_result_elicitation(invocation: &Invocation) -> Reply<String> {
    match filled(invocation, "user_name", "name") {
        None => ask(form("user_name", "What is your name?", "name", "string")),
        Some(name) => Reply::Done(format!("Hello, {}!", word(&name))),
    }
}

/// Asks the client's model.
#[tool(read_only)]
pub(crate) fn test_input_required_result_sampling(invocation: &Invocation) -> Reply<String> {
    match invocation.answer("capital_question") {
        None => ask(capital("capital_question")),
        Some(answer) => {
            let text = answer.pointer("/content/text").map(word);
            Reply::Done(format!("Sampling result: {}", text.unwrap_or_default()))
        }
    }
}

/// Asks for the client's roots.
#[tool(read_only)]
pub(crate) fn test_input_required_result_list_roots(invocation: &Invocation) -> Reply<String> {
    match invocation.answer("client_roots") {
        None => ask(Question::roots("client_roots")),
        Some(answer) => {
            let roots = answer.get("roots").and_then(Value::as_array);
            Reply::Done(format!("Found {} root(s)", roots.map_or(0, Vec::len)))
        }
    }
}

const STATE: &[u8] = b"a state that no client can read";

fn with_state(invocation: &Invocation, done: &str) -> Reply<String> {
    let confirmed = filled(invocation, "confirm", "ok") == Some(Value::Bool(true));
    if confirmed && invocation.state() == Some(STATE) {
        return Reply::Done(done.to_owned());
    }
    let question = form("confirm", "Please confirm", "ok", "boolean");
    Reply::Ask(InputRequest::new([question]).state(STATE))
}

/// Keeps a state between rounds.
#[tool(read_only)]
pub(crate) fn test_input_required_result_request_state(invocation: &Invocation) -> Reply<String> {
    with_state(invocation, "state-ok: requestState validated")
}

/// Keeps a state that somebody may tamper with.
#[tool(read_only)]
pub(crate) fn test_input_required_result_tampered_state(invocation: &Invocation) -> Reply<String> {
    with_state(invocation, "the state came back as it was")
}

/// Asks three things at once.
#[tool(read_only)]
pub(crate) fn test_input_required_result_multiple_inputs(invocation: &Invocation) -> Reply<String> {
    let keys = ["user_name", "greeting", "client_roots"];
    if keys.iter().all(|key| invocation.answer(key).is_some()) && invocation.state() == Some(STATE)
    {
        return Reply::Done("All of them came".to_owned());
    }
    Reply::Ask(
        InputRequest::new([
            form("user_name", "What is your name?", "name", "string"),
            sampling("greeting", "Generate a greeting"),
            Question::roots("client_roots"),
        ])
        .state(STATE),
    )
}

/// Asks twice, one after the other.
#[tool(read_only)]
pub(crate) fn test_input_required_result_multi_round(invocation: &Invocation) -> Reply<String> {
    let first = || {
        let question = form("step1", "Step 1: What is your name?", "name", "string");
        Reply::Ask(InputRequest::new([question]))
    };
    let Some(state) = invocation.state() else {
        return match filled(invocation, "step1", "name") {
            None => first(),
            Some(name) => {
                let question = form(
                    "step2",
                    "Step 2: What is your favorite color?",
                    "color",
                    "string",
                );
                Reply::Ask(InputRequest::new([question]).state(word(&name).into_bytes()))
            }
        };
    };
    match filled(invocation, "step2", "color") {
        None => first(),
        Some(color) => Reply::Done(format!(
            "{} likes {}",
            String::from_utf8_lossy(state),
            word(&color)
        )),
    }
}

/// Asks only what the client can be asked.
#[tool(read_only)]
pub(crate) fn test_input_required_result_capabilities(invocation: &Invocation) -> Reply<String> {
    if !invocation.answers().is_empty() {
        return Reply::Done("answered".to_owned());
    }
    let offers = client::offers();
    let mut questions = Vec::new();
    if offers.contains(Offers::FORM) {
        questions.push(form("user_name", "What is your name?", "name", "string"));
    }
    if offers.contains(Offers::SAMPLING) {
        questions.push(capital("capital_question"));
    }
    if offers.contains(Offers::ROOTS) {
        questions.push(Question::roots("client_roots"));
    }
    if questions.is_empty() {
        return Reply::Done("This client can be asked nothing".to_owned());
    }
    Reply::Ask(InputRequest::new(questions))
}
