//! What an instance knows of its surroundings and of its predecessors, and how it ends.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tollgate_plugin::prelude::*;

use crate::Text;
use crate::storm::wasi;

/// Panics.
#[tool]
pub(crate) fn panic(arguments: Message) -> &'static str {
    #[expect(clippy::panic, reason = "that is the act")]
    {
        panic!("{}", arguments.message)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Message {
    message: String,
}

/// Ends the process, as it takes it to be.
#[tool]
pub(crate) fn exit(arguments: Code) -> &'static str {
    std::process::exit(i32::from(arguments.code))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Code {
    code: u8,
}

/// Tells of its environment.
#[tool(read_only)]
pub(crate) fn environment() -> Json<Environment> {
    let mut stdin = String::new();
    let read = std::io::stdin().read_line(&mut stdin).unwrap_or(0);
    Json(Environment {
        variables: std::env::vars()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        arguments: std::env::args().collect(),
        stdin: u32::try_from(read).unwrap_or(u32::MAX),
    })
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Environment {
    variables: Vec<String>,
    arguments: Vec<String>,
    /// Bytes that could be read.
    stdin: u32,
}

/// Gives what is never the same twice: what it drew, how long it took, and the order of a map.
#[tool(read_only, uses = ["clock", "random"])]
pub(crate) fn chance() -> Result<Json<Chance>, Error> {
    let began = wasi::now();
    let map: HashMap<u32, ()> = (0..16).map(|key| (key, ())).collect();
    std::thread::sleep(Duration::from_millis(1));
    Ok(Json(Chance {
        drawn: random::bytes(8)?,
        floor: wasi::random(8),
        number: wasi::number().to_string(),
        order: map.into_keys().collect(),
        nanoseconds: (wasi::now() - began).to_string(),
        time: clock::now()?.as_millis().to_string(),
    }))
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Chance {
    drawn: Vec<u8>,
    floor: Vec<u8>,
    number: String,
    order: Vec<u32>,
    nanoseconds: String,
    time: String,
}

static REMEMBERED: Mutex<Option<String>> = Mutex::new(None);

/// Keeps a text, and gives back the one that it kept before.
#[tool]
pub(crate) fn remember(arguments: Text) -> Result<Json<Remembered>, Error> {
    let before = REMEMBERED.lock()?.replace(arguments.text);
    Ok(Json(Remembered { before }))
}

#[derive(Serialize, JsonSchema)]
pub(crate) struct Remembered {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
}
