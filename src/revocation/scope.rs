//! What power is taken back: of whom, or of what.

use std::fmt;

use crate::id::{ApprovalId, LeaseId, TaskId};
use crate::identity::AgentId;
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};

/// What power is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// All that an agent may, and what it handed on to others.
    Agent(AgentId),
    /// A task, and the tasks within it.
    Task(TaskId),
    /// A plugin, until it is accepted again.
    Plugin(PluginName),
    /// One lease.
    Lease(LeaseId),
    /// One approval.
    Approval(ApprovalId),
    /// One token, by its identifier.
    Token(String),
    /// Everything, until that is lifted.
    All,
}

impl Scope {
    /// Every kind, as the command line and records name it.
    pub const KINDS: [&'static str; 7] = [
        "agent", "task", "plugin", "lease", "approval", "token", "all",
    ];

    /// What kind of thing it is: the word of the command line and of records.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Agent(_) => "agent",
            Self::Task(_) => "task",
            Self::Plugin(_) => "plugin",
            Self::Lease(_) => "lease",
            Self::Approval(_) => "approval",
            Self::Token(_) => "token",
            Self::All => "all",
        }
    }

    /// Which one; empty for all.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Self::Agent(agent) => agent.to_string(),
            Self::Task(task) => task.to_string(),
            Self::Plugin(plugin) => plugin.to_string(),
            Self::Lease(lease) => lease.to_string(),
            Self::Approval(approval) => approval.to_string(),
            Self::Token(token) => token.clone(),
            Self::All => String::new(),
        }
    }

    /// Reads what `kind` and `subject` say.
    ///
    /// # Errors
    ///
    /// There is no such kind, or the subject can't be one of it.
    pub fn parse(kind: &str, subject: &str) -> Result<Self, String> {
        fn of<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
            text.parse().map_err(|error: T::Err| error.to_string())
        }
        Ok(match kind {
            "agent" => Self::Agent(of(subject)?),
            "task" => Self::Task(of(subject)?),
            "plugin" => Self::Plugin(of(subject)?),
            "lease" => Self::Lease(of(subject)?),
            "approval" => Self::Approval(of(subject)?),
            "token" if subject.is_empty() || subject.len() > 256 => {
                return Err("a token's identifier has 1 to 256 bytes".to_owned());
            }
            "token" => Self::Token(subject.to_owned()),
            "all" if subject.is_empty() => Self::All,
            _ => {
                return Err(format!(
                    "`{}` can't be revoked: expected one of `{}`",
                    kind.escape_default(),
                    Self::KINDS.join("`, `")
                ));
            }
        })
    }

    /// Whether that it is revoked stands by itself, until it is lifted. A task that is revoked is over,
    /// and of leases, approvals and tokens whoever keeps them knows.
    pub(crate) const fn stands(&self) -> bool {
        matches!(self, Self::Agent(_) | Self::Plugin(_) | Self::All)
    }

    /// Why what rests on it is refused from now on.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (reason, message) = match self {
            Self::Agent(_) => (Reason::RevokedAgent, "the agent was revoked"),
            Self::Task(_) => (Reason::RevokedTask, "the task was revoked"),
            Self::Plugin(_) => (
                Reason::RevokedPlugin,
                "the plugin was revoked, and serves again once it is accepted",
            ),
            Self::Lease(_) => (Reason::RevokedLease, "the lease was revoked"),
            Self::Approval(_) => (Reason::RevokedApproval, "the approval was revoked"),
            Self::Token(_) => (Reason::TokenRevoked, "the token was revoked"),
            Self::All => (
                Reason::RevokedAll,
                "everything was stopped by the operator; nothing runs until that is lifted",
            ),
        };
        Refusal::new(reason, message)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            scope => write!(f, "{} `{}`", scope.kind(), scope.subject()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_reads_back_as_itself() {
        let all = [
            ("agent", "spiffe://tollgate.local/agent/a"),
            ("task", "task_aaaaaaaaaaaaaaaa"),
            ("plugin", "fetch"),
            ("lease", "lease_aaaaaaaaaaaaaaaa"),
            ("approval", "approval_aaaaaaaaaaaaaaaa"),
            ("token", "jti"),
            ("all", ""),
        ];
        assert!(all.iter().map(|(kind, _)| *kind).eq(Scope::KINDS));
        for (kind, subject) in all {
            let scope = Scope::parse(kind, subject).unwrap();
            assert_eq!((scope.kind(), scope.subject().as_str()), (kind, subject));
            let reason = scope.refusal().reason.code();
            assert!(
                reason == format!("revoked.{kind}") || reason == "token.revoked",
                "{reason}"
            );
        }
        for (kind, subject) in [
            ("agent", "A b"),
            ("task", "lease_aaaaaaaaaaaaaaaa"),
            ("token", ""),
            ("all", "x"),
            ("everything", ""),
        ] {
            assert!(Scope::parse(kind, subject).is_err(), "{kind} {subject}");
        }
    }
}
