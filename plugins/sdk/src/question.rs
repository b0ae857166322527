//! Asking before going on.

use serde_json::Value;

use crate::bindings::exports::tollgate::plugin::tools;

/// Questions that must be answered before the tool can go on. The instance ends; the next round gets a fresh one, with
/// the answers and the state in its [`Invocation`](crate::Invocation).
#[derive(Debug, Clone, Default)]
pub struct InputRequest {
    questions: Vec<Question>,
    state: Option<Vec<u8>>,
}

/// A question. The answer is the client's word, not a person's approval.
#[derive(Debug, Clone)]
pub struct Question {
    key: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Form { message: String, schema: Value },
    Url { message: String, url: String },
    Sampling(Value),
    Roots,
}

impl InputRequest {
    /// These questions.
    #[must_use]
    pub fn new(questions: impl IntoIterator<Item = Question>) -> Self {
        Self {
            questions: questions.into_iter().collect(),
            state: None,
        }
    }

    /// What the next round gets back, at most 64 KiB.
    #[must_use]
    pub fn state(mut self, state: impl Into<Vec<u8>>) -> Self {
        self.state = Some(state.into());
        self
    }

    pub(crate) fn into_binding(self) -> tools::InputRequest {
        tools::InputRequest {
            questions: self
                .questions
                .into_iter()
                .map(Question::into_binding)
                .collect(),
            state: self.state,
        }
    }
}

impl Question {
    /// A form: a message and the schema of the answer (see [`schema::input`](crate::schema::input)).
    #[must_use]
    pub fn form(key: impl Into<String>, message: impl Into<String>, schema: Value) -> Self {
        Self {
            key: key.into(),
            kind: Kind::Form {
                message: message.into(),
                schema,
            },
        }
    }

    /// An address for the person to open.
    #[must_use]
    pub fn url(key: impl Into<String>, message: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            kind: Kind::Url {
                message: message.into(),
                url: url.into(),
            },
        }
    }

    /// A completion by the client's model; parameters as in MCP `sampling/createMessage`.
    #[must_use]
    pub fn sampling(key: impl Into<String>, parameters: Value) -> Self {
        Self {
            key: key.into(),
            kind: Kind::Sampling(parameters),
        }
    }

    /// The client's roots.
    #[must_use]
    pub fn roots(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            kind: Kind::Roots,
        }
    }

    fn into_binding(self) -> tools::Question {
        let kind = match self.kind {
            Kind::Form { message, schema } => tools::QuestionKind::Form(tools::FormQuestion {
                message,
                schema: schema.to_string(),
            }),
            Kind::Url { message, url } => {
                tools::QuestionKind::Url(tools::UrlQuestion { message, url })
            }
            Kind::Sampling(parameters) => tools::QuestionKind::Sampling(parameters.to_string()),
            Kind::Roots => tools::QuestionKind::Roots,
        };
        tools::Question {
            key: self.key,
            kind,
        }
    }
}
