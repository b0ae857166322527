//! Taking in what changed on disk: configuration, plugins, policies, in this order, one at a time.
//!
//! What can't be used changes nothing: the last good one stays in force, and the finding says why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Host;
use crate::config::{Config, ConfigError};
use crate::digest::Digest;
use crate::egress::{OutboundConfig, OwnClient};
use crate::identity::Issuers;
use crate::journal::record::{Changed, Event};
use crate::name::ToolName;
use crate::plugin::{Catalogue, Description, Which};
use crate::policy::{Loaded, PluginFacts, PolicySet, Severity};
use crate::reason::Reason;
use crate::secret::Secrets;

/// What was last taken in, to tell whether anything changed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What the host began with: some of it stays in force until it ends.
    started: Option<Arc<Config>>,
    config: Option<Digest>,
    policies: Option<Digest>,
    findings: Vec<RefreshFinding>,
}

/// What a refresh found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refreshed {
    /// Plugins that serve.
    pub serving: usize,
    /// Digest of the policy set in force.
    pub policy_set: Digest,
    /// What is wrong, or probably so.
    pub findings: Vec<RefreshFinding>,
}

/// Something that is wrong, or probably so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshFinding {
    /// `error` or `warning`.
    pub severity: Severity,
    /// The file, relative to the home.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl Host {
    /// Takes in what changed on disk since the last time. Returns once it is in force.
    pub async fn refresh(&self) -> Refreshed {
        let refreshed = self.look(Which::New).await;
        self.looked.store(true, Ordering::Relaxed);
        refreshed
    }

    /// The same, but for plugins that would have to be compiled first.
    pub(super) async fn refresh_compiled(&self) -> Refreshed {
        self.look(Which::Compiled).await
    }

    async fn look(&self, which: Which) -> Refreshed {
        let mut seen = self.refreshing.lock().await;
        let mut findings = Vec::new();
        let started = Arc::clone(seen.started.get_or_insert_with(|| self.config()));
        let which = match self.take_config(&mut seen, &mut findings) {
            true => Which::Everything,
            false => which,
        };
        let waiting = self.config().waiting(&started);
        findings.extend(waiting.into_iter().map(|found| RefreshFinding {
            severity: Severity::Warning,
            file: "tollgate.toml".into(),
            line: found.line,
            column: 1,
            message: found.message,
            help: "end the daemon with `tollgate stop` and start it again".into(),
        }));
        // A plugin answers once its policies are in force, whatever else is still being compiled.
        let take = || {
            self.take_policies(&mut seen, &mut Vec::new());
        };
        self.registry.look(&self.config(), which, take).await;
        self.take_policies(&mut seen, &mut findings);
        let catalogue = self.catalogue();
        let loading: Vec<&str> = catalogue.loading().collect();
        if !loading.is_empty() {
            // What a rule names may come with one of these; whether it does shows when they are in.
            findings.retain(|finding| finding.severity == Severity::Error);
            tracing::info!(
                "still loading {}: what their policies name is looked at once they are in",
                loading.join(", ")
            );
        }
        if findings != seen.findings {
            for finding in &findings {
                log(finding);
            }
            seen.findings.clone_from(&findings);
        }
        Refreshed {
            serving: self.catalogue().serving.len(),
            policy_set: self.policy().digest(),
            findings,
        }
    }

    /// Whether settings may have changed, so that plugins must be looked at again.
    fn take_config(&self, seen: &mut Seen, findings: &mut Vec<RefreshFinding>) -> bool {
        let text = std::fs::read(self.home.config()).unwrap_or_default();
        let digest = Digest::of(&text);
        let first = seen.config.is_none();
        if seen.config == Some(digest) {
            return false;
        }
        match Config::load(&self.home) {
            Ok(config) => {
                seen.config = Some(digest);
                let secrets = Secrets::new(
                    &self.home,
                    &config,
                    Arc::clone(&self.entropy),
                    Some(self.reach.clone()),
                );
                self.services.secrets.store(Arc::new(secrets));
                self.services.approvals.configure(config.approvals);
                let client = OwnClient::of(&self.services.outbound);
                self.identities
                    .trust(|before| Issuers::new(&config, Some(client), before));
                self.config.store(Arc::new(config));
                if !first {
                    let event = Event::Changed(Changed {
                        change: "config.loaded".to_owned(),
                        digest: Some(digest),
                        ..Changed::default()
                    });
                    if let Err(error) = self.journal().append(&event) {
                        tracing::error!(%error, "a change of the configuration could not be written down");
                    }
                }
                !first
            }
            Err(error) => {
                let (line, column, message) = match &error {
                    ConfigError::Wrong {
                        line,
                        column,
                        message,
                        ..
                    } => (*line, *column, message.clone()),
                    ConfigError::Read { .. } => (1, 1, error.to_string()),
                };
                findings.push(RefreshFinding {
                    severity: Severity::Error,
                    file: "tollgate.toml".into(),
                    line,
                    column,
                    message,
                    help: "the last good configuration stays in force".into(),
                });
                false
            }
        }
    }

    fn take_policies(&self, seen: &mut Seen, findings: &mut Vec<RefreshFinding>) {
        let previous = self.policy();
        let loaded = load_policies(
            &self.home.policies(),
            &self.catalogue(),
            &self.config(),
            Some(&previous),
        );
        let digest = loaded.set.digest();
        let broken = loaded
            .findings
            .iter()
            .find(|f| f.severity == Severity::Error);
        let detail = broken.map(ToString::to_string);
        let event = |change: &str, reason| {
            Event::Changed(Changed {
                change: change.to_owned(),
                digest: Some(digest),
                reason,
                detail: detail.clone(),
                ..Changed::default()
            })
        };
        let new_set = seen.policies != Some(digest);
        let was_broken = seen.findings.iter().any(|f| f.severity == Severity::Error);
        if new_set || (broken.is_some() && !was_broken) {
            let event = match broken {
                Some(_) => event("policy.rejected", Some(Reason::PolicyError)),
                None => event("policy.loaded", None),
            };
            if let Err(error) = self.journal().append(&event) {
                tracing::error!(%error, "a change of the policies could not be written down");
            }
        }
        seen.policies = Some(digest);
        findings.extend(loaded.findings.into_iter().map(|f| RefreshFinding {
            severity: f.severity,
            file: format!("policies/{}", f.file),
            line: f.line,
            column: f.column,
            message: f.message,
            help: f.help,
        }));
        self.services.policy.store(Arc::new(loaded.set));
        self.changes.send_modify(|n| *n += 1);
    }
}

/// Loads `folder` for the plugins of `catalogue`.
pub(crate) fn load_policies(
    folder: &std::path::Path,
    catalogue: &Catalogue,
    config: &Config,
    previous: Option<&PolicySet>,
) -> Loaded {
    let facts: Vec<PluginFacts<'_>> = catalogue
        .serving
        .values()
        .map(|plugin| {
            let origins = plugin.ceiling.origins();
            facts(config, &plugin.description, plugin.digest, origins)
        })
        .collect();
    PolicySet::load(folder, &facts, previous)
}

/// What policy is told of a plugin.
pub(super) fn facts<'a>(
    config: &Config,
    description: &'a Description,
    digest: Digest,
    origins: BTreeMap<String, String>,
) -> PluginFacts<'a> {
    // What calls have in their context: the operator's, as the plugin's hints raise it.
    let tier = |name| {
        (
            ToolName::clone(name),
            super::tier_name(config, description, name),
        )
    };
    PluginFacts {
        description,
        digest,
        origins,
        tiers: description
            .tools
            .iter()
            .map(|tool| tier(&tool.name))
            .collect(),
        labels: config.labels().map(str::to_owned).collect(),
    }
}

/// What the outbound guard takes from the configuration.
pub(super) fn outbound_config(config: &Config) -> OutboundConfig {
    OutboundConfig {
        extra_authorities: config.egress.extra_ca.clone(),
        proxy: config
            .egress
            .proxy
            .as_ref()
            .map(|proxy| format!("http://{}:{}", proxy.host, proxy.port)),
    }
}

fn log(finding: &RefreshFinding) {
    let RefreshFinding {
        severity,
        file,
        line,
        column,
        message,
        help,
    } = finding;
    match severity {
        Severity::Error => tracing::error!("{file}:{line}:{column}: {message}; {help}"),
        Severity::Warning => tracing::warn!("{file}:{line}:{column}: {message}; {help}"),
    }
}
