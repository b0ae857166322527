//! What a tool may return.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::bindings::exports::tollgate::plugin::tools;
use crate::{Completion, Content, ContentExt, Error, InputRequest, schema};

/// What a call ends in.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A result.
    Complete(Completion),
    /// Questions, before it can go on.
    InputRequired(InputRequest),
}

impl Outcome {
    pub(crate) fn into_binding(self) -> tools::Outcome {
        match self {
            Self::Complete(completion) => tools::Outcome::Complete(completion.into_binding()),
            Self::InputRequired(request) => tools::Outcome::InputRequired(request.into_binding()),
        }
    }
}

/// A value that a tool can return.
pub trait Output: Sized {
    /// The schema of its structured content, where it has one.
    fn schema() -> Option<Value> {
        None
    }

    /// The outcome.
    fn into_outcome(self) -> Result<Outcome, Error>;
}

/// A structured result. Its schema becomes the tool's output schema, and its JSON the text as well, for clients that
/// read only that. To say it in other words, return `(Json<T>, String)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<T>(pub T);

/// A result, or questions that come before it.
#[derive(Debug, Clone)]
pub enum Reply<T> {
    /// The result.
    Done(T),
    /// The questions.
    Ask(InputRequest),
}

impl<T: Serialize + JsonSchema> Output for Json<T> {
    fn schema() -> Option<Value> {
        Some(schema::output::<T>())
    }

    fn into_outcome(self) -> Result<Outcome, Error> {
        let text = serde_json::to_string(&self.0)?;
        Ok(Outcome::Complete(
            Completion::text(text.clone()).structured_text(text),
        ))
    }
}

impl<T: Serialize + JsonSchema> Output for (Json<T>, String) {
    fn schema() -> Option<Value> {
        Json::<T>::schema()
    }

    fn into_outcome(self) -> Result<Outcome, Error> {
        (self.0, vec![Content::text(self.1)]).into_outcome()
    }
}

impl<T: Serialize + JsonSchema> Output for (Json<T>, Vec<Content>) {
    fn schema() -> Option<Value> {
        Json::<T>::schema()
    }

    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(
            Completion::from(self.1).structured(&self.0.0)?,
        ))
    }
}

impl<T: Output> Output for Reply<T> {
    fn schema() -> Option<Value> {
        T::schema()
    }

    fn into_outcome(self) -> Result<Outcome, Error> {
        match self {
            Self::Done(output) => output.into_outcome(),
            Self::Ask(request) => Ok(Outcome::InputRequired(request)),
        }
    }
}

impl<T: Output, E: Into<Error>> Output for Result<T, E> {
    fn schema() -> Option<Value> {
        T::schema()
    }

    fn into_outcome(self) -> Result<Outcome, Error> {
        self.map_err(Into::into)?.into_outcome()
    }
}

impl Output for String {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(Completion::text(self)))
    }
}

impl Output for &'static str {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(Completion::text(self)))
    }
}

impl Output for () {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(Completion::new()))
    }
}

impl Output for Content {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(Completion::new().with(self)))
    }
}

impl Output for Vec<Content> {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(self.into()))
    }
}

impl Output for Completion {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(Outcome::Complete(self))
    }
}

impl Output for Outcome {
    fn into_outcome(self) -> Result<Outcome, Error> {
        Ok(self)
    }
}
