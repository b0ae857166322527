//! What is questionable in a configuration that can be used: for `tollgate check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::error::place;
use super::{Config, SecretPlace, Sync};
use crate::name::PluginName;
use crate::plugin::{Description, Requirement};

/// Something that an operator would want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What, and what to do.
    pub message: String,
}

/// Where tables and keys stand, by their dotted names.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines {
    path: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl PartialEq for Lines {
    /// Two configurations are equal where they set the same, wherever it stands.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Lines {
    pub(super) fn of(path: &Path, text: &str) -> Self {
        let mut lines = BTreeMap::new();
        // It was read as a configuration already, so it is TOML.
        if let Ok(table) = DeTable::parse(text) {
            note(text, "", table.get_ref(), &mut lines);
        }
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    /// The line of `key`, or of what it would stand in.
    fn line(&self, key: &str) -> usize {
        let mut at = Some(key);
        while let Some(name) = at {
            if let Some(line) = self.lines.get(name) {
                return *line;
            }
            at = name.rsplit_once('.').map(|(table, _)| table);
        }
        1
    }

    fn finding(&self, key: &str, message: String) -> Finding {
        Finding {
            path: self.path.clone(),
            line: self.line(key),
            message,
        }
    }
}

fn note(text: &str, table: &str, members: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in members {
        let name = match table {
            "" => key.get_ref().to_string(),
            table => format!("{table}.{}", key.get_ref()),
        };
        lines.insert(name.clone(), place(text, Some(key.span())).0);
        if let DeValue::Table(members) = value.get_ref() {
            note(text, &name, members, lines);
        }
    }
}

/// Keys by their dotted names, each with whether it differs between two configurations.
macro_rules! changed {
    [$one:expr, $other:expr; $($table:ident $(.$key:ident)?),* $(,)?] => {
        [$((
            concat!(stringify!($table) $(, ".", stringify!($key))?),
            $one.$table $(.$key)? != $other.$table $(.$key)?,
        )),*]
    };
}

impl Config {
    /// The line of a table or key in `tollgate.toml`, by its dotted name, or of what it would stand in.
    #[must_use]
    pub fn line(&self, key: &str) -> usize {
        self.lines.line(key)
    }

    /// What differs from `started`, under which the daemon began, and is in force only after a restart.
    #[must_use]
    pub fn waiting(&self, started: &Self) -> Vec<Finding> {
        changed![self, started;
            server.listen, server.tls, server.socket_mode, server.connections, server.sessions,
            server.sessions_per_agent, server.streams_per_agent, server.allowed_hosts, server.allowed_origins, admin,
            egress.extra_ca, egress.proxy, journal, telemetry, log.level, log.format,
            concurrency.agent, concurrency.host, concurrency.wait,
        ]
        .into_iter()
        .filter(|(_, changed)| *changed)
        .map(|(key, _)| {
            let message = format!("`{key}` changed, and needs a restart to be in force");
            self.lines.finding(key, message)
        })
        .collect()
    }

    /// What is questionable, given the plugins that there are; those that could not be described
    /// have `None`, and nothing is said of what they might have.
    #[must_use]
    pub fn findings(&self, plugins: &BTreeMap<PluginName, Option<Description>>) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |key: &str, message| found.push(self.lines.finding(key, message));
        if self.server.is_exposed() {
            add(
                "server.listen",
                format!(
                    "`{}` can be reached from other machines, and tokens go over it in the clear: set `tls`, put a TLS proxy in front, or listen on 127.0.0.1",
                    self.server.listen
                ),
            );
        }
        if let Some(admin) = &self.admin
            && !admin.listen.ip().is_loopback()
            && !admin
                .url
                .as_ref()
                .is_some_and(|url| url.starts_with("https:"))
        {
            add(
                "admin.listen",
                format!(
                    "`{}` can be reached from other machines, and people's credentials go over it in the clear: put a TLS proxy in front and set `url`, or listen on 127.0.0.1",
                    admin.listen
                ),
            );
        }
        if let Some(prometheus) = &self.telemetry.prometheus
            && !prometheus.ip().is_loopback()
        {
            add(
                "telemetry.prometheus",
                format!(
                    "`{prometheus}` can be reached from other machines, and asks nobody who they are: whoever reads it learns which tools are called and how they end"
                ),
            );
        }
        if self.journal.sync == Sync::Interval {
            add(
                "journal.sync",
                "with `sync = \"interval\"` a power failure loses records of effects that happened: use \"gated\"".into(),
            );
        }
        if self.trust.required && self.trust.keys.is_empty() {
            add(
                "plugins",
                "`require_signature` is set and no key is trusted, so no plugin can serve: add `keys`".into(),
            );
        }
        for (plugin, table) in &self.file.plugin {
            let plugin = plugin.get_ref();
            let at = format!("plugin.{plugin}");
            match plugins.get(plugin) {
                None => add(
                    &at,
                    format!("there is no plugin {plugin:?}: nothing in `[{at}]` has an effect"),
                ),
                Some(None) => {}
                Some(Some(description)) => {
                    for tool in table.tool.keys().map(|t| t.get_ref().as_str()) {
                        if !description.tools.iter().any(|t| t.name.tool() == tool) {
                            let at = format!("{at}.tool.{tool}");
                            add(
                                &at,
                                format!(
                                    "the plugin {plugin:?} has no tool `{tool}`: nothing in `[{at}]` has an effect"
                                ),
                            );
                        }
                    }
                    for name in table.settings.keys().map(super::file::Name::as_str) {
                        let asked = |r: &Requirement| matches!(r, Requirement::Setting(s) if s.name == name);
                        if !description.requirements.iter().any(asked) {
                            add(
                                &format!("{at}.settings.{name}"),
                                format!("the plugin {plugin:?} asks for no setting `{name}`"),
                            );
                        }
                    }
                }
            }
        }
        for (plugin, name, place) in self.secret_places() {
            let at = format!("secret.{plugin}.{name}");
            if matches!(place, SecretPlace::Vault(_)) && self.vault.is_none() {
                add(
                    &at,
                    format!(
                        "the secret `{plugin}/{name}` is in a server of secrets, and there is no `[vault]` that says which"
                    ),
                );
            }
            match plugins.get(plugin) {
                None => add(
                    &at,
                    format!("there is no plugin {plugin:?}: its secret `{name}` is never used"),
                ),
                Some(None) => {}
                Some(Some(description)) => {
                    let asked =
                        |r: &Requirement| matches!(r, Requirement::Secret(s) if s.name == name);
                    if !description.requirements.iter().any(asked) {
                        add(
                            &at,
                            format!("the plugin {plugin:?} asks for no secret `{name}`"),
                        );
                    }
                }
            }
        }
        found.sort_by(|a, b| (a.line, &a.message).cmp(&(b.line, &b.message)));
        found
    }
}

#[cfg(test)]
#[path = "findings_tests.rs"]
mod tests;
