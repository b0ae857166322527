//! Plugins.
mod description;
pub use description::{
    Description, Hints, HttpRequirement, OriginScope, Requirement, SecretRequirement,
    SettingRequirement, Tool,
};
