//! What a plugin says of itself, once checked: the host's view of `describe`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::name::{PluginName, ToolName};

/// A checked description. Its canonical JSON is part of the plugin's pin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The plugin, named by its file.
    pub plugin: PluginName,
    /// For people.
    pub version: String,
    /// For the operator.
    pub summary: String,
    /// In the order of their names.
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

/// A tool.
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
