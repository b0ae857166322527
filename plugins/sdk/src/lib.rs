//! Write a Tollgate plugin: typed functions in, a component out.
//!
//! ```
//! use tollgate_plugin::prelude::*;
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Greet {
//!     /// Whom to greet.
//!     name: String,
//! }
//!
//! #[derive(Serialize, JsonSchema)]
//! struct Greeting {
//!     text: String,
//! }
//!
//! /// Greets someone by name.
//! #[tool(read_only, idempotent, title = "Greet", uses = ["word"])]
//! fn greet(arguments: Greet) -> Result<Json<Greeting>, Error> {
//!     let word = settings::get("word")?.unwrap_or_default();
//!     Ok(Json(Greeting { text: format!("{word}, {}!", arguments.name) }))
//! }
//!
//! plugin! {
//!     summary: "Greets people.",
//!     requires: [setting("word", "The word of greeting").default("Hello")],
//!     tools: [greet],
//! }
//! # fn main() {}
//! ```
//!
//! The plugin's version is that of its crate; its name is that of the file the host loads. What a call may reach is
//! decided by the host's policy: every function of [`http`], [`secrets`], [`settings`], [`clock`] and [`random`] can
//! fail with a refusal, which `?` passes on.

#[doc(hidden)]
pub mod bindings;
mod content;
mod error;
#[doc(hidden)]
pub mod export;
mod host;
mod invocation;
pub mod offer;
mod output;
mod question;
pub mod requirement;
pub mod schema;
mod tool;

pub use content::{Completion, Content, ContentExt};
pub use error::{Error, ErrorKind, HostError};
pub use host::{client, clock, http, log, progress, random, secrets, settings};
pub use invocation::{Answer, Invocation};
pub use output::{Json, Outcome, Output, Reply};
pub use question::{InputRequest, Question};
pub use requirement::Requirement;
pub use tollgate_plugin_macros::tool;
pub use tool::{Description, Hints, NoArguments, Plugin, Tool, ToolDescription, ToolEntry, check};

/// What a plugin needs in scope.
pub mod prelude {
    pub use crate::{
        Completion, Content, ContentExt, Error, InputRequest, Invocation, Json, Question, Reply,
        client, clock, http, log, plugin, progress, random, secrets, settings, tool,
    };
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}

/// Declares the plugin: what it is for, what it needs, what it offers. Once per crate.
///
/// `requires` takes values of the functions in [`requirement`], which are in scope there. After `tools` may come, in this
/// order, `prompts`, `resources` and `completes`, each a type that implements the trait of [`offer`], `asks`, with
/// values of [`offer::asks`]: what may ask clients, without which no question of it is put; and `lasts`, with values of
/// [`offer::lasts`]: the tools that do long work, whose calls may run as jobs.
#[macro_export]
macro_rules! plugin {
    (
        summary: $summary:expr,
        $(requires: [$($requirement:expr),* $(,)?],)?
        tools: [$($tool:path),+ $(,)?]
        $(, prompts: $prompts:ty)?
        $(, resources: $resources:ty)?
        $(, completes: $completes:ty)?
        $(, asks: [$($asks:expr),+ $(,)?])?
        $(, lasts: [$($lasts:expr),+ $(,)?])?
        $(,)?
    ) => {
        /// The plugin of this crate.
        #[doc(hidden)]
        #[derive(Debug)]
        pub struct ThisPlugin;

        impl $crate::Plugin for ThisPlugin {
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");
            const SUMMARY: &'static str = $summary;
            const TOOLS: &'static [$crate::ToolEntry] = &[$($crate::ToolEntry::of::<$tool>()),+];

            fn requirements() -> ::std::vec::Vec<$crate::Requirement> {
                #[allow(unused_imports, reason = "a plugin uses some of them")]
                use $crate::requirement::*;
                ::std::vec![$($($crate::Requirement::from($requirement)),*)?]
            }
        }

        #[cfg(target_family = "wasm")]
        const _: () = {
            type Component = $crate::export::Component<ThisPlugin>;
            $crate::bindings::export_component!(Component with_types_in $crate::bindings);
        };

        $(
            // Also where nothing is exported: the crate's own tests and lints see that it is used.
            const _: () = {
                const fn offers<T: $crate::offer::Prompts>() {}
                offers::<$prompts>();
            };

            #[cfg(target_family = "wasm")]
            const _: () = {
                type Component = $crate::export::Component<$prompts>;
                $crate::bindings::prompting::export_prompts!(
                    Component with_types_in $crate::bindings::prompting
                );
            };
        )?

        $(
            // Also where nothing is exported: the crate's own tests and lints see that it is used.
            const _: () = {
                const fn offers<T: $crate::offer::Resources>() {}
                offers::<$resources>();
            };

            #[cfg(target_family = "wasm")]
            const _: () = {
                type Component = $crate::export::Component<$resources>;
                $crate::bindings::reading::export_resources!(
                    Component with_types_in $crate::bindings::reading
                );
            };
        )?

        $(
            // Also where nothing is exported: the crate's own tests and lints see that it is used.
            const _: () = {
                const fn offers<T: $crate::offer::Completes>() {}
                offers::<$completes>();
            };

            #[cfg(target_family = "wasm")]
            const _: () = {
                type Component = $crate::export::Component<$completes>;
                $crate::bindings::completing::export_completion!(
                    Component with_types_in $crate::bindings::completing
                );
            };
        )?

        $(
            impl $crate::offer::Asking for ThisPlugin {
                fn all() -> ::std::vec::Vec<$crate::offer::Asks> {
                    #[allow(unused_imports, reason = "a plugin uses some of them")]
                    use $crate::offer::{Kinds, asks};
                    ::std::vec![$($asks),+]
                }
            }

            #[cfg(target_family = "wasm")]
            const _: () = {
                type Component = $crate::export::Component<ThisPlugin>;
                $crate::bindings::asking::export_questions!(
                    Component with_types_in $crate::bindings::asking
                );
            };
        )?

        $(
            impl $crate::offer::Lasting for ThisPlugin {
                fn all() -> ::std::vec::Vec<$crate::offer::Lasts> {
                    #[allow(unused_imports, reason = "a plugin uses it")]
                    use $crate::offer::lasts;
                    ::std::vec![$($lasts),+]
                }
            }

            #[cfg(target_family = "wasm")]
            const _: () = {
                type Component = $crate::export::Component<ThisPlugin>;
                $crate::bindings::lasting::export_jobs!(
                    Component with_types_in $crate::bindings::lasting
                );
            };
        )?

        #[cfg(test)]
        mod description_tests {
            #[test]
            fn description_is_sound() {
                assert_eq!($crate::check::<super::ThisPlugin>(), ::std::vec::Vec::<::std::string::String>::new());
            }
        }
    };
}

/// The code of `plugins/README.md`, so that it compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
