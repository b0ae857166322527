//! `tollgate.toml`: what the operator sets.
//!
//! Everything has a default, so an empty file, or none, is a working configuration. Nothing is
//! ignored: an unknown key, a value out of bounds or a name that can't be is an error at its line,
//! because a setting that silently does nothing is worse than one that is missing. What only the
//! plugins can tell (a setting for a tool that is not there) is a finding, for `tollgate check`.

mod anchor;
mod error;
mod file;
mod findings;
pub(crate) mod issuer;
mod limits;
mod outside;
mod own;
mod places;
mod quantity;
mod secret;
mod server;
mod telemetry;
mod tier;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use crate::approval::Settings as Approvals;
use crate::digest::Digest;
use crate::home::Home;
use crate::job::Settings as Jobs;
use crate::limits::{CallLimits, Concurrency, DescribeLimits, Rate};
use crate::name::{PluginName, Prefix, ToolName};
use crate::plugin::Trust;
use crate::tape::Settings as Tapes;

pub use anchor::{Anchor, AnchorTo};
pub use error::ConfigError;
pub use findings::Finding;
pub use issuer::{AgentClaim, Issuer, KeySource};
pub use outside::{Admin, Webhook};
pub use own::{Egress, Format, Journal, Level, Log, Proxy, Sync, Tasks};
pub use places::{
    GitHubAppSecret, JwtSecret, LeaseTerms, Leases, OAuthSecret, SecretPlace, Vault, VaultLogin,
    VaultSecret,
};
pub use server::{Listen, ParseListenError, Server, Tls};
pub use telemetry::{Otlp, Sample, Telemetry};
pub use tier::Tier;

/// A commented file of the defaults, to start from.
pub const TEMPLATE: &str = include_str!("template.toml");

/// What the operator set, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The HTTP endpoint for agents.
    pub server: Server,
    /// The listener for people, where there is one.
    pub admin: Option<Admin>,
    /// Who is told of each new hold.
    pub webhooks: Vec<Webhook>,
    /// Requests that plugins make.
    pub egress: Egress,
    /// The journal.
    pub journal: Journal,
    /// Where its checkpoints go.
    pub anchors: Vec<Anchor>,
    /// The log.
    pub log: Log,
    /// What waits for a person.
    pub approvals: Approvals,
    /// Tasks of agents.
    pub tasks: Tasks,
    /// How tapes are bounded.
    pub tapes: Tapes,
    /// Whether any call is taped.
    tapes_any: bool,
    /// Calls at once.
    pub concurrency: Concurrency,
    /// How often one agent may ask.
    pub rate: Rate,
    /// Calls that run as jobs.
    pub jobs: Jobs,
    /// Whose signatures of components count.
    pub trust: Trust,
    /// The server of secrets, where there is one.
    pub vault: Option<Vault>,
    /// What is lent.
    pub leases: Leases,
    /// Issuers whose tokens are taken beside the host's own.
    pub issuers: Vec<Issuer>,
    /// What monitoring is told.
    pub telemetry: Telemetry,
    file: file::File,
    lines: findings::Lines,
}

impl Default for Config {
    fn default() -> Self {
        Self::from_file(file::File::default(), findings::Lines::default())
    }
}

impl Config {
    /// Reads the configuration of `home`; the defaults, where it has none.
    ///
    /// # Errors
    ///
    /// It can't be read, or something in it is wrong.
    pub fn load(home: &Home) -> Result<Self, ConfigError> {
        let path = home.config();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        Self::parse(&path, &text)
    }

    /// Reads a configuration from its text. `path` is what errors name, and relative paths in it
    /// start from its folder.
    ///
    /// # Errors
    ///
    /// The first thing in it that is wrong, with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let mut file: file::File =
            toml::from_str(text).map_err(|e| ConfigError::from_toml(path, text, &e))?;
        if let Some((span, message)) = file.tier_fault().or_else(|| file.server.fault()) {
            return Err(ConfigError::at(path, text, span, message));
        }
        let lines = findings::Lines::of(path, text);
        let folder = path.parent().unwrap_or(Path::new(""));
        file.webhook
            .iter_mut()
            .for_each(|webhook| webhook.within(folder));
        file.telemetry.within(folder);
        let mut config = Self::from_file(file, lines);
        config.server.within(folder);
        for anchor in &mut config.anchors {
            anchor.within(folder);
        }
        for ca in &mut config.egress.extra_ca {
            *ca = folder.join(&*ca);
        }
        for issuer in &mut config.issuers {
            if let KeySource::File(path) = &mut issuer.keys {
                *path = folder.join(&*path);
            }
        }
        for place in config.file.secret_places() {
            if let SecretPlace::File(path) = place {
                *path = folder.join(&*path);
            }
        }
        if let Some(vault) = &mut config.vault {
            let (VaultLogin::TokenFile(file)
            | VaultLogin::AppRole {
                secret_id_file: file,
                ..
            }) = &mut vault.login;
            *file = folder.join(&*file);
        }
        Ok(config)
    }

    fn from_file(file: file::File, lines: findings::Lines) -> Self {
        let mut concurrency = Concurrency::default();
        file.concurrency.apply(&mut concurrency);
        let mut rate = Rate::default();
        file.rate.apply(&mut rate);
        let mut jobs = Jobs::default();
        file.jobs.apply(&mut jobs);
        let mut approvals = Approvals::default();
        file.approvals.apply(&mut approvals);
        let mut tapes = Tapes::default();
        file.tapes.apply(&mut tapes);
        Self {
            server: file.server.server(),
            admin: file.admin.as_ref().map(outside::AdminTable::admin),
            webhooks: file
                .webhook
                .iter()
                .map(outside::WebhookTable::webhook)
                .collect(),
            egress: Egress {
                extra_ca: file.egress.extra_ca.clone(),
                proxy: file.egress.proxy.clone(),
            },
            journal: file.journal.set(),
            anchors: file.journal.anchor.clone(),
            log: Log {
                level: file.log.level,
                format: file.log.format,
            },
            approvals,
            tasks: Tasks {
                required: file.tasks.required,
            },
            tapes,
            tapes_any: file.any_tape(),
            concurrency,
            rate,
            jobs,
            trust: Trust {
                keys: file
                    .plugins
                    .keys
                    .iter()
                    .map(file::SigningKey::trusted)
                    .collect(),
                required: file
                    .plugins
                    .require_signature
                    .as_ref()
                    .is_some_and(|required| *required.get_ref()),
            },
            vault: file.vault.clone(),
            leases: file.leases,
            issuers: file.issuer.0.clone(),
            telemetry: file.telemetry.telemetry(),
            file,
            lines,
        }
    }

    /// The limits of calls of `tool`: the defaults, then what is set for the host, for its plugin,
    /// for itself.
    #[must_use]
    pub fn limits(&self, tool: &ToolName) -> CallLimits {
        let mut limits = self.plugin_limits(tool.plugin());
        if let Some(tool) = self.file.tool(tool) {
            tool.limits.apply(&mut limits);
        }
        limits
    }

    /// The limits of a plugin apart from its tools.
    #[must_use]
    pub fn plugin_limits(&self, plugin: &PluginName) -> CallLimits {
        let mut limits = CallLimits::default();
        self.file.limits.apply(&mut limits);
        if let Some(plugin) = self.file.plugin(plugin) {
            plugin.limits.apply(&mut limits);
        }
        limits
    }

    /// The limits under which a plugin says what it is.
    #[must_use]
    pub fn describe_limits(&self, plugin: &PluginName) -> DescribeLimits {
        let mut limits = DescribeLimits::default();
        self.file.describe.apply(&mut limits);
        if let Some(plugin) = self.file.plugin(plugin) {
            plugin.describe.apply(&mut limits);
        }
        limits
    }

    /// What agents see before the names of the tools of `plugin`.
    #[must_use]
    pub fn prefix(&self, plugin: &PluginName) -> Prefix {
        let set = self.file.plugin(plugin).and_then(|p| p.prefix.clone());
        set.unwrap_or_else(|| Prefix::of(plugin))
    }

    /// How many calls of `plugin` there may be at once.
    #[must_use]
    pub fn plugin_concurrency(&self, plugin: &PluginName) -> usize {
        self.file
            .plugin(plugin)
            .and_then(|p| p.concurrency)
            .map_or(self.concurrency.plugin, |calls| calls.0)
    }

    /// The operator's tier of `tool`: its own, or its plugin's, or the host's; for a tier of the
    /// operator's own, the one that it is like.
    #[must_use]
    pub fn tier(&self, tool: &ToolName) -> Tier {
        let Some(name) = self.file.tier_of(tool) else {
            return Tier::default();
        };
        Tier::named(name)
            .or_else(|| Some(self.file.own_tier(name)?.like))
            // Every name was looked up when the file was read.
            .unwrap_or(Tier::Forbid)
    }

    /// The name of that tier, as policies and people see it.
    #[must_use]
    pub fn tier_name(&self, tool: &ToolName) -> &str {
        let default = Tier::default().as_str();
        self.file.tier_of(tool).unwrap_or(default)
    }

    /// How many persons must agree to a call of `tool`, where anyone must: the tool's own number, or its
    /// tier's, or its plugin's, or the host's.
    #[must_use]
    pub fn approvals_needed(&self, tool: &ToolName) -> u32 {
        let plugin = self.file.plugin(tool.plugin());
        self.file
            .tool(tool)
            .and_then(|t| t.approvals)
            .or_else(|| self.file.own_tier(self.file.tier_of(tool)?)?.approvals)
            .or_else(|| plugin.and_then(|p| p.approvals))
            .or(self.file.tools.approvals)
            .map_or(1, |people| people.0)
    }

    /// Whether what a call of `tool` is given is kept, so that it can be run again: the tool's own word, or
    /// its tier's, or its plugin's, or the host's.
    #[must_use]
    pub fn is_taped(&self, tool: &ToolName) -> bool {
        // The common case, on the way of each call.
        if !self.tapes_any {
            return false;
        }
        let plugin = self.file.plugin(tool.plugin());
        self.file
            .tool(tool)
            .and_then(|t| t.tape)
            .or_else(|| self.file.own_tier(self.file.tier_of(tool)?)?.tape)
            .or_else(|| plugin.and_then(|p| p.tape))
            .or(self.file.tools.tape)
            .unwrap_or(false)
    }

    /// Whether calls of `tool` may run as jobs, where its plugin says that they can: the tool's own word, or
    /// its plugin's, or the host's.
    #[must_use]
    pub fn may_last(&self, tool: &ToolName) -> bool {
        let plugin = self.file.plugin(tool.plugin());
        self.file
            .tool(tool)
            .and_then(|t| t.jobs)
            .or_else(|| plugin.and_then(|p| p.jobs))
            .or(self.file.tools.jobs)
            .unwrap_or(true)
    }

    /// The labels that a call of `tool` puts on its task: what the task has seen then.
    #[must_use]
    pub fn labels_of(&self, tool: &ToolName) -> BTreeSet<String> {
        self.file
            .tool(tool)
            .into_iter()
            .flat_map(|tool| &tool.labels)
            .map(|label| label.as_str().to_owned())
            .collect()
    }

    /// Every label that some tool puts on a task.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.file
            .plugin
            .values()
            .flat_map(|plugin| plugin.tool.values())
            .flat_map(|tool| &tool.labels)
            .map(file::Name::as_str)
    }

    /// The value that the operator gives `plugin` for the setting `name`.
    #[must_use]
    pub fn setting(&self, plugin: &PluginName, name: &str) -> Option<&str> {
        let plugin = self.file.plugin(plugin)?;
        plugin.settings.get(name).map(String::as_str)
    }

    /// All that the operator gives `plugin`, by name.
    #[must_use]
    pub fn settings(&self, plugin: &PluginName) -> BTreeMap<&str, &str> {
        self.file
            .plugin(plugin)
            .into_iter()
            .flat_map(|p| &p.settings)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// Digest of all that the operator gives `plugin`: part of its pin.
    #[must_use]
    pub fn settings_digest(&self, plugin: &PluginName) -> Digest {
        let settings = self.settings(plugin);
        Digest::of_parts(
            settings
                .iter()
                .flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]),
        )
    }

    /// Where the value of the secret `name` of `plugin` is.
    #[must_use]
    pub fn secret_place(&self, plugin: &PluginName, name: &str) -> SecretPlace {
        self.file
            .secret(plugin, name)
            .map(|secret| secret.place.clone())
            .unwrap_or_default()
    }

    /// How the secret `name` of `plugin` is lent.
    #[must_use]
    pub fn secret_terms(&self, plugin: &PluginName, name: &str) -> LeaseTerms {
        self.file
            .secret(plugin, name)
            .map(|secret| secret.terms)
            .unwrap_or_default()
    }

    /// Every secret whose place is set, with its plugin.
    pub fn secret_places(&self) -> impl Iterator<Item = (&PluginName, &str, &SecretPlace)> {
        self.file
            .all_secrets()
            .map(|(plugin, name, secret)| (plugin, name, &secret.place))
    }
}

#[cfg(test)]
mod tests;
