//! `tollgate audit`.

use clap::{Args, Subcommand};

use crate::identity::AgentId;

/// `tollgate audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print the last records.
    Tail(Tail),
    /// Tell the story of one call.
    Show {
        /// Its id, or at least six characters from its start or end.
        call: String,
    },
    /// Check every record against the one before.
    Verify,
}

/// `tollgate audit tail`.
#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// How many.
    #[arg(short = 'n', value_name = "COUNT", default_value_t = 20)]
    pub(crate) count: usize,
    /// Go on with what is written from now on.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of this agent.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentId>,
    /// Of this tool, or of all tools of this plugin.
    #[arg(long, value_name = "TOOL")]
    pub(crate) tool: Option<String>,
    /// Of this kind: `intent`, `refusal`, `outcome`, ...
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,
}
