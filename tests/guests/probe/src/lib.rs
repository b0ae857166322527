//! A plugin that does, on request, what a plugin must not: one tool per act, so that a test of the host can drive it.
//!
//! Where an act fails with the host's word, the word comes back as structured content (`Word`), for tests to look at.

mod burn;
mod output;
mod send;
mod state;
mod storm;
mod word;

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_plugin::prelude::*;

use word::Word;

/// Gives back what it was called with, to the byte.
#[tool(read_only, idempotent, title = "Echo")]
fn echo(arguments: Echo, invocation: &Invocation) -> Result<(Json<Echoed>, String), Error> {
    let echoed = Echoed {
        tool: invocation.tool().to_owned(),
        raw: invocation.arguments().to_owned(),
        value: arguments.value,
    };
    Ok((Json(echoed), invocation.arguments().to_owned()))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Echo {
    /// Anything.
    #[serde(default)]
    value: Option<Value>,
    /// Text, for what has to be text.
    #[expect(dead_code, reason = "it is given back within `raw`")]
    text: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Echoed {
    tool: String,
    raw: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
}

/// Opens a secret and does something with it.
#[tool(uses = ["token", "seen"])]
fn secret(arguments: SecretAct) -> Json<Word> {
    let opened = secrets::open(&arguments.name);
    Json(match arguments.act {
        Act::Open => opened.map(|_| String::new()).into(),
        Act::Placeholder => opened.and_then(|secret| secret.placeholder()).into(),
        Act::Reveal => opened.and_then(|secret| secret.reveal()).into(),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SecretAct {
    name: String,
    act: Act,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Act {
    Open,
    Placeholder,
    Reveal,
}

/// Reads a setting.
#[tool(read_only, uses = ["origin", "greeting"])]
fn settings_get(arguments: Name) -> Json<Word> {
    Json(match settings::get(&arguments.name) {
        Ok(value) => Word {
            ok: true,
            value,
            ..Word::default()
        },
        Err(error) => error.into(),
    })
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Name {
    name: String,
}

/// Reads the host's clock.
#[tool(read_only, uses = ["clock"])]
fn now() -> Json<Word> {
    Json(clock::now().map(|now| now.as_millis().to_string()).into())
}

/// Reads the host's clock, without having said so.
#[tool(read_only)]
fn now_unlisted() -> Json<Word> {
    now()
}

/// Sleeps through `wasi:clocks/monotonic-clock`.
#[tool(read_only)]
fn sleep(arguments: Milliseconds) -> &'static str {
    std::thread::sleep(Duration::from_millis(arguments.ms));
    "awake"
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Milliseconds {
    ms: u64,
}

/// Reports progress so many times.
#[tool(read_only)]
fn progress_reports(arguments: Count) -> &'static str {
    for step in 1..=arguments.n {
        progress::report(
            f64::from(step),
            Some(f64::from(arguments.n)),
            Some(&format!("step {step}")),
        );
    }
    "reported"
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Count {
    pub(crate) n: u32,
}

/// Writes one line to the log.
#[tool(read_only)]
fn log_line(arguments: Text) -> &'static str {
    log::info(arguments.text);
    "logged"
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Text {
    pub(crate) text: String,
}

/// Asks for a colour; in the second round says what came back.
#[tool]
fn input_required(invocation: &Invocation) -> Result<Reply<Json<Asked>>, Error> {
    if let Some(answer) = invocation.answer("colour") {
        return Ok(Reply::Done(Json(Asked {
            answer: answer.clone(),
            state: invocation
                .state()
                .map(|state| String::from_utf8_lossy(state).into_owned()),
        })));
    }
    let schema = json!({ "type": "object", "properties": { "colour": { "type": "string" } }, "required": ["colour"] });
    Ok(Reply::Ask(
        InputRequest::new([Question::form("colour", "Which colour?", schema)]).state("round one"),
    ))
}

#[derive(Serialize, JsonSchema)]
struct Asked {
    answer: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
}

/// Fails, as a tool may.
#[tool]
fn fail(arguments: Failure) -> Result<Completion, Error> {
    match arguments.how {
        How::IsError => Ok(Completion::error(arguments.message)),
        How::Failed => Err(Error::failed(arguments.message)),
        How::Arguments => Err(Error::arguments(arguments.message)),
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Failure {
    how: How,
    message: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    IsError,
    Failed,
    Arguments,
}

plugin! {
    summary: "Does, on request, what a plugin must not. For tests.",
    requires: [
        http("api", from_setting("origin"), "to send what it is told to")
            .methods(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
            .paths(["/"]),
        http("open", any_public(), "to send anywhere").methods(["GET", "POST"]),
        http("readonly", from_setting("origin"), "to read").paths(["/pub/"]),
        secret("token", from_setting("origin"), "to attach"),
        secret("seen", from_setting("origin"), "to read").reveal(),
        setting("origin", "Where the probe sends to"),
        setting("greeting", "A word").default("hello"),
        clock("to read"),
        random("to read"),
    ],
    tools: [
        echo, secret, settings_get, now, now_unlisted, sleep, progress_reports, log_line, input_required, fail,
        send::send, send::send_unlisted, send::many_headers, send::handles, send::leak,
        burn::burn, burn::recurse, burn::grow_memory, burn::spin_then_answer, burn::dirty, burn::scan,
        storm::storm, storm::refused_storm, storm::big_argument, storm::random_bulk,
        output::big_output, output::invalid_result, output::stdout,
        state::panic, state::exit, state::environment, state::remember, state::chance,
    ],
    lasts: [lasts("send"), lasts("sleep")],
}
