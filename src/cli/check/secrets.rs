//! Whether the secrets that plugins ask for are where the operator says they are.

use std::sync::Arc;

use crate::cli::fault::chain;
use crate::cli::finding::{Finding, Level, in_home, shown};
use crate::cli::offline::Loaded;
use crate::config::{Config, SecretPlace};
use crate::entropy::SystemEntropy;
use crate::home::Home;
use crate::name::PluginName;
use crate::plugin::Requirement;
use crate::private;
use crate::secret::{SHORTEST_SEARCHED, Secrets, Store};

/// Whether each secret that a plugin asks for has a value where the operator says it is.
pub(super) fn findings(home: &Home, config: &Config, loaded: &[Loaded]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stored = if home.secrets().exists() {
        match Store::new(home, Arc::new(SystemEntropy)).list() {
            Ok(stored) => stored,
            Err(error) => {
                findings.push(Finding::new(
                    Level::Error,
                    shown(&home.secrets()),
                    chain(&error),
                ));
                return findings;
            }
        }
    } else {
        Vec::new()
    };
    let values = Secrets::new(home, config, Arc::new(SystemEntropy), None);
    let plugins = loaded
        .iter()
        .filter_map(|loaded| loaded.plugin.as_ref().ok());
    for plugin in plugins {
        for requirement in &plugin.description.requirements {
            let Requirement::Secret(secret) = requirement else {
                continue;
            };
            let key = (plugin.name.clone(), secret.name.clone());
            let place = config.secret_place(&plugin.name, &secret.name);
            let line = config.line(&format!("secret.{}.{}", plugin.name, secret.name));
            let found = missing(home, &key, &place, line, stored.contains(&key));
            if found.is_none() {
                let (source, _) = values.source(&plugin.name, &secret.name);
                if let Some(value) = source.local_value(&plugin.name, &secret.name) {
                    let bytes = value.expose().len();
                    findings.extend(short(home, &key, &place, line, bytes));
                }
            }
            findings.extend(found);
        }
    }
    findings
}

fn missing(
    home: &Home,
    (plugin, name): &(PluginName, String),
    place: &SecretPlace,
    line: usize,
    is_stored: bool,
) -> Option<Finding> {
    match place {
        place if place.is_in_store() && is_stored => None,
        place if place.is_in_store() => {
            let file = in_home(home, format!("plugins/{plugin}.wasm"));
            let message =
                format!("the plugin `{plugin}` asks for the secret `{name}`, which has no value");
            let help = format!("run `tollgate secret set {plugin} {name}`");
            Some(Finding::new(Level::Warning, file, message).help(help))
        }
        SecretPlace::Variable(variable) => {
            // The daemon's environment is what counts, and this may be another one.
            std::env::var_os(variable).is_none().then(|| {
                let message = format!("the secret `{plugin}/{name}` is in the variable `{variable}`, which is not set here");
                Finding::new(Level::Warning, in_home(home, "tollgate.toml"), message)
                    .at(line, 1)
                    .help("set it where the daemon is started")
            })
        }
        SecretPlace::File(path) => private::open(path).err().map(|error| {
            Finding::new(
                Level::Error,
                shown(path),
                format!("the secret `{plugin}/{name}`: {}", chain(&error)),
            )
        }),
        // Others are asked when they are lent; `check` reaches out to nothing.
        _ => None,
    }
}

/// A value that stands in texts by chance is not looked for in what leaves a call, and not redacted.
fn short(
    home: &Home,
    (plugin, name): &(PluginName, String),
    place: &SecretPlace,
    line: usize,
    bytes: usize,
) -> Option<Finding> {
    if bytes >= SHORTEST_SEARCHED {
        return None;
    }
    let message = format!(
        "the secret `{plugin}/{name}` has fewer than {SHORTEST_SEARCHED} bytes: where a server or the plugin repeats it, it is not redacted"
    );
    let found = match place {
        SecretPlace::Store => {
            let file = in_home(home, format!("plugins/{plugin}.wasm"));
            Finding::new(Level::Warning, file, message)
        }
        _ => Finding::new(Level::Warning, in_home(home, "tollgate.toml"), message).at(line, 1),
    };
    Some(found.help("have its issuer make a longer one"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn home() -> Home {
        Home::at(Path::new("/nonexistent/home")).unwrap()
    }

    #[test]
    fn a_secret_without_a_value_says_how_to_set_it() {
        let key = ("github".parse().unwrap(), "token".to_owned());
        let found = missing(&home(), &key, &SecretPlace::Store, 1, false).unwrap();
        assert_eq!(
            found.help.as_deref(),
            Some("run `tollgate secret set github token`")
        );
        assert_eq!(missing(&home(), &key, &SecretPlace::Store, 1, true), None);
    }

    #[test]
    fn a_secret_that_is_too_short_to_be_found_again_is_a_warning() {
        let key = ("github".parse().unwrap(), "token".to_owned());
        let variable = SecretPlace::Variable("TOKEN".into());
        let found = short(&home(), &key, &variable, 7, SHORTEST_SEARCHED - 1).unwrap();
        assert_eq!((found.severity, found.line), (Level::Warning, Some(7)));
        assert_eq!(short(&home(), &key, &variable, 7, SHORTEST_SEARCHED), None);
    }

    #[test]
    fn a_secret_file_that_is_open_to_others_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let key = ("github".parse().unwrap(), "token".to_owned());
        let found = missing(&home(), &key, &SecretPlace::File(path.clone()), 1, false).unwrap();
        assert_eq!(found.severity, Level::Error);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(
            missing(&home(), &key, &SecretPlace::File(path), 1, false),
            None
        );
    }
}
