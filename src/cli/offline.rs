//! Plugins without a daemon: for `check`, `plugins inspect` and `policy`.
//!
//! Loads the files as the daemon would, and pins nothing, writes no journal and takes no lock, so it
//! can run beside a daemon or in a repository that never had one. Compiled code comes from the
//! home's cache where there is one; else it is made in a folder of its own that is removed again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::fault::Fault;
use super::printer::Printer;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::digest::Digest;
use crate::entropy::{Entropy as _, SystemEntropy};
use crate::home::Home;
use crate::name::PluginName;
use crate::plugin::{Catalogue, Content, Plugin, component_files};
use crate::private;
use crate::reason::Refusal;
use crate::runtime::{Artifacts, Runtime, Settings};

/// Describing takes one place at a time; a second one for the slack of the pool.
const PLACES: usize = 2;

/// What loads plugins.
#[derive(Debug)]
pub(crate) struct Loader {
    runtime: Runtime,
    /// Removed with this value.
    _folder: Option<Temporary>,
}

/// A file, and what became of it.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Its name in `plugins/`.
    pub(crate) file: String,
    pub(crate) plugin: Result<Arc<Plugin>, Refusal>,
}

impl Loader {
    pub(crate) fn new(home: &Home) -> Result<Self, Fault> {
        let compiler = std::env::current_exe().map_err(|error| {
            Fault::of(&error)
                .context("can't find the path of this program, which compiles components")
        })?;
        let has_cache = private::check_folder(&home.artifacts()).is_ok()
            && private::check_folder(&home.keys()).is_ok();
        let (artifacts, folder) = if has_cache {
            let key = crate::host::artifact_key(home, &SystemEntropy)?;
            (Artifacts::new(home.artifacts(), key, compiler), None)
        } else {
            let mut key = [0; 32];
            SystemEntropy.fill(&mut key)?;
            let folder = Temporary::new()?;
            (
                Artifacts::new(folder.0.clone(), key, compiler),
                Some(folder),
            )
        };
        let settings = Settings::for_machine(PLACES, crate::limits::POOLED_TABLE_ENTRIES);
        Ok(Self {
            runtime: Runtime::start(settings, artifacts)?,
            _folder: folder,
        })
    }

    /// What runs and compiles.
    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Loads the component in `path` as the plugin `name`.
    pub(crate) async fn load(
        &self,
        config: &Config,
        name: &PluginName,
        path: &Path,
    ) -> Result<Arc<Plugin>, Refusal> {
        let Content { bytes, note } = Content::read(path);
        let (bytes, note, now) = (bytes?, note?, SystemClock.now());
        Plugin::load(&self.runtime, config, name, &bytes, note.as_deref(), now)
            .await
            .map(Arc::new)
    }

    /// Loads every plugin of `home`, in the order of their names. `printer` shows which one takes long.
    pub(crate) async fn load_all(
        &self,
        home: &Home,
        config: &Config,
        printer: &Printer,
    ) -> Result<Vec<Loaded>, Fault> {
        let folder = home.plugins();
        let files = component_files(&folder).map_err(|error| {
            Fault::of(&error).context(&format!("can't read `{}`", folder.display()))
        })?;
        let bar = printer.progress().add(ProgressBar::new(files.len() as u64));
        if let Ok(style) = ProgressStyle::with_template("{spinner} loading {msg} ({pos}/{len})") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        let mut loaded: Vec<Loaded> = Vec::new();
        for (file, path) in files {
            bar.set_message(crate::journal::escape(&file));
            let content = Content::read(&path);
            let now = SystemClock.now();
            let plugin = Plugin::of_file(&self.runtime, config, &file, &content, now)
                .await
                .map(Arc::new)
                .map_err(|unusable| unusable.refusal);
            loaded.push(Loaded { file, plugin });
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(loaded)
    }
}

/// What a daemon would serve of these files, were all of them accepted.
pub(crate) fn catalogue(loaded: &[Loaded]) -> Catalogue {
    let serving: BTreeMap<PluginName, Arc<Plugin>> = loaded
        .iter()
        .filter_map(|loaded| loaded.plugin.as_ref().ok())
        .map(|plugin| (plugin.name.clone(), Arc::clone(plugin)))
        .collect();
    Catalogue::of(serving)
}

/// A folder for this process alone, removed when dropped.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self, Fault> {
        let mut random = [0; 16];
        SystemEntropy.fill(&mut random)?;
        let name = format!("tollgate-{}", Digest::of(&random).short());
        let path = std::env::temp_dir().join(name);
        // Refuses one that somebody else made ready.
        private::make_folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "a temporary folder could not be removed");
        }
    }
}
