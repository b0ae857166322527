//! How much care a tool takes.

use serde::{Deserialize, Serialize};

/// How much care a tool takes, by the operator's word. A plugin's own hints can raise it, never lower it.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Policy alone decides.
    #[default]
    Auto,
    /// The same, and each call is worth a line of the log.
    Log,
    /// A person must agree to each call.
    Hold,
    /// Never, whatever policy says.
    Forbid,
}

impl Tier {
    /// The tier of this name, if it is one of the four.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Auto, Self::Log, Self::Hold, Self::Forbid]
            .into_iter()
            .find(|tier| tier.as_str() == name)
    }

    /// Its name, as policy and records have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Log => "log",
            Self::Hold => "hold",
            Self::Forbid => "forbid",
        }
    }
}
