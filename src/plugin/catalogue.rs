//! What is known of the plugins at one moment: one value, published whole.

use std::collections::hash_map;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::description::{Kind, Offer};
use super::load::Plugin;
use super::template::{Template, URI};
use crate::digest::Digest;
use crate::name::{PluginName, ToolName};
use crate::reason::Refusal;

use serde_json::{Map, Value};

/// Where a plugin stands.
#[derive(Debug, Clone)]
pub(crate) enum Status {
    /// It is being compiled and described.
    Loading,
    /// Its calls run.
    Serving,
    /// Its file is another one than was accepted.
    Quarantined(Refusal),
    /// It can't serve.
    Refused(Refusal),
}

/// A file in the folder, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Absent where the file could not be read.
    pub(crate) digest: Option<Digest>,
    pub(crate) status: Status,
    /// The plugin that the file holds, where it could be loaded; in quarantine, the one that waits.
    pub(crate) plugin: Option<Arc<Plugin>>,
}

/// Everything that is known at one moment.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// What serves, by name. In quarantine, the plugin that was accepted before, while it is in memory.
    pub(crate) serving: BTreeMap<PluginName, Arc<Plugin>>,
    /// Every file, by its name.
    pub(crate) entries: BTreeMap<String, Entry>,
    pub(super) wire: HashMap<String, ToolName>,
    /// Where resources are.
    pub(super) uris: HashMap<String, ToolName>,
    pub(super) templates: Vec<(Template, ToolName)>,
}

impl Catalogue {
    /// The files that are still being loaded, in the order of names.
    pub(crate) fn loading(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|(_, entry)| matches!(entry.status, Status::Loading))
            .map(|(file, _)| file.as_str())
    }

    /// Whether a file is still being loaded.
    pub(crate) fn is_loading(&self) -> bool {
        self.loading().next().is_some()
    }

    /// What there is where these serve, and nothing else is there.
    pub(crate) fn of(serving: BTreeMap<PluginName, Arc<Plugin>>) -> Self {
        let mut catalogue = Self {
            serving,
            ..Self::default()
        };
        catalogue.index();
        catalogue
    }

    /// Brings the names that agents see in line with what serves. While prefixes change, two plugins can
    /// have one name for a moment: then it is neither's.
    pub(super) fn index(&mut self) {
        let all = || {
            self.serving
                .values()
                .flat_map(|plugin| &plugin.description.tools)
        };
        let listed = self.serving.values().flat_map(|plugin| plugin.listed());
        let mut wire: HashMap<String, Option<ToolName>> = HashMap::new();
        for (tool, listed) in listed.filter(|(_, listed)| listed.is_named()) {
            match wire.entry(listed.name.clone()) {
                hash_map::Entry::Vacant(free) => {
                    free.insert(Some(tool.clone()));
                }
                hash_map::Entry::Occupied(mut taken) => {
                    taken.insert(None);
                }
            }
        }
        let wire = wire
            .into_iter()
            .filter_map(|(name, tool)| Some((name, tool?)))
            .collect();
        let uris = all()
            .filter_map(|tool| match &tool.offer {
                Offer::Resource { uri, .. } => Some((uri.clone(), tool.name.clone())),
                _ => None,
            })
            .collect();
        let templates = all()
            .filter_map(|tool| match &tool.offer {
                Offer::Template { template, .. } => {
                    Some((Template::parse(template).ok()?, tool.name.clone()))
                }
                _ => None,
            })
            .collect();
        (self.wire, self.uris, self.templates) = (wire, uris, templates);
    }

    /// The tool that is asked for by this name, exactly: as agents see it, or the full name.
    pub(crate) fn find(&self, asked: &str) -> Option<(Arc<Plugin>, ToolName)> {
        self.named(Kind::Tool, asked)
    }

    /// The same, of any kind that has a name.
    pub(crate) fn named(&self, kind: Kind, asked: &str) -> Option<(Arc<Plugin>, ToolName)> {
        let name = match self.wire.get(asked) {
            Some(name) => name.clone(),
            None => asked.parse().ok()?,
        };
        let plugin = self.serving.get(name.plugin())?;
        let (tool, _) = plugin.tool(&name)?;
        (tool.kind() == kind).then(|| (Arc::clone(plugin), name))
    }

    /// The resource at `uri`, and what a reading of it takes: exactly one, or none. A URI that templates
    /// of two plugins match is nobody's.
    pub(crate) fn resource(
        &self,
        uri: &str,
    ) -> Option<(Arc<Plugin>, ToolName, Map<String, Value>)> {
        let (name, values) = match self.uris.get(uri) {
            Some(name) => (name, Map::new()),
            None => {
                let mut found = self
                    .templates
                    .iter()
                    .filter_map(|(template, name)| Some((name, template.values(uri)?)));
                let first = found.next()?;
                if found.any(|(name, _)| name.plugin() != first.0.plugin()) {
                    tracing::warn!("a resource was asked for that templates of two plugins match");
                    return None;
                }
                first
            }
        };
        let plugin = self.serving.get(name.plugin())?;
        let mut arguments = values;
        arguments.insert(URI.to_owned(), uri.into());
        Some((Arc::clone(plugin), name.clone(), arguments))
    }
}
