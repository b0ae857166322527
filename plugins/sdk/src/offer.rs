//! What a plugin offers beside tools: prompts, resources, completion; and what it says that it asks, and of its long work.

use serde_json::{Map, Value};

pub use crate::bindings::asking::exports::tollgate::plugin::questions::Kinds;
use crate::bindings::lasting::exports::tollgate::plugin::jobs::How;
pub use crate::bindings::tollgate::plugin::types::{ResourceBody, ResourceContent, Role};
use crate::{Content, ContentExt, Error, InputRequest, Invocation};

/// Prompts of a plugin.
pub trait Prompts {
    /// Each of them.
    const ALL: &'static [Prompt];

    /// One of them, with its arguments put in.
    fn get(invocation: Invocation) -> Result<PromptReply, Error>;
}

/// A prompt.
#[derive(Debug, Clone, Copy)]
pub struct Prompt {
    /// Its name, different from every tool and resource.
    pub name: &'static str,
    /// For people.
    pub title: Option<&'static str>,
    /// For people and the model.
    pub description: &'static str,
    /// What it takes.
    pub arguments: &'static [Argument],
    /// Names of the requirements that it uses.
    pub uses: &'static [&'static str],
}

/// What a prompt takes: text.
#[derive(Debug, Clone, Copy)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// For people and the model.
    pub description: Option<&'static str>,
    /// Whether it must be there.
    pub required: bool,
}

/// What a prompt gives.
#[derive(Debug, Clone)]
pub enum PromptReply {
    /// Its messages.
    Messages(Vec<(Role, Content)>),
    /// Questions that come before them.
    Ask(InputRequest),
}

impl PromptReply {
    /// One message of the user's.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Messages(vec![(Role::User, Content::text(text))])
    }
}

/// Resources of a plugin.
pub trait Resources {
    /// Each of them.
    const ALL: &'static [Resource];

    /// What one of them holds. `invocation.parse` gives `uri` and the template's variables.
    fn read(invocation: Invocation) -> Result<ResourceReply, Error>;
}

/// A resource, or a family of them.
#[derive(Debug, Clone, Copy)]
pub struct Resource {
    /// Its name, different from every tool and prompt.
    pub name: &'static str,
    /// For people.
    pub title: Option<&'static str>,
    /// For people and the model.
    pub description: &'static str,
    /// Where it is.
    pub at: Place,
    /// Its media type.
    pub mime_type: Option<&'static str>,
    /// Names of the requirements that it uses.
    pub uses: &'static [&'static str],
}

/// Where a resource is.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// At this URI.
    Uri(&'static str),
    /// At every URI of this template: `notes://{folder}/{id}`.
    Template(&'static str),
}

/// What a resource gives.
#[derive(Debug, Clone)]
pub enum ResourceReply {
    /// What it holds.
    Contents(Vec<ResourceContent>),
    /// Questions that come before it.
    Ask(InputRequest),
}

impl ResourceReply {
    /// Text at `uri`.
    #[must_use]
    pub fn text(
        uri: impl Into<String>,
        mime_type: impl Into<String>,
        text: impl Into<String>,
    ) -> Self {
        Self::of(
            uri.into(),
            mime_type.into(),
            ResourceBody::Text(text.into()),
        )
    }

    /// Bytes at `uri`.
    #[must_use]
    pub fn bytes(uri: impl Into<String>, mime_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::of(uri.into(), mime_type.into(), ResourceBody::Blob(bytes))
    }

    fn of(uri: String, mime_type: String, body: ResourceBody) -> Self {
        Self::Contents(vec![ResourceContent {
            uri,
            mime_type: Some(mime_type),
            body,
            annotations: None,
        }])
    }
}

/// Values that fit, for arguments of prompts and variables of templates.
pub trait Completes {
    /// The best first, at most 100.
    fn complete(typed: Typed) -> Result<Vec<String>, Error>;
}

/// What is being typed.
#[derive(Debug, Clone, PartialEq)]
pub struct Typed {
    /// The name of the prompt or resource.
    pub of: String,
    /// The argument, or the variable.
    pub argument: String,
    /// What stands there so far.
    pub value: String,
    /// The other arguments that are known.
    pub known: Map<String, Value>,
}

/// What a tool, a prompt or a resource asks clients.
#[derive(Debug, Clone, Copy)]
pub struct Asks {
    pub(crate) of: &'static str,
    pub(crate) kinds: Kinds,
    pub(crate) why: &'static str,
}

/// That what is named `of` asks questions of these kinds.
#[must_use]
pub const fn asks(of: &'static str, kinds: Kinds, why: &'static str) -> Asks {
    Asks { of, kinds, why }
}

/// What a plugin asks clients.
pub trait Asking {
    /// Each that asks.
    fn all() -> Vec<Asks>;
}

/// A tool that does long work, and how its calls run as jobs.
#[derive(Debug, Clone, Copy)]
pub struct Lasts {
    pub(crate) of: &'static str,
    pub(crate) how: How,
}

impl Lasts {
    /// A client that has no jobs is refused.
    #[must_use]
    pub const fn must(mut self) -> Self {
        self.how = self.how.union(How::MUST);
        self
    }

    /// What the tool asks at first is asked before there is a job.
    #[must_use]
    pub const fn asks_first(mut self) -> Self {
        self.how = self.how.union(How::ASKS_FIRST);
        self
    }
}

/// That calls of the tool named `of` may run as jobs.
#[must_use]
pub const fn lasts(of: &'static str) -> Lasts {
    Lasts {
        of,
        how: How::empty(),
    }
}

/// What of a plugin does long work.
pub trait Lasting {
    /// Each tool that does.
    fn all() -> Vec<Lasts>;
}
