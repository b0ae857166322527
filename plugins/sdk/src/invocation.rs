//! One call, as the plugin sees it.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Error;
use crate::bindings::exports::tollgate::plugin::tools;
use crate::bindings::tollgate::plugin::types;

/// One call of a tool. A tool that takes an `&Invocation` beside its arguments gets this.
#[derive(Debug, Clone)]
pub struct Invocation {
    tool: String,
    arguments: String,
    answers: Vec<Answer>,
    state: Option<Vec<u8>>,
}

/// What came back for a question of the round before. It is the client's word, not a person's approval.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// As in the question.
    pub key: String,
    /// As in MCP: for a form an object with `action` (`accept`, `decline`, `cancel`) and, where accepted, `content`.
    pub value: Value,
}

impl Invocation {
    /// A call of `tool` in its first round, for tests of a tool that takes one.
    #[must_use]
    pub fn new(tool: impl Into<String>, arguments: &Value) -> Self {
        Self {
            tool: tool.into(),
            arguments: arguments.to_string(),
            answers: Vec::new(),
            state: None,
        }
    }

    /// The same with these answers and this state, for tests of a later round.
    #[must_use]
    pub fn answered(mut self, answers: Vec<Answer>, state: Option<Vec<u8>>) -> Self {
        self.answers = answers;
        self.state = state;
        self
    }

    /// The name of the tool, the prompt or the resource.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }

    /// The arguments, in the canonical JSON (RFC 8785) whose digest is in the journal.
    #[must_use]
    pub fn arguments(&self) -> &str {
        &self.arguments
    }

    /// The arguments as a value of this type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_str(&self.arguments).map_err(Error::arguments)
    }

    /// Answers to the questions of the round before; empty in the first round.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.answers
    }

    /// The answer to this question.
    #[must_use]
    pub fn answer(&self, key: &str) -> Option<&Value> {
        self.answers
            .iter()
            .find(|answer| answer.key == key)
            .map(|answer| &answer.value)
    }

    /// The content of a form that was accepted, as a value of this type. `None` where it was not asked, declined or cancelled.
    pub fn form<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(answer) = self.answer(key) else {
            return Ok(None);
        };
        if answer.get("action").and_then(Value::as_str) != Some("accept") {
            return Ok(None);
        }
        let content = answer.get("content").cloned().unwrap_or_default();
        serde_json::from_value(content)
            .map(Some)
            .map_err(|error| Error::failed(format_args!("the answer to `{key}`: {error}")))
    }

    /// What the round before kept.
    #[must_use]
    pub fn state(&self) -> Option<&[u8]> {
        self.state.as_deref()
    }

    pub(crate) fn from_binding(invocation: tools::Invocation) -> Result<Self, Error> {
        let tools::Invocation {
            tool,
            arguments,
            answers,
            state,
        } = invocation;
        Self::of(tool, arguments, answers, state)
    }

    pub(crate) fn of(
        tool: String,
        arguments: String,
        answers: Vec<types::Answer>,
        state: Option<Vec<u8>>,
    ) -> Result<Self, Error> {
        let answers = answers
            .into_iter()
            .map(|answer| {
                Ok(Answer {
                    key: answer.key,
                    value: serde_json::from_str(&answer.value)?,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(Self {
            tool,
            arguments,
            answers,
            state,
        })
    }
}
