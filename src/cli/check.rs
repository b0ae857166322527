//! `tollgate check`: everything that the operator wrote, held against everything that is there.
//!
//! Needs no daemon and changes nothing, so it can run before a commit or a deployment. All of it is
//! looked at, whatever is wrong with one part, so that one run shows all there is to mend.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::exit::Exit;
use super::fault::{Fault, chain};
use super::finding::{self, Finding, Level, in_home, number, shown};
use super::offline::{self, Loaded, Loader};
use super::printer::Printer;
use super::standing;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::{Config, ConfigError, KeySource, SecretPlace, Tier};
use crate::entropy::SystemEntropy;
use crate::home::Home;
use crate::identity::jwks::KeySet;
use crate::identity::keys::read_file;
use crate::name::{PluginName, ToolName};
use crate::plugin::{Description, Requirement, name_of};
use crate::policy::PolicySet;
use crate::private;
use crate::secret::{SHORTEST_SEARCHED, Secrets, Store};
use crate::state::KnownPeople;

pub(crate) async fn run(
    zero_standing: bool,
    home: &Home,
    printer: &mut Printer,
) -> Result<Exit, Fault> {
    let mut findings = Vec::new();
    let config = match Config::load(home) {
        Ok(config) => config,
        Err(error) => {
            findings.push(broken_config(&error));
            // The rest is still worth looking at, under the defaults.
            Config::default()
        }
    };
    let loaded = Loader::new(home)?.load_all(home, &config, printer).await?;
    findings.extend(plugins(home, &loaded));
    findings.extend(settings(&config, &loaded));
    let catalogue = offline::catalogue(&loaded);
    let policies = crate::host::load_policies(&home.policies(), &catalogue, &config, None);
    findings.extend(policies.findings.into_iter().map(|found| {
        Finding::new(
            found.severity.into(),
            in_home(home, format!("policies/{}", found.file)),
            found.message,
        )
        .at(found.line, found.column)
        .help(found.help)
    }));
    findings.extend(unmapped(home, &policies.set));
    findings.extend(unanswerable(home, &config, &loaded, &policies.set));
    findings.extend(super::policy::case_findings(home, &policies.set));
    findings.extend(secrets(home, &config, &loaded));
    findings.extend(issuers(&config));
    findings.extend(super::endpoint::findings(home, &config));
    findings.extend(permissions(home));
    if zero_standing {
        findings.extend(standing::findings(home, &config, &policies.set, &loaded)?);
    }
    findings.extend(credential_in_environment());
    let people = crate::state::people_in(&home.database());
    findings.extend(people.and_then(|known| unadministered(home, known, SystemClock.now())));
    let good = loaded.iter().filter(|loaded| loaded.plugin.is_ok()).count();
    let exit = finding::print(
        &findings,
        &format!("{} can serve", number(good, "plugin")),
        printer,
    )?;
    if home.state().is_dir() {
        printer.say(&format!(
            "note: whatever runs as this user can read `{}` and act as the operator: run agents as another user",
            shown(&home.state())
        ));
        if people.is_some_and(|known| known.people > 0) {
            printer.warn(SAME_USER);
        }
    }
    Ok(exit)
}

/// Can't be told from here: a daemon over HTTP does not see as whom an agent runs. Over stdio it does.
const SAME_USER: &str = "an approval is worth as much as the approver's credential is out of the agents' reach. \
An agent that runs as this user (every agent over `serve --stdio` does) can read this user's files, environment and browser, \
take a person's credential from there, or write itself into the host's state, and then approve its own calls. \
Run the daemon as a user of its own, connect agents over HTTP from other users, and keep people's credentials with people";

/// So long before the last administrator's credential expires, that is worth a word.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// Once no administrator's credential is good, adding one takes none.
fn unadministered(home: &Home, known: KnownPeople, now: Duration) -> Option<Finding> {
    let until = known.administered_until.unwrap_or_default();
    let message = if known.people == 0 || until > now.saturating_add(SOON) {
        return None;
    } else if until > now {
        format!(
            "the last credential of an administrator expires at {}: from then on whoever reaches the socket may add people",
            rfc3339(until)
        )
    } else {
        "no administrator has a credential that is good: whoever reaches the socket may add people"
            .to_owned()
    };
    let help = "renew one with `tollgate person rotate NAME`";
    Some(Finding::new(Level::Warning, shown(&home.database()), message).help(help))
}

/// Where this command's environment has a person's credential, so has whatever else is started from it.
fn credential_in_environment() -> Option<Finding> {
    let variable = super::credential::VARIABLE;
    std::env::var_os(variable).map(|_| {
        Finding::new(
            Level::Warning,
            "environment",
            format!("`{variable}` is set here: an agent that is started from this environment gets it, and can approve its own calls"),
        )
        .help("set it for the one command that needs it, or use `--credential FILE`")
    })
}

pub(crate) fn broken_config(error: &ConfigError) -> Finding {
    match error {
        ConfigError::Wrong {
            path,
            line,
            column,
            message,
        } => Finding::new(Level::Error, shown(path), message).at(*line, *column),
        ConfigError::Read { path, .. } => Finding::new(Level::Error, shown(path), chain(error)),
    }
}

fn plugins(home: &Home, loaded: &[Loaded]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut names: BTreeMap<String, ToolName> = BTreeMap::new();
    for Loaded { file, plugin } in loaded {
        let place = in_home(home, format!("plugins/{file}"));
        let plugin = match plugin {
            Ok(plugin) => plugin,
            Err(refusal) => {
                let detail = refusal
                    .detail
                    .as_ref()
                    .map(|detail| format!(": {detail}"))
                    .unwrap_or_default();
                let message = format!("{}: {}{detail}", refusal.reason, refusal.message);
                findings.push(Finding::new(Level::Error, place, message));
                continue;
            }
        };
        for (tool, listed) in plugin.listed() {
            match names.get(&listed.name) {
                Some(taken) if taken.plugin() != &plugin.name => {
                    let message = format!(
                        "agents would see its tool `{tool}` as `{}`, which is the name of `{taken}` already",
                        listed.name
                    );
                    let help = format!(
                        "set another `prefix` in `[plugin.{}]` or `[plugin.{}]` of `tollgate.toml`",
                        plugin.name,
                        taken.plugin()
                    );
                    findings.push(Finding::new(Level::Error, place.clone(), message).help(help));
                }
                _ => {
                    names.insert(listed.name.clone(), tool.clone());
                }
            }
        }
    }
    findings
}

fn settings(config: &Config, loaded: &[Loaded]) -> Vec<Finding> {
    let described: BTreeMap<PluginName, Option<Description>> = loaded
        .iter()
        .filter_map(|loaded| {
            let description = loaded
                .plugin
                .as_ref()
                .ok()
                .map(|plugin| plugin.description.clone());
            Some((name_of(&loaded.file).ok()?, description))
        })
        .collect();
    config
        .findings(&described)
        .into_iter()
        .map(|found| {
            Finding::new(Level::Warning, shown(&found.path), found.message).at(found.line, 1)
        })
        .collect()
}

fn unmapped(home: &Home, set: &PolicySet) -> Vec<Finding> {
    set.unmapped()
        .map(|part| {
            let plugin = part.tool.split('.').next().unwrap_or_default();
            let message = format!(
                "policies can't see `{}` of `{}`: {}",
                part.path, part.tool, part.why
            );
            Finding::new(
                Level::Note,
                in_home(home, format!("plugins/{plugin}.wasm")),
                message,
            )
        })
        .collect()
}

/// Tools that wait for a person, where nobody may answer.
fn unanswerable(home: &Home, config: &Config, loaded: &[Loaded], set: &PolicySet) -> Vec<Finding> {
    let good = loaded
        .iter()
        .filter_map(|loaded| loaded.plugin.as_ref().ok());
    let tools = good.flat_map(|plugin| {
        let tools = plugin.description.tools.iter().map(|tool| &tool.name);
        tools.filter(move |tool| {
            let held = crate::host::tier(config, &plugin.description, tool) == Tier::Hold
                || set.asks(tool);
            held && !set.answerable(tool)
        })
    });
    tools
        .map(|tool| {
            let file = in_home(home, format!("policies/{}.cedar", tool.plugin()));
            let message =
                format!("calls of `{tool}` wait for a person, and no rule lets anybody agree");
            Finding::new(Level::Warning, file, message).help(
                "add `permit (principal in Group::\"approvers\", action in Action::\"approve\", resource);` to `policies/shared.cedar`, and people to that group",
            )
        })
        .collect()
}

/// Whether each secret that a plugin asks for has a value where the operator says it is.
fn secrets(home: &Home, config: &Config, loaded: &[Loaded]) -> Vec<Finding> {
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

/// Keys of issuers that are in files: whether each set can be used, and whether two issuers have one
/// key, so that each could speak for the other's agents.
fn issuers(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut sets: Vec<(&str, KeySet)> = Vec::new();
    for issuer in &config.issuers {
        if issuer.agents.is_empty() && issuer.agent_prefix.is_none() {
            let message = format!("the issuer `{}` names no agent", issuer.issuer);
            findings.push(
                Finding::new(Level::Warning, "tollgate.toml", message)
                    .help("name its agents in `[issuer.agents]`, or set `agent_pattern`"),
            );
        }
        let KeySource::File(path) = &issuer.keys else {
            continue;
        };
        let read = read_file(path).and_then(|text| Ok(KeySet::parse(&text, &issuer.algorithms)?));
        let set = match read {
            Ok(set) => set,
            Err(error) => {
                let message = format!("the issuer `{}`: {error}", issuer.issuer);
                findings.push(Finding::new(Level::Error, shown(path), message));
                continue;
            }
        };
        if let Some((other, _)) = sets.iter().find(|(_, known)| known.shares_a_key(&set)) {
            let message = format!(
                "the issuers `{}` and `{other}` have a key in common, so that each could speak for the other's agents",
                issuer.issuer
            );
            findings.push(
                Finding::new(Level::Error, shown(path), message)
                    .help("give each issuer a key of its own"),
            );
        }
        sets.push((&issuer.issuer, set));
    }
    findings
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

/// What of the state is open to other users. A home that never served has none.
fn permissions(home: &Home) -> Vec<Finding> {
    [home.state(), home.keys(), home.journal(), home.artifacts()]
        .iter()
        .filter(|folder| folder.exists())
        .filter_map(|folder| {
            let error = private::check_folder(folder).err()?;
            Some(Finding::new(Level::Error, shown(folder), chain(&error)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::reason::{Reason, Refusal};

    fn home() -> Home {
        Home::at(Path::new("/nonexistent/home")).unwrap()
    }

    #[test]
    fn a_plugin_that_can_not_serve_is_an_error_with_its_cause() {
        let refusal = Refusal::new(Reason::ComponentInvalid, "not a valid component")
            .with_detail("at offset 8");
        let loaded = [Loaded {
            file: "bad.wasm".into(),
            plugin: Err(refusal),
        }];
        let found = plugins(&home(), &loaded);
        assert_eq!(
            found,
            [Finding::new(
                Level::Error,
                "/nonexistent/home/plugins/bad.wasm",
                "component.invalid: not a valid component: at offset 8"
            )]
        );
    }

    #[test]
    fn a_host_without_an_administrator_is_warned_of_before() {
        let now = Duration::from_secs(1_795_305_600);
        let of = |people, until: Option<Duration>| {
            let known = KnownPeople {
                people,
                administered_until: until,
            };
            unadministered(&home(), known, now).map(|found| found.message)
        };
        assert_eq!(of(0, None), None);
        assert_eq!(of(1, Some(now + SOON + Duration::from_secs(1))), None);
        let soon = of(1, Some(now + SOON)).unwrap();
        assert!(soon.contains("expires at 2026-12-06T00:00:00"), "{soon}");
        for over in [Some(now), None] {
            assert!(of(2, over).unwrap().starts_with("no administrator"));
        }
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

    #[test]
    fn two_issuers_with_one_key_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let key = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        std::fs::write(folder.path().join("a.json"), key).unwrap();
        std::fs::write(folder.path().join("b.json"), key.replace("\"a\"", "\"b\"")).unwrap();
        let table = |name: &str| {
            format!(
                "[[issuer]]\nissuer = \"https://{name}.example\"\njwks = \"{name}.json\"\nagent_pattern = \"*\"\n"
            )
        };
        let path = folder.path().join("tollgate.toml");
        let of = |text: String| issuers(&Config::parse(&path, &text).unwrap());
        assert_eq!(of(table("a")), []);
        let found = of(table("a") + &table("b"));
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("a key in common"), "{found:?}");
        let missing = of(table("c"));
        assert_eq!(missing[0].severity, Level::Error);
    }

    #[test]
    fn a_state_that_others_can_enter_is_an_error() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(permissions(&home), []);
        home.create().unwrap();
        assert_eq!(permissions(&home), []);
        std::fs::set_permissions(home.state(), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(permissions(&home).len(), 1);
    }
}
