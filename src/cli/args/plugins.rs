//! `tollgate plugins`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::digest::Digest;
use crate::name::PluginName;

/// `tollgate plugins`.
#[derive(Debug, Args)]
pub(crate) struct Plugins {
    #[command(subcommand)]
    pub(crate) command: Option<PluginsCommand>,
}

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// Show what a plugin offers and needs; needs no daemon.
    Inspect {
        /// A `.wasm` file, or the name of a plugin in `plugins/`.
        #[arg(value_name = "FILE|NAME")]
        plugin: String,
    },
    /// Show what changed of a plugin since it was accepted, and what policy would now let it reach.
    Diff {
        /// The plugin [default: each one that waits].
        name: Option<PluginName>,
    },
    /// Accept a plugin that waits: show what changed, ask, and from then on this is the one that serves.
    Accept {
        /// The plugin.
        name: PluginName,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
        /// Only if this is the component's digest; needed to go back to an older version.
        #[arg(long, value_name = "DIGEST")]
        component: Option<Digest>,
    },
    /// Make a key that signs components; prints the one that verifies, for `[plugins] keys`.
    Key {
        /// Its name: whose it is.
        name: String,
        /// Where the key that signs goes [default: `<name>.key`].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Sign a component: writes `<file>.sig` beside it; needs no daemon.
    Sign {
        /// The component.
        file: PathBuf,
        /// The key that signs, made by `tollgate plugins key`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The component's version: a number that only grows.
        #[arg(long, value_name = "NUMBER")]
        version: u64,
        /// The name that the plugin serves under [default: the file's].
        #[arg(long, value_name = "NAME")]
        name: Option<PluginName>,
    },
}
