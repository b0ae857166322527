//! `tollgate policy`.

use clap::{Args, Subcommand};

use crate::identity::{AgentId, PersonId};
use crate::name::PluginName;

/// `tollgate policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Print a least-privilege policy for a plugin, to review.
    Init {
        /// The plugin.
        plugin: PluginName,
        /// Write it to `policies/<plugin>.cedar`; a file that is there is left alone.
        #[arg(long)]
        write: bool,
    },
    /// Say which policies decide a call, and what would change the answer; nothing is run.
    Explain(Explain),
    /// Print the schema that policies are validated against.
    Schema,
    /// Run the cases in `policies/cases/`.
    Test,
}

/// `tollgate policy explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The tool, as agents see it or by its full name.
    pub(crate) tool: String,
    /// The arguments, a JSON object; `-` reads it from standard input.
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// The agent that would call.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: AgentId,
    /// Ask as if these agents had handed the work on to it, the first one first.
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    pub(crate) chain: Vec<AgentId>,
    /// Ask as if a person had agreed to this call.
    #[arg(long)]
    pub(crate) approved: bool,
    /// Ask as well whether this person may agree to it, where it is held.
    #[arg(long, value_name = "PERSON")]
    pub(crate) approver: Option<PersonId>,
    /// Ask as if the call were on a task of this intent.
    #[arg(long, value_name = "INTENT")]
    pub(crate) task: Option<String>,
    /// A label that the task has.
    #[arg(long = "label", value_name = "LABEL", requires = "task")]
    pub(crate) labels: Vec<String>,
    /// Ask about a host call of the call as well: `GET https://api.example.com/x`,
    /// `use-secret NAME`, `reveal-secret NAME`, `clock` or `random`.
    #[arg(long = "host-call", value_name = "WHAT")]
    pub(crate) host_calls: Vec<String>,
}
