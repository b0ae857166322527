//! What can be typed. Help texts, the parser and its errors are all made of these definitions.

mod token;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use serde_json::Value;

use super::exit::Exit;
use crate::clock::lifetime;
use crate::digest::Digest;
use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};
use crate::name::{PluginName, ToolName};
use crate::task::{Kind, Pattern};

mod people;

pub(crate) use people::{Approvals, Person};
pub(crate) use token::{Token, Ttl};
use token::{overlap, ttl};

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
    #[command(subcommand)]
    Audit(Audit),
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

/// `tollgate task`.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Start a task: what an agent may call for it, how much and until when. It narrows what policies
    /// allow.
    Start(TaskStart),
    /// Show a task: what it may, what it used, what it has seen.
    Show {
        /// The task.
        task: TaskId,
    },
    /// List the tasks that are not over.
    List {
        /// Of this agent.
        #[arg(long, value_name = "NAME")]
        agent: Option<AgentId>,
        /// Those that are over, too.
        #[arg(long)]
        all: bool,
    },
    /// End a task; its calls under way are stopped, and what was lent for it goes back.
    End {
        /// The task.
        task: TaskId,
        /// Why, for the record.
        #[arg(long, value_name = "TEXT")]
        why: Option<String>,
    },
}

/// `tollgate task start`.
#[derive(Debug, Args)]
pub(crate) struct TaskStart {
    /// The agent whose task it is.
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: AgentId,
    /// The person on whose behalf.
    #[arg(long, value_name = "PERSON")]
    pub(crate) user: Option<PersonId>,
    /// What it is for, in a sentence.
    #[arg(long, value_name = "TEXT")]
    pub(crate) intent: String,
    /// What may be called: `github.search`, or `github.*` for all tools of a plugin. Repeat for more.
    #[arg(long = "tool", value_name = "TOOL", required = true)]
    pub(crate) tools: Vec<Pattern>,
    /// What an argument of one of these tools must be: `github.comment:/repository=a/b`. The value is
    /// JSON, or text. Repeat for a second value that will do, or for a second argument.
    #[arg(long = "arg", value_name = "TOOL:/POINTER=VALUE", value_parser = bound_argument)]
    pub(crate) arguments: Vec<BoundArgument>,
    /// How much may be used: `calls=10`, `host_calls=100`, `fuel=1000000`, `bytes=1048576`; of one tool,
    /// `github.comment:calls=1`. Repeat for more.
    #[arg(long = "budget", value_name = "[TOOL:]KIND=NUMBER", value_parser = budget)]
    pub(crate) budgets: Vec<OneBudget>,
    /// For how long, such as `30m`, `8h` or `2d`.
    #[arg(long = "for", value_name = "TIME", value_parser = lifetime, default_value = "1h")]
    pub(crate) lifetime: Duration,
    /// The task that it is a part of: it is bound by both, and ends with it.
    #[arg(long, value_name = "TASK")]
    pub(crate) within: Option<TaskId>,
}

/// One `--arg`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BoundArgument {
    pub(crate) tool: Pattern,
    pub(crate) at: String,
    pub(crate) value: Value,
}

/// One `--budget`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneBudget {
    pub(crate) tool: Option<ToolName>,
    pub(crate) kind: Kind,
    pub(crate) bound: u64,
}

fn bound_argument(text: &str) -> Result<BoundArgument, String> {
    let wrong = || String::from("write `TOOL:/POINTER=VALUE`, such as `github.comment:/number=7`");
    let (tool, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (at, value) = rest.split_once('=').ok_or_else(wrong)?;
    Ok(BoundArgument {
        tool: tool
            .parse()
            .map_err(|error: crate::name::ParseNameError| error.to_string())?,
        at: at.to_owned(),
        value: serde_json::from_str(value).unwrap_or_else(|_| Value::from(value)),
    })
}

fn budget(text: &str) -> Result<OneBudget, String> {
    let wrong = || {
        String::from(
            "write `KIND=NUMBER` or `TOOL:KIND=NUMBER`, where KIND is `calls`, `host_calls`, `fuel` or `bytes`",
        )
    };
    let (what, bound) = text.rsplit_once('=').ok_or_else(wrong)?;
    let (tool, kind) = match what.split_once(':') {
        Some((tool, kind)) => {
            let tool = tool
                .parse()
                .map_err(|error: crate::name::ParseNameError| error.to_string())?;
            (Some(tool), kind)
        }
        None => (None, what),
    };
    let kind = Kind::ALL
        .into_iter()
        .find(|known| known.as_str() == kind)
        .ok_or_else(wrong)?;
    let bound = bound.replace('_', "").parse().map_err(|_| wrong())?;
    Ok(OneBudget { tool, kind, bound })
}

/// `tollgate revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// Lift a revocation: of all, where nothing is named.
    #[arg(long)]
    pub(crate) lift: bool,
    /// What to revoke: `agent NAME`, `task ID`, `plugin NAME`, `lease ID`, `approval ID`, `token ID`,
    /// or `all`, which stops everything until it is lifted.
    #[arg(value_name = "WHAT", required_unless_present = "lift")]
    pub(crate) kind: Option<RevokeKind>,
    /// Which one.
    #[arg(value_name = "WHICH")]
    pub(crate) subject: Option<String>,
}

/// What can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RevokeKind {
    /// All that an agent may.
    Agent,
    /// A task.
    Task,
    /// A plugin, until it is accepted again.
    Plugin,
    /// A lease.
    Lease,
    /// An approval.
    Approval,
    /// A token.
    Token,
    /// Everything, until that is lifted.
    All,
}

impl RevokeKind {
    /// Its word.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Task => "task",
            Self::Plugin => "plugin",
            Self::Lease => "lease",
            Self::Approval => "approval",
            Self::Token => "token",
            Self::All => "all",
        }
    }
}

/// `tollgate serve`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where the HTTP endpoint listens, in the place of the configured address.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "stdio")]
    pub(crate) listen: Option<SocketAddr>,
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

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_documentation_shows_can_be_typed() {
        for line in [
            "serve",
            "serve --quickstart",
            "serve --listen 127.0.0.1:0 --home /srv",
            "serve --stdio --agent claude",
            "call jq_run {} --agent claude",
            "call jq.run - --format json",
            "plugins",
            "plugins inspect fetch",
            "plugins key acme --out acme.key",
            "plugins sign fetch.wasm --key acme.key --version 7 --name fetch",
            "plugins diff",
            "plugins diff fetch --format json",
            "plugins accept fetch",
            "plugins accept fetch --yes --component sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "policy init fetch --write",
            "policy explain fetch_page {} --agent claude --host-call clock",
            "policy schema",
            "policy test",
            "check --format json -q",
            "check --zero-standing",
            "serve --stdio --agent claude --task task_aaaaaaaaaaaaaaaa",
            "call jq_run {} --task task_aaaaaaaaaaaaaaaa",
            "policy explain fetch_page {} --agent claude --task research --label private",
            "task start --agent claude --user ada --intent triage --tool github.* --tool jq.run --arg github.comment:/number=7 --budget calls=10 --budget github.comment:calls=1 --for 30m",
            "task show task_aaaaaaaaaaaaaaaa",
            "task list --agent claude --all",
            "task end task_aaaaaaaaaaaaaaaa --why done",
            "revoke agent claude",
            "revoke all",
            "revoke --lift",
            "revoke --lift agent spiffe://elsewhere/agent/a",
            "agent add claude --ttl 30d",
            "agent list",
            "agent remove claude",
            "approvals list --all",
            "approvals show approval_aaaaaaaaaaaaaaaa --format json",
            "approvals approve approval_aaaaaaaaaaaaaaaa --standing 2h --credential /run/me",
            "approvals deny approval_aaaaaaaaaaaaaaaa --why no",
            "approvals watch",
            "person add ada --admin --ttl 30d",
            "person add ada@example.org --credential /run/me",
            "person list",
            "person rotate ada",
            "person remove ada --credential /run/me",
            "secret set github token",
            "secret list",
            "secret rm github token",
            "audit tail -n 5 -f --agent claude --tool fetch --kind refusal",
            "audit show 0000cafe",
            "audit verify",
            "leases",
            "leases --pending",
            "reload -v",
            "status",
            "stop",
            "compile-component",
        ] {
            let words = std::iter::once("tollgate").chain(line.split(' '));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for line in [
            "serve --stdio",
            "serve --agent claude",
            "serve --stdio --agent claude --listen 127.0.0.1:0",
            "serve --stdio --agent claude --quickstart",
            "secret set github token value",
            "plugins accept fetch --component ba7816bf",
            "call",
            "agent add Claude",
            "person add spiffe://x/agent/a",
            "approvals approve all",
            "approvals approve",
            "check -q -v",
            "help",
        ] {
            let words = std::iter::once("tollgate").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        assert_eq!(lifetime("30d"), Ok(Duration::from_secs(2_592_000)));
        assert_eq!(lifetime("90s"), Ok(Duration::from_secs(90)));
        for text in [
            "",
            "d",
            "30",
            "-1d",
            "1.5h",
            "0d",
            "99999999999999999999d",
            "1y",
            "1 d",
            "1é",
        ] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_help_of_the_main_command() {
        let help = Cli::command().render_help().to_string();
        insta::assert_snapshot!(help, @r#"
        Serves sandboxed, policy-governed tools to agents over MCP

        Usage: tollgate [OPTIONS] <COMMAND>

        Commands:
          serve      Serve the plugins to agents, over HTTP and to local clients
          call       Call a tool from here: the same policy, limits and journal as an agent's call
          plugins    List the plugins and where each stands
          policy     Write, explain and test policies
          check      Check configuration, policies, entities, plugins, cases and secrets; needs no daemon
          agent      Add, list and remove agents; rotate their tokens
          token      Make tokens for one step and hand-offs, and narrow them
          task       Start, show, list and end tasks of agents
          revoke     Take power back at once: calls under way are stopped
          approvals  See what waits for a person, and answer it
          person     Add, list, renew and remove the people who approve and administer
          secret     Set, list and remove secrets
          leases     List what is lent to calls and tasks, and what waits to be taken back
          audit      Read and verify the journal
          reload     Make the daemon take in what changed on disk, and say what it found
          status     Say what the daemon is doing
          stop       End the daemon; calls under way are finished first

        Options:
          -h, --help     Print help (see more with '--help')
          -V, --version  Print version

        Global options:
              --home <DIR>       The folder with `tollgate.toml`, `plugins/`, `policies/` and `state/`
                                 [default: the current one] [env: TOLLGATE_HOME]
              --format <FORMAT>  How data is printed: for people, or as JSON lines that carry `"v":1`
                                 [default: human] [possible values: human, json]
              --color <WHEN>     When output is coloured; `NO_COLOR` is honoured [default: auto] [possible
                                 values: auto, always, never]
          -q, --quiet            Print data and errors only
          -v, --verbose...       Log more; twice for even more

        Exit codes:
          0  done, or the tool's own success
          1  the tool failed, ran into a limit, or the command could not do its work
          2  refused, by policy or by the host, or held for a person
          3  invalid: usage, arguments of a tool, configuration, policies, cases
          4  the daemon is not there, can't be started or does not answer
          5  something is there already: another daemon, an agent of that name, a file
          6  the journal is not what was written
        "#);
    }
}
