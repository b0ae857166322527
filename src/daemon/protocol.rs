//! What is said over the socket: a line of hello each way, then MCP or commands.
//!
//! Both ends are this program, though perhaps of two versions, so the hello says which. Lines are
//! bounded and read whole; what can't be read is an error that says so.

use std::fmt;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};
use zeroize::Zeroizing;

use crate::control::Which;
use crate::digest::Digest;
use crate::id::TaskId;
use crate::identity::PersonId;
use crate::task::{Allowed, Budgets};

/// The version of this protocol.
pub(super) const VERSION: u32 = 1;

/// Bytes of a hello.
pub(super) const MAX_HELLO: usize = 4 << 10;

/// Bytes of a command or its answer: the largest arguments and results, as JSON strings, fit.
pub(super) const MAX_LINE: usize = 16 << 20;

/// The first line from the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) tollgate: u32,
    #[serde(flatten)]
    pub(super) mode: Mode,
}

/// What the rest of the connection is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub(super) enum Mode {
    /// MCP, by this agent.
    Mcp {
        agent: String,
        /// The task that the session is bound to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
    },
    /// Commands.
    Control,
}

/// The daemon's answer to a hello.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ControlError>,
}

/// A secret's value, or a credential, on its way to the daemon. It is written to the socket and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Serialize for SecretText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// What a step token or a hand-off is to be for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MintCommand {
    /// The agent whose right it carries.
    pub agent: String,
    /// The only tool.
    pub tool: Option<String>,
    /// The text of the only arguments.
    pub arguments: Option<String>,
    /// JSON pointers, and the JSON that must be there.
    pub values: Vec<(String, String)>,
    /// The task.
    pub task: Option<String>,
    /// The agent to hand on to.
    pub to: Option<String>,
    /// For how many seconds.
    pub ttl: Option<u64>,
}

/// A task to start, as it is ordered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskOrder {
    /// Whose.
    pub agent: String,
    /// On whose behalf.
    pub user: Option<PersonId>,
    /// What it is for.
    pub intent: String,
    /// What may be called.
    pub tools: Vec<Allowed>,
    /// How much.
    pub budgets: Budgets,
    /// For how many seconds.
    pub seconds: u64,
    /// The task that it is a part of.
    pub within: Option<TaskId>,
}

/// What people ask of the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", content = "params", rename_all = "kebab-case")]
pub enum Command {
    /// How it is.
    Status {},
    /// A call, through the same pipeline as an agent's.
    Call {
        /// The tool.
        tool: String,
        /// The text of the arguments, as it was typed.
        arguments: String,
        /// The agent to call as.
        agent: String,
        /// The task to call on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<TaskId>,
    },
    /// Starts a task.
    TaskStart {
        /// What it is.
        task: Box<TaskOrder>,
    },
    /// A task, as it is now.
    TaskShow {
        /// Which.
        task: TaskId,
    },
    /// The tasks that there are.
    TaskList {
        /// Of this agent.
        agent: Option<String>,
        /// Those that are over, too.
        all: bool,
    },
    /// Ends a task and its calls.
    TaskEnd {
        /// Which.
        task: TaskId,
        /// Why, for the record.
        why: Option<String>,
    },
    /// Takes power back.
    Revoke {
        /// `agent`, `task`, `lease`, `plugin`, `approval`, `token` or `all`.
        kind: String,
        /// Which one; empty for all.
        subject: String,
    },
    /// Lifts a revocation.
    Lift {
        /// As for `Revoke`.
        kind: String,
        /// As for `Revoke`.
        subject: String,
    },
    /// What plugins there are and how each is.
    Plugins {},
    /// What changed of a plugin, or of each that waits, since it was accepted.
    PluginDiff {
        /// The plugin.
        #[serde(default)]
        plugin: Option<String>,
    },
    /// Accepts a changed plugin as it was shown.
    Accept {
        /// The plugin.
        plugin: String,
        /// Digest of the changes that were shown; nothing else is accepted.
        #[serde(default)]
        diff: Option<Digest>,
        /// Digest of the component; to go back to an older one, it has to be named.
        #[serde(default)]
        component: Option<Digest>,
    },
    /// Sends the newest checkpoint of the journal to every anchor.
    Anchor {},
    /// Reads policies, settings and plugins again.
    Reload {},
    /// Makes an agent and issues its token.
    AgentAdd {
        /// Its name.
        name: String,
        /// Seconds until the token expires; never where absent.
        ttl: Option<u64>,
    },
    /// Gives an agent a new token.
    AgentRotate {
        /// Its name.
        name: String,
        /// Seconds until the new token expires; never where absent.
        ttl: Option<u64>,
        /// Seconds for which the present one is good beside it.
        overlap: u64,
    },
    /// Makes a step token or a hand-off.
    TokenMint(MintCommand),
    /// Makes a new key for step tokens.
    TokenRotateKey {
        /// Whether the tokens that there are end with the old one.
        at_once: bool,
    },
    /// The agents there are.
    AgentList {},
    /// Removes an agent; its token is void.
    AgentRemove {
        /// Its name.
        name: String,
    },
    /// The approvals there are.
    ApprovalList {
        /// A person's credential.
        credential: SecretText,
        /// Which.
        which: Which,
    },
    /// One approval.
    ApprovalShow {
        /// A person's credential.
        credential: SecretText,
        /// Which.
        id: String,
    },
    /// Agrees to what is held.
    ApprovalApprove {
        /// The credential of the person who agrees.
        credential: SecretText,
        /// To which.
        id: String,
        /// Seconds for which identical calls are let go as well; only where the person asks for it.
        standing: Option<u64>,
    },
    /// Says no to what is held.
    ApprovalDeny {
        /// The credential of the person who says no.
        credential: SecretText,
        /// To which.
        id: String,
        /// Why; the agent reads it.
        why: Option<String>,
    },
    /// Reports approvals as they happen, until the connection ends.
    ApprovalWatch {
        /// A person's credential.
        credential: SecretText,
    },
    /// Makes a person known and issues a credential.
    PersonAdd {
        /// The name.
        name: String,
        /// Whether the person may administer the host.
        admin: bool,
        /// Seconds until the credential expires.
        ttl: Option<u64>,
        /// The credential of whoever asks. The first administrator is added without one.
        credential: Option<SecretText>,
    },
    /// The people there are.
    PersonList {},
    /// Issues a new credential in the place of a person's old one.
    PersonRotate {
        /// The name.
        name: String,
        /// Seconds until the new one expires.
        ttl: Option<u64>,
        /// The credential of whoever asks: the person, or an administrator.
        credential: Option<SecretText>,
    },
    /// Removes a person; the credential is void.
    PersonRemove {
        /// The name.
        name: String,
        /// The credential of whoever asks.
        credential: Option<SecretText>,
    },
    /// Stores a secret.
    SecretSet {
        /// For which plugin.
        plugin: String,
        /// Its name.
        name: String,
        /// Its value.
        value: SecretText,
    },
    /// The names of the secrets there are.
    SecretList {},
    /// Removes a secret.
    SecretRemove {
        /// For which plugin.
        plugin: String,
        /// Its name.
        name: String,
    },
    /// What is lent, and what waits to be taken back.
    Leases {
        /// Only the latter.
        pending: bool,
    },
    /// Ends the daemon in order.
    Stop {},
}

/// A command with the number by which it is answered.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) id: u64,
    #[serde(flatten)]
    pub(super) command: Command,
}

/// A line from the daemon: progress, or the one result or error.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    /// Absent where the request could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u64>,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    Progress(Value),
    Result(Value),
    Error(ControlError),
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ControlError {
    /// A stable, dotted code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ControlError {
    /// An error without a hint.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// One value as a line.
pub(super) fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

/// Reads one line of at most `most` bytes into `line`; `false` at the end of input. What was read
/// stays in `line` when this is dropped half-way, and the next call goes on from there.
pub(super) async fn read_line<R: AsyncBufRead + Unpin>(
    read: &mut R,
    line: &mut Vec<u8>,
    most: usize,
) -> io::Result<bool> {
    loop {
        let available = read.fill_buf().await?;
        if available.is_empty() {
            return if line.is_empty() {
                Ok(false)
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            };
        }
        let ends = available.iter().position(|byte| *byte == b'\n');
        let part = available
            .get(..ends.unwrap_or(available.len()))
            .unwrap_or_default();
        if line.len() + part.len() > most {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a line of more than {most} bytes"),
            ));
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(ends.is_some());
        read.consume(used);
        if ends.is_some() {
            return Ok(true);
        }
    }
}
