//! `tollgate task`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::clock::lifetime;
use crate::id::TaskId;
use crate::identity::{AgentId, PersonId};
use crate::name::{ParseNameError, ToolName};
use crate::task::{Kind, Pattern};

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
            .map_err(|error: ParseNameError| error.to_string())?,
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
                .map_err(|error: ParseNameError| error.to_string())?;
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
