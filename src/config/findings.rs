//! What is questionable in a configuration that can be used: for `tollgate check`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::error::place;
use super::file::File;
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

/// Where tables stand, by their dotted names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Lines {
    path: PathBuf,
    lines: BTreeMap<String, usize>,
}

impl Lines {
    pub(super) fn of(path: &Path, text: &str, file: &File) -> Self {
        let mut lines = BTreeMap::new();
        let mut note = |name: String, span: std::ops::Range<usize>| {
            lines.insert(name, place(text, Some(span)).0);
        };
        if let Some(listen) = &file.server.listen {
            note("server".into(), listen.span());
        }
        if let Some(sync) = &file.journal.sync {
            note("journal".into(), sync.span());
        }
        for (plugin, table) in &file.plugin {
            note(format!("plugin.{}", plugin.get_ref()), plugin.span());
            for tool in table.tool.keys() {
                let (plugin, name) = (plugin.get_ref(), tool.get_ref().as_str());
                note(format!("plugin.{plugin}.tool.{name}"), tool.span());
            }
        }
        for (plugin, table) in &file.secret {
            note(format!("secret.{}", plugin.get_ref()), plugin.span());
            for name in table.keys() {
                let (plugin, secret) = (plugin.get_ref(), name.get_ref().as_str());
                note(format!("secret.{plugin}.{secret}"), name.span());
            }
        }
        Self {
            path: path.to_owned(),
            lines,
        }
    }

    fn finding(&self, table: &str, message: String) -> Finding {
        Finding {
            path: self.path.clone(),
            line: self.lines.get(table).copied().unwrap_or(1),
            message,
        }
    }
}

impl Config {
    /// What is questionable, given the plugins that there are; those that could not be described
    /// have `None`, and nothing is said of what they might have.
    #[must_use]
    pub fn findings(&self, plugins: &BTreeMap<PluginName, Option<Description>>) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |table: &str, message| found.push(self.lines.finding(table, message));
        if !self.server.listen.ip().is_loopback() {
            add(
                "server",
                format!(
                    "`{}` can be reached from other machines, and tokens go over it in the clear: put a TLS proxy in front, or listen on 127.0.0.1",
                    self.server.listen
                ),
            );
        }
        if self.journal.sync == Sync::Interval {
            add(
                "journal",
                "with `sync = \"interval\"` a power failure loses records of effects that happened: use \"gated\"".into(),
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
                                &at,
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
