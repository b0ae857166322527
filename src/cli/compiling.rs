//! What a start is waiting for: plugins that are compiled for the first time.
//!
//! It only looks, from a thread of its own, at what the host puts into its cache, so the host knows
//! nothing of terminals. Where nobody looks at standard error it does nothing at all.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;

use super::client::spinner;
use super::printer::Printer;
use crate::digest::Digest;
use crate::home::Home;
use crate::journal::escape;
use crate::plugin::{component_files, read_component};

const LOOK: Duration = Duration::from_millis(100);

/// Shows what is compiled while it lives.
#[derive(Debug)]
pub(crate) struct Compiling {
    bar: ProgressBar,
    end: Arc<AtomicBool>,
}

impl Compiling {
    pub(crate) fn watch(home: &Home, printer: &Printer) -> Self {
        let bar = spinner(printer, "starting");
        let end = Arc::new(AtomicBool::new(false));
        if !bar.is_hidden() {
            let (bar, end) = (bar.clone(), Arc::clone(&end));
            let (plugins, artifacts) = (home.plugins(), home.artifacts());
            std::thread::spawn(move || {
                let wanted = missing(&plugins, &artifacts);
                while !end.load(Ordering::Relaxed) && !wanted.is_empty() {
                    bar.set_message(message(&wanted, &compiled(&artifacts)));
                    std::thread::sleep(LOOK);
                }
            });
        }
        Self { bar, end }
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        self.bar.finish_and_clear();
    }
}

/// Names and digests, in the order in which they are compiled, of the plugins without an artifact.
fn missing(plugins: &Path, artifacts: &Path) -> Vec<(String, String)> {
    let there = compiled(artifacts);
    let named = |(file, path): (String, PathBuf)| {
        let name = file.strip_suffix(".wasm").unwrap_or(&file).to_owned();
        Some((name, Digest::of(&read_component(&path).ok()?).hex()))
    };
    component_files(plugins)
        .unwrap_or_default()
        .into_iter()
        .filter_map(named)
        .filter(|(_, digest)| !there.contains(digest))
        .collect()
}

/// Digests of what is in the cache.
fn compiled(artifacts: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(artifacts).into_iter().flatten().flatten();
    names
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".cwasm")?.split('-').next()?.to_owned())
        })
        .collect()
}

fn message(wanted: &[(String, String)], there: &BTreeSet<String>) -> String {
    let done = wanted
        .iter()
        .filter(|(_, digest)| there.contains(digest))
        .count();
    match wanted.iter().find(|(_, digest)| !there.contains(digest)) {
        Some((name, _)) => format!(
            "compiling {} for the first time ({} of {})",
            escape(name),
            done + 1,
            wanted.len()
        ),
        None => String::from("starting"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_that_is_compiled_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (plugins, artifacts) = (folder.path().join("p"), folder.path().join("a"));
        std::fs::create_dir(&plugins).unwrap();
        std::fs::create_dir(&artifacts).unwrap();
        for name in ["fetch", "jq", "time"] {
            std::fs::write(plugins.join(format!("{name}.wasm")), name).unwrap();
        }
        let put = |text: &str| {
            let name = format!("{}-x.cwasm", Digest::of(text.as_bytes()).hex());
            std::fs::write(artifacts.join(name), "").unwrap();
        };
        put("jq");
        let wanted = missing(&plugins, &artifacts);
        let now = || message(&wanted, &compiled(&artifacts));
        assert_eq!(now(), "compiling fetch for the first time (1 of 2)");
        put("fetch");
        assert_eq!(now(), "compiling time for the first time (2 of 2)");
        put("time");
        assert_eq!(now(), "starting");
    }
}
