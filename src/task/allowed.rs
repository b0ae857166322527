//! What may be called on a task: tools by name or by plugin, with bounds on their arguments.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::json;
use crate::name::{ParseNameError, PluginName, ToolName};

/// One tool, or all of a plugin: `github.comment` or `github.*`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// One tool.
    Tool(ToolName),
    /// All tools of a plugin.
    Plugin(PluginName),
}

impl Pattern {
    /// Whether it names this tool.
    #[must_use]
    pub fn matches(&self, tool: &ToolName) -> bool {
        match self {
            Self::Tool(name) => name == tool,
            Self::Plugin(plugin) => plugin == tool.plugin(),
        }
    }

    /// The plugin that it is about.
    #[must_use]
    pub const fn plugin(&self) -> &PluginName {
        match self {
            Self::Tool(name) => name.plugin(),
            Self::Plugin(plugin) => plugin,
        }
    }
}

impl FromStr for Pattern {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix(".*") {
            Some(plugin) => plugin.parse().map(Self::Plugin),
            None => text.parse().map(Self::Tool),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(name) => name.fmt(f),
            Self::Plugin(plugin) => write!(f, "{plugin}.*"),
        }
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(crate::name::Parsed::new())
    }
}

/// What one place in the arguments must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// The place, as a JSON pointer (RFC 6901): `/repository`.
    pub at: String,
    /// The values that it may have; one, for exactly that.
    pub one_of: Vec<Value>,
}

/// It can't be a constraint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConstraintError(String);

impl Constraint {
    /// That the place `at` has one of these values.
    ///
    /// # Errors
    ///
    /// `at` is no JSON pointer to a place within the arguments, or no value would do.
    pub fn new(at: &str, one_of: Vec<Value>) -> Result<Self, ConstraintError> {
        let escapes = at.split('~').skip(1);
        let good = at.starts_with('/')
            && at.len() <= 512
            && escapes.into_iter().all(|rest| rest.starts_with(['0', '1']));
        if !good {
            return Err(ConstraintError(format!(
                "`{}` is no place in the arguments: write a JSON pointer, such as `/repository`",
                at.escape_default()
            )));
        }
        if one_of.is_empty() {
            return Err(ConstraintError(format!(
                "`{at}` could have no value: name one at least"
            )));
        }
        Ok(Self {
            at: at.to_owned(),
            one_of,
        })
    }

    /// Whether `arguments` are within it. What is not there is not within it. Numbers are compared as
    /// JSON has them canonically (RFC 8785), so `1` and `1.0` are one.
    #[must_use]
    pub fn holds(&self, arguments: &Value) -> bool {
        let Some(found) = arguments.pointer(&self.at) else {
            return false;
        };
        let found = json::canonical(found);
        self.one_of
            .iter()
            .any(|value| json::canonical(value) == found)
    }
}

/// What may be called: tools, with what their arguments must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Which tools.
    pub tool: Pattern,
    /// What must hold of their arguments, all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<Constraint>,
}

impl Allowed {
    /// Whether this allows a call of `tool` with these arguments.
    #[must_use]
    pub fn allows(&self, tool: &ToolName, arguments: &Value) -> bool {
        self.tool.matches(tool) && self.arguments.iter().all(|c| c.holds(arguments))
    }
}

impl fmt::Display for Allowed {
    /// `github.comment /repository="a/b"`, for records and people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tool.fmt(f)?;
        for Constraint { at, one_of } in &self.arguments {
            let values: Vec<String> = one_of.iter().map(json::canonical).collect();
            write!(f, " {at}={}", values.join("|"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pattern_names_one_tool_or_a_plugins() {
        let tool: ToolName = "github.comment".parse().unwrap();
        for (text, matches) in [
            ("github.comment", true),
            ("github.*", true),
            ("github.search", false),
            ("git.*", false),
        ] {
            let pattern: Pattern = text.parse().unwrap();
            assert_eq!(pattern.matches(&tool), matches, "{text}");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["*", "*.*", "github", "github.", ".*", "github.**", "git*.x"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_constraint_is_about_one_place() {
        let one = |at: &str, values| Constraint::new(at, values).unwrap();
        let arguments = json!({"repository": "a/b", "n": 1, "deep": {"list": [1, {"x/y": null}]}});
        for (constraint, holds) in [
            (one("/repository", vec![json!("a/b")]), true),
            (one("/repository", vec![json!("x"), json!("a/b")]), true),
            (one("/repository", vec![json!("x")]), false),
            (one("/n", vec![json!(1.0)]), true),
            (one("/n", vec![json!("1")]), false),
            (one("/deep/list/0", vec![json!(1)]), true),
            (one("/deep/list/1/x~1y", vec![json!(null)]), true),
            (one("/absent", vec![json!(null)]), false),
        ] {
            assert_eq!(constraint.holds(&arguments), holds, "{constraint:?}");
        }
        for at in ["", "repository", "/a~", "/a~2"] {
            assert!(Constraint::new(at, vec![json!(1)]).is_err(), "{at}");
        }
        assert!(Constraint::new("/a", Vec::new()).is_err());
    }
}
