//! What the operator is told: the one form of each answer, for the daemon that writes it and the
//! command that reads it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{blocking, failed, plugin_of, stands};
use crate::call::Reply;
use crate::clock::rfc3339;
use crate::config::SecretPlace;
use crate::daemon::ControlError;
use crate::digest::Digest;
use crate::host::{Host, PluginDiff};
use crate::plugin::Requirement;
use crate::policy::PolicyRef;
use crate::reason::Reason;

/// How a host is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Its home.
    pub home: PathBuf,
    /// Its HTTP endpoint, where it has one.
    pub endpoint: Option<String>,
    /// Since when it serves, RFC 3339.
    pub started: String,
    /// Files in `plugins/`.
    pub plugins: usize,
    /// Of these, plugins that serve.
    pub serving: usize,
    /// Agents that were not removed.
    pub agents: usize,
    /// Holds that wait for a person's answer.
    #[serde(default)]
    pub waiting: usize,
    /// Where people answer them in a browser, where there is a listener for that.
    #[serde(default)]
    pub admin: Option<String>,
    /// Digest of the policies in force.
    pub policy_set: Digest,
    /// Calls under way.
    #[serde(default)]
    pub calls: usize,
    /// Tasks that are not over.
    #[serde(default)]
    pub tasks: usize,
    /// Whether everything is stopped, until that is lifted.
    #[serde(default)]
    pub stopped: bool,
    /// Whether it is ending.
    pub draining: bool,
}

/// An agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentReport {
    /// Its name.
    pub name: String,
    /// Its identity.
    pub agent: String,
    /// `active`, `expired` or `removed`.
    pub status: String,
    /// When its token was made, RFC 3339.
    pub created: String,
    /// From when on the token is worth nothing.
    pub expires: Option<String>,
    /// When it was removed.
    pub removed: Option<String>,
    /// The id of its token, by which that can be revoked.
    pub token: String,
}

pub(super) fn agents(host: &Host) -> Vec<AgentReport> {
    let now = host.now();
    host.identities()
        .list()
        .into_iter()
        .map(|agent| {
            let status = if agent.revoked.is_some() {
                "removed"
            } else if agent.expires.is_some_and(|end| end <= now) {
                "expired"
            } else {
                "active"
            };
            AgentReport {
                name: agent.id.name().to_owned(),
                agent: agent.id.to_string(),
                status: status.to_owned(),
                created: rfc3339(agent.created),
                expires: agent.expires.map(rfc3339),
                removed: agent.revoked.map(rfc3339),
                token: crate::identity::token_id(&agent.token),
            }
        })
        .collect()
}

/// What changed of a plugin; of every one that waits, where none is named.
pub(super) fn diffs(host: &Host, plugin: Option<&str>) -> Result<Vec<PluginDiff>, ControlError> {
    match plugin {
        None => Ok(host.plugin_diffs()),
        Some(name) => host
            .plugin_diff(&plugin_of(name)?)
            .map(|diff| vec![diff])
            .map_err(stands),
    }
}

/// A secret: never its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretReport {
    /// The plugin that may use it.
    pub plugin: String,
    /// Its name.
    pub name: String,
    /// `store`, `env:<variable>`, `file:<path>`, `vault:<path>#<field>`, ...
    pub place: String,
    /// `set`, or `missing` where the plugin asks for it and the store has no value.
    pub status: String,
}

/// The secrets that have a place, and those that plugins ask for.
pub(super) async fn secrets(host: &Host) -> Result<Vec<SecretReport>, ControlError> {
    let store = host.secrets().store().clone();
    let stored = blocking(move || store.list())
        .await?
        .map_err(|error| failed("secret", &error))?;
    let config = host.config();
    let catalogue = host.catalogue();
    let asked = catalogue.serving.values().flat_map(|plugin| {
        plugin
            .description
            .requirements
            .iter()
            .filter_map(|requirement| match requirement {
                Requirement::Secret(secret) => Some((plugin.name.clone(), secret.name.clone())),
                _ => None,
            })
    });
    let placed = config
        .secret_places()
        .map(|(plugin, name, _)| (plugin.clone(), name.to_owned()));
    let mut all: Vec<_> = stored.iter().cloned().chain(placed).chain(asked).collect();
    all.sort();
    all.dedup();
    Ok(all
        .into_iter()
        .map(|key| {
            let is_stored = stored.contains(&key);
            let (plugin, name) = key;
            let place = config.secret_place(&plugin, &name);
            let is_set = match &place {
                place if place.is_in_store() => is_stored,
                // Whether the place has it shows when it is lent, or by `tollgate check`.
                SecretPlace::Variable(variable) => std::env::var_os(variable).is_some(),
                SecretPlace::File(path) => path.is_file(),
                _ => true,
            };
            let place = place.to_string();
            SecretReport {
                plugin: plugin.to_string(),
                name,
                place,
                status: String::from(if is_set { "set" } else { "missing" }),
            }
        })
        .collect())
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallReport {
    /// The call, for `tollgate audit show`.
    pub call: String,
    /// The result, as MCP writes it.
    pub result: Value,
    /// Why the host did not run it, or ended it.
    pub refusal: Option<RefusalReport>,
}

/// Why the host did not run a call, for the operator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RefusalReport {
    /// The reason.
    pub reason: Reason,
    /// What happened.
    pub message: String,
    /// What only the operator reads.
    pub detail: Option<String>,
    /// The policies that determined it; empty where none applied.
    pub policies: Vec<PolicyRef>,
}

impl CallReport {
    pub(super) fn of(reply: &Reply) -> Self {
        Self {
            call: reply.call.to_string(),
            result: serde_json::from_str(&reply.completion.canonical()).unwrap_or_default(),
            refusal: reply.refusal.as_ref().map(|refusal| RefusalReport {
                reason: refusal.reason,
                message: refusal.message.to_string(),
                detail: refusal.detail.clone(),
                policies: refusal
                    .ground
                    .as_ref()
                    .map(|ground| ground.policies.clone())
                    .unwrap_or_default(),
            }),
        }
    }
}
