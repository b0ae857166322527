//! Names of plugins and tools.
//!
//! A plugin is named by its file, a tool by its plugin and itself: `github.create_issue` in policy,
//! records and the command line. An agent sees `github_create_issue`, since clients take only
//! letters, digits, `_` and `-`, and at most 64 of them; what stands before the tool there is the
//! operator's to say, and never what anything is decided by.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// The longest tool name that every known MCP client takes.
pub const MAX_WIRE_NAME: usize = 64;

/// Names that files under `policies/` use for something else.
const RESERVED: &[&str] = &["shared", "entities", "schema", "cases"];

/// The text can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// Letters outside of those allowed, empty, or too long.
    #[error(
        "`{0}` can't be a name: use 1 to {1} of `a`-`z`, `A`-`Z`, `0`-`9`, `_` and `-`, starting with a letter or digit"
    )]
    Letters(String, usize),
    /// Reserved for a file under `policies/`.
    #[error("`{0}` can't be a plugin's name: `policies/` uses it for something else")]
    Reserved(String),
    /// A tool name without its plugin.
    #[error("`{0}` is not a tool: expected `<plugin>.<tool>`")]
    NoPlugin(String),
    /// Longer, with its prefix, than clients take.
    #[error(
        "agents would see the tool `{tool}` as `{wire}`, which has {} letters and clients take {}: set a shorter `prefix` in `[plugin.{}]`",
        .wire.len(), MAX_WIRE_NAME, .tool.plugin()
    )]
    TooLong {
        /// The tool.
        tool: ToolName,
        /// What agents would see.
        wire: String,
    },
}

fn check(text: &str, longest: usize) -> Result<(), ParseNameError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let starts = text
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    if starts && text.len() <= longest && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(ParseNameError::Letters(shown(text, 80), longest))
    }
}

/// What someone else wrote, for people: its first `most` letters, and what is not a plain one as an escape.
pub(crate) fn shown(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .flat_map(char::escape_default)
        .collect()
}

/// Whether `text` may name a tool, a requirement, a setting or a secret.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    check(text, MAX_WIRE_NAME).is_ok()
}

/// The name of a plugin: its file's name without `.wasm`. Lower case, so that two files can't differ in case alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginName(Arc<str>);

impl PluginName {
    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Half of what a tool's name may have, so that a tool's own name always has room.
        check(text, MAX_WIRE_NAME / 2)?;
        if text.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ParseNameError::Letters(text.to_owned(), MAX_WIRE_NAME / 2));
        }
        if RESERVED.contains(&text) {
            return Err(ParseNameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

/// A tool of a plugin: `<plugin>.<tool>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ToolName {
    plugin: PluginName,
    tool: Arc<str>,
}

impl ToolName {
    /// The tool `tool` of `plugin`.
    ///
    /// # Errors
    ///
    /// `tool` has letters that names can't have, or both together are too long for clients.
    pub fn new(plugin: PluginName, tool: &str) -> Result<Self, ParseNameError> {
        let left = MAX_WIRE_NAME - plugin.as_str().len() - 1;
        check(tool, left)?;
        Ok(Self {
            plugin,
            tool: tool.into(),
        })
    }

    /// Its plugin.
    #[must_use]
    pub const fn plugin(&self) -> &PluginName {
        &self.plugin
    }

    /// Its own name, without the plugin's.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

/// What agents see before a tool's own name: the plugin's name, or what the operator says, which may be
/// nothing at all.
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix(Arc<str>);

impl Prefix {
    /// The prefix of a plugin of which the operator says nothing.
    #[must_use]
    pub fn of(plugin: &PluginName) -> Self {
        Self(Arc::clone(&plugin.0))
    }

    /// Its text, without the `_` that follows one that is not empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that agents see.
    ///
    /// # Errors
    ///
    /// It is longer than clients take.
    pub fn wire(&self, tool: &ToolName) -> Result<String, ParseNameError> {
        let wire = match self.as_str() {
            "" => tool.tool().to_owned(),
            prefix => format!("{prefix}_{}", tool.tool()),
        };
        if wire.len() > MAX_WIRE_NAME {
            let tool = tool.clone();
            return Err(ParseNameError::TooLong { tool, wire });
        }
        Ok(wire)
    }
}

impl FromStr for Prefix {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.is_empty() {
            // As much as a plugin's name may have, in whose place it stands.
            check(text, MAX_WIRE_NAME / 2)?;
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ToolName {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (plugin, tool) = text
            .split_once('.')
            .ok_or_else(|| ParseNameError::NoPlugin(text.escape_default().to_string()))?;
        Self::new(plugin.parse()?, tool)
    }
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plugin, self.tool)
    }
}

impl fmt::Debug for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

// Not by `as_text!`: its text stands nowhere in one piece.
impl serde::Serialize for ToolName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ToolName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Parsed::new())
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads what is written as a text where it stands, without a copy of it.
pub(crate) struct Parsed<T>(PhantomData<T>);

impl<T> Parsed<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Makes types that are written as text debug, serialise and read back as that text.
macro_rules! as_text {
    ($($name:ident),*) => {
        $(
            impl std::fmt::Debug for $name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    write!(f, "`{self}`")
                }
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.as_str())
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(
                    deserializer: D,
                ) -> Result<Self, D::Error> {
                    deserializer.deserialize_str($crate::name::Parsed::new())
                }
            }
        )*
    };
}

pub(crate) use as_text;

as_text!(PluginName, Prefix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_named_with_its_plugin() {
        let name: ToolName = "github.create_issue".parse().unwrap();
        assert_eq!(name.plugin().as_str(), "github");
        assert_eq!(
            Prefix::of(name.plugin()).wire(&name).unwrap(),
            "github_create_issue"
        );
        assert_eq!(name.to_string(), "github.create_issue");
    }

    #[test]
    fn other_letters_are_refused() {
        for text in [
            "", "a b", "../a", "a%2e", "a\0", "é", "-a", "_a", "A", "shared",
        ] {
            assert!(text.parse::<PluginName>().is_err(), "{text:?}");
        }
        for text in ["github", "github.", "github.a.b", "github.a\u{200b}"] {
            assert!(text.parse::<ToolName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_tool_fits_into_what_clients_take() {
        let plugin: PluginName = "a".repeat(32).parse().unwrap();
        let fits = ToolName::new(plugin.clone(), &"b".repeat(31)).unwrap();
        let wire = Prefix::of(&plugin).wire(&fits).unwrap();
        assert_eq!(wire.len(), MAX_WIRE_NAME);
        assert!(ToolName::new(plugin, &"b".repeat(32)).is_err());
    }

    #[test]
    fn the_operator_says_what_stands_before_a_tool() {
        let tool: ToolName = "github.create_issue".parse().unwrap();
        let wire = |text: &str| text.parse::<Prefix>().unwrap().wire(&tool).unwrap();
        assert_eq!(wire(""), "create_issue");
        assert_eq!(wire("GH-1"), "GH-1_create_issue");
        for text in ["_", "-a", "a b", "a.b", "é", &"a".repeat(33)] {
            assert!(text.parse::<Prefix>().is_err(), "{text:?}");
        }
        let long = ToolName::new("p".parse().unwrap(), &"b".repeat(60)).unwrap();
        let error = "prefix".parse::<Prefix>().unwrap().wire(&long).unwrap_err();
        let says = error.to_string();
        assert!(
            says.contains(&format!("`p.{}`", "b".repeat(60))) && says.contains("67 letters"),
            "{says}"
        );
    }

    proptest::proptest! {
        #[test]
        fn whatever_agents_see_is_what_clients_take(
            prefix in "[a-zA-Z0-9_-]{0,34}",
            plugin in "[a-z0-9][a-z0-9_-]{0,31}",
            tool in "[a-zA-Z0-9_-]{1,64}",
        ) {
            let (Ok(prefix), Ok(plugin)) = (prefix.parse::<Prefix>(), plugin.parse()) else {
                return Ok(());
            };
            if let Ok(tool) = ToolName::new(plugin, &tool)
                && let Ok(wire) = prefix.wire(&tool)
            {
                proptest::prop_assert!(is_plain(&wire));
                // Never the full name of a tool, which has a dot.
                proptest::prop_assert!(wire.parse::<ToolName>().is_err());
            }
        }
    }
}
