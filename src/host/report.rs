//! What the host says of its plugins, for people and programs.

use serde::{Deserialize, Serialize};

use super::Host;
use crate::digest::Digest;
use crate::plugin::Status;
use crate::reason::Reason;
use crate::revocation::Scope;

/// Where a plugin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginStatus {
    /// It is being compiled and described.
    Loading,
    /// Its calls run.
    Serving,
    /// It changed, or could be taken for another, and waits to be accepted.
    Quarantined,
    /// It can't serve.
    Refused,
    /// The operator took its power back.
    Revoked,
}

impl PluginStatus {
    /// Its name, as everywhere.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Serving => "serving",
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Revoked => "revoked",
        }
    }
}

/// A file in `plugins/`, and what became of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PluginReport {
    /// The file's name.
    pub file: String,
    /// Where it stands.
    pub status: PluginStatus,
    /// Digest of the file.
    pub digest: Option<Digest>,
    /// What the plugin says of its version.
    pub version: Option<String>,
    /// What it says it is for.
    pub summary: Option<String>,
    /// Its tools, by the names that agents see.
    pub tools: Vec<String>,
    /// Why it does not serve.
    pub reason: Option<Reason>,
    /// The same in words, and what to do.
    pub message: Option<String>,
    /// What was found beyond that.
    pub detail: Option<String>,
    /// Whether there is a policy for it; without one no agent may call its tools.
    pub has_policy: bool,
}

impl Host {
    /// Every file in `plugins/`, in the order of names.
    #[must_use]
    pub fn plugins(&self) -> Vec<PluginReport> {
        let policies = self.home().policies();
        self.catalogue()
            .entries
            .iter()
            .map(|(file, entry)| {
                let stem = file.strip_suffix(".wasm").unwrap_or(file);
                let revoked = stem
                    .parse()
                    .map(Scope::Plugin)
                    .ok()
                    .filter(|scope| self.state().is_revoked(scope))
                    .map(|scope| scope.refusal());
                let (status, refusal) = match &entry.status {
                    _ if revoked.is_some() => (PluginStatus::Revoked, revoked.as_ref()),
                    Status::Loading => (PluginStatus::Loading, None),
                    Status::Serving => (PluginStatus::Serving, None),
                    Status::Quarantined(refusal) => (PluginStatus::Quarantined, Some(refusal)),
                    Status::Refused(refusal) => (PluginStatus::Refused, Some(refusal)),
                };
                let plugin = entry.plugin.as_ref();
                let description = plugin.map(|plugin| &plugin.description);
                PluginReport {
                    file: file.clone(),
                    status,
                    digest: entry.digest,
                    version: description.map(|d| d.version.clone()),
                    summary: description.map(|d| d.summary.clone()),
                    tools: plugin
                        .into_iter()
                        .flat_map(|plugin| plugin.listed())
                        .map(|(_, listed)| listed.name.clone())
                        .collect(),
                    reason: refusal.map(|refusal| refusal.reason),
                    message: refusal.map(|refusal| refusal.message.to_string()),
                    detail: refusal.and_then(|refusal| refusal.detail.clone()),
                    has_policy: policies.join(format!("{stem}.cedar")).is_file(),
                }
            })
            .collect()
    }
}
