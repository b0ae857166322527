//! What the operator is told of a lease.

use serde::{Deserialize, Serialize};

use super::{Holder, Lease};
use crate::clock::rfc3339;
use crate::id::{LeaseId, TaskId};

/// A lease, as its operator sees it. Never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Which.
    pub lease: LeaseId,
    /// `wanted`, `live`, `pending`.
    pub stage: String,
    /// The plugin.
    pub plugin: String,
    /// The secret; for what others hang on, `(bond)`.
    pub secret: String,
    /// The kind of its source.
    pub source: String,
    /// The agent it was lent for.
    pub agent: String,
    /// The call it was made for.
    pub call: String,
    /// The task that holds it, where not its call does.
    pub task: Option<TaskId>,
    /// Whether it can be taken back.
    pub revocable: bool,
    /// When it ends by itself, RFC 3339.
    pub expires: Option<String>,
    /// How often it went into a request.
    pub uses: u32,
    /// How often taking it back failed.
    pub attempts: u32,
    /// Why, the last time.
    pub fault: Option<String>,
}

impl LeaseReport {
    pub(super) fn of(lease: &Lease) -> Self {
        Self {
            lease: lease.id,
            stage: lease.stage.name().to_owned(),
            plugin: lease.plugin.to_string(),
            secret: lease.secret.clone(),
            source: lease.source.clone(),
            agent: lease.agent.to_string(),
            call: lease.call.to_string(),
            task: match lease.holder {
                Holder::Task(task) => Some(task),
                Holder::Call(_) => None,
            },
            revocable: lease.revocable,
            expires: lease.expires.map(rfc3339),
            uses: lease.uses,
            attempts: lease.attempts(),
            fault: lease.fault.clone(),
        }
    }
}
