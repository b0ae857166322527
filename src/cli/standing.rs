//! `tollgate check --zero-standing`: every right that is tied to no task, or that has no end.
//!
//! What it lists is not wrong by itself; it is what an agent, or whoever takes its place, has when
//! nobody has asked it to do anything. With `[tasks] required = true` no policy stands by itself.

use super::fault::{Fault, chain};
use super::finding::{Finding, Level, in_home, shown};
use super::offline::Loaded;
use crate::config::Config;
use crate::home::Home;
use crate::plugin::Requirement;
use crate::policy::PolicySet;
use crate::state::{AgentRecord, State};

pub(crate) fn findings(
    home: &Home,
    config: &Config,
    policies: &PolicySet,
    loaded: &[Loaded],
) -> Result<Vec<Finding>, Fault> {
    let mut found = agents(home)?;
    found.extend(rules(home, config, policies));
    found.extend(secrets(home, loaded));
    Ok(found)
}

/// Agents whose token is good for ever.
fn agents(home: &Home) -> Result<Vec<Finding>, Fault> {
    if !home.database().exists() {
        return Ok(Vec::new());
    }
    let agents = State::look_at_agents(&home.database())
        .map_err(|error| Fault::new(super::exit::Exit::Failed, chain(&error)))?;
    Ok(agents
        .iter()
        .filter_map(|agent| endless(home, agent))
        .collect())
}

fn endless(home: &Home, agent: &AgentRecord) -> Option<Finding> {
    if agent.revoked.is_some() || agent.expires.is_some() {
        return None;
    }
    let name = agent.id.name();
    Some(
        Finding::new(
            Level::Error,
            shown(&home.database()),
            format!("the token of the agent `{name}` never expires"),
        )
        .help(format!(
            "run `tollgate agent remove {name}`, then `tollgate agent add {name} --ttl 30d`"
        )),
    )
}

/// Rules that let an agent call while it is on no task.
fn rules(home: &Home, config: &Config, policies: &PolicySet) -> Vec<Finding> {
    if config.tasks.required {
        return Vec::new();
    }
    policies
        .standing()
        .into_iter()
        .map(|rule| {
            Finding::new(
                Level::Error,
                in_home(home, format!("policies/{}", rule.file)),
                format!("`{}` permits calls to an agent that is on no task", rule.id),
            )
            .at(rule.line, 1)
            .help("set `required = true` in `[tasks]` of `tollgate.toml`, or have the rule ask for `context has task`")
        })
        .collect()
}

/// Secrets that plugins use: a value that is kept somewhere is good until somebody changes it.
fn secrets(home: &Home, loaded: &[Loaded]) -> Vec<Finding> {
    let plugins = loaded
        .iter()
        .filter_map(|loaded| loaded.plugin.as_ref().ok());
    plugins
        .flat_map(|plugin| {
            plugin.description.requirements.iter().filter_map(|requirement| {
                let Requirement::Secret(secret) = requirement else {
                    return None;
                };
                let message = format!(
                    "the secret `{}/{}` is a value without an end: it is good whether or not anyone is on a task",
                    plugin.name, secret.name
                );
                let file = in_home(home, format!("plugins/{}.wasm", plugin.name));
                Some(Finding::new(Level::Error, file, message).help("use a source that lends it for a time"))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::digest::Digest;

    #[test]
    fn a_token_without_an_end_stands_and_a_removed_one_does_not() {
        let home = Home::at(Path::new("/nonexistent/home")).unwrap();
        let mut agent = AgentRecord {
            id: "claude".parse().unwrap(),
            token: Digest::of(b""),
            created: Duration::ZERO,
            expires: None,
            revoked: None,
        };
        assert!(endless(&home, &agent).unwrap().message.contains("`claude`"));
        agent.revoked = Some(Duration::ZERO);
        assert_eq!(endless(&home, &agent), None);
        (agent.revoked, agent.expires) = (None, Some(Duration::MAX));
        assert_eq!(endless(&home, &agent), None);
    }

    #[test]
    fn a_home_that_never_served_has_no_agents() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::at(folder.path()).unwrap();
        assert_eq!(agents(&home).unwrap(), []);
        home.create().unwrap();
        let state = State::open(&home.database()).unwrap();
        state
            .add_agent(&AgentRecord {
                id: "claude".parse().unwrap(),
                token: Digest::of(b""),
                created: Duration::ZERO,
                expires: None,
                revoked: None,
            })
            .unwrap();
        // Also while a host has it open.
        assert_eq!(agents(&home).unwrap().len(), 1);
        drop(state);
        assert_eq!(agents(&home).unwrap().len(), 1);
    }
}
