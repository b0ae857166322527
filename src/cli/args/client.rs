//! `tollgate client`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::clients::Client;
use crate::id::TaskId;
use crate::identity::AgentId;

/// `tollgate client`.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    /// Put this host into a client's configuration; what else is in it stays, and a copy of it is left.
    Add {
        #[command(flatten)]
        entry: ClientEntry,
        /// Put it in the place of another server of that name.
        #[arg(long)]
        replace: bool,
        /// The file, in the place of the client's own.
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
    /// Print what goes into a client's configuration.
    Print {
        #[command(flatten)]
        entry: ClientEntry,
    },
}

/// What a client is told of this host.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientEntry {
    /// The client.
    #[arg(value_enum)]
    pub(crate) client: Client,
    /// The name of this host in it.
    #[arg(long, value_name = "NAME", default_value = "tollgate")]
    pub(crate) name: String,
    /// The agent that it speaks as [default: the client's own name].
    #[arg(long, value_name = "NAME", conflicts_with = "http")]
    pub(crate) agent: Option<AgentId>,
    /// The task that it is on.
    #[arg(long, value_name = "TASK", conflicts_with = "http")]
    pub(crate) task: Option<TaskId>,
    /// In the project of the current folder, in the place of the user's configuration.
    #[arg(long)]
    pub(crate) project: bool,
    /// Over HTTP at this URL, in the place of standard input and output.
    #[arg(long, value_name = "URL", requires = "token_variable")]
    pub(crate) http: Option<String>,
    /// The variable of the client's environment that holds the agent's token; the file never does.
    #[arg(long, value_name = "VARIABLE", requires = "http")]
    pub(crate) token_variable: Option<String>,
}
