//! What can be typed. Help texts, the parser and its errors are all made of these definitions.

mod audit;
mod backup;
mod client;
mod people;
mod plugins;
mod policy;
mod replay;
mod task;
mod token;

pub(crate) use audit::{
    Audit, AuditCommand, Check as CheckFile, Export, Form, Search, Since, Tail, Verify,
};
pub(crate) use backup::{Backup, Restore};
pub(crate) use client::{ClientCommand, ClientEntry};
pub(crate) use people::{Approvals, Person};
pub(crate) use plugins::{Plugins, PluginsCommand};
pub(crate) use policy::{Explain, Policy};
pub(crate) use replay::Replay;
pub(crate) use task::{BoundArgument, Task, TaskStart};
pub(crate) use token::{Token, Ttl};

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use self::token::{overlap, ttl};
use super::exit::Exit;
use crate::config::Listen;
use crate::id::TaskId;
use crate::identity::AgentId;
use crate::name::PluginName;
use crate::revocation::Scope;

/// Serves sandboxed, policy-governed tools to agents over MCP.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    after_help = Exit::help(),
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What goes with every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The folder with `tollgate.toml`, `plugins/`, `policies/` and `state/` [default: the current one].
    #[arg(long, global = true, value_name = "DIR", env = crate::home::VARIABLE, hide_env_values = true)]
    pub(crate) home: Option<PathBuf>,
    /// How data is printed: for people, or as JSON lines that carry `"v":1`.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    pub(crate) format: Format,
    /// When output is coloured; `NO_COLOR` is honoured.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: Colour,
    /// Print data and errors only.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Log more; twice for even more.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// How data is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Human,
    /// JSON lines.
    Json,
}

/// When output is coloured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the plugins to agents, over HTTP and to local clients.
    Serve(Serve),
    /// Call a tool from here: the same policy, limits and journal as an agent's call.
    Call(Call),
    /// List the plugins and where each stands.
    Plugins(Plugins),
    /// Write, explain and test policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Check configuration, policies, entities, plugins, cases and secrets; needs no daemon.
    Check(Check),
    /// Add, list and remove agents; rotate their tokens.
    #[command(subcommand)]
    Agent(Agent),
    /// Put this host into the configuration of a client, such as Claude Code or Cursor.
    #[command(subcommand)]
    Client(ClientCommand),
    /// Make tokens for one step and hand-offs, and narrow them.
    #[command(subcommand)]
    Token(Token),
    /// Start, show, list and end tasks of agents.
    #[command(subcommand)]
    Task(Task),
    /// Take power back at once: calls under way are stopped.
    Revoke(Revoke),
    /// See what waits for a person, and answer it.
    #[command(subcommand)]
    Approvals(Approvals),
    /// Add, list, renew and remove the people who approve and administer.
    #[command(subcommand)]
    Person(Person),
    /// Set, list and remove secrets.
    #[command(subcommand)]
    Secret(Secret),
    /// List what is lent to calls and tasks, and what waits to be taken back.
    Leases {
        /// Only what waits to be taken back.
        #[arg(long)]
        pending: bool,
    },
    /// Read and verify the journal.
    Audit(AuditCommand),
    /// Copy state and journal into a folder, while the daemon serves or not.
    Backup(Backup),
    /// Put a backup back; nothing runs then until `tollgate revoke --lift`.
    Restore(Restore),
    /// Run a call again on its tape, with no reach, and say whether the same comes out.
    Replay(Replay),
    /// Make the daemon take in what changed on disk, and say what it found.
    Reload,
    /// Say what the daemon is doing.
    Status,
    /// End the daemon; calls under way are finished first.
    Stop,
    /// Compile a component from standard input to standard output.
    #[command(name = "compile-component", hide = true)]
    CompileComponent,
}

/// `tollgate check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// List every right that stands: what is tied to no task, or has no end. Each is an error.
    #[arg(long)]
    pub(crate) zero_standing: bool,
}

/// `tollgate revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Lift a revocation: of all, where nothing is named.
    #[arg(long)]
    pub(crate) lift: bool,
    /// What to revoke: `agent NAME`, `task ID`, `plugin NAME`, `lease ID`, `approval ID`, `token ID`,
    /// or `all`, which stops everything until it is lifted.
    #[arg(value_name = "WHAT", required_unless_present = "lift", value_parser = Scope::KINDS)]
    pub(crate) kind: Option<String>,
    /// Which one.
    #[arg(value_name = "WHICH")]
    pub(crate) subject: Option<String>,
}

/// `tollgate serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the HTTP endpoint listens, in the place of what is configured: an address and a port, or `unix:PATH`.
    #[arg(long, value_name = "PLACE", conflicts_with = "stdio")]
    pub(crate) listen: Option<Listen>,
    /// Make a first agent if there is none, and print how to connect.
    #[arg(long, conflicts_with_all = ["stdio", "background"])]
    pub(crate) quickstart: bool,
    /// Speak MCP on standard input and output; starts the daemon if it is not running.
    #[arg(long, requires = "agent")]
    pub(crate) stdio: bool,
    /// The agent that speaks on standard input.
    #[arg(long, value_name = "NAME", requires = "stdio")]
    pub(crate) agent: Option<AgentId>,
    /// The task that it is on, for the whole session.
    #[arg(long, value_name = "TASK", requires = "stdio")]
    pub(crate) task: Option<TaskId>,
    /// Started by a client: no terminal, no talk.
    #[arg(long, hide = true, conflicts_with = "stdio")]
    pub(crate) background: bool,
}

/// `tollgate call`.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The tool, as agents see it (`github_search`) or by its full name (`github.search`).
    pub(crate) tool: String,
    /// The arguments, a JSON object; `-` reads it from standard input.
    #[arg(value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// The agent to call as; may be left out where there is only one.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<AgentId>,
    /// The task to call on; may be left out where the agent is on only one.
    #[arg(long, value_name = "TASK")]
    pub(crate) task: Option<TaskId>,
}

/// `tollgate agent`.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Add an agent and print its token, once.
    Add {
        /// 1 to 64 of `a`-`z`, `0`-`9`, `.`, `_` and `-`.
        name: AgentId,
        /// For how long the token is good, such as `30d` or `12h`; `never` for no end.
        // Three months: rare enough that rotating stays a habit and not a script that nobody reads,
        // and a token that leaked unseen does not outlive the season.
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = ttl)]
        ttl: Ttl,
    },
    /// List the agents.
    List,
    /// Give an agent a new token; its present one stays good for a while.
    Rotate {
        /// The agent.
        name: AgentId,
        /// For how long the new token is good; `never` for no end.
        #[arg(long, value_name = "TIME", default_value = "90d", value_parser = ttl)]
        ttl: Ttl,
        /// For how long the present token is good beside it; `0s` ends it at once.
        // Long enough to restart what uses it, short enough that nobody forgets to.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = overlap)]
        overlap: Duration,
    },
    /// Take an agent's token back; its calls under way are stopped.
    #[command(visible_alias = "revoke")]
    Remove {
        /// The agent.
        name: AgentId,
    },
}

/// `tollgate secret`.
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    /// Set a secret; its value comes from standard input or a prompt, never from an argument.
    Set {
        /// The plugin that may use it.
        plugin: PluginName,
        /// Its name, as the plugin asks for it.
        name: String,
    },
    /// List the secrets and where their values are; never the values.
    List,
    /// Remove a secret.
    Rm {
        /// The plugin.
        plugin: PluginName,
        /// Its name.
        name: String,
    },
}

#[cfg(test)]
mod tests;
