//! `tollgate check`: everything that the operator wrote, held against everything that is there.
//!
//! Needs no daemon and changes nothing, so it can run before a commit or a deployment. All of it is
//! looked at, whatever is wrong with one part, so that one run shows all there is to mend.

mod issuers;
mod secrets;

use std::collections::BTreeMap;
use std::time::Duration;

use super::exit::Exit;
use super::fault::{Fault, chain};
use super::finding::{self, Finding, Level, in_home, number, shown};
use super::offline::{self, Loaded, Loader};
use super::printer::Printer;
use super::standing;
use crate::clock::{Clock as _, SystemClock, rfc3339};
use crate::config::{Config, ConfigError, Tier};
use crate::home::Home;
use crate::name::{PluginName, ToolName};
use crate::plugin::{Description, name_of};
use crate::policy::PolicySet;
use crate::private;
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
    findings.extend(secrets::findings(home, &config, &loaded));
    findings.extend(issuers::findings(&config));
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
        for (tool, listed) in plugin.listed().filter(|(_, listed)| listed.is_named()) {
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
