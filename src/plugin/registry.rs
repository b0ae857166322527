//! The plugins that there are: what serves, what is held back, and why.
//!
//! The folder is the truth. Each look at it loads what is new or changed, drops what is gone, and
//! publishes a new catalogue as one value, so that a call sees either the old plugin or the new one,
//! whole. A call under way keeps the plugin that it began with. Nothing about one file touches
//! what the others do.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;

use super::admission::{Admission, judge, pin_of};
use super::catalogue::{Catalogue, Entry, Status};
use super::folder::{Content, Stamps, files, name_of, stamps};
use super::load::{Plugin, Unusable};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::digest::Digest;
use crate::journal::record::{Changed, Event};
use crate::journal::{Journal, Unwritable};
use crate::name::{PluginName, ToolName};
use crate::reason::{Reason, Refusal};
use crate::runtime::Runtime;
use crate::state::{AcceptedBy, Pin, State};

/// How much a look takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// New files whose compiled code is there already, a matter of milliseconds; but nothing that
    /// nobody accepted yet while an accepted one has to be compiled.
    Compiled,
    /// New files.
    New,
    /// All files, for settings that changed.
    Everything,
}

/// Compilers at once: each of them uses every core by itself, but not all of the time.
const COMPILERS: usize = 2;

/// The registry.
#[derive(Debug)]
pub(crate) struct Registry {
    pub(super) folder: PathBuf,
    runtime: Arc<Runtime>,
    pub(super) state: State,
    journal: Journal,
    pub(super) clock: SharedClock,
    catalogue: ArcSwap<Catalogue>,
    /// One look at a time.
    pub(super) looking: tokio::sync::Mutex<HashMap<String, Stamps>>,
}

/// A file as it was read: once, so that what is verified and digested is what is compiled.
struct Found {
    file: String,
    path: PathBuf,
    content: Content,
    stamps: Option<Stamps>,
    /// Whether its compiled code is there.
    compiled: bool,
}

impl Registry {
    pub(crate) fn new(
        folder: PathBuf,
        runtime: Arc<Runtime>,
        state: State,
        journal: Journal,
        clock: SharedClock,
    ) -> Self {
        Self {
            folder,
            runtime,
            state,
            journal,
            clock,
            catalogue: ArcSwap::default(),
            looking: tokio::sync::Mutex::default(),
        }
    }

    /// What is known now.
    pub(crate) fn catalogue(&self) -> Arc<Catalogue> {
        self.catalogue.load_full()
    }

    /// Looks at the folder, and loads what is new; `which` says how much of it. `taken` is told once
    /// those are in that need no compiler, and after each one that does: nothing waits for a compiler in vain.
    pub(crate) async fn look(&self, config: &Config, which: Which, mut taken: impl FnMut() + Send) {
        let mut seen = self.looking.lock().await;
        if which == Which::Everything {
            seen.clear();
        }
        let found = match files(&self.folder) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(folder = %self.folder.display(), %error, "can't read the plugins folder; what serves goes on");
                return;
            }
        };
        self.drop_gone(&found, &mut seen);
        let mut new = Vec::new();
        for (file, path) in found {
            let stamps = stamps(&path);
            if stamps.is_some() && seen.get(&file).copied() == stamps {
                continue;
            }
            let content = Content::read(&path);
            new.push(Found {
                compiled: content
                    .bytes
                    .as_ref()
                    .is_ok_and(|bytes| self.runtime.is_compiled(Digest::of(bytes))),
                file,
                path,
                content,
                stamps,
            });
        }
        if new.is_empty() {
            return;
        }
        // INVARIANT: what was accepted goes before what nobody accepted yet. A newcomer is judged by
        // those that are there: before them its name would be nobody's double, and it could take one
        // of theirs. The sort is stable, so that each part stays in the order of names.
        let accepted = self.accepted();
        let is_new = |file: &str| !name_of(file).is_ok_and(|name| accepted.contains(&name));
        new.sort_by_key(|found| (is_new(&found.file), !found.compiled));
        let at_once = new.iter().take_while(|found| found.compiled).count();
        let mut rest = new.split_off(at_once);
        if which == Which::Compiled {
            for found in rest.drain(..) {
                self.note_loading(&found.file);
            }
        }
        for found in new {
            let loaded = self.load(config, &found).await;
            self.take(config, &mut seen, &found, loaded);
        }
        if rest.is_empty() {
            return;
        }
        taken();
        let mut loading = futures_util::stream::iter(rest)
            .map(|found| async move {
                self.note_loading(&found.file);
                let loaded = self.load(config, &found).await;
                (found, loaded)
            })
            .buffered(COMPILERS);
        while let Some((found, loaded)) = loading.next().await {
            self.take(config, &mut seen, &found, loaded);
            taken();
        }
    }

    /// The names under which something was accepted.
    fn accepted(&self) -> BTreeSet<PluginName> {
        match self.state.pins() {
            Ok(pins) => pins.into_iter().map(|pin| pin.plugin).collect(),
            Err(error) => {
                // Each of them is refused when it is judged, with this reason.
                tracing::error!(%error, "what was accepted of the plugins can't be read");
                BTreeSet::new()
            }
        }
    }

    /// Shows a file that is not known yet while it is being loaded.
    fn note_loading(&self, file: &str) {
        if self.catalogue().entries.contains_key(file) {
            return;
        }
        let entry = Entry {
            digest: None,
            status: Status::Loading,
            plugin: None,
        };
        self.swap(|next| {
            next.entries.insert(file.to_owned(), entry);
        });
    }

    fn take(
        &self,
        config: &Config,
        seen: &mut HashMap<String, Stamps>,
        found: &Found,
        loaded: Result<Plugin, Unusable>,
    ) {
        let (file, path) = (&found.file, &found.path);
        if let Some(stamps) = found.stamps {
            seen.insert(file.clone(), stamps);
        }
        match loaded {
            Err(Unusable { digest, refusal }) => self.refuse(file, path, digest, refusal),
            Ok(plugin) => self.admit(config, seen, file, path, Arc::new(plugin)),
        }
    }

    async fn load(&self, config: &Config, found: &Found) -> Result<Plugin, Unusable> {
        let (file, now) = (&found.file, self.clock.now());
        Plugin::of_file(&self.runtime, config, file, &found.content, now).await
    }

    /// Puts a loaded plugin in force, or in quarantine.
    fn admit(
        &self,
        config: &Config,
        seen: &HashMap<String, Stamps>,
        file: &str,
        path: &Path,
        plugin: Arc<Plugin>,
    ) {
        if let Some(refusal) = self.collision(&plugin, seen) {
            return self.refuse(file, path, Some(plugin.digest), refusal);
        }
        let pin = pin_of(config, &plugin, self.clock.now(), AcceptedBy::FirstSeen);
        let (name, digest) = (plugin.name.clone(), plugin.digest);
        let admission = match self.judged(&pin, &plugin) {
            Ok(admission) => admission,
            Err(refusal) => return self.refuse(file, path, Some(digest), refusal),
        };
        let status = match admission {
            // The first of its name: it can do nothing that a policy, written for it, does not allow.
            Admission::First => {
                if let Err(error) = self.state.pin_first(&pin) {
                    let refusal = Refusal::new(Reason::HostInternal, "its pin can't be kept")
                        .with_detail(error.to_string());
                    return self.refuse(file, path, Some(digest), refusal);
                }
                tracing::info!(plugin = %name, digest = %digest.short(), tools = plugin.description.tools.len(), "plugin pinned");
                self.note(about("plugin.pinned", name.as_str(), Some(digest)));
                Status::Serving
            }
            Admission::Accepted { renew } => {
                if renew {
                    self.renew(&pin);
                }
                tracing::info!(plugin = %name, digest = %digest.short(), tools = plugin.description.tools.len(), "plugin serves");
                Status::Serving
            }
            Admission::Waits(refusal, diff) => {
                tracing::warn!(file = %path.display(), reason = %refusal.reason, "{}", refusal.message);
                let quarantined = about("plugin.quarantined", name.as_str(), Some(digest));
                self.note(Changed {
                    diff: Some(diff),
                    ..because(quarantined, &refusal)
                });
                Status::Quarantined(refusal)
            }
        };
        self.publish(file, Ok(plugin), status);
    }

    fn judged(&self, pin: &Pin, plugin: &Plugin) -> Result<Admission, Refusal> {
        let unreadable = |error: crate::state::StateError| {
            Refusal::new(Reason::HostInternal, "its pin can't be read")
                .with_detail(error.to_string())
        };
        let known = self.state.pin(&plugin.name).map_err(unreadable)?;
        let catalogue = self.catalogue();
        let accepted = match known {
            Some(_) => Vec::new(),
            None => self.state.pins().map_err(unreadable)?,
        };
        let accepted: Vec<PluginName> = accepted
            .into_iter()
            .map(|pin| pin.plugin)
            .filter(|name| catalogue.entries.contains_key(&format!("{name}.wasm")))
            .collect();
        Ok(judge(known.as_ref(), pin, plugin, &catalogue, &accepted))
    }

    /// Adds to a pin what it lacks. Nothing of what was accepted changes.
    fn renew(&self, pin: &Pin) {
        let renewed = self.state.pin(&pin.plugin).and_then(|known| match known {
            Some(known) => self.state.set_pin(&Pin {
                facts: pin.facts.clone(),
                ..known
            }),
            None => Ok(()),
        });
        if let Err(error) = renewed {
            tracing::warn!(plugin = %pin.plugin, %error, "the plugin's pin could not be renewed");
        }
    }

    /// Says in the log, in the journal and in the catalogue that a file can't serve, and why.
    fn refuse(&self, file: &str, path: &Path, digest: Option<Digest>, refusal: Refusal) {
        let detail = refusal.detail.as_ref();
        tracing::error!(
            file = %path.display(), reason = %refusal.reason,
            "{}{}", refusal.message, detail.map(|d| format!(": {d}")).unwrap_or_default()
        );
        self.note(because(about("plugin.refused", file, digest), &refusal));
        self.publish(file, Err(digest), Status::Refused(refusal));
    }

    /// Whether a tool of `plugin` would take a name that another plugin's tool has. One that was not `seen`
    /// yet by this look has its name from before, which may be another by its end.
    pub(super) fn collision(
        &self,
        plugin: &Plugin,
        seen: &HashMap<String, Stamps>,
    ) -> Option<Refusal> {
        let own: HashMap<&str, &ToolName> = plugin
            .listed()
            .filter(|(_, listed)| listed.is_named())
            .map(|(tool, listed)| (listed.name.as_str(), tool))
            .collect();
        let catalogue = self.catalogue();
        for (tool, place) in plugin.places_of_resources() {
            if let Some(taken) = catalogue.uris.get(place)
                && taken.plugin() != &plugin.name
            {
                return Some(Refusal::new(
                    Reason::NameCollision,
                    format!(
                        "its resource `{tool}` is at `{place}`, which is the address of `{taken}` already"
                    ),
                ));
            }
        }
        let others = catalogue.serving.values().filter(|other| {
            other.name != plugin.name && seen.contains_key(&format!("{}.wasm", other.name))
        });
        let (tool, name, taken) = others
            .flat_map(|other| other.listed())
            .filter(|(_, listed)| listed.is_named())
            .find_map(|(taken, listed)| {
                let (name, tool) = own.get_key_value(listed.name.as_str())?;
                Some((*tool, *name, taken.clone()))
            })?;
        Some(Refusal::new(
            Reason::NameCollision,
            format!(
                "agents would see its tool `{tool}` as `{name}`, which is the name of `{taken}` already; set another `prefix` in `[plugin.{}]` or `[plugin.{}]`",
                plugin.name,
                taken.plugin()
            ),
        ))
    }

    fn drop_gone(&self, found: &BTreeMap<String, PathBuf>, seen: &mut HashMap<String, Stamps>) {
        let catalogue = self.catalogue();
        let gone: Vec<_> = catalogue
            .entries
            .keys()
            .filter(|file| !found.contains_key(*file))
            .cloned()
            .collect();
        if !gone.is_empty() {
            // Whose name was taken is looked at again: it may be free now.
            for (file, entry) in &catalogue.entries {
                if matches!(&entry.status, Status::Refused(why) if why.reason == Reason::NameCollision)
                {
                    seen.remove(file);
                }
            }
        }
        for file in gone {
            seen.remove(&file);
            tracing::info!(%file, "plugin removed");
            self.note(about("plugin.removed", &file, None));
            self.swap(|next| {
                next.entries.remove(&file);
                if let Ok(name) = name_of(&file) {
                    next.serving.remove(&name);
                }
            });
        }
    }

    pub(super) fn publish(
        &self,
        file: &str,
        plugin: Result<Arc<Plugin>, Option<Digest>>,
        status: Status,
    ) {
        let (plugin, digest) = match plugin {
            Ok(plugin) => (Some(Arc::clone(&plugin)), Some(plugin.digest)),
            Err(digest) => (None, digest),
        };
        self.swap(|next| {
            match (&status, &plugin) {
                (Status::Serving, Some(plugin)) => {
                    next.serving.insert(plugin.name.clone(), Arc::clone(plugin));
                }
                // What was accepted goes on from memory until the new one is accepted, or the host ends.
                (Status::Quarantined(_), _) => {}
                _ => {
                    if let Ok(name) = name_of(file) {
                        next.serving.remove(&name);
                    }
                }
            }
            let entry = Entry {
                digest,
                status,
                plugin,
            };
            next.entries.insert(file.to_owned(), entry);
        });
    }

    // INVARIANT: only called while `looking` is held, so no change is lost.
    fn swap(&self, change: impl FnOnce(&mut Catalogue)) {
        let current = self.catalogue();
        let mut next = Catalogue {
            serving: current.serving.clone(),
            entries: current.entries.clone(),
            wire: HashMap::new(),
            uris: HashMap::new(),
            templates: Vec::new(),
        };
        change(&mut next);
        next.index();
        self.catalogue.store(Arc::new(next));
    }

    /// Writes down what became of a plugin; where that can't be done, it is so all the same.
    fn note(&self, changed: Changed) {
        if let Err(error) = self.record(changed) {
            tracing::error!(%error, "a change of the plugins could not be written down");
        }
    }

    pub(super) fn record(&self, changed: Changed) -> Result<(), Unwritable> {
        self.journal.append(&Event::Changed(changed)).map(drop)
    }
}

/// What is written of a plugin or its file: what became of it, and which component that is.
pub(super) fn about(change: &str, subject: &str, component: Option<Digest>) -> Changed {
    Changed {
        change: change.to_owned(),
        subject: Some(subject.to_owned()),
        digest: component,
        ..Changed::default()
    }
}

fn because(changed: Changed, why: &Refusal) -> Changed {
    Changed {
        reason: Some(why.reason),
        detail: Some(match &why.detail {
            Some(detail) => format!("{}: {detail}", why.message),
            None => why.message.to_string(),
        }),
        ..changed
    }
}
