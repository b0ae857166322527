//! Loading `policies/`: every file read, validated against the generated schema, and put in force.
//!
//! What does not validate is not in force. On a reload the last good text of that file stays, where
//! it still fits the plugins; otherwise the questions that it would have answered refuse, and no
//! others. Every problem is a finding with its place and what to do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::digest::Digest;
use crate::name::{PluginName, ToolName};
use crate::plugin::Description;

use super::argument::Unmapped;
use super::entities::{self, Directory};
pub use super::finding::{Finding, Severity};
use super::lint;
use super::may;
use super::schema::{self, Model};
use super::slice::Kept;
use super::source::{Rule, Source};
use super::validate::{self, Affected};

/// Shared rules, evaluated for every plugin.
pub(super) const SHARED: &str = "shared.cedar";

/// A plugin, as far as policy is about it.
#[derive(Debug, Clone)]
pub struct PluginFacts<'a> {
    /// What it offers and needs.
    pub description: &'a Description,
    /// The component's digest.
    pub digest: Digest,
    /// The origin of each requirement that has one (a literal, or a setting's value), by the
    /// requirement's name.
    pub origins: BTreeMap<String, String>,
    /// The operator's tier of each tool.
    pub tiers: BTreeMap<ToolName, String>,
    /// The labels that any tool of the host puts on a task.
    pub labels: BTreeSet<String>,
}

/// The set in force after a load, and what was found on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The set. It always answers; what is not in force refuses.
    pub set: PolicySet,
    /// Problems, in the order of their files.
    pub findings: Vec<Finding>,
}

/// The policies in force.
#[derive(Debug)]
pub struct PolicySet {
    pub(super) digest: Digest,
    /// None where `entities.json` is broken and no good one is known.
    pub(super) directory: Option<Directory>,
    pub(super) shared: Option<Source>,
    pub(super) plugins: BTreeMap<PluginName, PluginPolicies>,
    pub(super) schema: serde_json::Value,
    pub(super) kept: Kept,
    pub(super) may: may::Answers,
}

/// The policies that answer for one plugin.
#[derive(Debug)]
pub(super) struct PluginPolicies {
    pub(super) known: Known,
    pub(super) model: Model,
    pub(super) own: Option<Source>,
    /// The types of its own questions, with every action that its rules name; for partial evaluation.
    pub(super) schema: Option<cedar_policy::Schema>,
    /// Why its questions refuse.
    pub(super) broken: Option<String>,
    pub(super) by_action: HashMap<String, Vec<Arc<Rule>>>,
}

/// What was known of a plugin at load.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) description: Arc<Description>,
    pub(super) digest: Digest,
    pub(super) origins: BTreeMap<String, String>,
    pub(super) tiers: BTreeMap<ToolName, String>,
    pub(super) labels: BTreeSet<String>,
}

impl PolicySet {
    /// Loads `dir` for these plugins. `previous` is the set in force until now, whose good files
    /// stay in force where the new ones are broken.
    #[must_use]
    pub fn load(dir: &Path, plugins: &[PluginFacts<'_>], previous: Option<&Self>) -> Loaded {
        Loader {
            dir,
            previous,
            findings: Vec::new(),
        }
        .load(plugins)
    }

    /// The digest of everything in force: rules, entities and schema.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// The generated schema in Cedar's own language, for people and editors.
    ///
    /// # Errors
    ///
    /// Cedar can't write it.
    pub fn schema_text(&self) -> Result<String, String> {
        schema::text(self.schema.clone())
    }

    /// The parts of the tools' arguments that policies can't see.
    pub fn unmapped(&self) -> impl Iterator<Item = &Unmapped> {
        self.plugins.values().flat_map(|p| &p.model.unmapped)
    }

    /// Why this plugin's questions all refuse, where they do.
    #[must_use]
    pub fn broken(&self, plugin: &PluginName) -> Option<&str> {
        self.plugins.get(plugin)?.broken.as_deref()
    }
}

struct Loader<'a> {
    dir: &'a Path,
    previous: Option<&'a PolicySet>,
    findings: Vec<Finding>,
}

impl Loader<'_> {
    fn load(mut self, facts: &[PluginFacts<'_>]) -> Loaded {
        let mut plugins = BTreeMap::new();
        for fact in facts {
            let known = Known {
                description: Arc::new(fact.description.clone()),
                digest: fact.digest,
                origins: fact.origins.clone(),
                tiers: fact.tiers.clone(),
                labels: fact.labels.clone(),
            };
            let model = Model::of(fact.description);
            let broken = schema::read(&schema::json([&model], [])).err();
            if let Some(why) = &broken {
                let file = format!("{}.cedar", model.plugin);
                let message = format!("no schema for `{}`: {why}", model.plugin);
                let help = "the plugin's input schemas use names that policy can't take";
                self.findings
                    .push(Finding::new(Severity::Error, &file, message, help));
            }
            let policies = PluginPolicies {
                known,
                model,
                own: None,
                schema: None,
                broken,
                by_action: HashMap::new(),
            };
            plugins.insert(fact.description.plugin.clone(), policies);
        }
        let present = self.list(&plugins);
        let directory = self.directory();
        let (shared, affected) = self.shared(&plugins);
        for (name, policies) in &mut plugins {
            if policies.broken.is_some() {
                continue;
            }
            if let Some(why) = affected.get(name) {
                policies.broken = Some(why.clone());
            }
            let file = format!("{name}.cedar");
            let (own, why) = if present.contains(&file) {
                self.own(&file, policies)
            } else {
                (None, None)
            };
            policies.own = own;
            policies.broken = policies.broken.take().or(why);
            let rules: Vec<Arc<Rule>> = shared
                .iter()
                .chain(&policies.own)
                .flat_map(|source| &source.rules)
                .map(|rule| Arc::new(rule.clone()))
                .collect();
            policies.schema = types(&policies.model, &rules);
            policies.by_action = policies
                .model
                .actions()
                .map(|action| {
                    let few = rules.iter().filter(|rule| rule.meets(&action));
                    let few = few.cloned().collect();
                    (action, few)
                })
                .collect();
        }
        if let Some(directory) = &directory {
            let sources = shared
                .iter()
                .chain(plugins.values().filter_map(|p| p.own.as_ref()));
            for source in sources {
                self.findings.extend(lint::people(source, directory));
            }
        }
        let good = plugins.values().filter(|p| !p.by_action.is_empty());
        let schema = schema::json(good.map(|p| &p.model), []);
        let mut parts: Vec<Vec<u8>> = vec![schema.to_string().into_bytes()];
        let texts = shared
            .iter()
            .chain(plugins.values().filter_map(|p| p.own.as_ref()));
        for source in texts {
            parts.push(source.file.clone().into_bytes());
            parts.push(source.text.as_bytes().to_vec());
        }
        parts.push(
            directory
                .as_ref()
                .map_or(&b"broken"[..], |d| d.text.as_bytes())
                .to_vec(),
        );
        for (name, policies) in &plugins {
            if let Some(why) = &policies.broken {
                parts.push(format!("{name}: {why}").into_bytes());
            }
        }
        self.findings
            .sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.findings.dedup();
        Loaded {
            set: PolicySet {
                digest: Digest::of_parts(parts.iter().map(Vec::as_slice)),
                directory,
                shared,
                plugins,
                schema,
                kept: Kept::default(),
                may: may::Answers::default(),
            },
            findings: self.findings,
        }
    }

    fn push(&mut self, severity: Severity, file: &str, message: String, help: &str) {
        self.findings
            .push(Finding::new(severity, file, message, help));
    }

    /// The `.cedar` files that there are. Those that no plugin reads are found here.
    fn list(&mut self, plugins: &BTreeMap<PluginName, PluginPolicies>) -> BTreeSet<String> {
        let mut present = BTreeSet::new();
        let entries = match std::fs::read_dir(self.dir) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("`{}` can't be read: {error}", self.dir.display());
                let help = "without policies every call is refused; `tollgate policy init PLUGIN --write` makes a first one";
                self.push(Severity::Warning, "", message, help);
                return present;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some(stem) = name.strip_suffix(".cedar") else {
                continue;
            };
            if name == SHARED {
            } else if !stem
                .parse::<PluginName>()
                .is_ok_and(|plugin| plugins.contains_key(&plugin))
            {
                let message = format!("no plugin `{stem}` serves, so this file is not read");
                let help = "`tollgate plugins` shows why, where it is there; else put it into `plugins/`, or rename or remove this file";
                self.push(Severity::Warning, &name, message, help);
            }
            present.insert(name);
        }
        if present.is_empty() {
            let message = String::from("there are no policies, so every call is refused");
            let help = "`tollgate policy init PLUGIN --write` makes a first one";
            self.push(Severity::Warning, "", message, help);
        }
        present
    }

    /// A file's text; none where it is not there.
    fn read(&mut self, file: &str) -> Result<Option<String>, String> {
        match std::fs::read_to_string(self.dir.join(file)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let message = format!("can't be read: {error}");
                self.push(Severity::Error, file, message.clone(), "");
                Err(format!("`policies/{file}` {message}"))
            }
        }
    }

    fn directory(&mut self) -> Option<Directory> {
        let base = match schema::read(&schema::json([], [])) {
            Ok(schema) => schema,
            Err(why) => {
                self.push(Severity::Error, entities::FILE, why, "");
                return None;
            }
        };
        match self.read(entities::FILE) {
            Ok(None) => return Some(Directory::default()),
            Ok(Some(text)) => match Directory::read(&text, &base) {
                Ok(directory) => return Some(directory),
                Err(found) => self.findings.extend(found),
            },
            Err(_) => {}
        }
        let last = self.previous.and_then(|set| set.directory.clone());
        if last.is_some() {
            self.kept_last(entities::FILE);
        }
        last
    }

    fn kept_last(&mut self, file: &str) {
        let message = String::from("the last good version stays in force");
        self.push(
            Severity::Warning,
            file,
            message,
            "mend the file; it is read again when it changes",
        );
    }

    /// The shared rules, and the plugins for which they don't hold.
    fn shared(
        &mut self,
        plugins: &BTreeMap<PluginName, PluginPolicies>,
    ) -> (Option<Source>, Affected) {
        let all = |why: String| -> Affected {
            plugins
                .keys()
                .map(|name| (name.clone(), why.clone()))
                .collect()
        };
        let (source, affected) = match self.read(SHARED) {
            Ok(None) => return (None, Affected::new()),
            Ok(Some(text)) => match Source::parse(SHARED, &text) {
                Ok(source) => {
                    let (affected, found) = validate::shared(&source, plugins);
                    self.findings.extend(found);
                    (Some(source), affected)
                }
                Err(found) => {
                    let why = found.first().map(ToString::to_string).unwrap_or_default();
                    self.findings.extend(found);
                    (None, all(why))
                }
            },
            Err(why) => (None, all(why)),
        };
        let nothing_wrong = affected.is_empty() && source.is_some();
        if nothing_wrong {
            return (source, affected);
        }
        let last = self.previous.and_then(|set| set.shared.clone());
        if let Some(last) = last.filter(|last| validate::shared(last, plugins).0.is_empty()) {
            self.kept_last(SHARED);
            return (Some(last), Affected::new());
        }
        (source, affected)
    }

    /// One plugin's own rules, or why its questions refuse.
    fn own(&mut self, file: &str, policies: &PluginPolicies) -> (Option<Source>, Option<String>) {
        let why = match self.read(file) {
            Ok(None) => return (None, None),
            Ok(Some(text)) => match Source::parse(file, &text) {
                Ok(source) => {
                    let found = validate::own(&source, policies);
                    let error = found.iter().find(|f| f.is_error()).map(ToString::to_string);
                    self.findings.extend(found);
                    match error {
                        None => return (Some(source), None),
                        Some(error) => error,
                    }
                }
                Err(found) => {
                    let why = found.first().map(ToString::to_string).unwrap_or_default();
                    self.findings.extend(found);
                    why
                }
            },
            Err(why) => why,
        };
        let last = self
            .previous
            .and_then(|set| set.plugins.get(&policies.model.plugin))
            .and_then(|plugin| plugin.own.clone())
            .filter(|last| !validate::own(last, policies).iter().any(Finding::is_error));
        if last.is_some() {
            self.kept_last(file);
            return (last, None);
        }
        (None, Some(why))
    }
}

/// The schema of a plugin's own questions. Actions of others that its rules name, as shared rules may,
/// are declared as applying to nothing.
fn types(model: &Model, rules: &[Arc<Rule>]) -> Option<cedar_policy::Schema> {
    let own: BTreeSet<String> = model.actions().collect();
    let others: BTreeSet<String> = rules
        .iter()
        .flat_map(|rule| rule.actions())
        .map(|uid| uid.id().unescaped().to_owned())
        .filter(|id| id.contains(':') && !own.contains(id))
        .collect();
    schema::read(&schema::json([model], &others)).ok()
}
