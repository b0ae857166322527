//! What a plugin says of itself, once checked: the host's view of `describe`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{PluginName, ToolName};

/// What kind of thing it is that a plugin offers, and so what kind of call it takes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What a model calls.
    #[default]
    Tool,
    /// A prompt that a person picks.
    Prompt,
    /// A resource, or a family of them, that is read.
    Resource,
    /// Values for arguments of prompts and resources.
    Completion,
}

impl Kind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Completion => "completion",
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_tool(&self) -> bool {
        *self == Self::Tool
    }
}

/// A checked description. Its canonical JSON is part of the plugin's pin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The plugin, named by its file.
    pub plugin: PluginName,
    /// For people.
    pub version: String,
    /// For the operator.
    pub summary: String,
    /// Tools, prompts, resources and completion, in the order of their names.
    pub tools: Vec<Tool>,
    /// In the order that the plugin gave.
    pub requirements: Vec<Requirement>,
}

impl Description {
    /// The tool of this full name.
    #[must_use]
    pub fn tool(&self, name: &ToolName) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == *name)
    }

    /// The requirement of this name.
    #[must_use]
    pub fn requirement(&self, name: &str) -> Option<&Requirement> {
        self.requirements.iter().find(|r| r.name() == name)
    }
}

/// A tool; or a prompt, a resource or completion, which are called like one and have a name among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Its full name.
    pub name: ToolName,
    /// For people.
    pub title: Option<String>,
    /// For the model.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub input_schema: Value,
    /// JSON Schema of the structured content.
    pub output_schema: Option<Value>,
    /// The plugin's own word on its effects.
    pub hints: Hints,
    /// Names of the requirements that it uses.
    pub uses: Vec<String>,
    /// What it is, beyond that.
    #[serde(default, skip_serializing_if = "Offer::is_tool")]
    pub offer: Offer,
    /// What it may ask clients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<QuestionKind>,
    /// How its calls run as jobs, where they may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Lasts>,
}

impl Tool {
    /// What kind of call it takes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.offer.kind()
    }
}

/// What a thing that a plugin offers is, beyond what all of them have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Offer {
    /// A tool.
    #[default]
    Tool,
    /// A prompt.
    Prompt {
        /// What it takes, in the order that the plugin gave.
        arguments: Vec<PromptArgument>,
    },
    /// A resource.
    Resource {
        /// Its URI.
        uri: String,
        /// Its media type.
        mime_type: Option<String>,
        /// Its size in bytes.
        size: Option<u64>,
    },
    /// A family of resources.
    Template {
        /// The template of their URIs.
        template: String,
        /// Their media type.
        mime_type: Option<String>,
    },
    /// Values for arguments of the plugin's prompts and resources.
    Completion,
}

impl Offer {
    /// What kind of call it takes.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Tool => Kind::Tool,
            Self::Prompt { .. } => Kind::Prompt,
            Self::Resource { .. } | Self::Template { .. } => Kind::Resource,
            Self::Completion => Kind::Completion,
        }
    }

    fn is_tool(&self) -> bool {
        *self == Self::Tool
    }
}

/// What a prompt takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptArgument {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// For people and the model.
    pub description: Option<String>,
    /// Whether it must be there.
    pub required: bool,
}

/// What a client can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QuestionKind {
    /// To have a form filled in.
    Form,
    /// To open an address.
    Url,
    /// To have its model complete something.
    Sampling,
    /// For its roots.
    Roots,
}

impl QuestionKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Form, Self::Url, Self::Sampling, Self::Roots];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Url => "url",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
        }
    }
}

/// How calls of a tool that does long work run as jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lasts {
    /// A client that has no jobs is refused.
    pub must: bool,
    /// A call that brings no answers is a plain one: what the tool asks at first is asked before there is a job.
    pub asks_first: bool,
}

/// The plugin's own word on a tool's effects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "the four hints of MCP")]
pub struct Hints {
    /// Changes nothing anywhere.
    pub read_only: bool,
    /// May destroy or overwrite.
    pub destructive: bool,
    /// The same call again changes nothing more.
    pub idempotent: bool,
    /// Reaches systems outside of the host.
    pub open_world: bool,
}

/// A capability that the plugin needs, with its scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "capability", rename_all = "kebab-case")]
pub enum Requirement {
    /// HTTP requests.
    Http(HttpRequirement),
    /// A secret.
    Secret(SecretRequirement),
    /// A value that the operator gives.
    Setting(SettingRequirement),
    /// The time of day. Its name is `clock`.
    Clock {
        /// Why.
        why: String,
    },
    /// Random bytes. Its name is `random`.
    Random {
        /// Why.
        why: String,
    },
}

impl Requirement {
    /// The name by which tools and grants refer to it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Http(r) => &r.name,
            Self::Secret(r) => &r.name,
            Self::Setting(r) => &r.name,
            Self::Clock { .. } => "clock",
            Self::Random { .. } => "random",
        }
    }
}

/// HTTP requests to one origin, or to any public one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpRequirement {
    /// Its name.
    pub name: String,
    /// Where to.
    pub origin: OriginScope,
    /// The methods, in capitals.
    pub methods: Vec<String>,
    /// Prefixes of the path.
    pub paths: Vec<String>,
    /// Why.
    pub why: String,
}

/// Which origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OriginScope {
    /// This one, in canonical form: `https://api.example.com` or `http://127.0.0.1:8080`.
    Literal(String),
    /// The value of this setting.
    Setting(String),
    /// Any `https` origin on port 443 whose addresses are public.
    AnyPublic,
}

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRequirement {
    /// Its name, in the plugin and in the operator's store.
    pub name: String,
    /// Whether the plugin may ask to see it.
    pub reveal: bool,
    /// The one origin it may be sent to; never `AnyPublic`.
    pub origin: OriginScope,
    /// Why.
    pub why: String,
}

/// A value that the operator gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingRequirement {
    /// Its name.
    pub name: String,
    /// For the operator.
    pub description: String,
    /// Where the operator sets none.
    pub default: Option<String>,
}
