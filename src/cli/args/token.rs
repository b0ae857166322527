//! `tollgate token`, and how long tokens last.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::clock::lifetime;
use crate::identity::AgentId;

/// For how long a token is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ttl(pub(crate) Option<Duration>);

/// `tollgate token`.
#[derive(Debug, Subcommand)]
pub(crate) enum Token {
    /// Make a token for one call of an agent, good once and at most 60 s; print it.
    Step(Make),
    /// Make a token by which an agent hands work on to another, good for at most 10 minutes; print it.
    Handoff(Make),
    /// Narrow the token on standard input, offline; print the narrower one.
    Narrow {
        /// A condition, such as `check if argument("/path", "a.txt")`.
        #[arg(long = "check", value_name = "DATALOG", required = true)]
        checks: Vec<String>,
    },
    /// Make a new key for step tokens and hand-offs.
    RotateKey {
        /// End the tokens that there are, too.
        #[arg(long)]
        at_once: bool,
    },
}

/// What a token is to be for.
#[derive(Debug, Args)]
pub(crate) struct Make {
    /// The agent whose right it carries.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: AgentId,
    /// The agent to hand on to; for `handoff` only.
    #[arg(long, value_name = "NAME")]
    pub(crate) to: Option<AgentId>,
    /// The only tool.
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// Exactly these arguments, a JSON object.
    #[arg(long, value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// The value of one argument, by JSON pointer: `/path="a.txt"`.
    #[arg(long = "argument", value_name = "POINTER=JSON", value_parser = pointed)]
    pub(crate) values: Vec<(String, String)>,
    /// The task.
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<crate::id::TaskId>,
    /// For how long, if less than the most.
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    pub(crate) ttl: Option<Duration>,
}

/// A JSON pointer, and the JSON that must be there.
fn pointed(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((pointer, value)) if pointer.starts_with('/') => {
            Ok((pointer.to_owned(), value.to_owned()))
        }
        _ => Err(String::from(
            "write a JSON pointer, `=` and JSON, such as `/path=\"a.txt\"`",
        )),
    }
}

/// A lifetime, or `never`.
pub(super) fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "never" => Ok(Ttl(None)),
        text => lifetime(text).map(|ttl| Ttl(Some(ttl))),
    }
}

/// A lifetime, or none.
pub(super) fn overlap(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => lifetime(text),
    }
}
