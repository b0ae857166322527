//! What changed of a plugin, what policy would now let it reach, and its acceptance.
//!
//! Reach is what could be allowed, as what an agent is shown is (`policy/may.rs`): yes too often, never
//! no too often. So whoever reviews a change sees everything that it could be allowed, for each agent
//! and tool, before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Host;
use super::refresh::{facts, load_policies};
use crate::digest::Digest;
use crate::grant::Grants;
use crate::identity::AgentId;
use crate::name::{PluginName, ToolName};
use crate::plugin::{Catalogue, Description, Diff, Requirement, Shown, Status, Waiting};
use crate::policy::{PolicySet, Severity};
use crate::reason::Reason;
use crate::revocation::{Scope, give_back};
use crate::state::Pin;

/// What changed of a plugin, and what follows from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginDiff {
    /// Why it waits; nothing where it serves.
    pub reason: Option<Reason>,
    /// The same in words.
    pub message: Option<String>,
    /// The digest of `diff`, as the records have it.
    pub digest: Digest,
    /// What changed.
    pub diff: Diff,
    /// What policy would let it reach once it is accepted, and does now, where the two differ or the
    /// plugin waits.
    pub reach: Vec<Reach>,
    /// What is wrong with the policies once it is accepted.
    pub policy: Vec<String>,
}

/// What calls of a tool by an agent could be allowed to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The agent.
    pub agent: AgentId,
    /// The tool.
    pub tool: ToolName,
    /// What it may reach as it was accepted; nothing where it could not be called.
    pub before: Option<BTreeSet<String>>,
    /// What it may reach once this is accepted; nothing where it could not be called.
    pub after: Option<BTreeSet<String>>,
}

impl Host {
    /// What changed of `plugin` since it was accepted, and what policy would now let it reach.
    ///
    /// # Errors
    ///
    /// There is none, or it can't serve: what and why.
    pub fn plugin_diff(&self, plugin: &PluginName) -> Result<PluginDiff, String> {
        let config = self.config();
        let waiting = self.registry().waiting(&config, plugin)?;
        let diff = waiting.diff();
        let catalogue = self.catalogue();
        let mut serving = catalogue.serving.clone();
        serving.insert(plugin.clone(), Arc::clone(&waiting.plugin));
        let current = self.policy();
        let folder = self.home().policies();
        let after = load_policies(&folder, &Catalogue::of(serving), &config, Some(&current));
        let own = format!("{plugin}.cedar");
        let policy = after
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::Error || finding.file == own)
            .map(ToString::to_string)
            .collect();
        let serves = catalogue.serving.get(plugin).map(|plugin| plugin.digest);
        let before = Before::of(self, &waiting, serves, &current);
        let reach = self.reach(&waiting, before.as_ref(), &after.set);
        Ok(PluginDiff {
            reason: waiting.why.as_ref().map(|why| why.reason),
            message: waiting.why.as_ref().map(|why| why.message.to_string()),
            digest: diff.digest(),
            diff,
            reach,
            policy,
        })
    }

    /// The same of every plugin that waits.
    #[must_use]
    pub fn plugin_diffs(&self) -> Vec<PluginDiff> {
        self.catalogue()
            .entries
            .iter()
            .filter(|(_, entry)| matches!(entry.status, Status::Quarantined(_)))
            .filter_map(|(file, _)| file.strip_suffix(".wasm")?.parse().ok())
            .filter_map(|name| self.plugin_diff(&name).ok())
            .collect()
    }

    /// Accepts a plugin that waits, as it was shown, and puts it in force with its policies; gives the
    /// digests of the component and of what changed.
    ///
    /// # Errors
    ///
    /// There is none, it can't serve, or it is not what was shown: what and why.
    pub async fn accept(
        &self,
        plugin: &PluginName,
        diff: Option<Digest>,
        component: Option<Digest>,
    ) -> Result<(Digest, Digest), String> {
        let shown = Shown { diff, component };
        let accepted = self
            .registry()
            .accept(&self.config(), plugin, shown)
            .await?;
        // It was looked at, so a revocation of before is over.
        let scope = Scope::Plugin(plugin.clone());
        if self.state().is_revoked(&scope) {
            give_back(self, &scope, "its acceptance")
                .await
                .map_err(|error| error.to_string())?;
        }
        self.refresh().await;
        Ok(accepted)
    }

    fn reach(&self, waiting: &Waiting, before: Option<&Before>, after: &PolicySet) -> Vec<Reach> {
        let found = &waiting.plugin;
        let old = before.into_iter().flat_map(|b| &b.description.tools);
        let tools: BTreeSet<&ToolName> = found
            .description
            .tools
            .iter()
            .chain(old)
            .map(|tool| &tool.name)
            .collect();
        let origins = found.ceiling.origins();
        let mut all = Vec::new();
        let agents = self.identities().list();
        for agent in agents.iter().filter(|agent| agent.revoked.is_none()) {
            for tool in &tools {
                let before = before
                    .and_then(|b| reached(&b.policy, &agent.id, tool, &b.description, &b.origins));
                let after = reached(after, &agent.id, tool, &found.description, &origins);
                let matters = waiting.why.is_some() || before != after;
                if matters && (before.is_some() || after.is_some()) {
                    all.push(Reach {
                        agent: agent.id.clone(),
                        tool: (*tool).clone(),
                        before,
                        after,
                    });
                }
            }
        }
        all
    }
}

/// What was accepted, with the policies that speak of it.
struct Before {
    description: Description,
    origins: BTreeMap<String, String>,
    policy: Arc<PolicySet>,
}

impl Before {
    /// Nothing where nothing was accepted, or where it is of a host whose words are others.
    fn of(
        host: &Host,
        waiting: &Waiting,
        serves: Option<Digest>,
        current: &Arc<PolicySet>,
    ) -> Option<Self> {
        let pin: &Pin = waiting.accepted.as_ref()?;
        let description: Description = serde_json::from_str(&pin.description).ok()?;
        let settings = match &pin.facts {
            Some(facts) => facts.settings.clone(),
            None => BTreeMap::new(),
        };
        let origins = Grants::ceiling(&description, &settings).ok()?.origins();
        // After a restart what was accepted is not in memory, and the policies in force do not know it.
        let policy = if serves == Some(pin.component) {
            Arc::clone(current)
        } else {
            let facts = facts(&host.config(), &description, pin.component, origins.clone());
            Arc::new(PolicySet::load(&host.home().policies(), &[facts], None).set)
        };
        Some(Self {
            description,
            origins,
            policy,
        })
    }
}

/// What a call of `tool` by `agent` could be allowed to reach; nothing where the call could not be.
fn reached(
    policy: &PolicySet,
    agent: &AgentId,
    tool: &ToolName,
    description: &Description,
    origins: &BTreeMap<String, String>,
) -> Option<BTreeSet<String>> {
    let uses = &description.tool(tool)?.uses;
    policy.may_call(agent, None, tool).then(|| {
        uses.iter()
            .filter(|name| policy.may_use(agent, None, tool, name))
            .filter_map(|name| description.requirement(name))
            .map(|requirement| words(requirement, origins))
            .collect()
    })
}

/// A requirement with its scope, on one line.
fn words(requirement: &Requirement, origins: &BTreeMap<String, String>) -> String {
    let name = requirement.name();
    let origin = || {
        origins
            .get(name)
            .map_or("any public origin", String::as_str)
    };
    match requirement {
        Requirement::Http(http) => format!(
            "http {name}: {} {} {}",
            http.methods.join(","),
            origin(),
            http.paths.join(" ")
        ),
        Requirement::Secret(secret) if secret.reveal => {
            format!("secret {name}: to {}, may be read", origin())
        }
        Requirement::Secret(_) => format!("secret {name}: to {}", origin()),
        Requirement::Setting(_) => format!("setting {name}"),
        Requirement::Clock { .. } | Requirement::Random { .. } => name.to_owned(),
    }
}
