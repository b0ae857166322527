//! The plugins that there are: what serves, what is held back, and why.
//!
//! The folder is the truth. Each look at it loads what is new or changed, drops what is gone, and
//! publishes a new catalogue as one value, so that a call sees either the old plugin or the new one,
//! whole. A call under way keeps the plugin that it began with. Nothing about one file touches
//! what the others do.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::StreamExt as _;

use super::catalogue::{Catalogue, Entry, Status};
use super::folder::{Stamp, files, name_of, read, stamp};
use super::load::{Plugin, Unusable};
use crate::clock::SharedClock;
use crate::config::Config;
use crate::digest::Digest;
use crate::journal::Journal;
use crate::journal::record::{Changed, Event};
use crate::name::PluginName;
use crate::reason::{Reason, Refusal};
use crate::runtime::Runtime;
use crate::state::{AcceptedBy, Pin, State, StateError};

/// How much a look takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// New files whose compiled code is there already: a matter of milliseconds.
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
    folder: PathBuf,
    runtime: Arc<Runtime>,
    state: State,
    journal: Journal,
    clock: SharedClock,
    catalogue: ArcSwap<Catalogue>,
    /// One look at a time.
    looking: tokio::sync::Mutex<HashMap<String, Stamp>>,
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
        let mut stamps = self.looking.lock().await;
        if which == Which::Everything {
            stamps.clear();
        }
        let found = match files(&self.folder) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(folder = %self.folder.display(), %error, "can't read the plugins folder; what serves goes on");
                return;
            }
        };
        self.drop_gone(&found, &mut stamps);
        let mut new = Vec::new();
        for (file, path) in found {
            let stamp = stamp(&path);
            if stamp.is_some() && stamps.get(&file).copied() == stamp {
                continue;
            }
            // Read once: what is digested is what is compiled.
            let bytes = read(&path);
            let compiled = bytes
                .as_ref()
                .is_ok_and(|bytes| self.runtime.is_compiled(Digest::of(bytes)));
            if which == Which::Compiled && !compiled {
                self.note_loading(&file, &path);
                continue;
            }
            if let Some(stamp) = stamp {
                stamps.insert(file.clone(), stamp);
            }
            new.push((compiled, file, path, bytes));
        }
        let (ready, rest): (Vec<_>, Vec<_>) = new.into_iter().partition(|(compiled, ..)| *compiled);
        for (_, file, path, bytes) in ready {
            let loaded = Plugin::of_file(&self.runtime, config, &file, bytes).await;
            self.take(config, &file, &path, loaded);
        }
        if rest.is_empty() {
            return;
        }
        taken();
        let mut loading = futures_util::stream::iter(rest)
            .map(|(_, file, path, bytes)| async move {
                self.note_loading(&file, &path);
                let loaded = Plugin::of_file(&self.runtime, config, &file, bytes).await;
                (file, path, loaded)
            })
            .buffered(COMPILERS);
        while let Some((file, path, loaded)) = loading.next().await {
            self.take(config, &file, &path, loaded);
            taken();
        }
    }

    /// Accepts the plugin that waits under this name: from now on it is the pinned one.
    pub(crate) async fn accept(
        &self,
        config: &Config,
        name: &PluginName,
    ) -> Result<Digest, String> {
        let _looking = self.looking.lock().await;
        let catalogue = self.catalogue();
        let file = format!("{name}.wasm");
        let Some(entry) = catalogue.entries.get(&file) else {
            return Err(format!(
                "there is no `{file}` in `{}`",
                self.folder.display()
            ));
        };
        let plugin = match (&entry.status, &entry.plugin) {
            (Status::Serving, Some(plugin)) => return Ok(plugin.digest),
            (Status::Quarantined(_), Some(plugin)) => Arc::clone(plugin),
            (Status::Loading | Status::Serving, _) => {
                return Err(format!("`{file}` is still being loaded; try again"));
            }
            (Status::Refused(refusal), _) | (Status::Quarantined(refusal), None) => {
                return Err(format!("`{file}` can't serve: {refusal}"));
            }
        };
        let pin = self.pin_of(config, &plugin, AcceptedBy::Operator);
        self.state
            .set_pin(&pin)
            .map_err(|error| error.to_string())?;
        self.changed("plugin.accepted", name.as_str(), Some(plugin.digest), None);
        let digest = plugin.digest;
        self.publish(&file, entry.file.clone(), Ok(plugin), Status::Serving);
        Ok(digest)
    }

    /// Shows a file that is not known yet while it is being loaded.
    fn note_loading(&self, file: &str, path: &Path) {
        if self.catalogue().entries.contains_key(file) {
            return;
        }
        let entry = Entry {
            file: path.to_owned(),
            digest: None,
            status: Status::Loading,
            plugin: None,
        };
        self.swap(|next| {
            next.entries.insert(file.to_owned(), entry);
        });
    }

    fn take(&self, config: &Config, file: &str, path: &Path, loaded: Result<Plugin, Unusable>) {
        match loaded {
            Err(Unusable { digest, refusal }) => self.refuse(file, path, digest, refusal),
            Ok(plugin) => self.admit(config, file, path, Arc::new(plugin)),
        }
    }

    /// Says in the log, in the journal and in the catalogue that a file can't serve, and why.
    fn refuse(&self, file: &str, path: &Path, digest: Option<Digest>, refusal: Refusal) {
        let detail = refusal.detail.as_ref();
        tracing::error!(
            file = %path.display(), reason = %refusal.reason,
            "{}{}", refusal.message, detail.map(|d| format!(": {d}")).unwrap_or_default()
        );
        self.changed("plugin.refused", file, digest, Some(&refusal));
        self.publish(file, path.to_owned(), Err(digest), Status::Refused(refusal));
    }

    /// Puts a loaded plugin in force, or in quarantine.
    fn admit(&self, config: &Config, file: &str, path: &Path, plugin: Arc<Plugin>) {
        let digest = Some(plugin.digest);
        if let Some(refusal) = self.collision(&plugin) {
            return self.refuse(file, path, digest, refusal);
        }
        let unkept = |what: &'static str, error: &StateError| {
            Refusal::new(Reason::HostInternal, what).with_detail(error.to_string())
        };
        let pin = self.pin_of(config, &plugin, AcceptedBy::FirstSeen);
        let known = match self.state.pin(&plugin.name) {
            Ok(known) => known,
            Err(error) => {
                let refusal = unkept("its pin can't be read", &error);
                return self.refuse(file, path, digest, refusal);
            }
        };
        let path = path.to_owned();
        match known {
            None => {
                // The first of its name: it can do nothing that a policy, written for it, does not allow.
                if let Err(error) = self.state.pin_first(&pin) {
                    let refusal = unkept("its pin can't be kept", &error);
                    return self.refuse(file, &path, digest, refusal);
                }
                tracing::info!(plugin = %plugin.name, digest = %plugin.digest.short(), tools = plugin.description.tools.len(), "plugin pinned");
                self.changed(
                    "plugin.pinned",
                    plugin.name.as_str(),
                    Some(plugin.digest),
                    None,
                );
                self.publish(file, path, Ok(plugin), Status::Serving);
            }
            Some(known)
                if known.component == pin.component
                    && known.description == pin.description
                    && known.settings == pin.settings =>
            {
                tracing::info!(plugin = %plugin.name, digest = %plugin.digest.short(), tools = plugin.description.tools.len(), "plugin serves");
                self.publish(file, path, Ok(plugin), Status::Serving);
            }
            Some(known) => {
                let refusal = Refusal::new(
                    Reason::PinDigestMismatch,
                    format!(
                        "{} changed since it was accepted; review it, then run `tollgate plugins accept {}`",
                        changes(&known, &pin),
                        plugin.name
                    ),
                )
                .with_detail(format!("accepted {}, found {}", known.component, pin.component));
                tracing::warn!(file = %path.display(), reason = %refusal.reason, "{}", refusal.message);
                self.changed(
                    "plugin.quarantined",
                    plugin.name.as_str(),
                    Some(plugin.digest),
                    Some(&refusal),
                );
                self.publish(file, path, Ok(plugin), Status::Quarantined(refusal));
            }
        }
    }

    fn pin_of(&self, config: &Config, plugin: &Plugin, by: AcceptedBy) -> Pin {
        Pin {
            plugin: plugin.name.clone(),
            component: plugin.digest,
            description: plugin.described(),
            settings: config.settings_digest(&plugin.name),
            accepted: self.clock.now(),
            accepted_by: by,
        }
    }

    /// Whether a tool of `plugin` would take a name that another plugin's tool has.
    fn collision(&self, plugin: &Plugin) -> Option<Refusal> {
        let catalogue = self.catalogue();
        plugin.description.tools.iter().find_map(|tool| {
            let taken = catalogue.wire.get(&tool.name.wire())?;
            (taken.plugin() != &plugin.name).then(|| {
                Refusal::new(
                    Reason::NameCollision,
                    format!(
                        "agents would see its tool `{}` as `{}`, which is the name of `{taken}` already; rename one of the two files",
                        tool.name,
                        tool.name.wire()
                    ),
                )
            })
        })
    }

    fn drop_gone(&self, found: &BTreeMap<String, PathBuf>, stamps: &mut HashMap<String, Stamp>) {
        let catalogue = self.catalogue();
        let gone: Vec<_> = catalogue
            .entries
            .keys()
            .filter(|file| !found.contains_key(*file))
            .cloned()
            .collect();
        for file in gone {
            stamps.remove(&file);
            tracing::info!(%file, "plugin removed");
            self.changed("plugin.removed", &file, None, None);
            self.swap(|next| {
                next.entries.remove(&file);
                if let Ok(name) = name_of(&file) {
                    next.serving.remove(&name);
                }
            });
        }
    }

    fn publish(
        &self,
        file: &str,
        path: PathBuf,
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
                file: path,
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
        };
        change(&mut next);
        next.index();
        self.catalogue.store(Arc::new(next));
    }

    fn changed(&self, change: &str, subject: &str, digest: Option<Digest>, why: Option<&Refusal>) {
        let event = Event::Changed(Changed {
            change: change.to_owned(),
            subject: Some(subject.to_owned()),
            digest,
            reason: why.map(|refusal| refusal.reason),
            detail: why.map(|refusal| match &refusal.detail {
                Some(detail) => format!("{}: {detail}", refusal.message),
                None => refusal.message.to_string(),
            }),
        });
        if let Err(error) = self.journal.append(&event) {
            tracing::error!(%error, "a change of the plugins could not be written down");
        }
    }
}

fn changes(known: &Pin, found: &Pin) -> String {
    let mut parts = Vec::new();
    if known.component != found.component {
        parts.push("code");
    }
    if known.description != found.description {
        parts.push("description");
    }
    if known.settings != found.settings {
        parts.push("settings");
    }
    format!("its {}", parts.join(" and "))
}
