//! Plugins: from a file in a folder to tools that can be called.
//!
//! A file is read once, compiled in a child process, asked to describe itself with nothing granted,
//! and held against the contract, against its own imports and against what was accepted before. It
//! trusts none of the bytes; it promises that what serves is exactly what is pinned.

mod accept;
mod admission;
mod catalogue;
mod confusable;
mod describe;
mod description;
mod diff;
mod folder;
mod lasts;
mod load;
mod offers;
mod registry;
mod schema;
pub mod signature;
mod template;
mod text;
mod version;

pub(crate) use accept::{Shown, Waiting};
pub(crate) use catalogue::{Catalogue, Status};
pub use description::{
    Description, Hints, HttpRequirement, Kind, Lasts, Offer, OriginScope, PromptArgument,
    QuestionKind, Requirement, SecretRequirement, SettingRequirement, Tool,
};
pub use diff::{Change, Diff, Side, What};
pub(crate) use folder::{Content, files as component_files, name_of, read as read_component};
pub(crate) use load::Plugin;
pub(crate) use offers::COMPLETE;
pub(crate) use registry::{Registry, Which};
pub(crate) use schema::Schema;
pub use signature::{Key, Trust, TrustedKey};
pub(crate) use text::hidden;
